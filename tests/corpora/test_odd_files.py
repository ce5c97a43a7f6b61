"""Files that lie about rates, times, units and references: refused, or read for what they are."""

from __future__ import annotations

import shutil
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import edfio
import mne
import numpy as np
import pytest
from odd_files import time_stamps, write_odd_edf
from tiny_nights import (
    NIGHT_LABELS,
    noise,
    put,
    write_hypnogram,
    write_night,
    write_nights,
)
from tiny_recordings import eeg
from tiny_runs import report

from modeling_mteeg.dataset_scripts.chb_mit import ChbMit
from modeling_mteeg.dataset_scripts.demo import simulate
from modeling_mteeg.dataset_scripts.reading import read_annotations, read_cnt, read_edf
from modeling_mteeg.dataset_scripts.registry import TASKS, corpus_class
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.simulator.cnt import write_cnt
from modeling_mteeg.dataset_scripts.sleep_edf import SleepEdf
from modeling_mteeg.dataset_scripts.soundness import check_amplitude, warning_notes
from modeling_mteeg.dataset_scripts.tuab import Tuab
from modeling_mteeg.dataset_scripts.tuev import Tuev
from modeling_mteeg.dataset_scripts.writer import PreparationError, prepare
from modeling_mteeg.model.recording_headers import RecordingError, RecordingWarning, read_edf_header

CHANNELS = ("FPZ-CZ", "PZ-OZ")
SITES = ("C3", "CZ", "C4")
POSITIONS = np.array([[-0.7, 0.1, 0.7], [0.05, 0.1, 1.0], [0.7, 0.1, 0.7]])
KEY = "SC4011E0"
UNITS_AT = 256 + 2 * (16 + 80)
SAMPLES_AT = 256 + 2 * (16 + 80 + 8 + 4 * 8 + 80)
STRICT = Settings(progress=False)
LENIENT = Settings(progress=False, max_skipped=0.5)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("nights")
    write_nights(raw)
    return raw


@pytest.fixture
def raw(nights: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(nights, tmp_path / "raw"))


@pytest.fixture
def night(raw: Path) -> Path:
    return raw / "sleep-cassette" / f"{KEY}-PSG.edf"


def hypnogram_of(night: Path) -> Path:
    return night.with_name(f"{KEY[:-1]}C-Hypnogram.edf")


SKIPPED: dict[str, tuple[Callable[[Path], object], str]] = {
    # 18,000 samples at 0.1 mHz would be 36 thousand million at 200 Hz.
    "hardly any rate": (lambda path: put(path, 244, "999999  "), "a rate of 0.0001 Hz"),
    "rate of no EEG": (lambda path: put(path, 244, "10      "), "a rate of 10 Hz"),
    "two rates": (
        lambda path: write_night(path, 1, rate_hz=(100, 128)),
        "different rates: EEG Fpz-Cz 100 Hz, EEG Pz-Oz 128 Hz; resample",
    ),
    "gaps": (lambda path: put(path, 192, "EDF+D"), "its records may have gaps (EDF+D)"),
    "nanovolt": (lambda path: put(path, UNITS_AT, "nV      nV      "), "EEG Fpz-Cz ('nV')"),
    "capitals": (lambda path: put(path, UNITS_AT, "uV      UV      "), "EEG Pz-Oz ('UV')"),
    "annotations of another night": (
        lambda path: put(hypnogram_of(path), 168, "02.01.0123.00.00"),
        "starts at 02.01.0123.00.00, but SC4011E0-PSG.edf at",
    ),
    "no annotations": (lambda path: hypnogram_of(path).unlink(), "expected one hypnogram"),
}


@pytest.mark.parametrize("case", SKIPPED)
def test_a_night_that_lies_is_skipped_and_keeps_its_place_in_the_split(
    case: str, raw: Path, night: Path, tmp_path: Path
) -> None:
    damage, reason = SKIPPED[case]
    damage(night)
    with pytest.raises(PreparationError, match="1 of 5 recordings"):
        prepare(SleepEdf(raw), tmp_path / "out", STRICT)
    rows = report(prepare(SleepEdf(raw), tmp_path / "out", LENIENT))
    assert rows[KEY]["status"] == "skipped" and reason in rows[KEY]["reason"]
    others = [row for key, row in rows.items() if key != KEY]
    # As beside a sound night: a missing annotation moves nobody into another split.
    assert [row["split"] for row in others] == ["train", "train", "validation", "test"]


