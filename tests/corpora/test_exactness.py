"""From the files to the rows: the windows of the plain MNE chain, where the events are.

The plain chain is what the published scripts call, written here with MNE alone: read, pick, filter,
notch, resample. The recordings and their windows are in known_recordings.py.
"""

from __future__ import annotations

from pathlib import Path

import datasets
import mne
import numpy as np
import pytest
from known_recordings import MAKERS, Known

from modeling_mteeg.data import WindowReader, encode_window
from modeling_mteeg.dataset_scripts.prepare import corpus_class
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.writer import prepare

# The corpora at their own rates, and others that occur: TUH at 512, PhysioNet MI's odd subjects.
CASES = [
    ("tuab", 250), ("tuab", 256), ("tuab", 500), ("tuab", 512), ("tuev", 250), ("tuev", 256),
    ("seed-v", 1000), ("chb-mit", 256), ("sleep-edf", 100), ("physionet-mi", 160),
    pytest.param("physionet-mi", 128, marks=pytest.mark.slow),
]  # fmt: skip
MOST_UV = {"float32": 0.02, "int16": 0.1}


def plain_mne(recording: Known) -> np.ndarray:
    """(channels, samples) in microvolt at 200 Hz, without the filters that MNE refuses."""
    kind = recording.path.suffix
    reader = mne.io.read_raw_cnt if kind == ".cnt" else mne.io.read_raw_edf
    raw = reader(recording.path, preload=True, verbose="ERROR")
    raw.pick(recording.labels)  # in this order
    nyquist = raw.info["sfreq"] / 2
    raw.filter(l_freq=0.1, h_freq=75.0 if nyquist > 75 else None, verbose="ERROR")
    if nyquist > 51:
        raw.notch_filter(50.0, verbose="ERROR")
    raw.resample(200, verbose="ERROR")
    return raw.get_data() * 1e6


def rows_of(folder: Path) -> list[dict]:
    """All windows of a prepared corpus: recording, onset, class and signal in microvolt."""
    windows = []
    for rows in datasets.load_from_disk(str(folder)).values():
        reader = WindowReader(rows)
        signals = reader.read(range(len(reader)))
        for index in range(len(reader)):
            label = reader.label_names[reader.labels[index]]
            key = str(reader.recordings[index])
            windows.append((key, float(reader.onsets_s[index]), label, signals[index]))
    return windows


# MNE divides by the positions of channels, which these files do not have.
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
@pytest.mark.parametrize("dtype", ["int16", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("task", "rate_hz"), CASES)
def test_rows_are_the_plain_chain_at_the_known_windows(
    task: str, rate_hz: int, dtype: str, tmp_path: Path
) -> None:
    known = MAKERS[task](tmp_path / "raw", rate_hz)
    corpus = corpus_class(task)(tmp_path / "raw")
    folder = prepare(corpus, tmp_path / "out", Settings(dtype=dtype, progress=False))
    rows = rows_of(folder)
    squares, count = 0.0, 0
    for recording in known:
        key = recording.path.stem.removesuffix("-PSG")
        rows_of_key = [row for row in rows if row[0] == key]
        stored = sorted((round(onset_s, 4), label) for _, onset_s, label, _ in rows_of_key)
        assert stored == sorted(recording.windows), key
        whole = plain_mne(recording)
        for _, onset_s, _, signal in rows_of_key:
            samples = np.arange(signal.shape[1]) + round(onset_s * 200)
            error = signal - np.take(whole, samples, axis=1, mode="wrap")
            rms = np.sqrt(np.mean(error**2, axis=1))  # of every channel, edges included
            assert rms.max() < MOST_UV[dtype], f"{key} at {onset_s} s: {rms.max():.3g} microvolt"
            squares, count = squares + np.sum(error**2), count + error.size
        assert whole.std() > 5
    assert len(rows) == sum(len(recording.windows) for recording in known)
    assert np.sqrt(squares / count) < 0.5 * MOST_UV[dtype]


def test_a_window_one_sample_off_would_be_seen(tmp_path: Path) -> None:
    """The comparison above can fail: neighbouring samples differ by far more than it allows."""
    whole = plain_mne(MAKERS["physionet-mi"](tmp_path, 160)[0])
    assert np.sqrt(np.mean(np.diff(whole, axis=1) ** 2)) > 50 * MOST_UV["int16"]


@pytest.mark.parametrize("peak_uv", [50.0, 1000.0, 11_000.0])
def test_int16_keeps_a_tenth_of_a_microvolt_up_to_eleven_millivolt(peak_uv: float) -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 10, (8, 2000)).astype(np.float32).clip(-40, 40)
    signal[3, 700] = peak_uv
    row = encode_window(signal, [f"C{n}" for n in range(8)], 0, "r", "s", 0.0)
    read = np.frombuffer(row["signal"], "<i2").reshape(8, 2000) * np.float32(row["scale"])
    assert np.sqrt(np.mean((read - signal) ** 2, axis=1)).max() < 0.1
