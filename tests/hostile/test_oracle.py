"""The judge of contradictions: silent on sound files, and each contradiction is found.

A check that cannot fail would let everything pass, so every kind of contradiction is made once.
"""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from mutated.oracle import contradictions
from mutated.originals import all_originals, write_originals
from mutated.recording_originals import eeglab_fields, noise
from tiny_nights import put

ORIGINALS = all_originals()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    write_originals(folder, list(ORIGINALS))
    return folder


@pytest.fixture
def copied(place, tmp_path):
    """A copy of an original, to be changed."""
    return lambda name: Path(shutil.copytree(place / name, tmp_path / name))


def found(folder: Path, target: str | None = None) -> str:
    original = ORIGINALS[folder.name]
    path = sorted(folder.glob(target or original.targets[0]))[0]
    name = path.relative_to(folder).as_posix()
    both = contradictions(folder, original.name, original.group, name, original.opened)
    return "; ".join(both["signal"] + both["labels"])


@pytest.mark.parametrize("name", ORIGINALS)
def test_sound_files_do_not_contradict_themselves(place, name):
    for target in ORIGINALS[name].targets:
        assert found(place / name, target) == ""


def field(offset: int, text: str, signals: int = 0, column: int = 0):
    """Put a text into an EDF header: at an offset, or into the first signal's column."""

    def change(path: Path) -> None:
        at = 256 + column * signals if signals else offset
        put(path, at, text.ljust(8))

    return change


