"""EEGLAB sets of every layout, as EEGLAB itself lays them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

RATE, SAMPLES, TRIALS = 100.0, 600, 4
NAMES = ("Fp1", "Fp2", "Cz", "Ünique", "HEOG")


def structs(*rows: tuple[Any, ...], fields: str) -> np.ndarray:
    """A MATLAB array of structs."""
    return np.array(list(rows), [(name, object) for name in fields.split()])


def content(trials: int = 1, names: tuple[str, ...] = NAMES, **other: Any) -> dict[str, Any]:
    """Fields of a set with places, types and events, and much that nobody reads."""
    rng = np.random.default_rng(len(names))
    places = [(name, "EOG" if "EOG" in name else "", *rng.normal(size=3) * 50, "x" * 40)
              for name in names]  # fmt: skip
    places[0] = (names[0], "", [], [], [], "")  # no place
    events = [("boundary", 100.5, 7.0, 1), ("cue 1", 201.0, [], 2), ("S  2", 590.0, 400.0, 3)]
    fiducials = structs(("FID", "Nasion", 90.0, 0.0, 0.0), ("FID", "Left periauricular point", 0.0,
                        80.0, 0.0), fields="type description X Y Z")  # fmt: skip
    return {
        "setname": "a set", "comments": "long " * 50, "nbchan": len(names), "trials": trials,
        "pnts": SAMPLES, "srate": RATE, "xmin": 0.0, "xmax": (SAMPLES - 1) / RATE,
        "chanlocs": structs(*places, fields="labels type X Y Z remark"),
        "chaninfo": {"nodatchans": fiducials, "plotrad": []},
        "event": structs(*events, fields="type latency duration urevent"),
        "urevent": structs(*events, fields="type latency duration urevent"),
        "epoch": [], "icawinv": np.eye(3), "history": "pop_loadset()", "etc": {"deep": {"er": 1}},
        **other,
    }  # fmt: skip


def signal(names: tuple[str, ...] = NAMES, trials: int = 1) -> np.ndarray:
    """(channels, samples) or (channels, samples, trials) in microvolt, in double precision."""
    shape = (len(names), SAMPLES, trials) if trials > 1 else (len(names), SAMPLES)
    return np.random.default_rng(7).normal(size=shape) * 20


def write_set(path: Path, layout: str) -> Path:
    """Write one of :data:`LAYOUTS`."""
    LAYOUTS[layout](path)
    return path


def _save(path: Path, variables: dict[str, Any], **options: Any) -> None:
    savemat(path, variables, appendmat=False, long_field_names=True, **options)


def _beside(path: Path) -> None:
    data = path.with_suffix(".fdt")
    data.write_bytes(signal().T.astype("<f4").tobytes())
    _save(path, {"EEG": content(data=data.name)})


def _beside_renamed(path: Path) -> None:
    """The set has the name that its data file once had."""
    path.with_suffix(".fdt").write_bytes(signal().T.astype("<f4").tobytes())
    _save(path, content(data="before.fdt"))


def _epochs(path: Path) -> None:
    starts = range(TRIALS)
    events = [("cue" if n % 2 else "7", n * SAMPLES + 31.0, n + 1) for n in starts]
    epochs = [(n + 1, "cue" if n % 2 else "7", 300.0) for n in starts]
    _save(path, {"EEG": content(
        TRIALS, data=signal(trials=TRIALS).astype("f4"),
        event=structs(*events, fields="type latency epoch"),
        epoch=structs(*epochs, fields="event eventtype eventlatency"),
    )})  # fmt: skip


def _epochs_of_fields(path: Path) -> None:
    _save(path, content(TRIALS, data=signal(trials=TRIALS), event=[]))


def _one_channel(path: Path) -> None:
    names = ("Cz",)
    _save(path, content(names=names, data=signal(names), chanlocs=structs(
        ("Cz", "EEG", 1.0, 2.0, 80.0), fields="labels type X Y Z")))  # fmt: skip


def _numbers(path: Path) -> None:
    """Events are numbers, EEGLAB's way of a file without any text."""
    events = structs((-99.0, 100.5, 7.0), (2.0, 300.0, 0.0), fields="type latency duration")
    _save(path, {"EEG": content(data=signal().astype("f4"), event=events)})


LAYOUTS = {
    "beside": _beside,
    "beside-renamed": _beside_renamed,
    "in-struct": lambda path: _save(path, {"EEG": content(data=signal())}),
    "compressed": lambda path: _save(path, {"EEG": content(data=signal())}, do_compression=True),
    "in-fields": lambda path: _save(path, content(data=signal())),
    "in-fields-single": lambda path: _save(path, content(data=signal().astype("f4"))),
    "no-places": lambda path: _save(path, {"EEG": content(data=signal(), chanlocs=[], event=[])}),
    "one-event": lambda path: _save(path, content(
        data=signal(), event=structs(("go", 5.0, 0.0), fields="type latency duration"))),
    "nested": lambda path: _save(path, {"EEG": {"EEG": content(data=signal())}}),
    "one-channel": _one_channel,
    "numbers": _numbers,
    "epochs": _epochs,
    "epochs-of-fields": _epochs_of_fields,
}  # fmt: skip
"""What writes a set, by its layout."""
EPOCHS = ("epochs", "epochs-of-fields")
LAZY = ("in-fields", "in-fields-single", "one-event", "one-channel")
"""Those whose signal is left in the file until it is asked for."""
