"""Where recipes and corpora lie: in an installed package, beside it in a clone of the repository.

``modeling_mteeg.recipes`` and ``modeling_mteeg.dataset_scripts`` are their only names. In a clone
their folders lie at its top, so there the package's path gets one entry more. Only the standard
library: commands import this before everything else.
"""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
_BESIDE = ("recipes/joint.py", "dataset_scripts/__init__.py")
CLONE: Path | None = None
"""The repository's root, where the package is used from a clone of it."""
if not (PACKAGE / "recipes").is_dir():
    CLONE = PACKAGE.parent if all((PACKAGE.parent / name).is_file() for name in _BESIDE) else None

_SPELLINGS = (
    (r"(?<![\w./-])recipes/configs/(\w+)\.yaml", r"\1"),
    (r"((?:python|launch|torchrun)(?: --\w+ \w+)*) recipes/(\w+)\.py",
     r"\1 -m modeling_mteeg.recipes.\2"),
    (r"(?<![\w./-])recipes/(\w+)\.py", r"modeling_mteeg.recipes.\1"),
    (r"-m dataset_scripts\b", "-m modeling_mteeg.dataset_scripts"),
)  # fmt: skip


def as_typed(text: str) -> str:
    """A text whose commands can be typed where the user is.

    Parameters
    ----------
    text : str
        With commands as they are typed at the top of a clone: ``accelerate launch
        recipes/joint.py``, ``--config recipes/configs/joint_base.yaml``, ``python -m
        dataset_scripts.tuab``.

    Returns
    -------
    str
        There, the text; anywhere else, with the names that an installed package has:
        ``accelerate launch -m modeling_mteeg.recipes.joint``, ``--config joint_base``.
    """
    if CLONE is not None and _here() == CLONE:
        return text
    for pattern, spelling in _SPELLINGS:
        text = re.sub(pattern, spelling, text)
    return text


def _here() -> Path | None:
    try:
        return Path.cwd().resolve()
    except OSError:  # the folder was deleted
        return None