def test_a_copy_has_no_place_in_the_split(raw: Path, night: Path, tmp_path: Path) -> None:
    for number in range(6, 9):
        copy = night.with_name(f"SC4{number:02d}1E0-PSG.edf")
        shutil.copy(night, copy)
        write_hypnogram(copy.with_name(f"SC4{number:02d}1EH-Hypnogram.edf"))
    write_night(raw / "z" / night.name, 77)
    rows = report(prepare(SleepEdf(raw), tmp_path / "out", LENIENT))
    assert sum("same signal" in row["reason"] for row in rows.values()) == 3
    assert sum("a second file of recording" in row["reason"] for row in rows.values()) == 1
    used = [row["split"] for row in rows.values() if row["status"] == "used"]
    assert used == ["train", "train", "train", "validation", "test"]


def test_channels_that_nobody_wants_neither_set_the_rate_nor_matter(tmp_path: Path) -> None:
    path, plain = tmp_path / "night.edf", tmp_path / "plain.edf"
    write_night(path, 0, (*NIGHT_LABELS, "EMG"), rate_hz=(100, 100, 1000))
    write_night(plain, 0)
    put(path, 256 + 3 * (16 + 80) + 2 * 8, "        ")  # its unit
    signal, rate_hz = read_edf(path, CHANNELS)
    assert rate_hz == 100  # not the 1000 Hz of the channel beside them
    np.testing.assert_array_equal(signal, read_edf(plain, CHANNELS)[0])


@pytest.mark.parametrize(
    "labels",
    [NIGHT_LABELS[::-1], ("EEG FPZ-CZ", "Pz-Oz"), ("EOG horizontal", *NIGHT_LABELS)],
    ids=["other order", "other spelling", "more channels"],
)
def test_order_and_spelling_of_channels_change_nothing(
    labels: tuple[str, ...], tmp_path: Path
) -> None:
    path, plain = tmp_path / "night.edf", tmp_path / "plain.edf"
    renamed = {"EEG FPZ-CZ": "EEG Fpz-Cz", "Pz-Oz": "EEG Pz-Oz"}
    write_night(path, 1, [renamed.get(label, label) for label in labels])
    for index, label in enumerate(labels):
        put(path, 256 + 16 * index, f"{label:<16}")
    write_night(plain, 1)
    np.testing.assert_array_equal(read_edf(path, CHANNELS)[0], read_edf(plain, CHANNELS)[0])


HOSTILE_CNT = {
    "1 Hz": (376, struct.pack("<H", 1), "a rate of 1 Hz"),
    "NaN calibration": (900 + 71, struct.pack("<f", float("nan")), r"C3 \(nan\)"),
    "infinite sensitivity": (900 + 75 + 59, struct.pack("<f", float("inf")), r"CZ \(inf\)"),
    "no calibration": (900 + 71, struct.pack("<f", 0.0), r"C3 \(0\)"),
}


@pytest.fixture
def cnt(tmp_path: Path) -> Path:
    path = tmp_path / "1_1_20180101.cnt"
    uv = np.random.default_rng(0).normal(0, 20, (3, 400))
    write_cnt(path, uv, SITES, 1000, events=[(10, 1)], positions=POSITIONS)
    return path


@pytest.mark.parametrize("case", HOSTILE_CNT)
def test_scales_and_rates_of_cnt_files_are_checked(case: str, cnt: Path) -> None:
    at, field, reason = HOSTILE_CNT[case]
    put(cnt, at, field)
    with pytest.raises(RecordingError, match=rf"1_1_20180101\.cnt.*{reason}"):
        read_cnt(cnt, SITES)


