"""What decides the content of a prepared folder of unlabelled recordings."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from modeling_mteeg.data.stretches import MANIFEST_VERSION, MAX_PATCHES, MAX_SECONDS
from modeling_mteeg.model.mains_notch import NotchHz, checked_notch, notches

DTYPES = ("int16", "float32")
RULES_VERSION = 2
"""Raised whenever the same recordings and settings would give other stretches than before."""


@dataclasses.dataclass(frozen=True)
class UnlabelledSettings:
    """Settings of a preparation.

    Parameters
    ----------
    max_patches, max_seconds : int
        A window has ``min(max_patches // channels, max_seconds)`` seconds.
    notch_hz : float, sequence of float or None
        Mains frequency that is filtered out, or several; None: no notch.
    dtype : {"int16", "float32"}

    Raises
    ------
    ValueError
        A value is out of range.
    """

    max_patches: int = MAX_PATCHES
    max_seconds: int = MAX_SECONDS
    notch_hz: NotchHz = 50.0
    dtype: str = "int16"

    def __post_init__(self) -> None:
        for name in ("max_patches", "max_seconds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, found {getattr(self, name)}.")
        object.__setattr__(self, "notch_hz", checked_notch(self.notch_hz))
        too_high = [f"{one:g}" for one in notches(self.notch_hz) if one >= 100]
        if too_high:
            raise ValueError(f"notch_hz: expected Hz below 100, found {', '.join(too_high)}.")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: expected one of {DTYPES}, found {self.dtype!r}.")

    def key(self) -> str:
        """Hash of the settings and of the versions of format and rules."""
        text = json.dumps(
            [MANIFEST_VERSION, RULES_VERSION, dataclasses.asdict(self)], sort_keys=True
        )
        return hashlib.sha256(text.encode()).hexdigest()
