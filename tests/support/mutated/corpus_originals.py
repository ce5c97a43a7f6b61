"""Small copies of the six corpora's raw layouts, with all label files that they have.

Hand-made and short; signals are noise. The mutated recording is one that trains, and there are
others that train, so that a run without it is a run.
"""

from __future__ import annotations

import json
from pathlib import Path

import edfio
from known_recordings import CHB, MOTOR, SEED, TUH, noise, write_edf

from modeling_mteeg.dataset_scripts.simulator.cnt import write_cnt

from .originals import Original

RATE = 200
REC = "1,1.0,2.0,6\n4,4.5,5.5,1\n0,9.0,10.0,4\n7,14.0,15.0,2\n9,17.0,18.0,3\n"
STAGES = ("Sleep stage W", "Sleep stage 1", "Sleep stage 2", "Sleep stage R")


def _tuab(folder: Path) -> None:
    for seed, name in enumerate("abcde"):
        part, label = ("eval" if name == "e" else "train"), "normal" if seed % 2 else "abnormal"
        path = folder / "edf" / part / label / "01_tcp_ar" / f"aaaaaaa{name}_s001_t000.edf"
        write_edf(path, [f"EEG {one}-REF" for one in TUH], RATE, 22, seed)


def _tuev(folder: Path) -> None:
    for seed, name in enumerate("abcde"):
        place = f"train/aaaaaaa{name}/aaaaaaa{name}_00000001"
        path = folder / "edf" / f"{'eval/000/bckg_000_a_' if name == 'e' else place}.edf"
        write_edf(path, [f"EEG {one}-LE" for one in TUH], RATE, 20, seed)
        path.with_suffix(".rec").write_text(REC)


def _chb_mit(folder: Path) -> None:
    names = ("chb01_01", "chb01_02", "chb02_01", "chb20_01", "chb22_01")
    for seed, name in enumerate(names):
        write_edf(folder / name[:5] / f"{name}.edf", [*CHB, "FZ-CZ", "CZ-PZ"], RATE, 45, seed)
    for case in sorted({name[:5] for name in names}):
        text = f"Data Sampling Rate: {RATE} Hz\n*************************\n\n"
        for name in (one for one in names if one.startswith(case)):
            text += (
                f"File Name: {name}.edf\nFile Start Time: 08:00:00\nFile End Time: 8:00:45\n"
                "Number of Seizures in File: 2\n"
                "Seizure 1 Start Time: 12 seconds\nSeizure 1 End Time: 24 seconds\n"
                "Seizure 2 Start Time: 30 seconds\nSeizure 2 End Time: 41 seconds\n\n"
            )
        (folder / case / f"{case}-summary.txt").write_text(text)


def _sleep_edf(folder: Path) -> None:
    for night in range(6):
        path = folder / "sleep-cassette" / f"SC40{night}1E0-PSG.edf"
        write_edf(path, ["EEG Fpz-Cz", "EEG Pz-Oz"], 100, 120, night)
        notes = [edfio.EdfAnnotation(30.0 * k, 30.0, text) for k, text in enumerate(STAGES)]
        edfio.Edf([], annotations=notes).write(path.with_name(f"SC40{night}1EC-Hypnogram.edf"))


def _physionet_mi(folder: Path) -> None:
    labels = [name.capitalize().ljust(4, ".") for name in MOTOR]
    notes = [(0.0, 4.1, "T0"), (4.2, 4.1, "T2"), (8.3, 4.1, "T0"), (12.5, 4.1, "T1")]
    for subject in (1, 2):
        for run in (4, 6, 8):
            path = folder / f"S00{subject}" / f"S00{subject}R{run:02d}.edf"
            write_edf(path, labels, 160, 18, 10 * subject + run, annotations=notes)


def _seed_v(folder: Path) -> None:
    starts = [1.0 + 1.5 * trial for trial in range(15)]
    times = {"3": {"start": starts, "end": [start + 1 for start in starts]}}
    (folder / "SIMULATED").write_text('{"seed": 0, "version": 1}')
    (folder / "trial_times.json").write_text(json.dumps(times))
    for seed in (7, 8):
        signal = noise(len(SEED), 25 * RATE, RATE, seed)
        write_cnt(folder / f"{seed}_3_20180101.cnt", signal, SEED, RATE)


def _corpus(task: str, write, targets: tuple[str, ...], bad: tuple[str, ...]) -> Original:
    ways = ("labelled", "extract-any")
    return Original(task, "recordings", write, targets, ways, task, bad, targets[0])


_TUEV = "edf/train/aaaaaaaa/aaaaaaaa_00000001"
_NIGHT = "sleep-cassette/SC4001E"
ORIGINALS = (
    _corpus("tuab", _tuab, ("edf/train/abnormal/01_tcp_ar/aaaaaaaa_s001_t000.edf",),
            ("aaaaaaaa_s001_t000",)),
    _corpus("tuev", _tuev, (f"{_TUEV}.edf", *[f"{_TUEV}.rec"] * 3), ("aaaaaaaa_00000001",)),
    _corpus("chb-mit", _chb_mit, ("chb01/chb01_01.edf", *["chb01/chb01-summary.txt"] * 3),
            ("chb01_01", "chb01_02")),
    _corpus("sleep-edf", _sleep_edf, (f"{_NIGHT}0-PSG.edf", *[f"{_NIGHT}C-Hypnogram.edf"] * 3),
            ("SC4001E0",)),
    _corpus("physionet-mi", _physionet_mi, ("S001/S001R04.edf",), ("S001R04",)),
    _corpus("seed-v", _seed_v, ("7_3_20180101.cnt", "trial_times.json"),
            ("7_3_20180101", "8_3_20180101")),
)  # fmt: skip
