"""What one visitor's page keeps on the server: uploads, results, and whether to stop."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path

KEPT_S = 2 * 3600.0
"""Uploads and results of a page in which nothing happens are deleted after this long."""
GRACE_S = 300.0
"""Those of a page that was closed; a telephone that sleeps a little comes back to them."""
RESULTS = "results"
"""Results are at ``results/TOKEN/NAME`` of the page's address."""
_sessions: weakref.WeakSet[Session] = weakref.WeakSet()
"""Those that have results or are at work."""


def stop_all() -> None:
    """End every run at work, when the page ends."""
    for session in list(_sessions):
        session.stop()


class Stopped(Exception):
    """The visitor pressed Stop, or left."""


class GoneError(ValueError):
    """What a visitor asks for was deleted."""


@dataclasses.dataclass(eq=False)
class Session:
    """One browser tab's things; nothing of it is shared with another one.

    Attributes
    ----------
    folder : str or None
        Where the results of the last run lie.
    stopping : bool
        Whether the run at work is to end at its next sign of progress.
    results : dict of str to Path
        Files that the page shows, by the token in their address: 256 random bits, so that nobody
        finds a file who was not given its address.
    uploads : set of Path
        Files that the visitor dropped.
    closed : bool
        Whether the page was closed and not seen since.
    seen_s : float
        When something last happened, by ``time.monotonic``.
    """

    folder: str | None = None
    stopping: bool = False
    results: dict[str, Path] = dataclasses.field(default_factory=dict)
    uploads: set[Path] = dataclasses.field(default_factory=set)
    closed: bool = False
    seen_s: float = dataclasses.field(default_factory=time.monotonic)

    def start(self) -> Path:
        """An empty folder for a new run; the results of the one before are deleted."""
        self.clear()
        self.stopping = False
        _sessions.add(self)
        self.folder = tempfile.mkdtemp(prefix="mteeg-app-")
        return Path(self.folder)

    def publish(self, path: Path) -> str:
        """Let a file of this session be fetched; its address, relative to the page's."""
        _sessions.add(self)
        token = secrets.token_urlsafe(32)
        self.results[token] = path
        return f"{RESULTS}/{token}/{path.name}"

    def withdraw(self, address: str) -> None:
        """Delete a published file."""
        path = self.results.pop(address.split("/")[1], None)
        if path is not None:
            path.unlink(missing_ok=True)

    def stop(self) -> None:
        """Ask the run at work to end."""
        self.stopping = True

    def check(self) -> None:
        """Raise :class:`Stopped` where the visitor asked for it; else a sign of life."""
        if self.stopping:
            raise Stopped
        self.seen_s = time.monotonic()

    def touch(self) -> None:
        """The visitor is there."""
        self.seen_s, self.closed = time.monotonic(), False

    def clear(self) -> None:
        """Delete the results, when the page is closed or a new run starts."""
        self.results.clear()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def keep_uploads(self, paths: Iterable[str | Path]) -> None:
        """Delete uploads that the visitor took off the page."""
        for path in self.uploads - {Path(path) for path in paths}:
            self.uploads.discard(path)
            shutil.rmtree(path.parent, ignore_errors=True)

    def leave(self) -> None:
        """Delete results and uploads, and end the run at work."""
        self.stop()
        self.clear()
        self.keep_uploads(())


def published(token: str, name: str) -> Path | None:
    """The file at an address; None: there is none, or no longer."""
    for session in list(_sessions):
        path = session.results.get(token)
        if path is not None and path.name == name and path.is_file():
            session.touch()
            return path
    return None


class Visitors:
    """The sessions of a page, by the number that Gradio's page gives itself, and their uploads."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._uploads: dict[str, tuple[Path, float]] = {}
        self._taken: dict[Path, Path] = {}  # where Gradio had put a file, and where it is now
        self._lock = threading.Lock()

    def session(self, name: str) -> Session:
        """Of a visitor who calls.

        Raises
        ------
        ValueError
            The call names no tab; those that name none would share one.
        """
        if not name:
            raise ValueError("Expected the page's call, which names its tab, found one without.")
        with self._lock:
            session = self._sessions.setdefault(name, Session())
        session.touch()
        return session

    def close(self, name: str) -> None:
        """A page was closed: its run ends now, its files go after :data:`GRACE_S`."""
        session = self._sessions.get(name)
        if session is not None:
            session.stop()
            session.seen_s, session.closed = time.monotonic(), True

    def adopt(self, path: Path) -> str:
        """Move an upload into a folder of its own; what the browser calls it, ``TOKEN/NAME``.

        Gradio keeps equal files of several visitors as one, in a folder that is named by their
        content; where two arrive at once, the second finds it taken, and links it.
        """
        token = secrets.token_urlsafe(32)
        place = path.parent.parent / token / path.name
        place.parent.mkdir()
        with self._lock:
            try:
                path.replace(place)
            except FileNotFoundError:
                os.link(self._taken[path], place)
            self._uploads[token], self._taken[path] = (place, time.monotonic()), place
        return f"{token}/{path.name}"

    def upload(self, reference: str) -> Path | None:
        """The file that a browser calls so; None: there is none, or no longer."""
        token, _, name = reference.partition("/")
        path, _ = self._uploads.get(token, (None, 0.0))
        return path if path is not None and path.name == name else None

    def missing(self, reference: str) -> Path:
        """Where no file lies, for one that was deleted, under its name."""
        name = reference.replace("\\", "/").rpartition("/")[2] or "file"
        return Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()) / "gone" / name

    def claim(self, name: str, reference: str) -> Path | None:
        """:meth:`upload`, which from now on goes with a visitor's session."""
        path = self.upload(reference) if name else None
        if path is not None:
            self.session(name).uploads.add(path)
        return path

    def sweep(self) -> None:
        """Delete what belongs to nobody any more."""
        time_s = time.monotonic()
        with self._lock:
            for name, session in list(self._sessions.items()):
                if time_s - session.seen_s > (GRACE_S if session.closed else KEPT_S):
                    session.leave()
                    del self._sessions[name]
            owned = set().union(*(session.uploads for session in self._sessions.values()))
            for token, (path, since) in list(self._uploads.items()):
                if path not in owned and (time_s - since > KEPT_S or not path.is_file()):
                    shutil.rmtree(path.parent, ignore_errors=True)
                    del self._uploads[token]
            self._taken = {old: new for old, new in self._taken.items() if new.is_file()}

    def sweep_while(self, running: Callable[[], bool], every_s: float) -> None:
        """:meth:`sweep` again and again; for a thread."""
        while running():
            self.sweep()
            time.sleep(every_s)
