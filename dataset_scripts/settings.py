"""How a corpus is written, whichever it is."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a corpus is written.

    Parameters
    ----------
    num_proc : int
        Processes; each holds one recording at a time. Does not change the result.
    dtype : {"int16", "float32"}
        Number type on disk; see :func:`modeling_mteeg.data.encode_window`.
    split : {"protocol", "within-subject"}
        The corpus's protocol, or every subject's windows 64/16/20 in order within each class.
    max_skipped : float
        Share of the protocol's recordings that may be unusable.
    subjects : tuple of str
        Use these subjects only; empty: all.
    overwrite : bool
        Replace a prepared corpus made with other settings.
    progress : bool
        Progress bar and printed summary.
    """

    num_proc: int = 1
    dtype: str = "int16"
    split: str = "protocol"
    max_skipped: float = 0.01
    subjects: tuple[str, ...] = ()
    overwrite: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        if self.num_proc < 1:
            raise ValueError(f"num_proc: expected 1 or more processes, found {self.num_proc}.")
        if not 0 <= self.max_skipped <= 1:
            raise ValueError(f"max_skipped: expected 0 to 1, found {self.max_skipped}.")
