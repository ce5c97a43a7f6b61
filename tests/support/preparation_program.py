"""A preparation that dies at a place that a test names.

python preparation_program.py RAW OUT NUM_PROC PLACE:COUNT
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator

import datasets

from modeling_mteeg.dataset_scripts import merging, parts, writer
from modeling_mteeg.dataset_scripts.physionet_mi import PhysionetMi
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.writer import prepare

PLACES = {
    "file": (os, "replace"),  # renames of files: a part, its description, ...
    "folder": (os, "replace"),  # renames of folders: the older result, the new one, the rest
    "save": (datasets.Dataset, "save_to_disk"),
    "index": (merging, "write_index"),
    "documents": (writer, "write_documents"),
    "rmtree": (shutil, "rmtree"),
}


class Killed(BaseException):
    """The end of a process, as far as the code inside can tell."""


@contextlib.contextmanager
def dying_at(place: str, die: Callable[[], None]) -> Iterator[None]:
    """``die`` before the ``COUNT``-th time at ``PLACE:COUNT``; ``outcome`` is a finished part."""
    name, count = place.split(":")
    left = iter(range(int(count) - 1))
    owner, attribute = PLACES.get(name, (parts, "run_each"))
    real = getattr(owner, attribute)

    def deadly(*args, **options):
        counts = name not in ("file", "folder") or os.path.isdir(args[0]) == (name == "folder")
        if counts and next(left, None) is None:
            die()
        return real(*args, **options)

    def deadly_outcomes(*args):
        for outcome in real(*args):
            if next(left, None) is None:
                die()
            yield outcome

    setattr(owner, attribute, deadly_outcomes if name == "outcome" else deadly)
    try:
        yield
    finally:
        setattr(owner, attribute, real)


def main() -> None:
    raw, out, num_proc, place = sys.argv[1:5]
    settings = Settings(num_proc=int(num_proc), progress=False, overwrite="overwrite" in sys.argv)
    with dying_at(place, lambda: os.kill(os.getpid(), signal.SIGKILL)):
        prepare(PhysionetMi(raw), out, settings)


if __name__ == "__main__":
    main()
