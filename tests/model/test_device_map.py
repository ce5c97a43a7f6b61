"""``device_map`` on a CPU: a base that is put somewhere by it takes tasks, and answers as ever."""

from __future__ import annotations

import pytest
import torch
from tiny_models import CARDS, batch_of, logits_of, model_with_tasks
from transformers import AutoModel

CPU = torch.device("cpu")
PARTS = ("cls_token", "spatial_embedding", "temporal_embedding", "temporal_encoder", "layers")
EVERYWHERE = ["cpu", "auto", {"": "cpu"}, dict.fromkeys((*PARTS, "fc_norm"), "cpu")]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    heads = {"seed-v": {"kind": "channels", "band_power": True}}
    model = model_with_tasks("tuab", "seed-v", heads=heads, num_hidden_layers=1)
    folder = tmp_path_factory.mktemp("base")
    model.save_pretrained(folder)
    return folder, logits_of(model)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="auto would choose the accelerator")
@pytest.mark.parametrize("where", EVERYWHERE, ids=["cpu", "auto", "all", "parts"])
def test_tasks_go_where_the_base_is_and_answer_as_ever(where, saved):
    folder, expected = saved
    model = AutoModel.from_pretrained(folder, device_map=where).eval()
    for task, logits in expected.items():
        model.load_adapter(task)
        assert {tensor.device for tensor in (*model.parameters(), *model.buffers())} == {CPU}
        assert torch.equal(logits_of(model, task)[task], logits)
    model.add_adapter("tuev", card=CARDS["tuev"])
    model.train()
    model(**batch_of("tuev"), task="tuev").loss.backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None}
    assert moved and all(".tuev." in name for name in moved)
