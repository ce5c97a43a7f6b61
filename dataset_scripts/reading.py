"""Files that hold the signals: EDF and Neuroscan ``.cnt``, read into microvolt by channel name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modeling_mteeg.channels import clean_name

from .headers import RecordingError, read_cnt_header, read_edf_header

if TYPE_CHECKING:
    from mne import Annotations
    from mne.io import BaseRaw

UV_PER_V = 1e6


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
        The header contradicts the file (:mod:`dataset_scripts.headers`), the file cannot be read,
        a channel is missing or repeated, or its unit or range is unknown.
    """
    import mne

    header = read_edf_header(path)
    names = [clean_name(label) for label in header.labels]
    header.check_ranges(path, [i for i, name in enumerate(names) if name in set(channels)])
    raw = _guarded(mne.io.read_raw_edf, path, preload=False)
    return pick_channels(raw, path, channels, repeated)


def read_cnt(path: str | Path, channels: Sequence[str]) -> tuple[np.ndarray, float]:
    """Signal of a Neuroscan ``.cnt`` file; see :func:`read_edf`."""
    import mne

    read_cnt_header(path)
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

    read_edf_header(path)
    reader = lambda file, verbose: mne.read_annotations(file)  # noqa: E731
    return _guarded(reader, path)


def edf_duration_s(path: str | Path) -> float:
    """Seconds of signal by an EDF header; 0 where the header is wrong."""
    try:
        return read_edf_header(path).duration_s
    except RecordingError:
        return 0.0


def cnt_duration_s(path: str | Path) -> float:
    """Seconds of signal by a Neuroscan header; 0 where the header is wrong."""
    try:
        return read_cnt_header(path).duration_s
    except RecordingError:
        return 0.0


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
