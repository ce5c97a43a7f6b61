"""Bases and tasks on a GPU: where device_map puts them, what they answer, what they take."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from on_gpu import ON_GPU, nothing_waited_for, peak_mb
from places import ROOT
from tiny_models import CARDS, batches, inputs_of, logits_of, model_with_tasks
from transformers import AutoModel

from modeling_mteeg import MteegConfig, MteegModel

pytestmark = ON_GPU
DEVICE = torch.device("cuda", 0)


def there(tree):
    """The tensors of nested mappings on the GPU."""
    if isinstance(tree, torch.Tensor):
        return tree.to(DEVICE)
    return {key: there(value) for key, value in tree.items()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.set_float32_matmul_precision("highest")
    model = model_with_tasks("tuab", "seed-v", heads={"seed-v": {"kind": "channels"}})
    folder = tmp_path_factory.mktemp("base")
    model.save_pretrained(folder)
    return folder, logits_of(model)


@pytest.mark.parametrize("where", ["cuda", "auto", 0, {"": 0}])
def test_tasks_are_put_where_device_map_has_put_the_base(where, saved):
    folder, expected = saved
    model = AutoModel.from_pretrained(folder, device_map=where).eval()
    assert model.device == DEVICE
    for task in expected:
        model.load_adapter(task)
        tensors = [*model.parameters(), *model.buffers()]
        assert {tensor.device for tensor in tensors} == {DEVICE}
        with torch.no_grad():
            logits = model(**there(inputs_of(task)), task=task).logits
        torch.testing.assert_close(logits.cpu(), expected[task], rtol=1e-3, atol=1e-4)
    model.add_adapter("tuev", card=CARDS["tuev"])
    assert {parameter.device for parameter in model.parameters()} == {DEVICE}


def test_one_pass_over_all_tasks_is_task_by_task_and_waits_for_nothing():
    model = model_with_tasks().to(DEVICE)
    inputs = {task: {key: value for key, value in batch.items() if key != "labels"}
              for task, batch in there(batches()).items()}  # fmt: skip
    with torch.no_grad():
        model(tasks=inputs)
        with nothing_waited_for():
            together = model(tasks=inputs)
        for task, batch in inputs.items():
            alone = model(**batch, task=task).logits
            torch.testing.assert_close(together[task].logits, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_answers_by_its_rounding(dtype, saved):
    folder, expected = saved
    model = AutoModel.from_pretrained(folder, device_map="cuda").eval()
    model.load_adapter("tuab")
    with torch.no_grad(), torch.autocast("cuda", dtype):
        logits = model(**there(inputs_of("tuab")), task="tuab").logits.float().cpu()
    error = (logits - expected["tuab"]).norm() / expected["tuab"].norm()
    assert 0 < error < 0.1
    half = AutoModel.from_pretrained(folder, device_map="cuda", dtype=dtype).eval()
    half.load_adapter("tuab")
    with torch.no_grad():
        logits = half(**there(inputs_of("tuab")), task="tuab").logits.float().cpu()
    assert (logits - expected["tuab"]).norm() / expected["tuab"].norm() < 0.2


def test_a_forward_pass_takes_what_arithmetic_says():
    """Without gradients a layer's memory is freed with the layer: docs/gpu.md has the bound."""
    config = MteegConfig.from_preset("base")
    model = MteegModel(config).to(DEVICE).eval()
    samples, channels, seconds = 64, 23, 10
    rows = torch.arange(1, channels + 1, device=DEVICE)
    inputs = {
        "input_values": torch.randn(samples, channels, seconds, 200, device=DEVICE),
        "channel_ids": torch.stack([rows, rows], 1),
    }

    def answer():
        with torch.no_grad():
            model(**inputs)

    answer()
    tokens = samples * (1 + channels * seconds)
    width = config.hidden_size
    assert peak_mb(answer) < tokens * 14 * width * 4 / 2**20


def test_two_processes_on_one_gpu_are_refused(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "from modeling_mteeg.training.launch import TrainingError, start_accelerator\n"
        "from modeling_mteeg.training.run_config import RunConfig\n"
        "try:\n"
        "    start_accelerator(RunConfig.build({}))\n"
        "except TrainingError as error:\n"
        "    print(error, flush=True)\n"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", str(program)],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    assert done.stdout.count("Expected a GPU for every process, found 1 for 2 processes") == 2
