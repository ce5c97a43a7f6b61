"""What the preparations make of every finding is what the table of policies says."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from odd_files import time_stamps, write_odd_edf
from recording_files import write_recording

from modeling_mteeg.dataset_scripts.annotated import Annotated, AnnotatedOptions
from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording, windows_in_order
from modeling_mteeg.dataset_scripts.reading import load_any
from modeling_mteeg.dataset_scripts.simulator.cnt import write_cnt
from modeling_mteeg.dataset_scripts.unlabelled import prepare_unlabelled
from modeling_mteeg.model.findings import CHANNELS, NEVER, NOTE, POLICIES, REFUSE, WINDOWS
from modeling_mteeg.model.recording_headers import RecordingError
from modeling_mteeg.model.task_card import TaskCard

NAMES, RATE, SECONDS = ("C3", "CZ", "C4"), 200, 40


def noise(rate_hz: int = RATE, seconds: int = SECONDS, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 20, (len(NAMES), seconds * rate_hz))


def edf(path: Path, signal: np.ndarray | None = None, rate_hz: int = RATE, **options) -> None:
    signal = noise(rate_hz, seed=sum(path.name.encode())) if signal is None else signal
    names = options.pop("names", NAMES)
    write_odd_edf(path, signal, names, rate_hz, **options)


def changed(path: Path, change: Callable[[bytes], bytes], **options) -> None:
    edf(path, **options)
    path.write_bytes(change(path.read_bytes()))


def middle_channel(change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    signal = noise()
    signal[1] = change(signal[1])
    return signal


def padded(path: Path) -> None:
    signal = noise()
    signal[:, 20 * RATE :] = signal[:, 20 * RATE - 1][:, None]
    edf(path, signal)


def without_count(path: Path) -> None:
    write_cnt(path, noise(), NAMES, RATE)
    content = path.read_bytes()
    path.write_bytes(content[:864] + bytes(4) + content[868:])


def marked_channel(path: Path) -> None:
    import mne

    write_recording(path.parent, path.name, noise(), NAMES, RATE)
    raw = mne.io.read_raw_fif(path, preload=True, verbose="error")
    raw.info["bads"] = ["CZ"]
    raw.save(path, overwrite=True, fmt="double", verbose="error")


def unit_of_middle(content: bytes) -> bytes:
    at = 256 + 3 * (16 + 80) + 8
    return content[:at] + b"        " + content[at + 8 :]


def range_of_middle(content: bytes) -> bytes:
    """Digital maximum, which samples of the middle channel exceed."""
    at = 256 + 3 * 128 + 8
    return content[:at] + b"200     " + content[at + 8 :]


GAP = [*range(20), *range(60, 80)]
BAD = [f"+{at}\x14\x14\0".encode() + (b"+4\x153\x14BAD_a\x14\0" if at == 4 else b"")
       for at in range(SECONDS)]  # fmt: skip
CASES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "cut-off": ("cut.edf", lambda path: changed(path, lambda content: content[:-3000])),
    "record-count": ("count.edf", lambda path: edf(path, stated=-1)),
    "more-records": ("more.edf", lambda path: edf(path, stated=SECONDS - 4)),
    "sample-count": ("samples.cnt", without_count),
    "text-encoding": ("text.edf", lambda path: edf(
        path, kind="EDF+C", stamps=time_stamps(range(SECONDS), b"m\xfcde"))),
    "parts": ("parts.edf", lambda path: edf(path, kind="EDF+D", stamps=time_stamps(GAP))),
    "record-times": ("times.edf", lambda path: edf(
        path, kind="EDF+D", stamps=time_stamps([at * 1.003 for at in range(SECONDS)]))),
    "marked-bad": ("bad.edf", lambda path: edf(path, kind="EDF+C", stamps=BAD)),
    "constant": ("constant.edf", padded),
    "unknown-unit": ("unit.edf", lambda path: changed(path, unit_of_middle)),
    "range": ("range.edf", lambda path: changed(path, range_of_middle)),
    "other-unit": ("other.edf", lambda path: edf(
        path, (noise() * [[0.25], [100], [0.25]]).clip(-3e3, 3e3))),
    "quiet": ("quiet.edf", lambda path: edf(path, noise() * [[40], [0.05], [40]])),
    "flat": ("flat.edf", lambda path: edf(path, middle_channel(lambda row: 0 * row))),
    "not-usable": ("usable_raw.fif", marked_channel),
    "repeated-label": ("twice.edf", lambda path: edf(
        path, noise()[[0, 1, 2, 1]], names=(*NAMES, "EEG CZ-REF"))),
    "missing": ("missing.edf", lambda path: edf(path, noise()[:2], names=("C3", "C4"))),
    "filter-left-out": ("rate.edf", lambda path: edf(path, rate_hz=100)),
    "mains": ("mains.edf", lambda path: edf(
        path, noise() + 40 * np.sin(2 * np.pi * 60 * np.arange(SECONDS * RATE) / RATE))),
    "short-for-filter": ("short.edf", lambda path: edf(path, noise(seconds=20))),
}  # fmt: skip
"""A file for every finding; its middle channel is the odd one, where channels are."""
ELSEWHERE = {
    "end-left-out": "below", "derived": "test_odd_files", "renamed": "test_unlabelled_odd_files",
    "cue-left-out": "prediction alone", "sidecar": "test_bids",
    "events-outside": "test_contradicting_files",
    "interpolated": "no preparation interpolates unless it is told to",
}  # fmt: skip


class Plain(Corpus):
    """Windows of 4 s in order."""

    card = TaskCard(name="plain", labels=("a", "b"), channels=NAMES, window_s=4.0)
    in_order, constant = True, "leave-out"

    def load(self, recording):
        return load_any(recording.path, self.card.channels)

    def segments(self, recording, samples):
        return windows_in_order(0, samples, self.window_samples, "a"), Counter()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("policies")
    for name, write in CASES.values():
        write(raw / name)
    return raw


@pytest.fixture(scope="module")
def unlabelled(made: Path) -> dict[str, dict[str, str]]:
    out = prepare_unlabelled(made, made.parent / "policies-out", progress=False)
    with open(out / "report.csv", newline="", encoding="utf-8") as file:
        return {row["recording"]: row for row in csv.DictReader(file)}


def test_every_finding_is_tried_or_said_to_be_elsewhere():
    assert {*CASES, *ELSEWHERE} == set(POLICIES)


@pytest.mark.parametrize("code", CASES)
def test_labelled_preparations_do_what_the_table_says(code: str, made: Path):
    name, action = CASES[code][0], POLICIES[code]["labelled"]
    recording = Recording(name, name, made / name)
    if action in (REFUSE, CHANNELS):
        with pytest.raises(RecordingError) as error:
            Plain(made).read(recording)
        assert action == REFUSE or "CZ (marked bad)" in str(error.value)
        return
    reading = Plain(made).read(recording)
    seconds = reading.seconds if code != "parts" else 40
    count = len(list(reading.windows))
    assert code in reading.findings
    assert (count == seconds // 4) == (action == NOTE or code == "parts")
    if action == WINDOWS and code != "parts":
        assert sum(reading.left_out.values()) == seconds // 4 - count > 0


@pytest.mark.slow
@pytest.mark.parametrize("code", CASES)
def test_the_unlabelled_preparation_does_what_the_table_says(code: str, unlabelled):
    row, action = unlabelled[CASES[code][0]], POLICIES[code]["unlabelled"]
    assert row["status"] == ("skipped" if action == REFUSE else "used")
    channels = row["channels"].split()
    if action == CHANNELS:
        assert channels == ["C3", "C4"] and "CZ (" in row["channels_left_out"]
    elif action == NEVER:
        assert not row["notes"] and not row["channels_left_out"]
    else:
        assert channels == [*NAMES] and not row["channels_left_out"]
        words = {"parts": "2 parts", "marked-bad": "3 s are left out: marked as bad",
                 "constant": "s are left out: C3, CZ, C4 at", "record-count": "does not count",
                 "cut-off": "missing at its end", "more-records": "promises only 36 s",
                 "sample-count": "samples a channel", "text-encoding": "Latin-1",
                 "repeated-label": "taken once: CZ", "mains": "60 Hz",
                 "filter-left-out": "low-pass", "record-times": "s longer than by its rate",
                 "short-for-filter": "shorter than the filters"}  # fmt: skip
        assert words[code] in row["notes"]


def test_ends_that_fill_no_window_are_noted(tmp_path):
    for person, label in enumerate("ab"):
        edf(tmp_path / f"{label}{person}.edf", noise(seconds=39))
    options = AnnotatedOptions(
        labels=("a", "b"), label_by_name={"a.$": "a", "b.$": "b"}, subject_from="name", window=4.0
    )
    corpus = Annotated(tmp_path, "ends", options)
    reading = corpus.read(corpus.find_recordings()[0])
    assert POLICIES["end-left-out"]["labelled"] == NOTE and "end-left-out" in reading.findings
    assert "the ends of events are left out: 3 s fill no window" in reading.warnings
    assert len(list(reading.windows)) == 9
