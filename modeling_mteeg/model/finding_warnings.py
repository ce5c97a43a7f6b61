"""Findings as Python warnings, at the line that the user wrote."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

from .findings import Finding
from .recording_headers import RecordingWarning

_OURS = (__name__.partition(".")[0], "transformers", "transformers_modules", "torch")
"""Packages that a call passes through: this one, or its copy beside a base, and what calls it."""
_USUAL = ("derived", "renamed", "repeated-label")


def warn_of(findings: Iterable[Finding | str], prefix: str = "") -> None:
    """One :class:`RecordingWarning` for every finding, and for every sentence beside them.

    Parameters
    ----------
    findings : iterable of Finding or str
        Those that were asked for, or are usual (derived and renamed channels, labels that occur
        twice with equal signals), are no warning.
    prefix : str
        Before every sentence, such as the recording's name.
    """
    level = _users_level()
    kept = [one for one in findings if isinstance(one, str) or one.code not in _USUAL]
    for sentence in dict.fromkeys(map(str, kept)):
        warnings.warn(f"{prefix}{sentence}", RecordingWarning, stacklevel=level)


def _users_level() -> int:
    """``stacklevel``, for the function that calls this one, of the first line outside."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _OURS:
            return level
        frame, level = frame.f_back, level + 1
    return level
