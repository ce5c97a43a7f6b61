"""Values as JSON holds them, in files that are whole or not there."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .disk_faults import writing


def plain(value: Any) -> Any:
    """``value`` with NaN and infinity as None, which JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: str | Path, value: Any) -> Path:
    """Write ``value`` so that the file is whole or not there."""
    return write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def write_text(path: str | Path, text: str) -> Path:
    """Write ``text`` so that the file is whole or not there."""
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        try:
            part.write_text(text, "utf-8", newline="\n")
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return path
