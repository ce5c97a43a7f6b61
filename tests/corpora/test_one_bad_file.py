"""Whatever one recording makes fail, the run goes on without it; what is the machine's ends it."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from odd_files import write_odd_edf
from tiny_recordings import eeg
from tiny_runs import report, write_runs

from modeling_mteeg.dataset_scripts import corpus as corpus_module
from modeling_mteeg.dataset_scripts import survey
from modeling_mteeg.dataset_scripts.annotated import Annotated, AnnotatedOptions
from modeling_mteeg.dataset_scripts.physionet_mi import PhysionetMi
from modeling_mteeg.dataset_scripts.reading import load_any
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.simulator.cnt import write_cnt
from modeling_mteeg.dataset_scripts.soundness import check_amplitude
from modeling_mteeg.dataset_scripts.unlabelled import prepare_unlabelled, stretch_parts
from modeling_mteeg.dataset_scripts.writer import prepare
from modeling_mteeg.model.file_faults import blamed_on
from modeling_mteeg.model.recording_headers import RecordingError
from modeling_mteeg.model.recording_sources import open_source

TOLERANT = Settings(progress=False, max_skipped=0.5)
NAMES = ("C3", "CZ", "C4")


@pytest.mark.parametrize(
    "error",
    [OverflowError("too large"), ZeroDivisionError(), IndexError("5"), RuntimeError("odd"),
     UnicodeDecodeError("ascii", b"\xff", 0, 1, "no"), RecursionError(), AssertionError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_any_error_of_a_recording_is_its_own(error, tmp_path):
    words = rf"a\.edf: cannot be used \({type(error).__name__}"
    with pytest.raises(RecordingError, match=words), blamed_on(tmp_path / "a.edf"):
        raise error


def no_memory(values: int) -> MemoryError:
    """As NumPy raises it for an array of so many values of eight bytes."""
    try:
        np.empty(2**57, np.float64)  # more than any address space
    except MemoryError as error:
        error.shape = (values,)
        return error
    raise AssertionError


def test_what_concerns_all_recordings_ends_a_run(tmp_path):
    path = tmp_path / "a.edf"
    path.write_bytes(bytes(4000))
    out_of_memory = type("OutOfMemoryError", (RuntimeError,), {})
    for error in (
        MemoryError(),
        KeyboardInterrupt(),
        SystemExit(),
        ImportError("mne"),
        OSError(28, "No space left on device"),
        out_of_memory(),
        no_memory(40_000),
    ):
        with pytest.raises(type(error)), blamed_on(path):  # fmt: skip
            raise error
    with pytest.raises(RecordingError, match="MemoryError"), blamed_on(path):
        raise no_memory(60_000)  # 120 times the file: a size that it claims
    with pytest.raises(OSError, match="5"), blamed_on(path, OSError):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("place", ["reading", pytest.param("windows", marks=pytest.mark.slow)])
def test_a_preparation_goes_on_without_the_recording(place, tmp_path, monkeypatch):
    raw = write_runs(tmp_path / "raw")
    plain = report(prepare(PhysionetMi(raw), tmp_path / "plain", TOLERANT))
    check, cut, calls = corpus_module.check_raw_signal, PhysionetMi.cut, []

    def bad_check(signal, names, file):
        if file == "S001R06.edf":
            raise OverflowError("cannot convert float infinity to integer")
        return check(signal, names, file)

    def bad_cut(self, signal, start, length):
        calls.append(start)
        if len(calls) == 9:  # the third window of the second run
            raise ZeroDivisionError
        return cut(self, signal, start, length)

    if place == "reading":
        monkeypatch.setattr(corpus_module, "check_raw_signal", bad_check)
    else:
        monkeypatch.setattr(PhysionetMi, "cut", bad_cut)
    folder = prepare(PhysionetMi(raw), tmp_path / "out", TOLERANT)
    rows = report(folder)
    (skipped,) = [key for key, row in rows.items() if row["status"] == "skipped"]
    reason = {"reading": "S001R06.edf: cannot be used (OverflowError: cannot convert",
              "windows": "S001R06.edf: cannot be used (ZeroDivisionError"}[place]  # fmt: skip
    assert reason in rows[skipped]["reason"]
    for key, row in rows.items():
        assert key == skipped or row == plain[key]
    assert not list(tmp_path.rglob("*.arrow.*"))


def test_the_unlabelled_preparation_goes_on_without_it(tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    for at, name in enumerate(("a.edf", "b.edf", "c.edf")):
        write_odd_edf(raw / name, (at + 1) * eeg(30, 200, 3), NAMES, 200)
    encode = stretch_parts.encode_stretch

    def bad_encode(values, names, key, *rest):
        if key == "b.edf":
            raise OverflowError("34")
        return encode(values, names, key, *rest)

    monkeypatch.setattr(stretch_parts, "encode_stretch", bad_encode)
    text = (prepare_unlabelled(raw, tmp_path / "out", progress=False) / "report.csv").read_text()
    assert [line.split(",")[1] for line in text.splitlines()[1:]] == ["used", "skipped", "used"]
    assert "b.edf: cannot be used (OverflowError: 34" in text


def test_a_survey_goes_on_without_it(tmp_path, monkeypatch):
    for label in ("rest_1", "rest_2", "press_3"):
        write_odd_edf(tmp_path / f"{label}.edf", eeg(30, 200, 3), NAMES, 200)
    header = survey._header

    def bad_header(path, keep_bad):
        if path.name == "rest_2.edf":
            raise struct.error("unpack requires a buffer of 4 bytes")
        return header(path, keep_bad)

    monkeypatch.setattr(survey, "_header", bad_header)
    options = AnnotatedOptions(
        labels=("rest", "press"), label_by_name={"rest": "rest", "press": "press"},
        labels_from="name", subject_from="name",
    )  # fmt: skip
    found = {one.key: one.fault for one in Annotated(tmp_path, "own", options).find_recordings()}
    assert "rest_2.edf: cannot be used (error: unpack requires" in found.pop("rest_2")
    assert set(found.values()) == {""}


def test_a_recording_without_electrodes_costs_nobody_the_channels(tmp_path):
    for label in ("rest_1", "rest_2", "press_3"):
        names = ("", "X", "Y") if label == "rest_2" else NAMES
        write_odd_edf(tmp_path / f"{label}.edf", eeg(30, 200, 3), names, 200)
    options = AnnotatedOptions(
        labels=("rest", "press"), label_by_name={"rest": "rest", "press": "press"},
        labels_from="name", subject_from="name",
    )  # fmt: skip
    corpus = Annotated(tmp_path, "own", options)
    found = {one.key: one.fault for one in corpus.find_recordings()}
    assert "rest_2.edf: expected electrodes that most" in found["rest_2"]
    assert tuple(corpus.card.channels) == NAMES
    for path in tmp_path.glob("*.edf"):
        write_odd_edf(path, eeg(30, 200, 3), ("X", "Y", "Z1"), 200)
    with pytest.raises(ValueError, match="electrodes of the 10-20 or 10-10 system that all 3"):
        Annotated(tmp_path, "own", options).find_recordings()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("kind", ["labelled", "unlabelled"])
def test_a_pipe_in_the_place_of_a_recording_is_not_waited_for(kind, tmp_path):
    raw = write_runs(tmp_path / "raw")
    first = next(raw.rglob("S001R06.edf"))
    first.unlink()
    os.mkfifo(first)
    if kind == "labelled":
        rows = report(prepare(PhysionetMi(raw), tmp_path / "out", TOLERANT))
        assert rows[first.stem]["status"] == "skipped"
    else:
        out = prepare_unlabelled(raw, tmp_path / "out", progress=False)
        lines = [line for line in (out / "report.csv").read_text().splitlines()
                 if first.name in line]  # fmt: skip
        assert lines and all("skipped" in line and "no regular file" in line for line in lines)


@pytest.mark.parametrize("value", [1.7e38, float("inf"), float("nan")])
def test_a_calibration_that_is_none_leaves_its_channel_out(value, tmp_path):
    path = tmp_path / "a.cnt"
    write_cnt(path, eeg(20, 200, 3), NAMES, 200)
    content = bytearray(path.read_bytes())
    content[900 + 75 + 71 : 900 + 75 + 75] = struct.pack("<f", value)
    path.write_bytes(content)
    source = open_source(path)
    assert source.names == ("C3", "C4") and "calibration" in source.unfit["CZ"]
    with pytest.raises(RecordingError, match="CZ"):
        load_any(path, NAMES)
    assert load_any(path, ("C3", "C4")).signal_uv.shape[0] == 2


def test_numbers_that_overflow_in_a_filter_are_never_used():
    signal = np.random.default_rng(0).normal(0, 20, (3, 1000))
    check_amplitude(signal, NAMES, "a.edf")
    signal[1, 500] = np.inf
    with pytest.raises(RecordingError, match=r"a\.edf: NaN or infinite values after.*CZ"):
        check_amplitude(signal, NAMES, "a.edf")
