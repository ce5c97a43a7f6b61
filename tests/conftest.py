"""Fixtures shared by all tests: where reference material lies, if it is there at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer, hub_running, point_client


def _shared(part: str) -> Path:
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("MTEEG_SHARED", default)) / part
    if not folder.is_dir():
        pytest.skip(f"reference material not present: {folder} (set MTEEG_SHARED to its parent)")
    return folder


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
