"""Folders of small labelled recordings in every format that can be written here.

Five people; the mutated recording is of ``p1``, who trains. Formats that hold
annotations have their labels in them, the others in their names, and one in a table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from bids_datasets import dataset
from odd_files import write_odd_edf
from recording_files import write_recording

from .originals import Original

NAMES = ("C3", "Cz", "C4")
RATE, SECONDS = 200, 12
EVENTS = ((1.0, "rest"), (4.0, "press"), (7.0, "rest"), (9.0, "press"))
"""Each lasts 2 s."""
PEOPLE = (1, 9, 8, 7, 4)
"""By the hash of ``p1`` ..., that orders them for the split, the first trains."""
SIGNAL = ("extract", "labelled", "unlabelled")


def noise(seed: int) -> np.ndarray:
    """(3, samples) in microvolt."""
    return np.random.default_rng(seed).normal(0, 20, (len(NAMES), SECONDS * RATE))


def _odd(suffix: str, kind: str, gap_s: int = 0) -> Callable[[Path], None]:
    """EDF and BDF files with time stamps and labels in their annotations."""

    def write(folder: Path) -> None:
        for person in PEOPLE:
            onsets = [second + gap_s * (second >= 6) for second in range(SECONDS)]
            stamps = [f"+{onset}\x14\x14\0".encode() for onset in onsets] if kind else []
            for onset, text in EVENTS if kind else ():
                true = onset + gap_s * (onset >= 6)
                stamps[int(onset)] += f"+{true}\x152.0\x14{text}\x14\0".encode()
            names = [f"p{person}_{label}" for label in ("rest", "press")]
            for number, name in enumerate([f"p{person}"] if kind else names):
                write_odd_edf(folder / f"{name}{suffix}", noise(10 * person + number), NAMES, RATE,
                              kind=kind, stamps=stamps)  # fmt: skip

    return write


def _by_name(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for person in PEOPLE:
            for number, label in enumerate(("rest", "press")):
                file = name.replace("rec", f"p{person}_{label}")
                write_recording(folder, file, noise(10 * person + number), NAMES, RATE)

    return write


def _with_table(folder: Path) -> None:
    _odd(".edf", "")(folder)
    rows = [f"{path.name},{path.stem[:2]},{path.stem[3:]}" for path in sorted(folder.glob("*.edf"))]
    (folder / "labels.csv").write_text("\n".join(["file,subject,label", *rows]) + "\n")


def _brainvision(folder: Path) -> None:
    """16 bit with a resolution, a number of points, and labels as markers."""
    for person in PEOPLE:
        path = folder / f"p{person}.vhdr"
        channels = "\n".join(f"Ch{n}={name},,0.1,µV" for n, name in enumerate(NAMES, 1))
        path.write_text(
            "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
            f"DataFile=p{person}.eeg\nMarkerFile=p{person}.vmrk\nDataFormat=BINARY\n"
            f"DataOrientation=MULTIPLEXED\nNumberOfChannels={len(NAMES)}\n"
            f"DataPoints={SECONDS * RATE}\nSamplingInterval={1e6 / RATE:.10g}\n\n[Binary Infos]\n"
            f"BinaryFormat=INT_16\n\n[Channel Infos]\n{channels}\n",
            "utf-8",
        )
        markers = ["Mk1=New Segment,,1,1,0,20010101080000000000"]
        for number, (onset, text) in enumerate(EVENTS, 2):
            code = "S  1" if text == "rest" else "S  2"
            markers.append(f"Mk{number}=Stimulus,{code},{round(onset * RATE) + 1},{2 * RATE},0")
        path.with_suffix(".vmrk").write_text(
            "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\n"
            f"Codepage=UTF-8\nDataFile=p{person}.eeg\n\n[Marker Infos]\n"
            + "\n".join(markers) + "\n", "utf-8",
        )  # fmt: skip
        counts = np.rint(noise(person).T / 0.1).astype("<i2")
        path.with_suffix(".eeg").write_bytes(counts.tobytes())


def eeglab_fields(signal_uv: np.ndarray, data: object, name: str) -> dict[str, object]:
    """The fields of an EEGLAB set that readers look at."""
    places = np.array([(label,) for label in NAMES], dtype=[("labels", "O")])
    events = [(text, onset * RATE + 1, 2.0 * RATE) for onset, text in EVENTS]
    kinds = [("type", "O"), ("latency", "O"), ("duration", "O")]
    return {
        "setname": name, "nbchan": len(NAMES), "trials": 1, "pnts": signal_uv.shape[1],
        "srate": float(RATE), "xmin": 0.0, "xmax": (signal_uv.shape[1] - 1) / RATE, "data": data,
        "chanlocs": places, "event": np.array(events, dtype=kinds),
        "icawinv": [], "icaweights": [], "icasphere": [],
    }  # fmt: skip


def _eeglab(embedded: bool, packed: bool = False) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        from scipy.io import savemat

        for person in PEOPLE:
            signal, path = noise(person), folder / f"p{person}.set"
            data: object = signal.astype(np.float32)
            if not embedded:
                data = f"p{person}.fdt"
                (folder / f"p{person}.fdt").write_bytes(signal.T.astype("<f4").tobytes())
            fields = {"EEG": eeglab_fields(signal, data, path.stem)}
            savemat(path, fields, appendmat=False, do_compression=packed)

    return write


def _epochs(folder: Path) -> None:
    import mne

    info = mne.create_info(list(NAMES), RATE, "eeg", verbose="error")
    data = noise(1).reshape(len(NAMES), 6, -1).swapaxes(0, 1) * 1e-6  # (6, 3, samples)
    epochs = mne.EpochsArray(data, info, verbose="error")
    epochs.save(folder / "p1-epo.fif", verbose="error")


def _bids(folder: Path) -> None:
    dataset(folder, people=5)


def _simple(name: str, write: Callable, files: tuple[str, ...], corpus: str) -> Original:
    key = files[0].rpartition(".")[0]
    return Original(name, "recordings", write, files, SIGNAL, corpus, (key,), files[0])


_BIDS = "sub-01/eeg/sub-01_task-press"
ORIGINALS = (
    _simple("edf", _odd(".edf", ""), ("p1_rest.edf",), "named"),
    _simple("edf+c", _odd(".edf", "EDF+C"), ("p1.edf",), "noted"),
    _simple("edf+d", _odd(".edf", "EDF+D", 100), ("p1.edf",), "noted"),
    _simple("bdf", _odd(".bdf", ""), ("p1_rest.bdf",), "named"),
    _simple("bdf+c", _odd(".bdf", "BDF+C"), ("p1.bdf",), "noted"),
    _simple("table", _with_table, ("p1_rest.edf", "labels.csv", "labels.csv"), "table"),
    _simple("brainvision", _brainvision, ("p1.vhdr", "p1.vhdr", "p1.vmrk", "p1.eeg"), "markers"),
    _simple("eeglab", _eeglab(True), ("p1.set",), "noted"),
    _simple("eeglab-packed", _eeglab(True, True), ("p1.set",), "noted"),
    _simple("eeglab-fdt", _eeglab(False), ("p1.set", "p1.fdt"), "noted"),
    _simple("fif", _by_name("rec_raw.fif"), ("p1_rest_raw.fif",), "named"),
    _simple("cnt", _by_name("rec.cnt"), ("p1_rest.cnt",), "named"),
    Original("epochs", "recordings", _epochs, ("p1-epo.fif",), ("extract",), "", (), "p1-epo.fif"),
    Original(
        "bids", "recordings", _bids,
        (f"{_BIDS}_eeg.edf", f"{_BIDS}_events.tsv", "task-press_channels.tsv",
         "dataset_description.json"),
        SIGNAL, "bids", ("sub-01_task-press_eeg",), f"{_BIDS}_eeg.edf",
    ),
)  # fmt: skip
