"""What is odd about a recording: findings, and what each use of it makes of them.

Everybody who opens a recording gets the same findings. What differs is policy, and that stands in
``POLICIES`` alone; docs/recordings.md shows the same table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from .visible_text import visible

USES = ("predict", "explain", "extractor", "live", "labelled", "unlabelled")
"""Who opens recordings. The pipeline and the page are ``predict``."""

NOTE, REFUSE, CHANNELS, WINDOWS, MARK, NEVER = (
    "note", "refuse", "leave channels out", "leave windows out", "mark windows", "-",
)  # fmt: skip

"""What a use makes of a finding. ``leave channels out`` is an error where the task needs them."""


def _row(*actions: str) -> dict[str, str]:
    return dict(zip(USES, actions, strict=True))


POLICIES: Mapping[str, Mapping[str, str]] = {
    # Files that were read in another way than their header says
    "cut-off": _row(NOTE, NOTE, NOTE, NEVER, REFUSE, NOTE),
    "record-count": _row(NOTE, NOTE, NOTE, NEVER, NOTE, NOTE),
    "more-records": _row(NOTE, NOTE, NOTE, NEVER, REFUSE, NOTE),
    "sample-count": _row(NOTE, NOTE, NOTE, NEVER, NOTE, NOTE),
    "record-times": _row(NOTE, NOTE, NOTE, NEVER, NOTE, NOTE),
    "text-encoding": _row(NOTE, NOTE, NOTE, NEVER, NOTE, NOTE),
    # A file beside it (channels, markers, signal) that contradicts it, or says what no header does
    "sidecar": _row(NOTE, NOTE, NOTE, NEVER, NOTE, NOTE),
    "events-outside": _row(NOTE, NOTE, NOTE, NEVER, NOTE, NOTE),
    # Time
    "parts": _row(WINDOWS, WINDOWS, WINDOWS, NEVER, WINDOWS, WINDOWS),
    "marked-bad": _row(MARK, NOTE, NOTE, NEVER, WINDOWS, WINDOWS),
    "constant": _row(MARK, NOTE, NOTE, MARK, WINDOWS, WINDOWS),
    "end-left-out": _row(NOTE, NEVER, NOTE, NEVER, NOTE, NEVER),
    "cue-left-out": _row(WINDOWS, *[NEVER] * 5),
    # Channels
    "unknown-unit": _row(*[CHANNELS] * 4, REFUSE, CHANNELS),
    "range": _row(*[CHANNELS] * 3, NEVER, REFUSE, CHANNELS),
    "other-unit": _row(CHANNELS, CHANNELS, CHANNELS, REFUSE, NOTE, CHANNELS),
    "quiet": _row(*[NOTE] * 4, NOTE, CHANNELS),
    "flat": _row(*[NOTE] * 4, NOTE, CHANNELS),
    "not-usable": _row(CHANNELS, CHANNELS, CHANNELS, NEVER, CHANNELS, CHANNELS),
    "repeated-label": _row(*[NOTE] * 3, NEVER, NOTE, NOTE),
    "missing": _row(*[CHANNELS] * 4, REFUSE, NEVER),
    "derived": _row(*[NOTE] * 4, NOTE, NEVER),
    "renamed": _row(NOTE, NOTE, NEVER, NOTE, NOTE, NOTE),
    "interpolated": _row(NOTE, NOTE, NEVER, NEVER, NOTE, NEVER),
    # Filters
    "filter-left-out": _row(*[NOTE] * 6),
    "short-for-filter": _row(NOTE, NOTE, NOTE, NEVER, NOTE, NOTE),
    "mains": _row(NOTE, NOTE, NEVER, NEVER, NOTE, NOTE),
}
"""By code of a finding, what each of ``USES`` makes of it."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is odd about a recording.

    Parameters
    ----------
    code : str
        One of ``POLICIES``.
    sentence : str
        What was found, for people.
    remedy : str
        What to do about it; empty where there is nothing to do.
    channels : tuple of str
        Those that it is about; empty: all of them.
    spans_s : tuple of (float, float)
        When, in seconds from the recording's start; empty: the whole of it.

    Raises
    ------
    ValueError
        An unknown code.
    """

    code: str
    sentence: str
    remedy: str = ""
    channels: tuple[str, ...] = ()
    spans_s: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.code not in POLICIES:
            raise ValueError(f"code: expected one of {sorted(POLICIES)}, found {self.code!r}.")
        for name in ("sentence", "remedy"):
            object.__setattr__(self, name, visible(getattr(self, name)))

    def __str__(self) -> str:
        return f"{self.sentence} {self.remedy}".strip()

    def policy(self, use: str) -> str:
        """What one of ``USES`` makes of it."""
        return POLICIES[self.code][use]

    def severity(self, use: str) -> str:
        """``error``, ``warning`` (something is left out or marked) or ``note``, for one use."""
        return {REFUSE: "error", NOTE: "note", NEVER: "note"}.get(self.policy(use), "warning")

    def facts(self, use: str) -> dict[str, Any]:
        """As JSON: code, severity, what was done, channels, spans in seconds, sentence, remedy."""
        return {
            "code": self.code, "severity": self.severity(use), "action": self.policy(use),
            "channels": list(self.channels), "spans_s": [list(span) for span in self.spans_s],
            "sentence": self.sentence, "remedy": self.remedy,
        }  # fmt: skip


def sentences(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Texts of findings, each once, in their order."""
    return tuple(dict.fromkeys(str(finding) for finding in findings))
