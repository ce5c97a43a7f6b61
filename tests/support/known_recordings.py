"""Hand-made recordings in the layouts of the six corpora, with the windows that they must give.

The windows are written down by hand, in seconds and by class, not computed by the readers. The
signals are noise that is different everywhere, so a window that is a sample off is seen.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import edfio
import numpy as np

from modeling_mteeg.dataset_scripts.simulator.cnt import write_cnt

TUH = "FP1 FP2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 A1 A2 FZ CZ PZ T1 T2".split()
CHB = (
    "FP1-F7 F7-T7 T7-P7 P7-O1 FP2-F8 F8-T8 T8-P8 P8-O2 "
    "FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2"
).split()
SEED = (
    "FP1 FPZ FP2 AF3 AF4 F7 F5 F3 F1 FZ F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCZ FC2 FC4 FC6 FT8 "
    "T7 C5 C3 C1 CZ C2 C4 C6 T8 TP7 CP5 CP3 CP1 CPZ CP2 CP4 CP6 TP8 P7 P5 P3 P1 PZ P2 P4 P6 P8 "
    "PO7 PO5 PO3 POZ PO4 PO6 PO8 CB1 O1 OZ O2 CB2"
).split()
MOTOR = (
    "FC5 FC3 FC1 FCZ FC2 FC4 FC6 C5 C3 C1 CZ C2 C4 C6 CP5 CP3 CP1 CPZ CP2 CP4 CP6 "
    "FP1 FPZ FP2 AF7 AF3 AFZ AF4 AF8 F7 F5 F3 F1 FZ F2 F4 F6 F8 FT7 FT8 T7 T8 T9 T10 "
    "TP7 TP8 P7 P5 P3 P1 PZ P2 P4 P6 P8 PO7 PO3 POZ PO4 PO8 O1 OZ O2 IZ"
).split()

Window = tuple[float, str]
"""Start in seconds, and class."""


@dataclasses.dataclass
class Known:
    """One recording that the reader must use.

    Parameters
    ----------
    path : Path
    labels : list of str
        The file's own names of the task's channels, in the task's order.
    windows : list of (start_s, class)
        All of its windows in order of their starts; starts may be negative (TUEV).
    """

    path: Path
    labels: list[str]
    windows: list[Window]


def noise(channels: int, samples: int, rate_hz: float, seed: int) -> np.ndarray:
    """Microvolt (channels, samples): noise, drift, hum, an offset, and a jump of an electrode."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(0, 15, (channels, samples))
    signal += rng.normal(0, 100 / np.sqrt(samples), (channels, samples)).cumsum(axis=1)
    signal += 20 * np.sin(2 * np.pi * 50 * np.arange(samples) / rate_hz)
    signal += rng.uniform(-200, 200, (channels, 1))
    signal[channels // 2, samples // 3 : samples // 3 + round(rate_hz / 5)] += 800
    return signal


def write_edf(path, labels, rate_hz, seconds, seed, annotations=(), slow=()):
    """An EDF file (EDF+ with annotations) of :func:`noise`, and slower channels behind it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    signal = noise(len(labels), round(seconds * rate_hz), rate_hz, seed)
    signals = [
        edfio.EdfSignal(
            np.clip(row, -3276, 3276), rate_hz, label=label, physical_dimension="uV",
            physical_range=(-3276.8, 3276.7),
        )
        for row, label in zip(signal, labels, strict=True)
    ]  # fmt: skip
    for label in slow:
        ramp = np.linspace(-1, 1, round(seconds))
        signals.append(edfio.EdfSignal(ramp, 1, label=label, physical_range=(-1, 1)))
    edfio.Edf(
        signals,
        data_record_duration=1,
        annotations=[edfio.EdfAnnotation(*one) for one in annotations] or None,
    ).write(path)


def tuab(root: Path, rate_hz: float) -> list[Known]:
    """75 s, so seven windows and 5 s that fill none; channels in another order, an ECG channel."""
    found = []
    labels = [f"EEG {name}-REF" for name in TUH]
    for seed, (part, label, name) in enumerate(
        [
            ("train", "normal", "aaaaaaaa_s001_t000"),
            ("train", "normal", "bbbbbbbb_s001_t000"),
            ("eval", "abnormal", "cccccccc_s001_t000"),
        ]
    ):
        path = root / "edf" / part / label / "01_tcp_ar" / f"{name}.edf"
        write_edf(path, [*labels[::-1], "EEG EKG1-REF"], rate_hz, 75, seed)
        found.append(Known(path, labels, [(10.0 * k, label) for k in range(7)]))
    return found


def tuev(root: Path, rate_hz: float) -> list[Known]:
    """60 s; events at both ends wrap, one lies between samples, one is marked on two channels."""
    rows_and_windows: list[tuple[str, list[Window]]] = [
        (
            "3,0.0,1.0,1\n4,0.0,1.0,1\n0,1.99,2.99,4\n7,30.003,31.003,6\n9,59.0,60.0,2\n",
            # The first sample at or after 30.003 s is 30.005 s.
            [(-2.0, "SPSW"), (-2.0, "SPSW"), (-0.01, "EYEM"), (28.005, "BCKG"), (57.0, "GPED")],
        ),
        ("1,57.0,58.0,3\n1,57.005,58.005,5\n", [(55.0, "PLED"), (55.005, "ARTF")]),
        ("1,2.0,3.0,3\n2,20.5,21.5,2\n", [(0.0, "PLED"), (18.5, "GPED")]),
    ]
    found = []
    labels = [f"EEG {name}-LE" for name in TUH]
    paths = ["train/aaaaaaaa/aaaaaaaa_00000001", "train/bbbbbbbb/bbbbbbbb_00000001",
             "eval/000/bckg_000_a_"]  # fmt: skip
    for seed, (place, (rows, windows)) in enumerate(zip(paths, rows_and_windows, strict=True)):
        path = root / "edf" / f"{place}.edf"
        write_edf(path, labels, rate_hz, 60, seed)
        path.with_suffix(".rec").write_text(rows)
        found.append(Known(path, labels, windows))
    return found


def seed_v(root: Path, rate_hz: float) -> list[Known]:
    """15 trials of 1 or 2 s in 48 s, at times that only a simulated session may have."""
    root.mkdir(parents=True, exist_ok=True)
    starts = [2 + 3 * trial for trial in range(15)]
    ends = [start + 1 + trial % 2 for trial, start in enumerate(starts)]
    (root / "SIMULATED").write_text('{"seed": 0, "version": 1}')
    (root / "trial_times.json").write_text(json.dumps({"3": {"start": starts, "end": ends}}))
    path = root / "7_3_20180101.cnt"
    order = ["M1", *SEED[:30], "VEO", *SEED[30:], "M2", "HEO"]
    write_cnt(path, noise(len(order), round(48 * rate_hz), rate_hz, 0), order, round(rate_hz))
    emotions = "sad fear neutral disgust happy happy disgust neutral sad fear neutral happy fear " \
               "sad disgust"  # fmt: skip
    windows = [
        (float(second), emotion)
        for start, end, emotion in zip(starts, ends, emotions.split(), strict=True)
        for second in range(start, end)
    ]
    return [Known(path, SEED, windows)]


def chb_mit(root: Path, rate_hz: float) -> list[Known]:
    """70 s with seizures at the start, in the middle, at the end, short, and close together."""
    s, b = "seizure", "background"
    seizures_and_windows: dict[str, tuple[list[tuple[int, int]], list[Window]]] = {
        "chb01_01": (
            [(20, 33)],
            [(0, b), (10, b), (20, s), (21, s), (22, s), (23, s), (33, b), (43, b), (53, b)],
        ),
        # 6 s: one window around it, 28 to 38 s; background keeps clear of that window.
        "chb02_16+": ([(30, 36)], [(0, b), (10, b), (28, s), (38, b), (48, b), (58, b)]),
        "chb20_01": (
            [(0, 11), (25, 35), (44, 56)],
            [(0, s), (1, s), (11, b), (25, s), (44, s), (45, s), (46, s), (56, b)],
        ),
        "chb22_01": (
            [(2, 5), (60, 70)],  # a window around the first would start before the recording
            [(0, s), (10, b), (20, b), (30, b), (40, b), (50, b), (60, s)],
        ),
    }
    found = []
    # As in the original files: T8-P8 twice, other derivations, a channel without a name.
    labels = [*CHB, "FZ-CZ", "CZ-PZ", "T7-FT9", "-", "T8-P8"]
    for seed, (name, (seizures, windows)) in enumerate(seizures_and_windows.items()):
        folder = root / name[:5]
        write_edf(folder / f"{name}.edf", labels, rate_hz, 70, seed)
        lines = [f"File Name: {name}.edf", f"Number of Seizures in File: {len(seizures)}"]
        for number, (start, end) in enumerate(seizures, start=1):
            which = f" {number}" if len(seizures) > 1 else ""
            lines += [f"Seizure{which} Start Time: {start} seconds",
                      f"Seizure{which} End Time: {end} seconds"]  # fmt: skip
        (folder / f"{name[:5]}-summary.txt").write_text("\n".join(lines) + "\n")
        own = [f"{one}-0" if one == "T8-P8" else one for one in CHB]  # as MNE renames them
        found.append(Known(folder / f"{name}.edf", own, windows))
    return found


def sleep_edf(root: Path, rate_hz: float) -> list[Known]:
    """Ten epochs of all stages, of which movement and unknown leave, and one beyond the end."""
    stages = ["W", "1", "2", "3", "4", "Movement time", "R", "?", "2", "W"]
    names = {"W": "W", "1": "N1", "2": "N2", "3": "N3", "4": "N3", "R": "REM"}
    labels = ["EEG Fpz-Cz", "EEG Pz-Oz"]
    found = []
    for night in range(5):
        order = stages[night:] + stages[:night]
        key = f"SC4{night // 2:02d}{night % 2 + 1}"
        path = root / "sleep-cassette" / f"{key}E0-PSG.edf"
        slow = ("Resp oro-nasal", "Temp rectal")
        write_edf(path, [*labels, "EOG horizontal"], rate_hz, 300, night, slow=slow)
        texts = [one if one == "Movement time" else f"Sleep stage {one}" for one in order]
        notes = [(30.0 * k, 30.0, text) for k, text in enumerate([*texts, "Sleep stage 2"])]
        edfio.Edf([], annotations=[edfio.EdfAnnotation(*one) for one in notes]).write(
            path.with_name(f"{key}EC-Hypnogram.edf")
        )
        windows = [(30.0 * k, names[one]) for k, one in enumerate(order) if one in names]
        found.append(Known(path, labels, windows))
    return found


def physionet_mi(root: Path, rate_hz: float) -> list[Known]:
    """26 s with cues at tenths of seconds; the last leaves less than 4 s and gives no window."""
    meaning = {
        4: {"T0": "rest", "T1": "left", "T2": "right"},
        6: {"T0": "rest", "T1": "both fists", "T2": "feet"},
    }
    cues = [(0.0, "T0"), (4.2, "T2"), (8.3, "T0"), (12.5, "T1"), (16.6, "T0"), (22.2, "T2")]
    labels = [name.capitalize().ljust(4, ".") for name in MOTOR]
    found = []
    for subject in (1, 2, 3):
        for run in (4, 6):
            path = root / f"S00{subject}" / f"S00{subject}R{run:02d}.edf"
            seed = 10 * subject + run
            notes = [(onset, 4.1, code) for onset, code in cues]
            write_edf(path, labels, rate_hz, 26, seed, annotations=notes)
            windows = [(onset, meaning[run][code]) for onset, code in cues[:-1]]
            found.append(Known(path, labels, windows))
    return found


MAKERS: dict[str, Callable[[Path, float], list[Known]]] = {
    "tuab": tuab,
    "tuev": tuev,
    "seed-v": seed_v,
    "chb-mit": chb_mit,
    "sleep-edf": sleep_edf,
    "physionet-mi": physionet_mi,
}
