"""Which errors are those of one recording, so that a run over many goes on without it.

Readers of foreign files, filters and checks raise whatever a damaged file makes them meet. Only
what concerns all recordings alike ends a run: the user's Ctrl-C, a machine without memory or disk,
a package that is not there.
"""

from __future__ import annotations

import contextlib
import errno
import math
import traceback
from collections.abc import Iterator
from pathlib import Path

from .header_fields import RecordingError

_OF_THE_MACHINE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),  # only writing meets them
    *(errno.ENOMEM, errno.EMFILE, errno.ENFILE),
}
_CLAIM = 100
"""Times the size of a recording's files: nobody needs so much memory for what is in them."""


@contextlib.contextmanager
def blamed_on(path: str | Path, *let_pass: type[Exception]) -> Iterator[None]:
    """Whatever a recording makes fail becomes a ``RecordingError`` that names it.

    Parameters
    ----------
    path : str or pathlib.Path
        The recording.
    *let_pass : type
        Exceptions that the caller wants as they are.

    Raises
    ------
    RecordingError
        It cannot be used.
    MemoryError, OSError, ImportError
        As they are, where the machine is at fault (:func:`is_of_the_machine`).
    """
    try:
        yield
    except (RecordingError, *let_pass):
        raise
    except Exception as error:
        if is_of_the_machine(error, path):
            raise
        raise RecordingError(fault_text(path, error)) from error


def is_of_the_machine(error: Exception, path: str | Path) -> bool:
    """Whether an error would meet every recording: no memory, no disk, no package.

    Notes
    -----
    Memory that could not be had is the file's fault where an array of more than a hundred times the
    size of its files was asked for: that is a size that it claims.
    """
    if isinstance(error, MemoryError):
        shape, dtype = getattr(error, "shape", None), getattr(error, "dtype", None)
        if shape is None or dtype is None:
            return True
        return math.prod(shape) * dtype.itemsize <= _CLAIM * _file_bytes(Path(path))
    if isinstance(error, OSError):
        return error.errno in _OF_THE_MACHINE
    if isinstance(error, RuntimeError):  # PyTorch's, on a GPU and on the CPU
        return "OutOfMemory" in type(error).__name__ or "can't allocate memory" in str(error)
    return isinstance(error, ImportError)


def fault_text(path: str | Path, error: Exception) -> str:
    """A sentence on a recording that made something fail."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f", {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"{Path(path).name}: cannot be used ({reason}{where}); the file may be damaged, "
        "download it again or repair it."
    )


def _file_bytes(path: Path) -> int:
    """Bytes of a recording's files: those of its name, or all of a folder."""
    stem = path.name.partition(".")[0]
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{stem}*")
    return sum(file.stat().st_size for file in files if file.is_file())