def test_annotations_are_those_of_mne_whatever_the_signal_holds(tmp_path):
    """MNE looks in the signal's bytes, too, where some files have what looks like annotations."""
    random = np.random.default_rng(3)
    for number in range(20):
        signals = [edfio.EdfSignal(random.normal(0, 20 + number, 30 * 128), 128, label=label)
                   for label in ("O1", "O2", "P3", "P4")]  # fmt: skip
        notes = [edfio.EdfAnnotation(4 * i + 0.25, 2.5, text)
                 for i, text in enumerate(("alert", "drowsy", "müde", "alert"))]  # fmt: skip
        path = tmp_path / f"{number}.edf"
        edfio.Edf(signals, annotations=notes).write(path)
        found, expected = read_annotations(path), mne.io.read_raw_edf(path).annotations
        assert found.description.tolist() == expected.description.tolist()
        np.testing.assert_allclose(found.onset, expected.onset)
        np.testing.assert_allclose(found.duration, expected.duration)
    text = path.read_bytes().replace("müde".encode(), "müd".encode("latin-1") + b"e ")
    path.write_bytes(text)
    assert read_annotations(path).description.tolist() == ["alert", "drowsy", "müde ", "alert"]


@pytest.mark.parametrize(
    "lists, expected",
    [
        ("+0|| +2.5|go| +3~1.5|T1|", [(2.5, 0, "go"), (3, 1.5, "T1")]),
        ("+0.25|| +3|T1|", [(2.75, 0, "T1")]),  # the first record comes later
        ("+2.5|go| +3|T1|", [(2.5, 0, "go"), (3, 0, "T1")]),  # no time keeping
        ("+0|| nan|x| +1_0|y| +3~-1|z| +4|T1|", [(4, 0, "T1")]),  # others have no such form
        ("+0|| +1|a|b|", [(1, 0, "a"), (1, 0, "b")]),
    ],
)
def test_lists_of_annotations_are_read_by_the_format(lists, expected, tmp_path):
    """``|`` stands for 0x14, ``~`` for 0x15, a blank for 0x00."""
    lists = lists.translate({ord("|"): "\x14", ord("~"): "\x15", ord(" "): "\0"}).encode()
    path = tmp_path / "a.edf"
    edfio.Edf([edfio.EdfSignal(np.zeros(256), 128, label="O1", physical_range=(-1, 1))],
              annotations=[edfio.EdfAnnotation(0, None, "x" * 150)]).write(path)  # fmt: skip
    header = read_edf_header(path)
    content = bytearray(path.read_bytes())
    room = header.samples[1] * 2
    for record in range(header.records):
        end = header.header_bytes + (record + 1) * header.record_bytes
        content[end - room : end] = (lists if record == 0 else b"").ljust(room, b"\0")
    path.write_bytes(content)
    notes = read_annotations(path)
    assert [(n["onset"], n["duration"], n["description"]) for n in notes] == expected


@pytest.mark.parametrize("kind", ["edf", "hypnogram", "cnt"])
def test_any_damage_to_a_header_gives_a_signal_or_a_recording_error(
    kind: str, cnt: Path, tmp_path: Path
) -> None:
    """Through the readers of signals and annotations, to the end: no other error, no hang."""
    path = cnt if kind == "cnt" else tmp_path / "a.edf"
    if kind == "edf":
        write_night(path, 0)
        read, length = (lambda: read_edf(path, CHANNELS)), 256 * 3
    elif kind == "hypnogram":
        write_hypnogram(path)
        read, length = (lambda: read_annotations(path)), path.stat().st_size
    else:
        read, length = (lambda: read_cnt(path, SITES)), 900 + 3 * 75
    original, random = path.read_bytes(), np.random.default_rng(5)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(100 if kind == "cnt" else 250):
        damaged = bytearray(original)
        for at in random.integers(0, length, random.integers(1, 9)):
            digit = random.choice(list(b"0123456789-. eE\0\xff"))
            damaged[at] = digit if random.random() < 0.7 else random.integers(256)
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read()
                outcomes["read"] += 1
            except RecordingError as error:
                assert str(error).strip()
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 5  # both happen, or the test shows nothing


# CHB-MIT -----------------------------------------------------------------------------------------


def write_chb(path: Path, labels: list[str], electrodes: dict[str, np.ndarray]) -> None:
    """Channels ``A-B``, or ``A`` alone, of the electrodes' potentials."""
    signals = []
    for label in labels:
        anode, _, cathode = label.replace("01", "O1").partition("-")
        values = electrodes[anode] - (electrodes[cathode] if cathode else 0)
        options = {"physical_dimension": "uV", "physical_range": (-800, 800)}
        signals.append(edfio.EdfSignal(values, 256, label=label, **options))
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(signals).write(path)


