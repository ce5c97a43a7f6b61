"""Files that hold the signals: EDF and Neuroscan ``.cnt``, read into microvolt by channel name."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modeling_mteeg.channels import clean_name

if TYPE_CHECKING:
    from mne import Annotations
    from mne.io import BaseRaw

UV_PER_V = 1e6


class RecordingError(ValueError):
    """A recording that cannot be used; the message names the file, the fault and the remedy."""


def read_edf(
    path: str | Path, channels: Sequence[str], repeated: Sequence[str] = ()
) -> tuple[np.ndarray, float]:
    """Signal of an EDF or EDF+ file.

    Parameters
    ----------
    path : str or Path
        The file.
    channels : sequence of str
        Clean names, in the order in which they are wanted.
    repeated : sequence of str
        Names that may occur more than once; the first is taken.

    Returns
    -------
    signal_uv : numpy.ndarray
        float64 (channels, samples) in microvolt.
    rate_hz : float

    Raises
    ------
    RecordingError
        The file cannot be read, a channel is missing or repeated, or its unit is unknown.
    """
    import mne

    raw = _guarded(mne.io.read_raw_edf, path, preload=False)
    return pick_channels(raw, path, channels, repeated)


def read_cnt(path: str | Path, channels: Sequence[str]) -> tuple[np.ndarray, float]:
    """Signal of a Neuroscan ``.cnt`` file; see :func:`read_edf`."""
    import mne

    raw = _guarded(mne.io.read_raw_cnt, path, preload=False)
    return pick_channels(raw, path, channels)


def pick_channels(
    raw: BaseRaw, path: str | Path, channels: Sequence[str], repeated: Sequence[str] = ()
) -> tuple[np.ndarray, float]:
    """Channels of an open recording by name, (channels, samples) in microvolt, and the rate."""
    name = Path(path).name
    found: dict[str, list[int]] = {}
    for index, original in enumerate(raw.ch_names):
        found.setdefault(clean_name(original), []).append(index)
    missing = [channel for channel in channels if channel not in found]
    if missing:
        raise RecordingError(
            f"{name}: channels missing: {', '.join(missing)}; found {', '.join(found)}. The task "
            f"needs all of its {len(channels)} channels."
        )
    twice = [one for one in channels if len(found[one]) > 1 and one not in repeated]
    if twice:
        raise RecordingError(
            f"{name}: channels that occur more than once: {', '.join(twice)}; keep one of each."
        )
    units = getattr(raw, "_orig_units", None) or {}
    picks = np.array([found[channel][0] for channel in channels])
    unknown = [raw.ch_names[pick] for pick in picks if units.get(raw.ch_names[pick]) == "n/a"]
    if unknown:
        raise RecordingError(
            f"{name}: the header gives no unit of voltage for {', '.join(unknown)}; write the "
            "physical dimension (uV) into the header."
        )
    ordered = np.sort(picks)
    data = _guarded(lambda _, **kw: raw.get_data(picks=ordered, **kw), path)
    if not np.array_equal(ordered, picks):  # a copy, of what may be gigabytes
        data = data[np.searchsorted(ordered, picks)]
    data *= UV_PER_V
    return data, float(raw.info["sfreq"])


def read_annotations(path: str | Path) -> Annotations:
    """Annotations of an EDF+ file: onsets and durations in seconds, descriptions."""
    import mne

    reader = lambda file, verbose: mne.read_annotations(file)  # noqa: E731
    return _guarded(reader, path)


def edf_duration_s(path: str | Path) -> float:
    """Seconds of signal by an EDF header, never more than the file can hold; 0 if unreadable."""
    try:
        size = Path(path).stat().st_size
        with open(path, "rb") as file:
            header = file.read(256)
        records, seconds = int(header[236:244]), float(header[244:252])
    except (OSError, ValueError):
        return 0.0
    # A record holds at least one sample of two bytes.
    plausible = 0 < records <= size // 2 and 0 < seconds < 1e5
    return records * seconds if plausible else 0.0


def cnt_duration_s(path: str | Path, bytes_per_sample: int = 4) -> float:
    """Seconds of signal by a Neuroscan header and the file's size; 0 if unreadable."""
    try:
        size = Path(path).stat().st_size
        with open(path, "rb") as file:
            header = file.read(900)
        (channels,) = struct.unpack_from("<H", header, 370)
        (rate_hz,) = struct.unpack_from("<H", header, 376)
    except (OSError, struct.error):
        return 0.0
    if not channels or not rate_hz:
        return 0.0
    return max(0, size - 900 - 75 * channels) / (bytes_per_sample * channels * rate_hz)


def _guarded(reader: Callable[..., Any], path: str | Path, **options: Any) -> Any:
    """Call a reader of foreign files; whatever it raises becomes a ``RecordingError``.

    A damaged file can make a reader fail in any way, and one file must not end the preparation of
    thousands; so this one place catches every ``Exception``, and nothing but the reader runs in it.
    """
    if not Path(path).is_file():
        raise RecordingError(f"{path}: the file does not exist; download it again.")
    try:
        return reader(path, verbose="ERROR", **options)
    except Exception as error:
        raise RecordingError(
            f"{Path(path).name}: cannot be read ({type(error).__name__}: {error}); the file may be "
            "damaged or incomplete, download it again."
        ) from error
