"""What a download can be told, and the error that ends one."""

from __future__ import annotations

import dataclasses
from urllib.parse import urlsplit

from modeling_mteeg.dataset_scripts.downloads.database import MIRRORS


class DownloadError(RuntimeError):
    """A file, or a list of files, that could not be had as it should be; what is there stays."""


@dataclasses.dataclass(frozen=True)
class DownloadSettings:
    """How a corpus is fetched.

    Parameters
    ----------
    subjects : tuple of str
        Fetch the recordings of these subjects only; empty: all.
    all_files : bool
        Also what the task does not read.
    mirror : str, optional
        Address below which ``<slug>/<version>/`` lies, or a name of
        :data:`~modeling_mteeg.dataset_scripts.downloads.database.MIRRORS`; PhysioNet by default.
    connections : int
        Files at once.
    stall_s : float
        Seconds without a byte after which a connection is given up and tried again.
    replace_wrong : bool
        Fetch files anew that are there with another content; they are replaced once the new one
        is verified.
    dry_run : bool
        Print the plan and write nothing.
    progress : bool
        Bar, or a line a minute in a file.
    tries : int
        In a row, without a new byte of a file, before it is given up.
    pause_s : float
        Before the second try; it doubles up to :attr:`longest_pause_s`.
    longest_pause_s : float
        Of the pauses between tries.
    longest_wait_s : float
        That a server may ask for (``Retry-After``) before the download ends instead.
    """

    subjects: tuple[str, ...] = ()
    all_files: bool = False
    mirror: str | None = None
    connections: int = 8
    stall_s: float = 60.0
    replace_wrong: bool = False
    dry_run: bool = False
    progress: bool = True
    tries: int = 10
    pause_s: float = 1.0
    longest_pause_s: float = 60.0
    longest_wait_s: float = 900.0

    def __post_init__(self) -> None:
        if not 1 <= self.connections <= 16:
            raise ValueError(
                f"connections: expected 1 to 16 files at once, found {self.connections}. Servers "
                "turn away those who ask for more."
            )
        if not self.stall_s > 0:
            raise ValueError(f"stall_s: expected seconds above 0, found {self.stall_s}.")
        if self.tries < 1:
            raise ValueError(f"tries: expected 1 or more, found {self.tries}.")
        if self.mirror is not None and self.mirror not in MIRRORS:
            parts = urlsplit(self.mirror)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
                raise ValueError(
                    f"mirror: expected {', '.join(MIRRORS)}, or an address http://... or "
                    "https://... below which the databases lie as SLUG/VERSION/, found "
                    f"{self.mirror!r}."
                )
            if parts.username or parts.password:
                raise ValueError(
                    f"mirror: expected an address without a password ({parts.hostname}), which "
                    "would be printed; put it into ~/.netrc."
                )
