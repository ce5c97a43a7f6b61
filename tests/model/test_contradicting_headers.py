"""Headers that contradict themselves, or their file: refused or said, and by all uses alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from odd_files import as_stored, time_stamps, write_odd_edf
from recording_files import write_recording
from tiny_recordings import eeg

from modeling_mteeg.dataset_scripts.reading import load_any
from modeling_mteeg.dataset_scripts.unlabelled import Source
from modeling_mteeg.dataset_scripts.unlabelled.stretch_reading import read_signal
from modeling_mteeg.model.channel_choice import channel_findings, choose_channels
from modeling_mteeg.model.recording_headers import RecordingError
from modeling_mteeg.model.recording_sources import open_source
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.model.signal_ranges import NO_SCALE

mne = pytest.importorskip("mne")

RATE, SECONDS = 100, 24
NAMES = ("C3", "CZ", "C4")
SIGNAL = eeg(SECONDS, RATE, len(NAMES))
PHYSICAL, DIGITAL, SAMPLES = 104, 120, 216


def odd(folder: Path, name: str = "a.edf", signal: np.ndarray = SIGNAL, **options) -> Path:
    return write_odd_edf(folder / name, signal, NAMES, RATE, **options)


def field(path: Path, offset: int, *texts: str, signal: int = 1) -> Path:
    """Change fields of 8 bytes of one signal, that lie one kind after the other."""
    content = bytearray(path.read_bytes())
    count = int(content[252:256])
    for place, text in enumerate(texts):
        at = 256 + (offset + 8 * place) * count + 8 * signal
        content[at : at + 8] = text.encode().ljust(8)
    path.write_bytes(content)
    return path


def refused_by_all(path: Path, words: str) -> None:
    """By what answers (the extractor and predictions open so), and by both preparations."""
    with pytest.raises(ValueError, match=words):
        open_source(path, preload=False)
    with pytest.raises(RecordingError, match=words):
        load_any(path, NAMES)
    with pytest.raises(RecordingError, match=words):
        read_signal(Source(), Source().describe(path.parent, path))


RANGES: dict[str, Callable[[Path], Path]] = {
    "digital falls": lambda path: field(path, DIGITAL, "32767", "-32767"),
    "digital without a width": lambda path: field(path, DIGITAL, "5", "5"),
    "digital of more bits": lambda path: field(path, DIGITAL, "-327670", "327670"),
    "digital unsigned": lambda path: field(path, DIGITAL, "0", "65535"),
    "digital none": lambda path: field(path, DIGITAL, "nan", "32767"),
    "digital exceeded": lambda path: field(path, DIGITAL, "-200", "200"),
    "physical without a width": lambda path: field(path, PHYSICAL, "5", "5"),
    "physical infinite": lambda path: field(path, PHYSICAL, "-inf", "inf"),
    "physical absurd": lambda path: field(path, PHYSICAL, "-1.7e38", "1.7e38"),
}


@pytest.mark.parametrize("name", ["a.edf", "a.bdf"])
@pytest.mark.parametrize("case", RANGES)
def test_a_channel_whose_range_contradicts_itself_has_no_scale(case, name, tmp_path):
    path = odd(tmp_path, name)
    if name == "a.bdf" and case in ("digital falls", "digital of more bits"):
        many = {"digital falls": ("8388607", "-8388607"), "digital of more bits": ("-9e7", "9e7")}
        field(path, DIGITAL, *many[case])
    elif name == "a.bdf" and case == "digital unsigned":
        field(path, DIGITAL, "0", "16777215")
    else:
        RANGES[case](path)
    kind = case.split()[0]
    for recording in (path, mne.io.read_raw(path, verbose="error")):
        source = open_source(recording, preload=False)
        assert list(source.unfit) == ["CZ"] and source.names == ("C3", "C4")
        assert source.unfit["CZ"].startswith(NO_SCALE) and kind in source.unfit["CZ"]
    with pytest.raises(SignalError, match=r"CZ \(its header gives no scale.*Write the true"):
        choose_channels(source, NAMES)
    choice = choose_channels(source, NAMES, 1)
    assert [finding.code for finding in channel_findings(source, choice)] == ["range"]
    with pytest.raises(RecordingError, match=f"{kind} range|lie outside its digital range"):
        load_any(path, NAMES)
    assert load_any(path, ("C3", "C4")).signal_uv.shape == (2, SECONDS * RATE)
    signal = read_signal(Source(), Source().describe(tmp_path, path))
    assert signal.channels == ("C3", "C4") and "CZ (its header" in signal.left_out[0]


def test_ranges_that_are_legal_change_nothing(tmp_path):
    plain = open_source(odd(tmp_path)).read([0, 1, 2])
    falling = field(odd(tmp_path, "b.edf"), PHYSICAL, "3276.7", "-3276.7")
    source = open_source(falling)
    assert not source.unfit
    signs = np.array([1, -1, 1])[:, None]
    np.testing.assert_allclose(source.read([0, 1, 2])[0], signs * plain[0], atol=1e-12)
    touching = SIGNAL.copy()
    touching[1, 500:600], touching[1, 700] = 3276.7, -3276.7
    source = open_source(odd(tmp_path, "c.edf", touching))
    assert not source.unfit
    np.testing.assert_allclose(source.read([1])[0, 0] * 1e6, as_stored(touching)[1], atol=1e-6)
    one_more = field(odd(tmp_path, "d.edf"), DIGITAL, "-32768", "32768")
    assert not open_source(one_more).unfit


@pytest.mark.parametrize("kind", ["EDF+C", "EDF+D", "", "BDF+C"])
@pytest.mark.parametrize("step_s", [2, 0.5])
def test_times_of_all_records_contradict_how_long_they_last(kind, step_s, tmp_path):
    stamps = time_stamps(np.arange(SECONDS) * step_s)
    path = odd(tmp_path, "a.bdf" if kind == "BDF+C" else "a.edf", kind=kind, stamps=stamps)
    words = rf"lasts 1 s \(100 samples: 100 Hz\).* say {step_s} s \({100 / step_s:g} Hz\)"
    refused_by_all(path, words)
    with pytest.raises(ValueError, match=words):
        open_source(mne.io.read_raw(path, verbose="error"))


def test_gaps_count_whatever_the_letter_says(tmp_path):
    apart = time_stamps([*range(12), *range(112, 124)])
    paths = [odd(tmp_path, f"{at}.edf", kind=kind, stamps=apart)
             for at, kind in enumerate(("EDF+D", "EDF+C", ""))]  # fmt: skip
    sources = [open_source(path) for path in paths]
    assert [part.onset_s for part in sources[0].parts] == [0, 112]
    for source in sources[1:]:
        assert source.parts == sources[0].parts and source.findings[-1].code == "parts"
    back = time_stamps([*range(12), *range(6, 18)])
    refused_by_all(odd(tmp_path, "b.edf", kind="EDF+C", stamps=back), "go back in time")
    some = apart[:-1] + [b""]
    refused_by_all(odd(tmp_path, "c.edf", kind="EDF+C", stamps=some), "and others none")


def test_clocks_that_stand_or_drift_are_said(tmp_path):
    plain = open_source(odd(tmp_path)).read([0, 1, 2])
    for name, onsets, words in (
        ("a.edf", np.zeros(SECONDS), "all of its 24 records carry the same time"),
        ("b.edf", np.arange(SECONDS) * 1.008, "longer than by its rate"),
        ("c.edf", np.arange(SECONDS) * 0.992, "shorter than by its rate"),
    ):
        source = open_source(odd(tmp_path, name, kind="EDF+C", stamps=time_stamps(onsets)))
        (finding,) = source.findings
        assert finding.code == "record-times" and words in finding.sentence
        assert len(source.parts) == 1
        np.testing.assert_array_equal(source.read([0, 1, 2]), plain)
    long = eeg(30, 400, 3)  # of a sample each, and yet no 30 gaps
    path = write_odd_edf(tmp_path / "d.edf", long, NAMES, 400, kind="EDF+C",
                         stamps=time_stamps(np.arange(30) * 1.005))  # fmt: skip
    (finding,) = open_source(path).findings
    assert finding.code == "record-times" and "0.145 s longer" in finding.sentence
    for onsets in (np.arange(SECONDS) + 0.5, np.arange(SECONDS) + (np.arange(SECONDS) % 2) / 1e3):
        assert not open_source(odd(tmp_path, kind="EDF+C", stamps=time_stamps(onsets))).findings


def test_a_text_in_place_of_a_time_is_no_time(tmp_path):
    """Writers that leave the time of a record out, and begin with an event."""
    events = [f"+{7 * at}\x14go\x14\0".encode() for at in range(SECONDS)]
    for stamps in (events, [b"\0"] * SECONDS):
        assert not open_source(odd(tmp_path, kind="EDF+C", stamps=stamps)).findings


@pytest.mark.parametrize("count", ["99", "101", "98"])
@pytest.mark.parametrize("plus", [True, False])
def test_numbers_of_samples_that_do_not_fit_the_file_are_refused(plus, count, tmp_path):
    stamps = time_stamps(range(SECONDS)) if plus else ()
    path = field(odd(tmp_path, kind="EDF+C" if plus else "", stamps=stamps), SAMPLES, count)
    words = "records have .* samples each, the signals of its header make|promises|different rates"
    refused_by_all(path, words)


@pytest.mark.parametrize("kind", ["", "EDF+C", "EDF+D"])
@pytest.mark.parametrize("bytes_a_record", [-2, -146, 2])
def test_a_cut_that_happens_to_fit_the_number_of_records_is_one(kind, bytes_a_record, tmp_path):
    path = odd(tmp_path, kind=kind, stamps=time_stamps(range(SECONDS)) if kind else ())
    plain, content = open_source(path).read([0, 1, 2]), path.read_bytes()
    more = bytes_a_record * SECONDS
    path.write_bytes(content[:more] if more < 0 else content + bytes(more))
    source = open_source(path)
    (finding,) = source.findings
    assert finding.code == ("cut-off" if more < 0 else "more-records")
    assert source.samples < SECONDS * RATE or more > 0
    np.testing.assert_array_equal(source.read([0, 1, 2]), plain[..., : source.samples])
    with pytest.raises(RecordingError, match=r"promises 24 data records|behind its last record"):
        load_any(path, NAMES)


def test_annotations_that_are_not_where_the_header_has_them_are_refused(tmp_path):
    """Of a file without a count nothing else tells."""
    path = odd(tmp_path, kind="EDF+C", stamps=time_stamps(range(SECONDS)), stated=-1)
    refused_by_all(field(path, SAMPLES, "73"), "do not begin with its time|different rates")


def test_bytes_behind_the_last_record_are_said(tmp_path):
    path = odd(tmp_path)
    path.write_bytes(path.read_bytes() + bytes(77))
    (finding,) = open_source(path).findings
    assert finding.code == "more-records" and "77 bytes behind its last record" in finding.sentence
    with pytest.raises(RecordingError, match="77 bytes behind its last record"):
        load_any(path, NAMES)


def test_a_file_that_is_of_the_other_width_is_not_read_by_its_name(tmp_path):
    for name, other in (("a.edf", "b.bdf"), ("a.bdf", "b.edf")):
        path = odd(tmp_path, name).rename(tmp_path / other)
        refused_by_all(path, f"named {path.suffix}, but it begins as")


def brainvision(folder: Path, name: str, *changes: tuple[str, str], size: int = 0) -> Path:
    """A recording whose header was changed, and whose signal is so many bytes longer."""
    path = write_recording(folder, name, SIGNAL, NAMES, RATE)
    text = path.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, "utf-8")
    data = path.with_suffix(".eeg")
    content = data.read_bytes()
    data.write_bytes(content + bytes(size) if size >= 0 else content[:size])
    return path


POINTS = ("[Binary", f"DataPoints={SECONDS * RATE}\n[Binary")
ONE_MORE, ONE_LESS = (("NumberOfChannels=3", f"NumberOfChannels={n}") for n in (4, 2))
WITHOUT_C4 = ("Ch3=C4,,1,µV\n", "")
VECTORS = ("MULTIPLEXED", "VECTORIZED")
NARROW = ("IEEE_FLOAT_32", "INT_16")


@pytest.mark.parametrize(
    ("changes", "size", "words"),
    [
        ([ONE_MORE], 0, "NumberOfChannels is 4, it describes 3"),
        ([ONE_LESS], 0, "NumberOfChannels is 2, it describes 3"),
        ([ONE_LESS, WITHOUT_C4, POINTS], 0, "holds so many of 3 channels"),
        ([NARROW, POINTS], 0, "or of more bits"),
        ([VECTORS, POINTS], -400, "its channels lie one after the other"),
        ([("NumberOfChannels=3", "NumberOfChannels=" + "9" * 5000)], 0, "NumberOfChannels: expect"),
        ([("SamplingInterval=10000", "SamplingInterval=nan")], 0, "SamplingInterval: expected"),
        ([("SamplingInterval=10000", "SamplingInterval=0")], 0, "SamplingInterval: expected"),
    ],
)
def test_brainvision_files_of_another_length_than_their_header_are_refused(
    changes, size, words, tmp_path
):
    refused_by_all(brainvision(tmp_path, "a.vhdr", *changes, size=size), words)


@pytest.mark.parametrize(
    ("changes", "size", "code", "words"),
    [
        ([POINTS], 1200, "more-records", "promises 24 s; read: 25 s"),
        ([POINTS], -1207, "cut-off", "1.01 s are missing at its end"),
        ([], -5, "cut-off", "7 bytes at its end make no whole sample of its 3 channels"),
    ],
)
def test_brainvision_files_that_are_longer_or_cut_off_are_said(
    changes, size, code, words, tmp_path
):
    path = brainvision(tmp_path, "a.vhdr", *changes, size=size)
    (finding,) = open_source(path).findings
    assert finding.code == code and words in finding.sentence
    with pytest.raises(RecordingError, match=words):
        load_any(path, NAMES)


def test_brainvision_headers_that_are_right_have_no_finding(tmp_path):
    for changes in ([], [POINTS], [VECTORS, POINTS], [ONE_LESS, POINTS]):
        path = brainvision(tmp_path, "a.vhdr", *changes, size=-9600 if ONE_LESS in changes else 0)
        assert not open_source(path).findings
