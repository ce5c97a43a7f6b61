"""One process at a folder: a lock that the system frees when its holder ends, however."""

from __future__ import annotations

import contextlib
import errno
import os
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from .disk_faults import writing

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def held(path: str | Path, wait: bool = False) -> Iterator[bool]:
    """Hold the lock file ``path`` while something is done; false: another process holds it.

    Where the file system has no locks, that is said (once for a place) and the work goes on.

    Parameters
    ----------
    path : str or Path
        Its folder is made; the file stays there, and is empty.
    wait : bool
        Until the other one is done.

    Raises
    ------
    WriteError
        The folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=-1 if wait else 0)
        try:
            lock.acquire()
        except Timeout:
            mine = False
        except NotImplementedError:
            mine = _unlocked(path)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            mine = _unlocked(path)
        else:
            mine = True
    try:
        yield mine
    finally:
        lock.release()


def _unlocked(path: Path) -> bool:
    warnings.warn(
        f"{path.parent}: its file system has no locks, so nothing keeps a second process from "
        "writing there at the same time: start one only.",
        stacklevel=4,
    )
    return True


@contextlib.contextmanager
def held_each(path: str | Path, names: Sequence[str]) -> Iterator[list[str]]:
    """Hold ``names`` in the lock file ``path``; yields those that another process holds already.

    So several processes may write different things to one folder. A name is one byte of the file,
    which is empty and goes with its last holder, as folders do that were made for it and are empty.
    Where the system has no such locks (Windows) everything is free.
    """
    try:
        import fcntl
    except ImportError:
        yield []
        return
    path = Path(path)
    made = [folder for folder in path.absolute().parents if not folder.exists()]
    with writing(path):
        file, taken = _hold(path, names, fcntl)
    with file:
        try:
            yield taken
        finally:
            with contextlib.suppress(OSError):  # others hold their own, or have put something there
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                for folder in made:
                    folder.rmdir()


def _hold(path: Path, names: Sequence[str], fcntl: Any) -> tuple[IO[bytes], list[str]]:
    """The open file with what could be held in it, and what could not."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file, taken = path.open("ab"), []
        for name in names:
            try:
                flags = fcntl.LOCK_EX | fcntl.LOCK_NB
                fcntl.lockf(file, flags, 1, zlib.crc32(name.encode()))
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    _unlocked(path)
                    return file, []
                taken.append(name)
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file, taken
        file.close()  # its last holder has removed it in this moment