def content(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def replaced(old: str, new: str):
    def change(path: Path) -> None:
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")

    return change


def packed(form: str, at: int, value: float):
    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        struct.pack_into(form, data, at, value)
        path.write_bytes(bytes(data))

    return change


def tag(kind: int, form: str, value: float, inside: int = 0):
    """Put a number into the first tag of a kind of a FIF file."""

    def change(path: Path) -> None:
        from mutated.header_changes import fif_tags

        at = next(at for at, its, *_ in fif_tags(path.read_bytes()) if its == kind)
        packed(form, at + 16 + inside, value)(path)

    return change


def eeg_set(**fields):
    def change(path: Path) -> None:
        from scipy.io import savemat

        data = noise(1).astype(np.float32)
        savemat(path, {"EEG": eeglab_fields(noise(1), data, "p1") | fields}, appendmat=False)

    return change


def night(*stages: tuple[float, float, str]):
    def change(path: Path) -> None:
        import edfio

        edfio.Edf([], annotations=[edfio.EdfAnnotation(*one) for one in stages]).write(path)

    return change


PLACES = eeglab_fields(noise(1), 0, "")["chanlocs"]
W, N1 = "Sleep stage W", "Sleep stage 1"
EVENTS = "sub-01/eeg/sub-01_task-press_events.tsv"
REC, SUMMARY = "*/*/*/aaaaaaaa_*.rec", "chb01/chb01-summary.txt"
CONTRADICTIONS = {
    "edf: fewer records": ("edf", "", field(236, "13"), "stated 13 of"),
    "edf: cut": ("edf", "", content(lambda data: data[:-100]), "stated 12 of"),
    "edf: more bytes": ("edf", "", content(lambda data: data + b"x"), "stated 12 of"),
    "edf: length of the header": ("edf", "", field(184, "512"), "a header of 512"),
    "edf: digital range turned round": (
        "edf", "", content(lambda data: data[: 256 + 360] + b"32767   " + data[256 + 368 :]),
        "digital minimum 32767, maximum 32767",
    ),
    "edf: digital range of no 16 bits": ("edf", "", field(0, "99999", 3, 128), "not of 16 bits"),
    "edf: samples beyond the range": ("edf", "", field(0, "100", 3, 128), "outside"),
    "edf: physical range": ("edf", "", field(0, "-3276.7", 3, 112), "physical minimum"),
    "edf: no range": ("edf", "", field(0, "nan", 3, 104), "physical minimum nan"),
    "bdf: digital range": ("bdf", "", field(0, "9999999", 3, 128), "not of 24 bits"),
    "edf+c: records that last longer": ("edf+c", "", field(244, "2"), "records last 2 s"),
    "edf+c: records that last shorter": ("edf+c", "", field(244, "0.5"), "records last 0.5 s"),
    "edf+d: records that overlap": ("edf+d", "", field(244, "2"), "records last 2 s"),
    "edf+d: a record without a time": (
        "edf+d", "", content(lambda data: data.replace(b"+5\x14\x14\0", b"x5\x14\x14\0")),
        "1 of 12 records have no time",
    ),
    "cnt: rate": ("cnt", "", packed("<H", 376, 0), "0 Hz"),
    "cnt: channels": ("cnt", "", packed("<H", 370, 4), "samples of 4 channels"),
    "cnt: samples": ("cnt", "", packed("<i", 864, 99), "99 samples of 3 channels"),
    "cnt: place of the events": ("cnt", "", packed("<I", 886, 10**8), "the table of events"),
    "cnt: calibration": ("cnt", "", packed("<f", 959, float("nan")), "calibration"),
    "brainvision: points": ("brainvision", "", replaced("DataPoints=2400", "DataPoints=2500"),
                            "2500 points stated, 2400 there"),
    "brainvision: channels": ("brainvision", "", replaced("NumberOfChannels=3",
                                                          "NumberOfChannels=2"), "described 3"),
    "brainvision: interval": ("brainvision", "", replaced("Interval=5000", "Interval=0"),
                              "interval of 0"),
    "brainvision: resolution": ("brainvision", "", replaced("C3,,0.1", "C3,,nan"), "resolution"),
    "brainvision: twice": ("brainvision", "", replaced("Ch2=", "Ch1="), "ch1 stands twice"),
    "brainvision: length": ("brainvision", "p1.eeg", content(lambda data: data[:-2]),
                            "no whole number of samples"),
    "brainvision: marker outside": ("brainvision", "p1.vmrk", replaced(",201,", ",9999,"),
                                    "at point 9999 of 2400"),
    "brainvision: other data": ("brainvision", "", replaced("DataFile=p1.eeg", "DataFile=x.eeg"),
                                "is not there"),
    "eeglab: channels": ("eeglab", "", eeg_set(nbchan=4), "for 4 channels"),
    "eeglab: points": ("eeglab", "", eeg_set(pnts=2399), "for 3 channels of 2399"),
    "eeglab: rate": ("eeglab", "", eeg_set(srate=100.0), "s by its times"),
    "eeglab: no rate": ("eeglab", "", eeg_set(srate=float("nan")), "srate is nan"),
    "eeglab: places": ("eeglab", "", eeg_set(chanlocs=PLACES[:2]), "2 places"),
    "eeglab: cut": ("eeglab", "", content(lambda data: data[:-50]), "are left"),
    "eeglab: packed and damaged": (
        "eeglab-packed", "", content(lambda data: data[:900] + b"\0" * 9 + data[909:]), "damaged"),
    "eeglab: other data": ("eeglab-fdt", "p1.fdt", content(lambda data: data[:-4]), "bytes for"),
    "eeglab: not finite": ("eeglab-fdt", "p1.fdt",
                           content(lambda data: data[:40] + b"\0\0\xc0\x7f" + data[44:]),
                           "not finite"),
    "fif: cut": ("fif", "", content(lambda data: data[:-5000]), "the file"),
    "fif: channels": ("fif", "", tag(200, ">i", 2), "channels stated, 3 described"),
    "fif: rate": ("fif", "", tag(201, ">f", -1.0), "a rate of -1"),
    "fif: calibration": ("fif", "", tag(203, ">f", 0.0, 16), "calibration 0"),
    "fif: length of a tag": ("fif", "", packed(">i", 8, 10**9), "has 1000000000 bytes"),
    "epochs: cut": ("epochs", "", content(lambda data: data[:-500]), "the file"),
    "tuev: label": ("tuev", REC, replaced(",6\n", ",5.9\n"), "label '5.9'"),
    "tuev: channel": ("tuev", REC, replaced("7,14", "199,14"), "channel '199'"),
    "tuev: outside": ("tuev", REC, replaced("17.0,18.0", "57.0,58.0"), "57 to 58 s of 20 s"),
    "tuev: digits": ("tuev", REC, replaced("17.0", "9" * 5000), "nan to 18 s"),
    "chb: file twice": ("chb-mit", SUMMARY, replaced("chb01_02", "chb01_01"), "stands twice"),
    "chb: overlap": ("chb-mit", SUMMARY, replaced("2 Start Time: 30", "2 Start Time: 20"),
                     "seizures overlap"),
    "chb: count": ("chb-mit", SUMMARY, replaced("in File: 2", "in File: 3"), "3 seizures"),
    "chb: outside": ("chb-mit", SUMMARY, replaced("End Time: 41", "End Time: 91"), "beyond 45 s"),
    "chb: rate": ("chb-mit", SUMMARY, replaced("Rate: 200", "Rate: 256"), "256 Hz by the summary"),
    "sleep: overlap": ("sleep-edf", "*/SC4001EC*", night((0, 60, W), (30, 90, N1)), "overlap"),
    "sleep: hole": ("sleep-edf", "*/SC4001EC*", night((0, 30, W), (60, 60, N1)), "leave a hole"),
    "sleep: outside": ("sleep-edf", "*/SC4001EC*", night((0, 30, W), (30, 900, N1)), "to 930 s"),
    "sleep: stage": ("sleep-edf", "*/SC4001EC*", night((0, 120, "Sleep stage 7")), "stage 7"),
    "seed-v: order": ("seed-v", "trial_times.json", replaced("[1.0,", "[9.0,"), "overlap"),
    "table: twice": ("table", "labels.csv", replaced("p1_press.edf", "p1_rest.edf"), "twice"),
    "table: cells": ("table", "labels.csv", replaced(",p1,", ","), "2 cells of 3"),
    "bids: time": ("bids", EVENTS, replaced("4.0", "nan"), "line 3: nan"),
    "bids: outside": ("bids", EVENTS, replaced("12.0", "120.0"), "120 for 2 s of 15 s"),
    "bids: channels": ("bids", "task-press_channels.tsv", replaced("Cz", "Pz"), "do not agree"),
    "weights: not finite": (
        "base", "model.safetensors", content(lambda data: data[:-4] + b"\0\0\xc0\x7f"),
        "is not finite"),
    "weights: cut": ("base", "model.safetensors", content(lambda data: data[:-4]), "of"),
    "weights: more": ("base", "model.safetensors", content(lambda data: data + b"x"),
                      "bytes are of no tensor"),
    "config: type": ("base", "config.json",
                     lambda path: path.write_text(json.dumps(json.loads(path.read_text())
                                                             | {"hidden_size": "100"})),
                     "hidden_size is '100'"),
    "config: no JSON": ("base", "config.json", content(lambda data: data[:-2]), "no JSON"),
    "checkpoint: a bit": (
        "checkpoint", "", content(lambda data: data[:20_000] + b"\1" + data[20_001:]),
        "the sum of"),
    "checkpoint: more bytes": ("checkpoint-legacy", "", content(lambda data: data + bytes(7)),
                               "7 bytes behind the last storage"),
    "checkpoint: cut": ("checkpoint-legacy", "", content(lambda data: data[:-7]), "are left"),
    "results: another file": ("results", "rows/*/*/*/*/history.json", replaced("0.5", "0.6"),
                              "is not what unit.json says"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_every_contradiction_is_found(copied, case):
    name, target, change, expected = CONTRADICTIONS[case]
    folder = copied(name)
    target = target or ORIGINALS[name].targets[0]
    change(sorted(folder.glob(target))[0])
    assert expected in found(folder, target)


@pytest.mark.parametrize("kind", ["gone", "folder", "link"])
def test_what_is_no_file_is_found(copied, kind):
    folder = copied("edf")
    path = folder / "p1_rest.edf"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("nowhere")
    original = ORIGINALS["edf"]
    assert contradictions(folder, "edf", "recordings", path.name, original.opened)["signal"]
