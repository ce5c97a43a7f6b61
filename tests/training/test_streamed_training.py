"""Joint training from a stream ends with the bits of joint training from disk, resumed or not."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from launching import launch
from range_server import serving
from recipe_modules import load_recipe
from tiny_corpora import CARDS, save_corpora, save_corpus
from training_program import make_trainer, outcome, run

from modeling_mteeg.data import load_corpora
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.checkpoint import CheckpointError
from modeling_mteeg.training.joint_config import JointConfig

SIZES = {"tuab": (32, 8, 7), "seed-v": (27, 9, 8)}
TASKS = list(SIZES)
SMALL = ["--tasks", ",".join(TASKS), "--set", "model.preset=tiny", "--set",
         "optimization.epochs=2", "--set", "optimization.batch_size=12",
         "--set", "checkpoint.every_steps=2"]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return folder


@pytest.fixture(scope="module")
def local(data, tmp_path_factory) -> dict[str, torch.Tensor]:
    trainer = make_trainer(load_corpora(data, TASKS), tmp_path_factory.mktemp("local"))
    run(trainer)
    return outcome(trainer)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class Killed(BaseException):
    """The end of a process, as far as the code inside can tell."""


def train_some(trainer, steps: int) -> None:
    """Train until ``steps`` optimiser steps are done, then die in the middle of an epoch."""
    real = trainer.train_step

    def counted(parts, counts):
        if trainer.global_step == steps:
            raise Killed
        return real(parts, counts)

    trainer.train_step = counted
    with pytest.raises(Killed):
        run(trainer)


@pytest.mark.slow
def test_weights_of_a_flaky_stream_are_those_of_the_disk(data, local, tmp_path):
    with serving(data) as server:
        server.fault = lambda number, path: "503" if number % 5 == 3 else None
        corpora = load_corpora(server.url, TASKS)
        trainer = make_trainer(corpora, tmp_path)
        run(trainer)
        assert any(status == 599 for *_, status in server.requests)
    assert equal(outcome(trainer), local)


@pytest.mark.parametrize("order", ["stream first", "disk first"])
def test_a_training_goes_on_from_the_other_source(data, local, tmp_path, order):
    sources = [load_corpora(data, TASKS, streaming=True), load_corpora(data, TASKS)]
    first, then = sources if order == "stream first" else sources[::-1]
    train_some(make_trainer(first, tmp_path), 5)
    trainer = make_trainer(then, tmp_path)
    assert trainer.resume() and 0 < trainer.global_step <= 5
    run(trainer)
    assert equal(outcome(trainer), local)


def test_another_number_type_is_other_data(data, tmp_path):
    run(make_trainer(load_corpora(data, ["tuab"]), tmp_path / "out", optimization__epochs=1,
                     optimization__warmup_epochs=0))  # fmt: skip
    save_corpus(tmp_path / "tuab", CARDS["tuab"], SIZES["tuab"], dtype="int16")
    other = make_trainer(load_corpora(tmp_path, ["tuab"]), tmp_path / "out",
                         optimization__epochs=1, optimization__warmup_epochs=0)  # fmt: skip
    with pytest.raises(CheckpointError, match="int16"):
        other.resume()


@pytest.fixture(scope="module")
def joint():
    return load_recipe("joint")


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text("utf-8"))["test"]


def model(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safe*")}


@pytest.mark.slow
def test_the_recipe_streams(joint, data, tmp_path, capsys):
    assert joint.main([*SMALL, "--data", str(data), "--output", str(tmp_path / "disk")]) == 0
    with serving(data) as server:
        code = joint.main([*SMALL, "--data", f"{server.url}/{{task}}", "--output",
                           str(tmp_path / "url")])  # fmt: skip
        assert code == 0 and server.requests
    code = joint.main([*SMALL, "--data", str(data), "--streaming", "--output",
                       str(tmp_path / "folder")])  # fmt: skip
    assert code == 0
    saved = yaml.safe_load((tmp_path / "folder" / "config.yaml").read_text("utf-8"))
    assert saved["data"]["streaming"] is True
    for other in ("url", "folder"):
        assert results(tmp_path / other) == results(tmp_path / "disk")
        assert model(tmp_path / other / "model") == model(tmp_path / "disk" / "model")
    capsys.readouterr()
    assert joint.main([*SMALL, "--data", "memory://nothing", "--output", str(tmp_path / "x")]) == 2
    assert "memory://nothing/tuab" in capsys.readouterr().err


def test_the_recipe_says_what_ended_a_stream(joint, tmp_path, capsys):
    save_corpora(tmp_path / "data", SIZES)
    path = tmp_path / "data" / "seed-v" / "train" / "data-00000-of-00001.arrow"
    path.write_bytes(bytes(path.stat().st_size))
    out = ["--output", str(tmp_path / "out"), "--streaming"]
    assert joint.main([*SMALL, "--data", str(tmp_path / "data"), *out]) == 1
    text = capsys.readouterr().err
    assert "error:" in text and "seed-v/train" in text and "CRC-32" in text


def test_simulated_corpora_are_not_written_to_a_url():
    for folder in ("s3://bucket/eeg", "data/{task}"):
        with pytest.raises(ConfigError, match="plain local folder"):
            JointConfig.build({"model": {"preset": "tiny"}, "data": {"simulate": True,
                                                                "folder": folder}})  # fmt: skip


@pytest.mark.slow
def test_a_streamed_training_killed_and_started_again(data, tmp_path):
    """kill -9 in the middle of a step, and once while a checkpoint is written."""
    save_corpora(tmp_path / "data", {**SIZES, "sleep-edf": (10, 6, 7)})
    with serving(tmp_path / "data") as server:
        server.fault = lambda number, path: "503" if number % 7 == 3 else None

        def start(out: str, *more: str, source: str) -> subprocess.CompletedProcess:
            (tmp_path / out).mkdir(exist_ok=True)
            return launch(["train", source, tmp_path / out, *more])

        whole = start("whole", source=str(tmp_path / "data"))
        assert whole.returncode == 0, whole.stderr[-2000:]
        for kill in ("step:4", "optimizer:2"):
            assert start("parts", "--die", kill, source=server.url).returncode == -signal.SIGKILL
        again = start("parts", source=server.url)
        assert again.returncode == 0, again.stderr[-2000:]
    for name in ("outcome.safetensors", "history.json"):
        one, two = (tmp_path / out / name for out in ("whole", "parts"))
        assert one.read_bytes() == two.read_bytes()