def electrodes_and_sites(seconds: int) -> tuple[dict[str, np.ndarray], list[str]]:
    channels = ChbMit.card.channels
    sites = sorted({site for channel in channels for site in channel.split("-")})
    return {site: noise(3, site, 256 * seconds) for site in [*sites, "CS2"]}, sites


@pytest.mark.parametrize("kind", ["against CS2", "bare"])
def test_derivations_are_made_of_electrodes_against_one_reference(
    kind: str, tmp_path: Path
) -> None:
    channels, (electrodes, sites) = ChbMit.card.channels, electrodes_and_sites(12)
    write_chb(tmp_path / "chb12_06.edf", [*channels, "T8-P8"], electrodes)
    if kind == "bare":  # with the digit of the original files
        others = [site.replace("O1", "01") for site in sites]
    else:
        others = [f"{site}-CS2" for site in sites]
    write_chb(tmp_path / "chb12_28.edf", others[::-1], electrodes)
    plain, _ = read_edf(tmp_path / "chb12_06.edf", channels, repeated=("T8-P8",), derive=True)
    with pytest.warns(RecordingWarning, match=r"derived: 16 of 16.*FP1-F7, F7-T7"):
        derived, rate_hz = read_edf(tmp_path / "chb12_28.edf", channels, derive=True)
    assert rate_hz == 256
    np.testing.assert_allclose(derived, plain, atol=0.08)  # three roundings to 16 bits
    with pytest.raises(RecordingError, match="channels missing"):  # only if it is asked for
        read_edf(tmp_path / "chb12_28.edf", channels)
    write_chb(tmp_path / "chb12_29.edf", others[1:], electrodes)
    with pytest.raises(RecordingError, match=r"chb12_29\.edf: channels missing: .*C3"):
        read_edf(tmp_path / "chb12_29.edf", channels, derive=True)


def test_channel_sets_that_change_inside_a_case_lose_no_recording(tmp_path: Path) -> None:
    electrodes, sites = electrodes_and_sites(41)
    entry = "File Name: {}.edf\nNumber of Seizures in File: 1\nSeizure 1 Start Time: 5 seconds\n"
    for case in (12, 20, 22):
        key = f"chb{case}_28"
        labels = [f"{site}-CS2" for site in sites] if case == 12 else list(ChbMit.card.channels)
        folder = tmp_path / "raw" / key[:5]
        shifted = {site: np.roll(values, case) for site, values in electrodes.items()}
        write_chb(folder / f"{key}.edf", labels, shifted)
        text = entry.format(key) + "Seizure 1 End Time: 20 seconds\n"
        (folder / f"{key[:5]}-summary.txt").write_text(text)
    folder = prepare(ChbMit(tmp_path / "raw"), tmp_path / "out", STRICT)
    rows = report(folder)
    assert [row["status"] for row in rows.values()] == ["used"] * 3
    assert "derived: 16 of 16" in rows["chb12_28"]["warnings"]
    assert not rows["chb20_28"]["warnings"]
    readme = " ".join((folder / "README.md").read_text("utf-8").split())
    assert "Used though some channels are derived: 1 of 3 (chb12_28)" in readme


def test_files_that_the_summary_of_case_24_does_not_name_are_free_of_seizures(
    tmp_path: Path,
) -> None:
    """Its summary names 12 of its 22 files; all of them test in BIOT's protocol."""
    for name in ("chb23_06", "chb24_01", "chb24_02"):
        folder = tmp_path / name[:5]
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.edf").write_bytes(name.encode())
        (folder / f"{name[:5]}-summary.txt").write_text("")
    (tmp_path / "chb24" / "chb24-summary.txt").write_text(
        "File Name: chb24_01.edf\nNumber of Seizures in File: 1\n"
        "Seizure 1 Start Time: 30 seconds\nSeizure 1 End Time: 50 seconds\n"
    )
    corpus = ChbMit(tmp_path, "biot")
    recordings = {recording.key: recording for recording in corpus.find_recordings()}
    segments, _ = corpus.segments(recordings["chb24_01"], 20_000)
    assert "seizure" in {segment.label for segment in segments}
    with pytest.warns(RecordingWarning, match=r"does not name the file.*chb24_02\.edf"):
        segments, _ = corpus.segments(recordings["chb24_02"], 20_000)
    assert {segment.label for segment in segments} == {"background"}
    with pytest.raises(RecordingError, match="not named"):
        corpus.segments(recordings["chb23_06"], 20_000)


