"""Simulated recordings as files of the formats that people have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modeling_mteeg.dataset_scripts.simulator.cnt import write_cnt


def _edf(path: Path, signal_uv: np.ndarray, names: Sequence[str], rate_hz: float) -> None:
    import edfio

    bdf = path.suffix == ".bdf"
    kind = edfio.BdfSignal if bdf else edfio.EdfSignal
    signals = [
        kind(row, rate_hz, label=name, physical_dimension="uV", physical_range=(-3276.8, 3276.7))
        for row, name in zip(signal_uv, names, strict=True)
    ]
    (edfio.Bdf if bdf else edfio.Edf)(signals, data_record_duration=1).write(path)


def _brainvision(path: Path, signal_uv, names: Sequence[str], rate_hz: float) -> None:
    """Header, markers and little-endian float32, channels of a sample together."""
    data, markers = path.with_suffix(".eeg"), path.with_suffix(".vmrk")
    channels = "\n".join(f"Ch{number}={name},,1,µV" for number, name in enumerate(names, 1))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n"
        f"[Common Infos]\nCodepage=UTF-8\nDataFile={data.name}\nMarkerFile={markers.name}\n"
        "DataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(names)}\nSamplingInterval={1e6 / rate_hz:.10g}\n"
        f"[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n[Channel Infos]\n{channels}\n",
        "utf-8",
    )
    markers.write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n"
        f"[Common Infos]\nCodepage=UTF-8\nDataFile={data.name}\n[Marker Infos]\n",
        "utf-8",
    )
    data.write_bytes(signal_uv.T.astype("<f4").tobytes())


def _eeglab(path: Path, signal_uv, names: Sequence[str], rate_hz: float) -> None:
    """A .set with its samples in a .fdt beside it."""
    from scipy.io import savemat

    data = path.with_suffix(".fdt")
    data.write_bytes(signal_uv.T.astype("<f4").tobytes())
    places = np.array([(name,) for name in names], dtype=[("labels", "O")])
    eeg = {
        "setname": path.stem, "nbchan": len(names), "trials": 1, "pnts": signal_uv.shape[1],
        "srate": rate_hz, "xmin": 0.0, "data": data.name, "datfile": data.name,
        "chanlocs": places, "event": [], "icawinv": [], "icaweights": [], "icasphere": [],
    }  # fmt: skip
    savemat(path, {"EEG": eeg}, appendmat=False)


def _fif(path: Path, signal_uv, names: Sequence[str], rate_hz: float) -> None:
    import mne

    info = mne.create_info(list(names), rate_hz, "eeg", verbose="error")
    raw = mne.io.RawArray(signal_uv * 1e-6, info, verbose="error")
    raw.save(path, fmt="double", verbose="error")


WRITERS = {
    "rec.edf": _edf,
    "rec.bdf": _edf,
    "rec.vhdr": _brainvision,
    "rec_raw.fif": _fif,
    "rec.set": _eeglab,
    "rec.cnt": lambda path, signal, names, rate_hz: write_cnt(path, signal, names, round(rate_hz)),
}
"""A file's name to what writes it."""


def write_recording(
    folder: Path, name: str, signal_uv: np.ndarray, names: Sequence[str], rate_hz: float
) -> Path:
    """Write (channels, samples) in microvolt as the format that the name's ending says."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    writer = WRITERS.get(name) or next(w for n, w in WRITERS.items() if n[-4:] == name[-4:])
    writer(path, signal_uv, names, rate_hz)
    return path
