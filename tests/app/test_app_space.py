"""The files of the Hub Space: what the Hub reads of them, and the page started as the Hub does."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from tiny_models import model_with_tasks

import modeling_mteeg
from modeling_mteeg import MteegFeatureExtractor

PACKAGE = Path(modeling_mteeg.__file__).parent
SPACE = PACKAGE / "app" / "space"
PROJECT = PACKAGE.parent / "pyproject.toml"
pytestmark = pytest.mark.skipif(
    find_spec("gradio") is None, reason="the page needs Gradio (the app extra)"
)


def requirements() -> dict[str, SpecifierSet]:
    """What ``pyproject.toml`` asks for, the app extra included."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["app"]]
    return {need.name: need.specifier for need in map(Requirement, lines)}


def test_the_card_names_gradio_and_the_file_that_the_hub_starts():
    _, head, body = (SPACE / "README.md").read_text("utf-8").split("---\n", 2)
    card = yaml.safe_load(head)
    assert card["sdk"] == "gradio" and (SPACE / card["app_file"]).is_file()
    assert card["sdk_version"] in requirements()["gradio"]
    assert len(card["short_description"]) <= 60  # the Hub refuses longer ones
    assert card["colorFrom"] in (
        colours := {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    )
    assert card["colorTo"] in colours
    assert "no medical device" in body and "MTEEG_BASE" in body


def test_requirements_are_those_of_the_package():
    """The Hub installs the package's needs; the package itself is uploaded beside ``app.py``."""
    lines = (SPACE / "requirements.txt").read_text("utf-8").splitlines()
    asked = [Requirement(line) for line in lines if line and not line.startswith("-")]
    ours = requirements()
    assert {need.name: need.specifier for need in asked} == {
        need.name: ours[need.name] for need in asked
    }
    imported = {"torch", "transformers", "peft", "safetensors", "numpy", "mne", "scipy"}
    assert imported | {"matplotlib", "huggingface-hub"} <= {need.name for need in asked}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(address: str, process: subprocess.Popen, log: Path) -> str:
    """The page, as soon as it answers."""
    for _ in range(600):
        if process.poll() is not None:
            pytest.fail(f"the Space ended: {log.read_text('utf-8')[-3000:]}")
        try:
            return urllib.request.urlopen(address, timeout=20).read().decode()
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the Space did not answer: {log.read_text('utf-8')[-3000:]}")


@pytest.fixture
def space(tmp_path):
    """A copy of the Space with the package beside ``app.py``, as it is uploaded."""
    folder = tmp_path / "space"
    shutil.copytree(SPACE, folder)
    shutil.copytree(
        PACKAGE, folder / "modeling_mteeg", ignore=shutil.ignore_patterns("__pycache__")
    )
    return folder


def started(space: Path, log: Path, **variables: str) -> tuple[subprocess.Popen, str]:
    port = free_port()
    given = {key: value for key, value in os.environ.items() if not key.startswith("MTEEG_")}
    given |= {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    given |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **variables}
    given.pop("PYTHONPATH", None)
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=space, env=given, stdout=out, stderr=subprocess.STDOUT
        )
    return process, f"http://127.0.0.1:{port}/"


@pytest.mark.slow
def test_the_space_serves_the_base_that_its_variable_names(space, tmp_path):
    model = model_with_tasks("sleep-edf", "chb-mit")
    base = tmp_path / "base"
    model.save_pretrained(base)
    MteegFeatureExtractor().save_pretrained(base)
    for name in model.tasks:
        model.save_adapter(name, base / "adapters" / name)
    process, address = started(space, tmp_path / "log", MTEEG_BASE=str(base))
    try:
        page = fetch(address, process, tmp_path / "log")
    finally:
        process.terminate()
        process.wait(30)
    assert f"Base: {base.name}" in page and str(base) not in page
    assert '"sleep-edf"' in page and '"chb-mit"' in page and "no medical device" in page
    assert not re.search(r"https?://fonts\.|googletagmanager", page)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables, words",
    [({}, "MTEEG_BASE"), ({"MTEEG_BASE": "no-such/base"}, "could not be loaded")],
)
def test_a_space_without_a_base_says_what_to_do(space, tmp_path, variables, words):
    process, address = started(space, tmp_path / "log", **variables)
    try:
        page = fetch(address, process, tmp_path / "log")
    finally:
        process.terminate()
        process.wait(30)
    assert "This page has no base to predict with" in page and words in page


def test_the_installed_gradio_is_one_that_the_package_takes():
    assert version("gradio") in requirements()["gradio"]
