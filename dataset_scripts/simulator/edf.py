"""EDF and EDF+ files of the simulated corpora.

Everything in a header is fixed, so that equal signals give equal bytes.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import edfio
import numpy as np

START_DATE = datetime.date(2001, 1, 1)
START_TIME = datetime.time(8, 0, 0)
RANGE_UV = (-3276.8, 3276.7)
"""Physical range of EEG channels: a step of 0.1 microvolt."""


@dataclass(frozen=True)
class Extra:
    """A channel that is not EEG.

    Parameters
    ----------
    label, unit : str
        As in the header.
    values : numpy.ndarray
        (samples,) at ``rate_hz``, within ``bounds``.
    rate_hz : float
    bounds : tuple of float
        Physical minimum and maximum.
    """

    label: str
    unit: str
    values: np.ndarray
    rate_hz: float
    bounds: tuple[float, float]

    def signal(self) -> edfio.EdfSignal:
        """The channel as edfio wants it."""
        return _signal(self.values, self.rate_hz, self.label, self.unit, self.bounds)


def write_edf(
    path: Path,
    uv: np.ndarray,
    labels: Sequence[str],
    rate_hz: float,
    *,
    extras: Iterable[Extra] = (),
    annotations: Sequence[tuple[float, float, str]] = (),
    start_time: datetime.time = START_TIME,
) -> None:
    """Write one recording; with annotations it becomes EDF+.

    Parameters
    ----------
    path : Path
        File; its folder is made.
    uv : numpy.ndarray
        (channels, samples) in microvolt; whole seconds.
    labels : sequence of str
        Channel labels as the corpus writes them.
    rate_hz : float
    extras : iterable of Extra
        Further channels, behind the EEG.
    annotations : sequence of (onset_s, duration_s, text)
    start_time : datetime.time
        Time of day in the header.
    """
    signals = [
        _signal(row, rate_hz, label, "uV", RANGE_UV) for row, label in zip(uv, labels, strict=True)
    ]
    signals.extend(extra.signal() for extra in extras)
    _write(path, signals, annotations, start_time)


def write_annotations(path: Path, annotations: Sequence[tuple[float, float, str]]) -> None:
    """Write an EDF+ file that holds annotations (onset_s, duration_s, text) and no signal."""
    _write(path, [], annotations, START_TIME)


def _signal(
    values: np.ndarray, rate_hz: float, label: str, unit: str, bounds: tuple[float, float]
) -> edfio.EdfSignal:
    return edfio.EdfSignal(
        np.clip(values, *bounds).astype(np.float64),
        rate_hz,
        label=label,
        physical_dimension=unit,
        physical_range=bounds,
        prefiltering="",
    )


def _write(
    path: Path,
    signals: Sequence[edfio.EdfSignal],
    annotations: Sequence[tuple[float, float, str]],
    start_time: datetime.time,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    recording = edfio.Recording(startdate=START_DATE, equipment_code="simulated")
    edf = edfio.Edf(
        signals,
        recording=recording,
        starttime=start_time,
        data_record_duration=1.0 if signals else None,
        annotations=[edfio.EdfAnnotation(*entry) for entry in annotations] or None,
    )
    edf.write(path)
