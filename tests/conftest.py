"""Fixtures shared by all tests: where reference material lies, if it is there at all."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: threads would fight for them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hub_server import HubServer, hub_running, point_client
from places import ROOT
from transformers import dynamic_module_utils


def _shared(part: str) -> Path:
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("MTEEG_SHARED", default)) / part
    if not folder.is_dir():
        pytest.skip(f"reference material not present: {folder} (set MTEEG_SHARED to its parent)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def code_to_save_is_looked_up_once() -> Iterator[None]:
    """Files of the package that a saved base takes along: found once, and each copied once.

    transformers parses all of them at every save and copies a file as often as it is imported. The
    files in the folder are the same.
    """
    real = dynamic_module_utils.get_relative_import_files
    once = functools.cache(lambda file: tuple(dict.fromkeys(real(file))))

    def found(file: str | os.PathLike) -> list[str]:
        own = ROOT / "modeling_mteeg" in Path(file).parents
        return list(once(str(file))) if own else real(file)

    dynamic_module_utils.get_relative_import_files = found
    yield
    dynamic_module_utils.get_relative_import_files = real


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Parity vectors of the published LaBraM code."""
    return _shared("golden")


@pytest.fixture(scope="session")
def recordings_dir() -> Path:
    """Excerpts of real recordings (PhysioNet)."""
    return _shared("recordings")


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[HubServer]:
    """A Hub on this machine; this process's client talks to it, with no token."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with hub_running() as server:
        point_client(server, tmp_path / "hub-home", monkeypatch.setattr)
        yield server
