"""The file ``SIMULATED`` of a raw folder: that nobody was recorded, and with which seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SIMULATED_FILE = "SIMULATED"


def read_simulation(raw: Path) -> dict[str, Any] | None:
    """Content of the ``SIMULATED`` file of a raw folder, or None for a real corpus."""
    path = raw / SIMULATED_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected JSON with seed and version: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON mapping, found {type(content).__name__}.")
    if not content.pop("complete", True):
        raise ValueError(f"{path}: the simulation was interrupted; start it again.")
    return content
