"""Fixtures shared by all tests: where reference material lies, if it is there at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
