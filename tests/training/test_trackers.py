"""Every tracker that accelerate carries, by name: one run of it, or a sentence."""

from __future__ import annotations

import inspect
import types
from pathlib import Path

import accelerate.tracking
import pytest
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from accelerate.utils import LoggerType
from stage_one_program import finish, make_trainer
from tiny_unlabelled import save_unlabelled

from modeling_mteeg.methods.method import TrainingError
from modeling_mteeg.training.joint_config import JointConfig
from modeling_mteeg.training.launch import start_accelerator
from modeling_mteeg.training.trackers import (
    PROJECT,
    TRACKERS,
    end_tracker,
    log_figure,
    shows_figures,
    start_tracker,
)

TREE = {"model": {"preset": "tiny"}, "data": {"folder": "data"}}
LIKE_WANDB = ("wandb", "trackio", "swanlab")


def test_the_names_are_those_of_accelerate_and_of_the_configuration():
    assert set(TRACKERS) == set(LOGGER_TYPE_TO_CLASS)
    for name in (*TRACKERS, "none"):
        assert JointConfig.build(TREE, {"tracker": name}).tracker == name
    with pytest.raises(ValueError, match=r"tracker: expected .*trackio.*found 'tensorbord'"):
        JointConfig.build(TREE, {"tracker": "tensorbord"})


@pytest.mark.parametrize("name", TRACKERS)
def test_a_package_that_is_not_there_is_named_with_what_installs_it(name, monkeypatch, tmp_path):
    monkeypatch.setattr(accelerate.tracking, "_available_trackers", [])
    config = JointConfig.build(TREE, {"tracker": name, "output": str(tmp_path / "out")})
    with pytest.raises(TrainingError) as caught:
        start_accelerator(config, cpu=True)
    text = str(caught.value)
    assert f"tracker: {name} is not installed; run pip install " in text and "none" in text
    assert TRACKERS[name].package in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", TRACKERS)
def test_accelerate_takes_what_a_tracker_is_begun_with(name):
    """Keywords that its class does not name go to the package's own start, and only there."""
    kind = LOGGER_TYPE_TO_CLASS[name]
    options = TRACKERS[name].options("run", Path("out"))
    folder = {"logging_dir": "out"} if kind.requires_logging_directory else {}
    inspect.signature(kind.__init__).bind(None, "project", **folder, **options)


class Recorded:
    """A package with the calls that Weights & Biases, trackio and SwanLab have in common."""

    def __init__(self, refuses: str = "") -> None:
        self.refuses, self.runs, self.logged, self.finished = refuses, [], [], 0
        self.config = self

    def init(self, **options):
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.runs.append(options)
        return self

    def update(self, values, allow_val_change):
        self.settings = values

    def __setitem__(self, key, value):
        pass

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished += 1

    def Image(self, image):
        return image.size


@pytest.fixture
def package(request, monkeypatch):
    """A tracker's package that notes what it is told."""
    name, refuses = request.param if isinstance(request.param, tuple) else (request.param, "")
    recorded = Recorded(refuses)
    module = types.ModuleType(name)
    for call in ("init", "config", "Image"):
        setattr(module, call, getattr(recorded, call))
    monkeypatch.setitem(__import__("sys").modules, name, module)
    monkeypatch.setattr(accelerate.tracking, "_available_trackers", [LoggerType(name)])
    recorded.name = name
    return recorded


@pytest.mark.parametrize("package", LIKE_WANDB, indirect=True)
def test_every_seed_is_a_run_of_one_project_with_its_settings(package, tmp_path, monkeypatch):
    monkeypatch.delenv(TRACKERS[package.name].project or "_", raising=False)
    accelerator = Accelerator(cpu=True, log_with=package.name, project_dir=tmp_path)
    for seed in (3, 4):
        settings = {"optimization.lr": 0.1, "data.tasks": ["tuab"]}
        start_tracker(accelerator, package.name, tmp_path / "my-run", seed, settings)
        accelerator.log({"train/loss": 1.0}, step=5)
        end_tracker(accelerator)
    names = [run.get("name", run.get("experiment_name")) for run in package.runs]
    assert names == ["my-run-seed-3", "my-run-seed-4"]
    assert {run["project"] for run in package.runs} == {PROJECT}
    assert package.settings == {"optimization.lr": 0.1, "data.tasks": "['tuab']"}
    assert package.logged == [(5, {"train/loss": 1.0})] * 2 and package.finished == 2
    assert accelerator.trackers == []


@pytest.mark.parametrize("package", ["wandb", "trackio"], indirect=True)
def test_the_project_may_be_named_as_the_tracker_documents_it(package, tmp_path, monkeypatch):
    monkeypatch.setenv(TRACKERS[package.name].project, "nights")
    accelerator = Accelerator(cpu=True, log_with=package.name, project_dir=tmp_path)
    start_tracker(accelerator, package.name, tmp_path / "my-run", None, {})
    assert package.runs[0]["project"] == "nights" and package.runs[0]["name"] == "my-run"


@pytest.mark.parametrize("package", LIKE_WANDB, indirect=True)
def test_figures_reach_those_that_take_them(package, tmp_path):
    figure_class = pytest.importorskip("matplotlib.figure").Figure
    accelerator = Accelerator(cpu=True, log_with=package.name, project_dir=tmp_path)
    start_tracker(accelerator, package.name, tmp_path, None, {})
    log_figure(accelerator, "code usage", figure_class(figsize=(3, 2), dpi=100), 7)
    assert package.logged == [(7, {"code usage": (300, 200)})]
    assert shows_figures(package.name)
    assert not shows_figures("none") and not shows_figures("aim")


@pytest.mark.parametrize("package", [("wandb", "no API key")], indirect=True)
def test_a_tracker_that_cannot_begin_ends_in_a_sentence(package, tmp_path):
    accelerator = Accelerator(cpu=True, log_with="wandb", project_dir=tmp_path)
    with pytest.raises(TrainingError, match=r"wandb could not begin.*no API key.*tracker: none"):
        start_tracker(accelerator, "wandb", tmp_path, None, {})


@pytest.mark.slow
def test_values_settings_and_pictures_reach_trackio(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    accelerator = Accelerator(cpu=True, log_with="trackio", project_dir=tmp_path)
    data = save_unlabelled(tmp_path / "data")
    trainer = make_trainer("tokenizer", data, tmp_path / "out", accelerator, tracker="trackio")
    start_tracker(accelerator, "trackio", tmp_path / "out", None, {"optimization.lr": 0.5})
    history = finish(trainer)
    end_tracker(accelerator)
    logs = SQLiteStorage.get_logs(PROJECT, "out")
    losses = [entry["validation/loss"] for entry in logs if "validation/loss" in entry]
    assert losses == pytest.approx([entry["validation"]["loss"] for entry in history])
    assert {"train/lr", "train/gradient_norm", "train/windows_per_s"} <= set().union(*logs)
    pictures = list((tmp_path / "trackio").rglob("*.png"))
    assert len(pictures) == 2 * len(history), "reconstruction and use of the codes, every epoch"
    assert SQLiteStorage.get_run_config(PROJECT, "out")["optimization.lr"] == 0.5
