"""Texts without the places of files on the server, which are nobody's business in a browser."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from ..prediction import Prediction

_POSIX = re.compile(r"(?<![\w.:/<~])~?/(?:[^\s/'\"<>,;:()\[\]{}]+/)+([^\s/'\"<>,;:()\[\]{}]*)")
_WINDOWS = re.compile(r"(?<!\w)[A-Za-z]:\\(?:[^\s\\/'\"<>,;:()]+\\)*([^\s\\/'\"<>,;:()]*)")


def without_paths(text: str, *folders: str | Path) -> str:
    """``text`` in which absolute paths are their last part.

    Parameters
    ----------
    text : str
        A message of any reader or library.
    *folders : str or Path
        Known ones are taken out first, so that blanks in their names do not matter.
    """
    for folder in sorted({str(folder) for folder in folders}, key=len, reverse=True):
        if Path(folder).is_absolute() and len(Path(folder).parts) > 1:
            text = re.sub(re.escape(folder) + r"[\\/]?", "", text)
    return _WINDOWS.sub(r"\1", _POSIX.sub(r"\1", text))


def public_base(base: str) -> str:
    """What a page calls its base: the id on the Hub, or the name of the folder."""
    return Path(base).resolve().name if Path(base).exists() else base


def public_prediction(prediction: Prediction, base: str) -> Prediction:
    """A prediction whose origins name folders of the server by their last parts.

    Those of the Hub stay, with their revision, and so do fingerprints, by which weights are known.
    """
    origins = dict(prediction.provenance)
    for part in ("base", "adapter"):
        known: dict[str, Any] = origins.get(part) or {}
        if name := known.get("name"):
            origins[part] = known | {"name": _public_name(name, base)}
    return dataclasses.replace(prediction, provenance=origins)


def _public_name(name: str, base: str) -> str:
    if not Path(name).exists():
        return without_paths(name)
    place, root = Path(name).resolve(), Path(base).resolve()
    inner = place.relative_to(root) if place.is_relative_to(root) else None
    return place.name if inner is None else (Path(root.name) / inner).as_posix()
