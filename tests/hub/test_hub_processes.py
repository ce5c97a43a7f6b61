"""The Hub in fresh processes that take its address from the environment, as users' do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_server import WRITE
from tiny_models import inputs_of, logits_of, model_with_tasks
from transformers import AutoModel

HF = Path(sys.executable).with_name("hf")
LOAD = """
import json, sys, torch
import modeling_mteeg
from transformers import AutoFeatureExtractor, AutoModel
torch.set_num_threads(1)
model = AutoModel.from_pretrained("me/base", revision=sys.argv[2] or None)
AutoFeatureExtractor.from_pretrained("me/base")
model.load_adapter("tuab")
with torch.no_grad():
    print(json.dumps(model(**torch.load(sys.argv[1])).logits.tolist()))
"""


@pytest.fixture
def start(hub, tmp_path):
    """Start a program whose client talks to the Hub of the test."""
    started = []

    def run(*command: object, **environment: str) -> subprocess.Popen:
        own = hub.environment(tmp_path / "home", WRITE)
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | own | {"OMP_NUM_THREADS": "1"} | environment,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen, code: int = 0) -> tuple[str, str]:
    out, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors[-3000:]
    return out, errors


@pytest.fixture
def saved(tmp_path):
    """A model, and the folder it was saved to."""
    model = model_with_tasks("tuab")
    model.save_pretrained(tmp_path / "model")
    model.save_adapter("tuab", tmp_path / "model" / "adapters" / "tuab")
    return model, tmp_path / "model"


@pytest.mark.slow
def test_the_commands_push_and_a_fresh_process_loads(hub, start, saved, tmp_path):
    model, folder = saved
    torch.save(inputs_of("tuab"), tmp_path / "inputs.pt")
    expected = logits_of(model)["tuab"]
    mteeg = [sys.executable, "-m", "modeling_mteeg.cli"]
    out, _ = finish(start(*mteeg, "push", folder, "--repo", "me/base", "--private"))
    assert "pushed http://127.0.0.1" in out
    finish(start(HF, "repos", "tag", "create", "me/base", "v1"))
    finish(start(HF, "repos", "create", "me/copy"))
    finish(start(HF, "upload", "me/copy", folder, "."))
    copied, pushed = (set(hub.repo(name).files()) for name in ("me/copy", "me/base"))
    assert copied | {"README.md"} == pushed  # a base's model card is made by the push
    for revision, offline in (("v1", "0"), ("", "0"), ("", "1")):
        out, _ = finish(start(sys.executable, "-c", LOAD, tmp_path / "inputs.pt", revision,
                              HF_HUB_OFFLINE=offline))  # fmt: skip
        assert torch.allclose(torch.tensor(json.loads(out.splitlines()[-1])), expected, atol=1e-6)
    refused = start(*mteeg, "push", folder, "--repo", "you/base")
    assert "Take one with write access" in finish(refused, code=2)[1]


@pytest.mark.slow
def test_a_push_that_is_killed_is_taken_up_again(hub, start, saved):
    model, folder = saved
    command = [sys.executable, "-m", "modeling_mteeg.cli", "push", folder, "--repo", "me/base"]
    held = hub.fail("held", "PUT", "/files/", skip=2)
    process = start(*command)
    while held.met < 3 or len(hub.large) < 2:
        assert process.poll() is None, process.communicate()[1][-3000:]
    process.kill()
    process.communicate()
    assert set(hub.repo("me/base").files()) == {".gitattributes"}
    hub.faults.clear()
    held.go.set()
    finish(start(*command))
    assert len(hub.repo("me/base").commits) == 2
    loaded = AutoModel.from_pretrained("me/base")
    loaded.load_adapter("tuab")
    assert torch.equal(logits_of(loaded)["tuab"], logits_of(model)["tuab"])
