"""Checkpoints: whole or ignored, whatever happens while they are written."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import warnings

import pytest
import torch

from modeling_mteeg.training import checkpoint as module
from modeling_mteeg.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointStore,
    Progress,
)

IDENTITY = {"optimization.lr": 0.1, "data.tasks": ["tuab"]}


def make(epoch: int, step: int = 0, best: bool = True) -> Checkpoint:
    """A checkpoint whose tensors tell its position."""
    torch.manual_seed(1000 * epoch + step)
    parameter = torch.nn.Parameter(torch.randn(3, 2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.randn(3, 2)
    optimizer.step()
    history = [{"epoch": e, "score": 0.1 + 0.2, "nan": float("nan")} for e in range(epoch)]
    return Checkpoint(
        Progress(epoch, step, 1 / 3, 0, history),
        {"weight": parameter},
        optimizer.state_dict(),
        {"weight": torch.full((3, 2), 7.0)} if best else None,
        {"world_size": 1, "scaler": None},
    )


def assert_equal(found: Checkpoint, expected: Checkpoint) -> None:
    assert repr(found.progress) == repr(expected.progress)  # nan is not equal to itself
    assert torch.equal(found.trainable["weight"], expected.trainable["weight"])
    assert (found.best is None) == (expected.best is None)
    assert found.extra == expected.extra
    then, now = expected.optimizer["state"][0], found.optimizer["state"][0]
    assert all(torch.equal(then[key], now[key]) for key in then)
    assert found.optimizer["param_groups"] == expected.optimizer["param_groups"]


@pytest.fixture
def store(tmp_path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", IDENTITY, keep=2)


@pytest.mark.parametrize("best", [True, False])
def test_what_was_saved_is_loaded_bit_for_bit(store, best):
    store.save(make(2, 17, best))
    assert_equal(store.load(store.newest()), make(2, 17, best))


def test_no_checkpoint_is_none(store):
    assert store.newest() is None
    store.clear()
    assert store.newest() is None


def test_the_newest_is_found_and_only_the_last_are_kept(store):
    for epoch, step in ((0, 9), (0, 10), (1, 0), (12, 3)):
        store.save(make(epoch, step))
    assert store.names() == ["epoch-00001-step-00000000", "epoch-00012-step-00000003"]
    assert store.newest() == store.names()[-1]
    store.clear()
    assert list(store.folder.iterdir()) == []


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


FILES = ("trainable.safetensors", "best.safetensors", "optimizer.pt", "state.json", "complete.json")
DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-10]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "flipped": flip,
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_by_with_a_message(store, file, damage):
    store.save(make(1))
    store.save(make(2))
    DAMAGES[damage](store.folder / store.names()[-1] / file)
    with pytest.warns(UserWarning, match="epoch-00002-step-00000000 is ignored"):
        assert store.newest() == "epoch-00001-step-00000000"
    with pytest.raises(CheckpointError, match="cannot be read"):
        store.load(store.names()[-1])
    store.save(make(2))  # training comes by again and replaces it
    assert_equal(store.load(store.newest()), make(2))


def test_only_damaged_ones_are_none(store):
    store.save(make(1))
    (store.folder / store.names()[0] / "state.json").unlink()
    with pytest.warns(UserWarning, match=r"state\.json is missing"):
        assert store.newest() is None


def test_another_training_is_refused_and_the_differing_keys_are_named(store):
    store.save(make(1))
    other = CheckpointStore(store.folder, {**IDENTITY, "optimization.lr": 0.2, "method": "full"})
    with pytest.raises(CheckpointError) as caught:
        other.newest()
    message = str(caught.value)
    assert "optimization.lr: checkpoint 0.1, now 0.2" in message
    assert "method: checkpoint 'absent', now 'full'" in message
    assert "data.tasks" not in message


def _save_and_die(store: CheckpointStore, where: str, count: int) -> None:
    """Save epoch 2 in a process that kills itself at the ``count``-th call of ``where``."""
    owner, name = {
        "fsync": (module.os, "fsync"),
        "rename": (module.os, "rename"),
        "tensors": (module, "save_file"),
        "optimizer": (module.torch, "save"),
        "summary": (module, "_summary"),
        "remove": (shutil, "rmtree"),
    }[where]
    real, calls = getattr(owner, name), iter(range(count - 1))

    def deadly(*args, **kwargs):
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(owner, name, deadly)
    store.save(make(2))


@pytest.mark.parametrize(
    ("where", "count"),
    [("tensors", 1), ("tensors", 2), ("optimizer", 1), ("summary", 3), ("fsync", 1), ("fsync", 6),
     ("rename", 1), ("rename", 2), ("fsync", 7), ("remove", 1)],
)  # fmt: skip
def test_a_kill_while_writing_never_costs_the_newest_checkpoint(tmp_path, where, count):
    store = CheckpointStore(tmp_path / "checkpoints", IDENTITY, keep=1)
    store.save(make(1))
    child = multiprocessing.get_context("fork").Process(
        target=_save_and_die, args=(store, where, count)
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing half-written may even look like a checkpoint
        name = store.newest()
    assert_equal(store.load(name), make(int(name[6:11])))
    store.save(make(2))
    assert [path.name for path in store.folder.iterdir()] == ["epoch-00002-step-00000000"]
