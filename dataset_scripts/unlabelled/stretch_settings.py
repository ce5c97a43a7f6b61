"""What decides the content of a prepared folder of unlabelled recordings."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from modeling_mteeg.data.stretches import MANIFEST_VERSION, MAX_PATCHES, MAX_SECONDS

DTYPES = ("int16", "float32")


@dataclasses.dataclass(frozen=True)
class UnlabelledSettings:
    """Settings of a preparation.

    Parameters
    ----------
    max_patches, max_seconds : int
        A window has ``min(max_patches // channels, max_seconds)`` seconds.
    notch_hz : float or None
        Mains frequency that is filtered out; None: no notch.
    dtype : {"int16", "float32"}

    Raises
    ------
    ValueError
        A value is out of range.
    """

    max_patches: int = MAX_PATCHES
    max_seconds: int = MAX_SECONDS
    notch_hz: float | None = 50.0
    dtype: str = "int16"

    def __post_init__(self) -> None:
        for name in ("max_patches", "max_seconds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, found {getattr(self, name)}.")
        if self.notch_hz is not None and not 0 < self.notch_hz < 100:
            raise ValueError(f"notch_hz: expected a frequency below 100, found {self.notch_hz}.")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: expected one of {DTYPES}, found {self.dtype!r}.")

    def key(self) -> str:
        """Hash of the settings and of the version of the format."""
        text = json.dumps([MANIFEST_VERSION, dataclasses.asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
