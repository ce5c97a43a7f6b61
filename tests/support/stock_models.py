"""Models with two tasks, and what stock calls of transformers and peft are given and leave."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig
from tiny_models import batch_of, inputs_of, logits_of, model_with_tasks
from transformers import AutoModel, Trainer, TrainingArguments

from modeling_mteeg import MteegModel

TASK_FILES = {"adapter_config.json", "adapter_model.safetensors", "head.safetensors", "task.json"}
EVERYWHERE = ["qkv", "proj", "fc1", "fc2"]
LABELS = ["left", "right"]


def held() -> MteegModel:
    """One layer, two tasks, in evaluation mode; ``seed-v`` is the active one."""
    return model_with_tasks("tuab", "seed-v", num_hidden_layers=1)


def config(**options) -> LoraConfig:
    """A configuration of peft that a task can have, but for ``options``."""
    return LoraConfig(**{"r": 4, "target_modules": EVERYWHERE} | options)


def features(model: torch.nn.Module) -> torch.Tensor:
    """(batch, width), of the active task or of the base."""
    with torch.no_grad():
        return model(**inputs_of("tuab")).pooler_output


class Windows(torch.utils.data.Dataset):
    """Single samples, each with the rows of its channels, for the default collator to stack."""

    SAMPLES = 22

    def __init__(self, task: str):
        self.batch = batch_of(task, self.SAMPLES)

    def __len__(self) -> int:
        return self.SAMPLES

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        own = {key: self.batch[key][index] for key in ("input_values", "labels")}
        return own | {"channel_ids": self.batch["channel_ids"]}


def trainer_of(model: MteegModel, folder: Path, **settings) -> Trainer:
    settings = {"max_steps": 2, "save_strategy": "no", "learning_rate": 1e-2} | settings
    arguments = TrainingArguments(
        str(folder), per_device_train_batch_size=8, report_to=[], use_cpu=True, disable_tqdm=True,
        **settings,
    )  # fmt: skip
    return Trainer(model, arguments, train_dataset=Windows(model.active_adapter))


def trained(folder: Path, *others: str, **settings) -> Trainer:
    """A Trainer that has trained ``tuab`` on a fresh base, encoder and all."""
    model = model_with_tasks("tuab", *others, num_hidden_layers=1)
    model.set_adapter("tuab")
    trainer = trainer_of(model, folder, **settings)
    trainer.train()
    model.eval()
    return trainer


def assert_same(place: str | Path, expected: MteegModel) -> MteegModel:
    """Loaded from a place, the base is the same, and its tasks are found and give the same."""
    model = AutoModel.from_pretrained(place)
    assert not model.tasks and model.tasks_beside() == sorted(expected.tasks)
    cards = model.load_adapters()
    assert list(cards) == sorted(expected.tasks)
    assert model.fingerprint() == expected.fingerprint() == model.config.fingerprint
    found = logits_of(model)
    for task, logits in logits_of(expected).items():
        assert torch.equal(found[task], logits)
        assert model.tasks[task].labels == expected.tasks[task].labels
    return model
