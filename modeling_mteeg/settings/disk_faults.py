"""Disks that are full or may not be written to: recognised in any exception, said in a sentence.

Only the standard library: commands import this before everything else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FULL = "there is no space left on its disk. Make room, or choose a place on another disk"
_FAULTS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "your share of its disk (the quota) is used up. Make room, or choose a place on "
    "another disk",
    errno.EFBIG: "the file grew beyond the size that the system allows (ulimit -f, or the file "
    "system's own limit). Raise the limit, or choose another place",
    errno.EROFS: "its file system is read-only. Choose a place that can be written to",
    errno.EACCES: "permission was denied. Choose another place, or change who may use this one",
    errno.EPERM: "the system does not permit it. Choose another place, or change who may use this "
    "one",
    errno.EIO: "its disk failed (input/output error). Look at the system's log, and choose another "
    "disk",
}
_WITHOUT_DOUBT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Those that only writing meets."""
_TEXTS = {
    **{os.strerror(number): number for number in _FAULTS},
    **{f"os error {number})": number for number in _FAULTS},
}
"""What libraries of other languages put into errors of their own kinds (safetensors, Arrow)."""
_UNSAID = re.compile(r"PytorchStreamWriter failed writing|inline_container.*file write failed|"
                    r"unexpected pos \d+ vs \d+|\d+ requested and \d+ written")  # fmt: skip
"""PyTorch and NumPy say that writing failed, and not why."""
_OURS = "modeling_mteeg"
_LEAST_FREE = 2**20


class WriteError(OSError):
    """Something could not be written, for want of room or of permission."""

    def __str__(self) -> str:
        return f"{self.filename}: could not be written: {_FAULTS[self.errno]}."


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Name ``path`` in errors of the disk that come while it is written.

    Systems say which file could not be opened, and not which one found no more room; libraries
    raise kinds of their own.

    Raises
    ------
    WriteError
        The disk is full or read-only, a quota or limit is reached, or permission is lacking.
    """
    try:
        yield
    except WriteError:
        raise
    except Exception as error:
        number = _number(error) or (_at_fault(path) if _UNSAID.search(str(error)) else None)
        if number is None:
            raise
        named = getattr(error, "filename", None)
        raise WriteError(number, os.strerror(number), str(named or path)) from error


def disk_fault(error: BaseException) -> str | None:
    """The sentence for an error of the disk, or one that came of a full one; None: another one."""
    chain, seen = error, set()
    while chain is not None and id(chain) not in seen:
        seen.add(id(chain))
        if isinstance(chain, WriteError):
            return str(chain)
        number = _number(chain) or (errno.ENOSPC if _UNSAID.search(str(chain)) else None)
        if number is not None and (chain is error or number in _WITHOUT_DOUBT):
            return _sentence(chain, number)
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    return None


def of_the_disk(error: BaseException) -> bool:
    """Whether an error is of a disk that is written to: permission may be lacking to read, too."""
    return isinstance(error, WriteError) or _number(error) in _WITHOUT_DOUBT


def _number(error: BaseException) -> int | None:
    """The system's number of a fault of the disk."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in _FAULTS else None
    home = type(error).__module__.partition(".")[0]
    if home == _OURS or (home == "builtins" and not isinstance(error, (OSError, RuntimeError))):
        return None  # a text of ours that speaks of a disk
    text = str(error)
    return next((number for words, number in _TEXTS.items() if words in text), None)


def _sentence(error: BaseException, number: int) -> str:
    named = getattr(error, "filename", None)
    if named is None and number in (errno.ENOSPC, errno.EDQUOT):
        named = ", ".join(_full_places()) or "a file"
    elif named is None:
        named = str(error)
    return f"{os.fsdecode(named) if isinstance(named, bytes) else named}: {_FAULTS[number]}."


def _at_fault(path: str | Path) -> int:
    """Why a library could not write ``path``, where it does not say: the disk is full, mostly."""
    place = Path(path)
    place = next((p for p in (place, *place.absolute().parents) if p.is_dir()), Path.cwd())
    with contextlib.suppress(ImportError):
        import resource

        if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
            return errno.EFBIG
    if shutil.disk_usage(place).free >= _LEAST_FREE and not os.access(place, os.W_OK):
        return errno.EACCES
    return errno.ENOSPC


def _full_places() -> list[str]:
    """Of the places that are written to without being named, those on full disks."""
    places = dict.fromkeys((os.getcwd(), tempfile.gettempdir(), os.path.expanduser("~")))
    return [p for p in places if os.path.isdir(p) and shutil.disk_usage(p).free < _LEAST_FREE]
