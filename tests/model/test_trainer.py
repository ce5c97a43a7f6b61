"""A task trained with transformers' own Trainer, as its users will try first."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from stock_models import Windows
from tiny_models import CARDS, logits_of, tiny_model
from transformers import AutoModel, Trainer, TrainingArguments

from modeling_mteeg import MteegModel

SAMPLES, PER_BATCH = Windows.SAMPLES, 8


def measures(prediction) -> dict[str, float]:
    """``predictions`` must be the logits alone, one row a sample."""
    assert isinstance(prediction.predictions, np.ndarray)
    return {"rows": len(prediction.predictions), "columns": prediction.predictions.shape[1]}


def trainer_of(model: MteegModel, folder: Path, epochs: int = 2) -> Trainer:
    settings = TrainingArguments(
        str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=PER_BATCH,
        per_device_eval_batch_size=PER_BATCH,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        save_strategy="epoch",
        eval_strategy="epoch",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    task = model.active_adapter
    return Trainer(
        model,
        settings,
        train_dataset=Windows(task),
        eval_dataset=Windows(task),
        compute_metrics=measures,
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tiny_model().save_pretrained(folder)
    return folder


def fresh(base: Path, task: str) -> MteegModel:
    model = AutoModel.from_pretrained(base)
    torch.manual_seed(1)
    model.add_adapter(task, card=CARDS[task])
    return model


@pytest.mark.parametrize("task", ["seed-v", pytest.param("tuab", marks=pytest.mark.slow)])
def test_a_trainer_trains_evaluates_and_goes_on_from_its_checkpoint(base, task, tmp_path, caplog):
    model = fresh(base, task)
    trainer = trainer_of(model, tmp_path / "whole")
    trainer.train()
    scores = trainer.evaluate()
    assert scores["eval_rows"] == SAMPLES
    assert scores["eval_columns"] == CARDS[task].num_outputs
    untrained = trainer_of(fresh(base, task), tmp_path / "untrained").evaluate()
    assert scores["eval_loss"] < untrained["eval_loss"]

    steps = -(-SAMPLES // PER_BATCH)
    (tmp_path / "again").mkdir()
    shutil.copytree(tmp_path / f"whole/checkpoint-{steps}", tmp_path / f"again/checkpoint-{steps}")
    resumed = fresh(base, task)
    with caplog.at_level(logging.WARNING):
        trainer_of(resumed, tmp_path / "again").train(resume_from_checkpoint=True)
    assert not [r for r in caplog.records if "missing keys" in r.getMessage()]
    assert torch.equal(logits_of(resumed, task)[task], logits_of(model, task)[task])

    saved = model.save_adapter(task, tmp_path / "adapter")
    with caplog.at_level(logging.WARNING):
        published = AutoModel.from_pretrained(tmp_path / f"whole/checkpoint-{2 * steps}")
    assert not [r for r in caplog.records if "LOAD REPORT" in r.getMessage()]
    assert published.fingerprint() == model.fingerprint() and not published.tasks
    published.load_adapter(saved)
    assert torch.equal(logits_of(published)[task], logits_of(model.eval(), task)[task])


def test_a_base_loads_into_a_model_with_tasks(base):
    weights = tiny_model(seed=3).state_dict()
    model = fresh(base, "tuab")
    result = model.load_state_dict(weights, strict=False)
    assert result.unexpected_keys == []
    assert all("lora_" in key or key.startswith("heads.") for key in result.missing_keys)
    assert all(torch.equal(model.base_state_dict()[key], value) for key, value in weights.items())
