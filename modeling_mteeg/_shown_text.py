"""What a command prints: control characters of foreign files shown as text, closed pipes borne.

A name in a file may hold anything, and a terminal obeys what it is sent: it can be made to hide
lines, to show others, and worse. Every command prints through :class:`Shown`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from .model.visible_text import visible as shown

_CURSOR = re.compile(r"(\n|\x1b\[A)*")  # how tqdm goes from one bar to another


def unmarked(text: str) -> str:
    """``text`` on one line in which Markdown finds no HTML, link or picture, for model cards."""
    return re.sub(r"[<\[]", r"\\\g<0>", shown(" ".join(text.split())))


class Shown:
    """A stream of text that writes what is :func:`shown` to another one.

    Bars of tqdm may go back to the start of their line and from one bar to another. Where nobody
    reads any more (``| head -1``), what follows goes nowhere, and the work goes on.

    Parameters
    ----------
    stream : text stream

    Attributes
    ----------
    unread : bool
        Whether its reader has gone.
    fresh : bool
        Whether the next character begins a line.
    hushed : bool
        Whether nothing is written for now.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self.unread, self.fresh, self._bar = stream, False, True, False
        self.hushed = False
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write it as it is to be shown."""
        if self.hushed:
            return len(text)
        name = sys._getframe(1).f_globals.get("__name__", "")
        safe = self._of_a_bar(text) if name.startswith("tqdm.") else shown(text)
        if text:
            self.fresh = safe.endswith("\n")
            self._bar = (self._bar or safe.startswith("\r")) and "\n" not in safe
        self._do(self._stream.write, safe)
        return len(text)

    def _of_a_bar(self, text: str) -> str:
        """What tqdm writes: moves of the cursor, or the line of a bar, which may name a file."""
        if _CURSOR.fullmatch(text):
            return text
        back = "\r" if text.startswith("\r") and (self.fresh or self._bar) else ""
        return back + shown(text[len(back) :])

    def writelines(self, lines: Iterable[str]) -> None:
        """Write them one after the other."""
        for line in lines if not self.hushed else ():
            self._do(self._stream.write, shown(line))

    def flush(self) -> None:
        """Flush the stream below."""
        self._do(self._stream.flush)

    def _do(self, act: Any, *arguments: str) -> None:
        try:
            act(*arguments)
        except OSError as error:
            self._to_nowhere()
            if error.errno not in (errno.EPIPE, errno.EIO):  # EIO: its terminal was closed
                raise OSError(error.errno, error.strerror, self._stream.name) from error
            self.unread = True

    def _to_nowhere(self) -> None:
        """Let what is left of the stream, also at the end of Python, go to the null device."""
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, self._stream.fileno())
        finally:
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def show_streams() -> tuple[Any, Any]:
    """Let standard output and error write what is shown; returns them as they were."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        stream if stream is None or isinstance(stream, Shown) else Shown(stream)
        for stream in before
    )
    return before


@contextlib.contextmanager
def hushed(streams: Iterable[Any]) -> Iterator[None]:
    """Let streams write nothing, nor the processes that are started meanwhile bars and warnings."""
    silent = {"PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1"}
    before = {name: os.environ.get(name) for name in silent}
    heard = [one for one in streams if isinstance(one, Shown) and not one.hushed]
    os.environ.update(silent)
    for stream in heard:
        stream.hushed = True
    try:
        yield
    finally:
        for stream in heard:
            stream.hushed = False
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def aloud(stream: Any) -> Iterator[None]:
    """Let a stream that is hushed write."""
    before = getattr(stream, "hushed", False)
    if before:
        stream.hushed = False
    try:
        yield
    finally:
        if before:
            stream.hushed = True