# Signals, notes, order ---------------------------------------------------------------------------


def test_one_channel_in_another_unit_is_named() -> None:
    names, signal = (
        ("C3", "C1", "CZ", "C2", "C4"),
        np.random.default_rng(0).normal(0, 20, (5, 4000)),
    )
    assert check_amplitude(signal, names, "a.edf") == ()
    for factor in (1e-3, 1e3):
        other = signal * np.array([[1], [1], [factor], [1], [1]])
        (line,) = check_amplitude(other, names, "a.edf")
        assert line.startswith("unlike the others in amplitude: 1 of 5 (CZ (times")
    flat = signal * np.array([[0], [1], [1], [1], [1]])
    assert check_amplitude(flat, names, "a.edf") == ()  # named as flat, before
    with pytest.raises(RecordingError, match="unit or the range in the header is wrong"):
        check_amplitude(flat * 1e-6, names, "a.edf")


def test_notes_of_warnings_are_sentences() -> None:
    flat, unnamed = "flat: 1 of 2 (C3)", "a.txt does not name the file, which is taken as free: b"
    lines = warning_notes([("x", [flat]), ("y", [flat, unnamed])])
    assert [line.split(":")[0] for line in lines] == [
        "Used though a.txt does not name the file, which is taken as free",
        "Used though some channels are flat",
    ]


@pytest.mark.parametrize("reader", [Tuab, Tuev])
def test_stray_files_near_the_root_are_left_out(
    reader: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stray.edf").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    (recording,) = reader(".").find_recordings()
    assert "not in a folder of" in recording.left_out


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("simulated")
    simulate(raw, size="small", progress=False)
    return raw


@pytest.mark.parametrize("task", TASKS)
def test_no_split_depends_on_the_order_of_the_directory(
    task: str, simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = corpus_class(task)(simulated / task)
    recordings = corpus.find_recordings()
    splits = corpus.assign([recording for recording in recordings if not recording.left_out])
    listed = Path.rglob
    for seed in range(3):

        def shuffled(self, pattern, seed=seed):
            paths = sorted(listed(self, pattern))
            return iter([paths[i] for i in np.random.default_rng(seed).permutation(len(paths))])

        monkeypatch.setattr(Path, "rglob", shuffled)
        again = corpus.find_recordings()
        assert again == recordings
        wanted = [recording for recording in again if not recording.left_out]
        assert corpus.assign(wanted[::-1]) == splits


def test_a_file_that_may_have_gaps_and_has_none_is_a_continuous_one(tmp_path: Path) -> None:
    """As Nihon Kohden exports: EDF+D, every record where the last one ends."""
    names, signal = ("C3", "C4"), eeg(20, 100, 2)
    plain, _ = read_edf(write_odd_edf(tmp_path / "plain.edf", signal, names, 100), names)
    stamps = time_stamps(range(20), b"cue")
    for name, kind in (("a.edf", "EDF+D"), ("a.edf", "EDF+C")):
        path = write_odd_edf(tmp_path / name, signal, names, 100, kind=kind, stamps=stamps)
        np.testing.assert_array_equal(read_edf(path, names)[0], plain)
        assert read_annotations(path).onset.tolist() == [0.5]
    for kind, name in (("EDF+D", "b.edf"), ("BDF+D", "b.bdf")):
        apart = time_stamps([*range(10), *range(40, 50)])
        path = write_odd_edf(tmp_path / name, signal, names, 100, kind=kind, stamps=apart)
        with pytest.raises(RecordingError, match=r"recorded at 0 to 10 s, 40 to 50 s"):
            read_edf(path, names)


def test_a_cnt_file_without_its_number_of_samples_is_read_and_warned_of(tmp_path: Path) -> None:
    path, names = tmp_path / "a.cnt", ("C3", "C4")
    write_cnt(path, eeg(20, 100, 2), names, 100)
    right, content = read_cnt(path, names), path.read_bytes()
    path.write_bytes(content[:864] + bytes(4) + content[868:])
    with pytest.warns(RecordingWarning, match=r"its file is odd: a\.cnt: its header states 0"):
        found = read_cnt(path, names)
    np.testing.assert_array_equal(found[0], right[0])
