"""Tasks that stock calls push go with their base, and are found there."""

from __future__ import annotations

import json

import pytest
import torch
from hub_server import WRITE
from stock_models import TASK_FILES, assert_same, trained
from tiny_models import logits_of, model_with_tasks
from transformers import AutoModel

from modeling_mteeg.model.adapter_files import AdapterError
from modeling_mteeg.prediction.origins import adapter_origin
from modeling_mteeg.prediction.task_loading import load_tasks


def test_pushed_with_its_tasks_as_one_commit(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", WRITE)
    model = model_with_tasks("tuab", "seed-v", num_hidden_layers=1)
    model.push_to_hub("me/whole")
    model.save_pretrained(tmp_path / "base", push_to_hub=True, repo_id="me/saved", token=WRITE)
    model.save_pretrained(tmp_path / "base", push_to_hub=True, repo_id="me/saved", token=WRITE)
    for name in ("me/whole", "me/saved"):
        repo = hub.repo(name)
        assert [commit.title for commit in repo.history("main")][-2] == "Upload model"
        files = repo.files()
        assert {f"adapters/tuab/{file}" for file in TASK_FILES} <= set(files)
        assert "preprocessor_config.json" in files and "modeling_mteeg.py" in files
        card = json.loads(files["adapters/tuab/task.json"])
        assert card["base"]["name_or_path"] == name
        assert_same(name, model)
    assert len(hub.repo("me/whole").commits) == 2
    model.push_to_hub("me/alone", tasks=())
    assert not [path for path in hub.repo("me/alone").files() if path.startswith("adapters/")]


def test_a_task_is_taken_from_the_cache_alone_where_asked_for(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", WRITE)
    expected = model_with_tasks("tuab", num_hidden_layers=1)
    expected.push_to_hub("me/base")
    model = AutoModel.from_pretrained("me/base")
    for source in ("tuab", "me/base/adapters/tuab"):
        with pytest.raises(AdapterError, match=r"not in the cache, whole.*leave local_files_only"):
            model.load_adapter(source, local_files_only=True)
    model.load_adapter("me/base/adapters/tuab", "first")
    asked = len(hub.requests)
    model.load_adapter("tuab", local_files_only=True)
    model.load_adapter("me/base/adapters/tuab", "again", local_files_only=True)
    assert len(hub.requests) == asked
    assert torch.equal(logits_of(model, "tuab")["tuab"], logits_of(expected)["tuab"])


def test_a_trainer_pushes_tasks_at_every_save_and_at_the_end(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", WRITE)
    settings = {"push_to_hub": True, "hub_model_id": "me/run", "hub_token": WRITE}
    trainer = trained(tmp_path / "run", save_strategy="steps", save_steps=2, **settings)
    trainer._finish_current_push()
    assert "adapters/tuab/task.json" not in hub.repo("me/run").files()
    assert_same("me/run", trainer.model)
    model, _ = load_tasks("me/run", ["tuab"])  # as the commands do, by the base's commit
    assert adapter_origin(model, "tuab") == ("me/run", hub.repo("me/run").head)
    trainer.push_to_hub()
    files = hub.repo("me/run").files()
    assert {f"adapters/tuab/{file}" for file in TASK_FILES} <= set(files)
    assert str(tmp_path) not in str(files["adapters/tuab/task.json"])
    assert_same("me/run", trainer.model)
