"""Checkpoint files are data: nothing in them runs, and damage is named."""

from __future__ import annotations

import argparse
import os
import pathlib
import pickle
import random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modeling_mteeg.conversion.checkpoint_reader import CheckpointError, read_checkpoint
from modeling_mteeg.conversion.pickle_values import Inert

WEIGHTS = {"student.cls_token": torch.arange(6.0).reshape(2, 3), "student.norm.bias": torch.ones(2)}
FORMATS = {
    "archive": {},
    "legacy": {"_use_new_zipfile_serialization": False},
    "archive, pickle protocol 4": {"pickle_protocol": 4},
    "legacy, pickle protocol 4": {"_use_new_zipfile_serialization": False, "pickle_protocol": 4},
}


class Calls:
    """Pickles as a call of any function with any arguments."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


class Plain:
    """An object without any code of its own in the pickle; its class still is."""


def assert_same(found: dict, expected: dict) -> None:
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("entry", [None, "model", "module", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("layout", ["archive", "legacy"])
def test_state_dict_is_found(tmp_path, layout, entry):
    content = WEIGHTS if entry is None else {"epoch": 1, entry: WEIGHTS, "optimizer": {"lr": 0.1}}
    torch.save(content, tmp_path / "a.pth", **FORMATS[layout])
    checkpoint = read_checkpoint(tmp_path / "a.pth")
    assert checkpoint.layout == f"torch {layout}" and checkpoint.entry == entry
    assert list(checkpoint.others) == ([] if entry is None else ["epoch", "optimizer"])
    assert_same(checkpoint.state_dict, WEIGHTS)


@pytest.mark.parametrize("name", ["a.safetensors", "no-suffix"])
def test_safetensors(tmp_path, name):
    save_file(WEIGHTS, tmp_path / name)
    checkpoint = read_checkpoint(tmp_path / name)
    assert checkpoint.layout == "safetensors"
    assert_same(dict(sorted(checkpoint.state_dict.items())), WEIGHTS)


@pytest.mark.parametrize("layout", ["archive", "legacy"])
def test_arguments_and_numbers_of_a_training_run_are_read_as_data(tmp_path, layout):
    args = argparse.Namespace(
        model="labram", lr=5e-4, output=pathlib.Path("/somewhere"), device=torch.device("cpu")
    )
    content = {"model": WEIGHTS, "args": args, "best": np.float64(0.5), "curve": np.arange(3)}
    content |= {"parameter": torch.nn.Parameter(torch.ones(2)), "names": {"a", "b"}}
    torch.save(content, tmp_path / "a.pth", **FORMATS[layout])
    assert_same(read_checkpoint(tmp_path / "a.pth").state_dict, WEIGHTS)


def test_foreign_objects_are_replaced_by_inert_ones(tmp_path):
    weights = WEIGHTS | {"scale": np.float64(0.5), "where": pathlib.Path("/somewhere")}
    torch.save(weights, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth").state_dict
    assert type(found["scale"]) is Inert and type(found["where"]) is Inert


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "system"), (eval, "eval"), (exec, "exec"), (torch.load, "load"), (Plain, "Plain")],
)
def test_code_is_refused_by_name_and_never_run(tmp_path, layout, function, name):
    marker = tmp_path / "ran"
    commands = {os.system: f"touch {marker}", torch.load: str(tmp_path / "other.pth")}
    command = commands.get(function, f"open({str(marker)!r}, 'w')")
    bad = Plain() if function is Plain else Calls(function, command)
    for place in ({"model": WEIGHTS, "args": argparse.Namespace(a=bad)}, WEIGHTS | {"extra": bad}):
        torch.save(place, tmp_path / "bad.pth", **FORMATS[layout])
        with pytest.raises(CheckpointError) as raised:
            read_checkpoint(tmp_path / "bad.pth")
        message = str(raised.value)
        assert "refused" in message and "bad.pth" in message and name in message
        assert "weights_only" not in message, "never advise to switch the protection off"
    assert not marker.exists()


def test_nothing_is_called_even_without_the_list_of_names(tmp_path, monkeypatch):
    marker = tmp_path / "ran"
    torch.save({"model": WEIGHTS, "x": Calls(os.system, f"touch {marker}")}, tmp_path / "bad.pth")
    name = "modeling_mteeg.conversion.checkpoint_reader._check_names"
    monkeypatch.setattr(name, lambda *_: None)
    assert_same(read_checkpoint(tmp_path / "bad.pth").state_dict, WEIGHTS)
    assert not marker.exists()


def test_reading_leaves_the_process_s_list_of_safe_types_alone():
    before = torch.serialization.get_safe_globals()
    with pytest.raises(CheckpointError):
        read_checkpoint("no-such-file")
    assert torch.serialization.get_safe_globals() == before


def test_whole_modules_and_programs_are_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_checkpoint(tmp_path / "module.pt")
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps({"model": 1}))
    with pytest.raises(CheckpointError, match="bare pickle"):
        read_checkpoint(tmp_path / "bare.pkl")
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    with pytest.raises(CheckpointError, match=r"not one written by torch\.save"):
        read_checkpoint(tmp_path / "arrays.npz")


@pytest.mark.parametrize("layout", ["archive", "legacy", "safetensors"])
def test_truncated_files_are_named_as_such(tmp_path, layout):
    path = tmp_path / "whole"
    if layout == "safetensors":
        save_file(WEIGHTS, path)
    else:
        torch.save({"model": WEIGHTS, "args": argparse.Namespace(lr=1.0)}, path, **FORMATS[layout])
    whole = path.read_bytes()
    read_checkpoint(path)
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="whole"):
            read_checkpoint(path)


def test_a_changed_byte_of_an_archive_is_noticed_or_harmless(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"model": WEIGHTS, "args": argparse.Namespace(lr=1.0)}, path)
    whole, noticed = path.read_bytes(), 0
    generator = random.Random(0)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[generator.randrange(len(whole))] ^= generator.randrange(1, 256)
        path.write_bytes(damaged)
        try:
            assert_same(read_checkpoint(path).state_dict, WEIGHTS)
        except CheckpointError:
            noticed += 1
    assert noticed > 0


def test_a_changed_weight_of_an_archive_is_noticed(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"model": WEIGHTS}, path)
    stored = WEIGHTS["student.cls_token"].numpy().tobytes()
    whole = path.read_bytes()
    assert whole.count(stored) == 1
    path.write_bytes(whole.replace(stored, stored[:-1] + b"\x41"))
    with pytest.raises(CheckpointError, match="checksum"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.ones(2)], "list"),
        ({}, "empty dict"),
        ({"weights": WEIGHTS}, "found weights"),
        ({"model": {}}, "found model"),
    ],
)
def test_files_without_a_state_dict(tmp_path, content, words):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(tmp_path / "a.pth")


def test_paths_that_are_no_file(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"holds model\.safetensors"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="nothing at"):
        read_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="model"):
        read_checkpoint(tmp_path / "model.safetensors")
