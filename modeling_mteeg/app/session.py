"""What one visitor's page keeps on the server: a folder of results, and whether to stop."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path


class Stopped(Exception):
    """The visitor pressed Stop."""


@dataclasses.dataclass(eq=False)
class Session:
    """One browser tab's things; nothing of it is shared with another one.

    Attributes
    ----------
    folder : str or None
        Where the results of the last run lie.
    stopping : bool
        Whether the run at work is to end at its next sign of progress.
    """

    folder: str | None = None
    stopping: bool = False

    def start(self) -> Path:
        """An empty folder for a new run; the results of the one before are deleted."""
        self.clear()
        self.stopping = False
        self.folder = tempfile.mkdtemp(prefix="mteeg-app-")
        return Path(self.folder)

    def stop(self) -> None:
        """Ask the run at work to end."""
        self.stopping = True

    def check(self) -> None:
        """Raise :class:`Stopped` where the visitor asked for it."""
        if self.stopping:
            raise Stopped

    def clear(self) -> None:
        """Delete the results, when the page is closed or a new run starts."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
