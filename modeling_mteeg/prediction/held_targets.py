"""No two processes make the same results at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from ..settings.folder_lock import held_each
from .many_recordings import Wanted

LOCK = ".mteeg-predict.lock"


@contextmanager
def alone_at(targets: Sequence[Wanted]) -> Iterator[None]:
    """Hold targets, so that no second process makes the same results at the same time.

    Others may be made in the same folder meanwhile.

    Raises
    ------
    ValueError
        Another process is at some of them.
    WriteError
        Their folder cannot be written to.
    """
    with ExitStack() as stack:
        tables = [target.files[-1] for target in targets]
        for folder in dict.fromkeys(table.parent for table in tables):
            names = [table.name for table in tables if table.parent == folder]
            taken = stack.enter_context(held_each(folder / LOCK, names))
            if taken:
                more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
                raise ValueError(
                    f"{folder / taken[0]}{more}: another process is making it now. Wait until it "
                    "has ended, or give another --out."
                )
        yield
