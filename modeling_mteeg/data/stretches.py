"""How unlabelled recordings lie on disk: a row is a stretch of a recording, not a window.

Masked pre-training cuts windows every 4 s, the neural tokenizer every second. Windows that overlap
would be stored several times over, so a row holds minutes of signal, and windows are views into it,
cut when they are read. Stretches of a long recording overlap by as much as a window needs, so that
no window is lost where one stretch ends and the next begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._clone import as_typed
from ..model.checked_files import MAX_RESULT_BYTES, read_json
from .source import DTYPES, WindowFormatError
from .windows import INT16_PEAK, checked_signal

if TYPE_CHECKING:
    from datasets import Features

MANIFEST_FILE = "unlabelled.json"
MANIFEST_VERSION = 1
RATE_HZ = 200
MAX_PATCHES, MAX_SECONDS = 256, 16
"""A published window holds up to 256 patches, and the temporal table has 16 rows (LaBraM)."""
OWN_S = 300


def window_patches(
    channels: int, max_patches: int = MAX_PATCHES, max_seconds: int = MAX_SECONDS
) -> int:
    """Seconds, which are patches of a channel, of a window of so many channels; 0: none fits."""
    return min(max_patches // channels, max_seconds)


def stretch_features(whole_seconds: bool = True) -> Features:
    """The columns of a prepared folder of unlabelled recordings.

    Parameters
    ----------
    whole_seconds : bool
        Whether every stretch begins at a whole second, as without gaps they do.

    Returns
    -------
    datasets.Features
        ``signal`` bytes of a (channels, samples) array at 200 Hz, ``dtype`` "int16" or "float32",
        ``scale`` microvolt per count of every channel, ``shape`` (channels, samples), ``channels``
        names, ``recording``, ``subject``, ``onset_s`` seconds from the start of the recording,
        ``own_s`` seconds from there in which windows that begin belong to this row.
    """
    from datasets import Features, List, Value

    return Features(
        {
            "signal": Value("large_binary"),
            "dtype": Value("string"),
            "scale": List(Value("float32")),
            "shape": List(Value("int32"), length=2),
            "channels": List(Value("string")),
            "recording": Value("string"),
            "subject": Value("string"),
            "onset_s": Value("int64" if whole_seconds else "float64"),
            "own_s": Value("int64"),
        }
    )


def cut_stretches(
    samples: int, window_s: int, own_s: int = OWN_S
) -> Iterator[tuple[int, int, int]]:
    """Cut a recording into stretches that together hold every window of ``window_s`` or shorter.

    Parameters
    ----------
    samples : int
        Length of the recording at 200 Hz.
    window_s : int
        Longest window in seconds.
    own_s : int
        Seconds of window onsets that a stretch owns.

    Yields
    ------
    tuple of int
        First sample and one past the last of a stretch, and the seconds that it owns.
    """
    step, window = own_s * RATE_HZ, window_s * RATE_HZ
    starts = range(0, max(1, samples - window + 1), step)
    for start in starts[:-1]:
        yield start, start + step + window, own_s
    yield starts[-1], samples, -(-(samples - starts[-1]) // RATE_HZ)  # shorter windows begin later


def encode_stretch(
    signal_uv: np.ndarray,
    channels: Sequence[str],
    recording: str,
    subject: str,
    onset_s: float,
    own_s: int = OWN_S,
    dtype: str = "int16",
) -> dict[str, Any]:
    """One stretch as a row of :func:`stretch_features`.

    Parameters
    ----------
    signal_uv : np.ndarray, (channels, samples), float
        Preprocessed signal in microvolt at 200 Hz.
    channels : sequence of str
        A name for every row of ``signal_uv``.
    recording, subject : str
        Where it comes from; an empty subject stands for "the recording's own".
    onset_s : float
        Where it begins, in seconds from the recording's start; pauses count.
    own_s : int
        For how long windows that begin belong to it, see :func:`cut_stretches`.
    dtype : {"int16", "float32"}
        ``int16``: counts of a channel's own max|signal| / 32767 microvolt; ``float32``: exact.

    Raises
    ------
    ValueError
        The signal is no finite real (channels, samples) array, names do not fit it, or the dtype
        is unknown.
    """
    where = f"{recording} at {onset_s:g} s"
    signal = checked_signal(signal_uv, channels, dtype, where)
    peaks = np.abs(signal).max(axis=1)
    if not np.isfinite(peaks).all():
        raise ValueError(f"{where}: the signal has NaN or infinite values.")
    scale = np.ones(len(signal), np.float32)
    if dtype == "int16":
        scale = np.maximum(peaks / np.float32(INT16_PEAK), np.finfo(np.float32).tiny)
        signal = np.rint(signal / scale[:, None])
    return {
        "signal": signal.astype(DTYPES[dtype]).tobytes(),
        "dtype": dtype,
        "scale": scale.tolist(),
        "shape": list(signal.shape),
        "channels": [str(name) for name in channels],
        "recording": recording,
        "subject": subject,
        "onset_s": int(onset_s) if float(onset_s).is_integer() else float(onset_s),
        "own_s": int(own_s),
    }


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """What ``unlabelled.json`` says of a prepared folder.

    Raises
    ------
    FileNotFoundError
        The folder or the file is missing.
    WindowFormatError
        It is no such file, or of another version.
    """
    path = Path(folder) / MANIFEST_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: expected unlabelled recordings prepared with "
            f"`{as_typed('python -m dataset_scripts.unlabelled')} --raw ... --out {folder}`, "
            f"found no {MANIFEST_FILE}."
        )
    try:
        manifest = read_json(path, MAX_RESULT_BYTES)
    except ValueError as error:
        raise WindowFormatError(f"{path}: no JSON ({error}); prepare the folder again.") from error
    if not isinstance(manifest, dict) or manifest.get("version") != MANIFEST_VERSION:
        version = manifest.get("version") if isinstance(manifest, dict) else manifest
        raise WindowFormatError(
            f"{path}: expected version {MANIFEST_VERSION}, found {version!r}; prepare it again."
        )
    wrong = [key for key in ("max_patches", "max_seconds")
             if not isinstance(manifest.get(key), int) or manifest[key] < 1]  # fmt: skip
    if wrong:
        raise WindowFormatError(f"{path}: expected whole numbers for {wrong}; prepare it again.")
    return manifest
