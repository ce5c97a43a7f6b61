"""A folder that is made whole: nothing is overwritten unasked, and it loads when it is complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..settings.disk_faults import writing

_MODEL_FILES = ("config.json", "model*.safetensors", "model*.index.json", "pytorch_model*")


def check_free(out: str | Path, overwrite: bool) -> Path:
    """The folder to make.

    Raises
    ------
    FileExistsError
        ``out`` is a file, or holds files and ``overwrite`` is off.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; expected a folder, or a name to make one.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise FileExistsError(f"{out} is not empty. Choose another folder, or pass --overwrite.")
    return out


@contextmanager
def making(out: Path) -> Iterator[Path]:
    """A scratch folder beside ``out``, whose files are moved there at the end.

    Files of an older model in ``out`` are replaced, others stay; ``config.json`` comes last.
    """
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            scratch = Path(folder)
            yield scratch
            out.mkdir(exist_ok=True)
            for pattern in _MODEL_FILES:
                for old in out.glob(pattern):
                    old.unlink()
            for path in sorted(scratch.iterdir(), key=lambda path: path.name == "config.json"):
                os.replace(path, out / path.name)
