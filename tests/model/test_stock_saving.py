"""Stock calls of saving and loading: no task is lost without a word."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from stock_models import TASK_FILES, assert_same, trained
from tiny_models import CARDS, inputs_of, logits_of, model_with_tasks, randomize, tiny_model
from transformers import AutoFeatureExtractor, AutoModel

from modeling_mteeg import MteegFeatureExtractor, MteegForPreTraining, MteegModel
from modeling_mteeg.methods import TrainingError
from modeling_mteeg.methods.labram import start_model
from modeling_mteeg.model.adapter_files import AdapterError
from modeling_mteeg.model.weight_names import owner_of
from modeling_mteeg.training.joint_config import ModelOptions

LORA = {"r": 2, "target_modules": ["qkv", "proj", "fc1", "fc2"]}


def base_alone(folder: Path) -> bool:
    return not any(owner_of(name) for name in load_file(folder / "model.safetensors"))


def test_save_model_of_a_trainer_saves_the_tasks(tmp_path):
    trainer = trained(tmp_path / "run", "seed-v")
    trainer.save_model(str(tmp_path / "saved"))
    assert base_alone(tmp_path / "saved")
    for task in ("tuab", "seed-v"):
        assert {path.name for path in (tmp_path / "saved/adapters" / task).iterdir()} >= TASK_FILES
    assert_same(tmp_path / "saved", trainer.model)
    assert isinstance(AutoFeatureExtractor.from_pretrained(tmp_path / "saved"),
                      MteegFeatureExtractor)  # fmt: skip
    stock = PeftModel.from_pretrained(
        AutoModel.from_pretrained(tmp_path / "saved"), tmp_path / "saved", subfolder="adapters/tuab"
    )
    with torch.no_grad():
        expected = trainer.model(**inputs_of("tuab"), task="tuab").pooler_output
        assert torch.allclose(stock.eval()(**inputs_of("tuab")).pooler_output, expected, atol=1e-5)


def test_a_checkpoint_of_a_trainer_is_a_base_with_tasks(tmp_path):
    trainer = trained(tmp_path, "seed-v", save_strategy="steps", save_steps=2)
    place = tmp_path / "checkpoint-2"
    model = assert_same(place, trainer.model)
    assert model.adapter_sources["tuab"] == str(place)
    model.save_pretrained(tmp_path / "base")
    assert base_alone(tmp_path / "base")
    assert "tasks_in_weights" not in json.loads((tmp_path / "base/config.json").read_text())
    assert_same(tmp_path / "base", trainer.model)
    # What the first saved of itself is there still: the files are read again for every task.
    model.delete_adapter("tuab")
    assert model.load_adapter("tuab").name == "tuab"


def test_a_checkpoint_keeps_results_that_are_still_right(tmp_path):
    model, results = model_with_tasks("tuab", "seed-v", num_hidden_layers=1), {"test": {"auroc": 1}}
    for task in model.tasks:
        model.save_adapter(task, tmp_path / "base/adapters" / task, results=results)
    model.save_pretrained(tmp_path / "base", tasks=())
    model = AutoModel.from_pretrained(tmp_path / "base")
    model.load_adapters()
    randomize(model, "tuab", seed=9)
    model.save_pretrained(tmp_path / "checkpoint-1", state_dict=None)
    assert str(tmp_path) not in (tmp_path / "checkpoint-1/config.json").read_text()
    loaded = AutoModel.from_pretrained(tmp_path / "checkpoint-1")
    cards = loaded.load_adapters()
    assert cards["seed-v"].results == results and cards["tuab"].results is None


@pytest.mark.parametrize("sharing", ["shared", "shared+own", "pool"])
def test_a_checkpoint_holds_shared_adapters(tmp_path, sharing):
    model = model_with_tasks("tuab", "seed-v", options={"sharing": sharing}, num_hidden_layers=1)
    model.save_pretrained(tmp_path / "checkpoint-1", state_dict=None)
    loaded = AutoModel.from_pretrained(tmp_path / "checkpoint-1")
    loaded.load_adapters()
    found, expected = logits_of(loaded), logits_of(model)
    assert all(torch.allclose(found[task], expected[task], atol=1e-5) for task in expected)


def test_a_task_that_lies_there_twice_is_not_taken_for_the_other(tmp_path):
    """As where a training writes checkpoints into the folder of one that was finished."""
    model = model_with_tasks("tuab", num_hidden_layers=1)
    model.save_pretrained(tmp_path / "out")
    model.save_pretrained(tmp_path / "checkpoint-1", state_dict=None)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tmp_path / "checkpoint-1" / name, tmp_path / "out" / name)
    assert_same(tmp_path / "out", model)
    randomize(model, seed=9)
    model.save_adapter("tuab", tmp_path / "out/adapters/tuab")
    loaded = AutoModel.from_pretrained(tmp_path / "out")
    with pytest.raises(AdapterError, match=r"lies twice beside the base.*the two differ"):
        loaded.load_adapter("tuab")
    assert not loaded.tasks
    loaded.load_adapter(tmp_path / "out/adapters/tuab")
    assert torch.equal(logits_of(loaded)["tuab"], logits_of(model)["tuab"])


def test_a_training_is_told_that_a_checkpoint_is_no_base_for_it(tmp_path):
    model_with_tasks("tuab").save_pretrained(tmp_path / "checkpoint-1", state_dict=None)
    options = ModelOptions(base=str(tmp_path / "checkpoint-1"))
    with pytest.raises(TrainingError, match=r"is a checkpoint of a Trainer.*save_pretrained"):
        start_model(options)


@pytest.mark.parametrize("whole", [False, True], ids=["heads", "all"])
def test_tensors_of_tasks_that_nothing_names_are_refused(tmp_path, whole):
    model = model_with_tasks("tuab", "seed-v", num_hidden_layers=1)
    model.save_pretrained(tmp_path, tasks=())
    path = tmp_path / "model.safetensors"
    names = [n for n in model.state_dict() if owner_of(n) and (whole or n.startswith("heads."))]
    state = {name: model.state_dict()[name].contiguous() for name in names}
    save_file(load_file(path) | state, path, metadata={"format": "pt"})
    with pytest.raises(AdapterError, match=r"tensors of seed-v, tuab .*neither config\.json nor"):
        AutoModel.from_pretrained(tmp_path)
    with pytest.raises(AdapterError, match="tensors of seed-v, tuab"):
        MteegModel.from_pretrained(None, config=model.config, state_dict=load_file(path))
    # The remedy in the message.
    again = tiny_model(num_hidden_layers=1)
    for task in ("tuab", "seed-v"):
        again.add_adapter(task, card=CARDS[task])
    again.load_state_dict(load_file(path), strict=False)
    again.save_pretrained(tmp_path / "new")
    assert_same(tmp_path / "new", again)
    # With the tasks beside them, as some wrote them by hand, nothing is lost.
    for task in ("tuab", "seed-v"):
        model.save_adapter(task, tmp_path / "adapters" / task)
    assert_same(tmp_path, model)


def test_claims_in_a_configuration_are_checked(tmp_path):
    model_with_tasks("tuab", num_hidden_layers=1).save_pretrained(
        tmp_path / "checkpoint-1", state_dict=None
    )
    path = tmp_path / "checkpoint-1/config.json"
    fields = json.loads(path.read_text())
    task = fields["tasks_in_weights"]["tuab"]
    card, options = task["card"], task["options"]
    for claim, words in [
        ({"card": task["card"]}, "expected a task card and options"),
        ({**task, "card": {**task["card"], "name": "other"}}, "of the task 'other'"),
        ({**task, "options": {**options, "rank": 10**9}}, "rank: expected at most 4096"),
        ({**task, "options": {**options, "rank": 4000}}, "expected shape .4000, 100., found .8, "),
        ({**task, "card": {**card, "labels": list("abc"), "loss": ""}}, "heads.tuab.weight"),
        ("tuab", "expected a task card and options"),
    ]:  # fmt: skip
        path.write_text(json.dumps(fields | {"tasks_in_weights": {"tuab": claim}}))
        model = AutoModel.from_pretrained(path.parent)
        with pytest.raises(AdapterError, match=words):
            model.load_adapter("tuab")
        assert not model.tasks
    path.write_text(json.dumps(fields | {"tasks_in_weights": ["tuab"]}))
    with pytest.raises(ValueError, match="tasks_in_weights: expected"):
        AutoModel.from_pretrained(path.parent)


def test_pretraining_goes_on_from_a_checkpoint_without_its_tasks(tmp_path):
    model_with_tasks("tuab").save_pretrained(tmp_path / "checkpoint-1", state_dict=None)
    model = MteegForPreTraining.from_pretrained(tmp_path / "checkpoint-1")
    model.save_pretrained(tmp_path / "pretrained")
    assert not AutoModel.from_pretrained(tmp_path / "pretrained").tasks_beside()


def test_a_state_dict_says_what_is_saved(tmp_path):
    """As accelerate gathers it from several devices, whatever the model itself holds."""
    model = model_with_tasks("tuab", "seed-v", num_hidden_layers=1)
    other = model_with_tasks("tuab", "seed-v", seed=5, num_hidden_layers=1)
    for place in ("saved", "checkpoint-1"):
        model.save_pretrained(tmp_path / place, state_dict=other.state_dict())
        assert_same(tmp_path / place, other)
    lacking = {name: value for name, value in other.state_dict().items() if "fc1" not in name}
    with pytest.raises(ValueError, match=r"state_dict: expected all weights.*fc1.*nothing"):
        model.save_pretrained(tmp_path / "lacking", state_dict=lacking)
    assert not (tmp_path / "lacking").exists()


def test_weights_in_several_files_and_files_that_are_gone(tmp_path):
    model = model_with_tasks("tuab", "seed-v", num_hidden_layers=1)
    for place, state in (("saved", {}), ("checkpoint-1", {"state_dict": None})):
        model.save_pretrained(tmp_path / place, max_shard_size="200KB", **state)
        assert len(list((tmp_path / place).glob("model-*.safetensors"))) > 1
        loaded = assert_same(tmp_path / place, model)
    shutil.rmtree(tmp_path / "checkpoint-1")  # as by save_total_limit of a training that goes on
    loaded.delete_adapter("tuab")
    with pytest.raises(AdapterError, match=r"is not there any more, and with it the task 'tuab'"):
        loaded.load_adapter("tuab")


def test_another_process_writes_nothing(tmp_path):
    model = model_with_tasks("tuab", num_hidden_layers=1)
    model.save_pretrained(tmp_path / "base", is_main_process=False)
    assert not list((tmp_path / "base").rglob("*"))


def test_the_base_alone_and_some_tasks(tmp_path):
    model = model_with_tasks("tuab", "seed-v", num_hidden_layers=1)
    for tasks in ((), ["seed-v"]):
        place = tmp_path / str(len(tasks))
        model.save_pretrained(place, tasks=tasks)
        assert AutoModel.from_pretrained(place).tasks_beside() == list(tasks)
    with pytest.raises(ValueError, match=r"tasks: expected a list of names, found 'tuab'"):
        model.save_pretrained(tmp_path / "x", tasks="tuab")
    with pytest.raises(ValueError, match="Unknown task 'tuev'"):
        model.save_pretrained(tmp_path / "x", tasks=["tuev"])
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"expected a folder, found a file\. Nothing"):
        model.save_pretrained(tmp_path / "file")
    assert not (tmp_path / "x").exists()


def said(caplog, act: Callable) -> str:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        act()
    return " ".join(record.getMessage() for record in caplog.records)


def test_tasks_that_are_not_loaded_are_told_where_it_matters(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    base = tmp_path / "base"
    expected = model_with_tasks("tuab", "seed-v", num_hidden_layers=1)
    expected.save_pretrained(base)
    model = AutoModel.from_pretrained(base)
    first = said(caplog, lambda: model(**inputs_of("tuab")))
    assert "Beside the base there are: seed-v, tuab." in first and "load_adapters()" in first
    assert not said(caplog, lambda: model(**inputs_of("tuab"))), "once"
    with pytest.raises(ValueError, match=r"labels need a task.*there are: seed-v, tuab\."):
        model(**inputs_of("tuab"), labels=torch.tensor([0, 1, 0]))
    with pytest.raises(ValueError, match=r"Unknown task 'tuab'.*Beside the base .*: seed-v, tuab"):
        model.set_adapter("tuab")
    words = said(caplog, lambda: model.save_pretrained(tmp_path / "copy"))
    assert "saved without the tasks seed-v, tuab" in words and str(base / "adapters") in words
    model.load_adapter("tuab")
    assert "without the tasks seed-v that" in said(
        caplog, lambda: model.save_pretrained(tmp_path / "copy")
    )
    assert not said(caplog, lambda: model.save_pretrained(base)), "they stay where they are"
    assert_same(base, expected)
    words = said(caplog, lambda: tiny_model(seed=7, num_hidden_layers=1).save_pretrained(base))
    assert "the tasks seed-v, tuab that lie there belong to another base" in words


def test_load_adapters_keeps_the_active_task(tmp_path):
    model_with_tasks("tuab", "seed-v", "tuev", num_hidden_layers=1).save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(tmp_path)
    model.load_adapter("tuev")
    assert list(model.load_adapters()) == ["seed-v", "tuab"] and model.active_adapter == "tuev"
    assert model.load_adapters() == {} and model.active_adapter == "tuev"
    other = AutoModel.from_pretrained(tmp_path)
    assert list(other.load_adapters(["tuab", "seed-v"])) == ["tuab", "seed-v"]
    assert other.active_adapter == "tuab"


def test_adapters_of_peft_itself_are_not_dropped_from_a_saved_base(tmp_path):
    model = get_peft_model(tiny_model(num_hidden_layers=1), LoraConfig(**LORA))
    with pytest.raises(ValueError, match=r"found adapters of peft itself \(default\)"):
        model.get_base_model().save_pretrained(tmp_path / "base")
    assert not (tmp_path / "base").exists()
    merged = model.merge_and_unload()
    merged.save_pretrained(tmp_path / "base")
    assert_same(tmp_path / "base", merged)
