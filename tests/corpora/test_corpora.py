"""Labels and window positions of every corpus, on annotations whose events are known."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from modeling_mteeg.dataset_scripts.chb_mit import ChbMit, cut_seizures, read_summary
from modeling_mteeg.dataset_scripts.corpus import Recording, Segment, mark_repeated
from modeling_mteeg.dataset_scripts.physionet_mi import PhysionetMi
from modeling_mteeg.dataset_scripts.planning import Plan
from modeling_mteeg.dataset_scripts.prepare import TASKS, corpus_class
from modeling_mteeg.dataset_scripts.reading import RecordingError, pick_channels, read_edf
from modeling_mteeg.dataset_scripts.seed_v import CARD as SEED_CARD
from modeling_mteeg.dataset_scripts.seed_v import END_S, LABELS, START_S, SeedV
from modeling_mteeg.dataset_scripts.sleep_edf import CARD as SLEEP_CARD
from modeling_mteeg.dataset_scripts.sleep_edf import STAGES, SleepEdf, read_stages, trim_wake
from modeling_mteeg.dataset_scripts.tuab import Tuab
from modeling_mteeg.dataset_scripts.tuev import Tuev, read_events
from modeling_mteeg.model.recording_sources import open_source

RATE = 200


def test_what_labels_are_of_is_on_the_card_and_decides_no_window() -> None:
    """TUAB's recordings have the labels; what was prepared before cards said so stays equal."""
    assert [task for task in TASKS if corpus_class(task).card.label_of == "recording"] == ["tuab"]
    plan = SimpleNamespace(corpus=SimpleNamespace(card=Tuab.card))
    assert Plan._card_of_windows(plan) == {
        key: value for key, value in Tuab.card.to_dict().items() if key != "label_of"
    }


@pytest.mark.parametrize("task", TASKS)
def test_cards_are_those_of_the_table(task: str) -> None:
    channels_windows_outputs = {
        "tuab": (23, 10, 1),
        "tuev": (23, 5, 6),
        "seed-v": (62, 1, 5),
        "chb-mit": (16, 10, 1),
        "sleep-edf": (2, 30, 5),
        "physionet-mi": (64, 4, 5),
    }
    card = corpus_class(task).card
    assert card.name == task
    assert (len(card.channels), card.window_s, card.num_outputs) == channels_windows_outputs[task]
    assert card.license and card.corpus


@pytest.mark.parametrize("task", TASKS)
def test_a_raw_folder_that_is_not_there_or_a_wrong_protocol_is_named(
    task: str, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        corpus_class(task)(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="protocol"):
        corpus_class(task)(tmp_path, protocol="other")


# SEED-V ------------------------------------------------------------------------------------------


def test_seed_v_trials_sum_to_the_known_total() -> None:
    seconds = sum(sum(END_S[s]) - sum(START_S[s]) for s in (1, 2, 3))
    assert 16 * seconds == sum(SeedV.known_counts["16 subjects"]) == 117_744
    first_five = sum(sum(END_S[s][:5]) - sum(START_S[s][:5]) for s in (1, 2, 3))
    assert 16 * first_five == SeedV.known_counts["16 subjects"][0]


def test_seed_v_sessions_have_fifteen_trials_in_order_three_of_each_class() -> None:
    for session in (1, 2, 3):
        times = [t for pair in zip(START_S[session], END_S[session], strict=True) for t in pair]
        assert len(times) == 30 and times == sorted(times)
        assert Counter(LABELS[session]) == dict.fromkeys(range(5), 3)


def test_seed_v_windows_lie_in_their_trials(tmp_path: Path) -> None:
    corpus = SeedV(tmp_path)
    recording = Recording("3_2_20180101", "3", tmp_path / "3_2_20180101.cnt")
    segments, _ = corpus.segments(recording, 2900 * RATE)
    assert len(segments) == sum(END_S[2]) - sum(START_S[2])
    first = segments[0]
    assert (first.start, first.unit) == (30 * RATE, "trial-01")
    assert first.label == SEED_CARD.labels[LABELS[2][0]] == "sad"
    assignments = corpus.assign([recording])
    by_trial = [assignments[f"{recording.key}/trial-{n:02d}"] for n in range(1, 16)]
    assert by_trial == ["train"] * 5 + ["validation"] * 5 + ["test"] * 5
    assert {f"{recording.key}/{segment.unit}" for segment in segments} == set(assignments)


def test_seed_v_incomplete_session_is_refused(tmp_path: Path) -> None:
    recording = Recording("3_2_20180101", "3", tmp_path / "3_2_20180101.cnt")
    with pytest.raises(RecordingError, match=r"1000 s long.*2817"):
        SeedV(tmp_path).segments(recording, 1000 * RATE)


def test_seed_v_own_trial_times_count_only_for_simulated_data(tmp_path: Path) -> None:
    starts, ends = list(range(0, 30, 2)), list(range(1, 31, 2))
    times = str({"1": {"start": starts, "end": ends}}).replace("'", '"')
    (tmp_path / "trial_times.json").write_text(times)
    assert SeedV(tmp_path).trial_times_s(1) == (START_S[1], END_S[1])
    (tmp_path / "SIMULATED").write_text('{"seed": 0, "version": 1}')
    assert SeedV(tmp_path).trial_times_s(1) == (starts, ends)


# CHB-MIT -----------------------------------------------------------------------------------------

SUMMARY = """Data Sampling Rate: 256 Hz

File Name: chb02_16+.edf
File Start Time: 20:50:36
File End Time: 21:50:36
Number of Seizures in File: 1
Seizure Start Time: 2972 seconds
Seizure End Time: 3053 seconds

File Name: chb04_28.edf
Number of Seizures in File: 2
Seizure 1 Start Time:  1679 seconds
Seizure 1 End Time:  1781 seconds
Seizure 2 Start Time:  3782 seconds
Seizure 2 End Time:  3898 seconds

File Name: chb04_29.edf
Number of Seizures in File: 0
"""


def test_summaries_of_both_spellings_and_without_file_times(tmp_path: Path) -> None:
    path = tmp_path / "chb04-summary.txt"
    path.write_text(SUMMARY)
    assert read_summary(path) == {
        "chb02_16+.edf": [(2972, 3053)],
        "chb04_28.edf": [(1679, 1781), (3782, 3898)],
        "chb04_29.edf": [],
    }


def test_summary_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chb04-summary.txt"
    path.write_text(SUMMARY.replace("Seizure 2 End Time:  3898 seconds\n", ""))
    with pytest.raises(RecordingError, match=r"chb04_28\.edf: expected 2 seizures"):
        read_summary(path)


def test_original_summaries_give_all_seizures(recordings_dir: Path) -> None:
    case_1 = read_summary(recordings_dir / "chb-mit" / "chb01-summary.txt")
    assert {name: times for name, times in case_1.items() if times} == {
        "chb01_03.edf": [(2996, 3036)],
        "chb01_04.edf": [(1467, 1494)],
        "chb01_15.edf": [(1732, 1772)],
        "chb01_16.edf": [(1015, 1066)],
        "chb01_18.edf": [(1720, 1810)],
        "chb01_21.edf": [(327, 420)],
        "chb01_26.edf": [(1862, 1963)],
    }
    case_5 = read_summary(recordings_dir / "chb-mit" / "chb05-summary.txt")
    assert sum(map(len, case_5.values())) == 5
    assert case_5["chb05_06.edf"] == [(417, 532)]


def _spans(segments: list[Segment], label: str, length: int) -> list[tuple[int, int]]:
    return [(s.start, s.start + length) for s in segments if s.label == label]


@pytest.mark.parametrize(
    "seizures",
    [[], [(25, 60)], [(0, 12)], [(33, 39)], [(95, 100)], [(0, 3)], [(20, 35), (41, 47), (60, 80)]],
)
def test_windows_at_seizure_borders(seizures: list[tuple[int, int]]) -> None:
    rate, length, samples = 10, 100, 1000
    segments = cut_seizures(seizures, samples, rate, length)
    assert all(0 <= segment.start <= samples - length for segment in segments)
    assert [segment.start for segment in segments] == sorted(segment.start for segment in segments)
    ictal, background = (_spans(segments, label, length) for label in ("seizure", "background"))
    for start, end in background:  # background never touches a seizure, nor other windows
        assert all(end <= a * rate or start >= b * rate for a, b in seizures)
        assert all(end <= a or start >= b for a, b in ictal)
    assert all(stop <= start for (_, stop), (start, _) in pairwise(background))
    expected = sum(max(b - a - 9, 1) for a, b in seizures)  # stride 1 s; a short one gives one
    assert len(ictal) == expected
    for a, b in seizures:
        if b - a >= 10:
            inside = [s for s, e in ictal if s >= a * rate and e <= b * rate]
            assert inside == list(range(a * rate, (b - 10) * rate + 1, rate))
        else:
            assert any(s <= a * rate and e >= b * rate for s, e in ictal)


def test_background_without_seizures_is_cut_from_the_start() -> None:
    assert [segment.start for segment in cut_seizures([], 999, 10, 100)] == list(range(0, 900, 100))


def test_chb_mit_split_and_the_girl_recorded_twice(tmp_path: Path) -> None:
    for case in (1, 19, 20, 21, 22, 23, 24):
        folder = tmp_path / f"chb{case:02d}"
        folder.mkdir()
        (folder / f"chb{case:02d}-summary.txt").write_text("")
        (folder / f"chb{case:02d}_01.edf").write_bytes(b"")
    corpus = ChbMit(tmp_path)
    recordings = {recording.key: recording for recording in corpus.find_recordings()}
    assert recordings["chb21_01"].subject == recordings["chb01_01"].subject == "chb01"
    assert recordings["chb24_01"].left_out
    used = [recording for recording in recordings.values() if not recording.left_out]
    assert corpus.assign(used) == {
        "chb01_01": "train",
        "chb19_01": "train",
        "chb20_01": "validation",
        "chb21_01": "validation",
        "chb22_01": "test",
        "chb23_01": "test",
    }


def test_chb_mit_excerpt_gives_the_sixteen_channels_in_order(recordings_dir: Path) -> None:
    import mne

    path = recordings_dir / "chb-mit" / "chb01_04_t1457-1494_raw.fif"
    raw = mne.io.read_raw_fif(path, verbose="ERROR")
    recorded = pick_channels(open_source(raw), path, ChbMit.card.channels, ("T8-P8",))
    signal, rate = recorded.signal_uv, recorded.rate_hz
    assert rate == 256 and signal.shape == (16, len(raw.times))
    for row, name in enumerate(ChbMit.card.channels):
        original = next(channel for channel in raw.ch_names if channel.upper().startswith(name))
        np.testing.assert_allclose(signal[row], raw.get_data(picks=[original])[0] * 1e6)


# TUEV, TUAB --------------------------------------------------------------------------------------


def test_tuev_rows_become_windows_that_wrap(tmp_path: Path) -> None:
    events = tmp_path / "a_1.rec"
    events.write_text("3,0.5,1.5,1\n4,0.5,1.5,1\n0,30.0,31.0,6\n7,59.0,60.0,2\n")
    assert read_events(events)[-1] == (59.0, 60.0, "GPED")
    corpus = Tuev(tmp_path)
    recording = Recording("a_1", "a", tmp_path / "a_1.edf", (events,), "train")
    segments, _ = corpus.segments(recording, 60 * RATE)
    assert [segment.label for segment in segments] == ["SPSW", "SPSW", "BCKG", "GPED"]
    assert [segment.start / RATE for segment in segments] == [-1.5, -1.5, 28.0, 57.0]
    signal = np.arange(60 * RATE)[None]
    first, last = (corpus.cut(signal, segments[i].start, 5 * RATE)[0] / RATE for i in (0, -1))
    assert first[0] == 58.5 and first[300] == 0.0 and np.isclose(first[-1], 3.5 - 1 / RATE)
    assert last[0] == 57.0 and last[600] == 0.0 and np.isclose(last[-1], 2.0 - 1 / RATE)


@pytest.mark.parametrize(
    "row",
    [
        "1,2.0,3.0", "1,2.0,3.0,7", "1,x,3.0,1", "1,2.0,5.0,1", "1,61,62,1", "1,nan,2,1",
        "1,2.0,3.0,5.9", "199,2.0,3.0,1", "-1,2.0,3.0,1", "1.5,2.0,3.0,1", "1,3.0,2.0,1",
        f"1,{'2' * 5000},3.0,1", f"1,2.0,3.0,{'1' * 5000}", "1,-1e300,1e300,1", "1,-0.5,0.5,1",
    ],
)  # fmt: skip
def test_tuev_rows_that_cannot_be_are_refused(row: str, tmp_path: Path) -> None:
    events = tmp_path / "a_1.rec"
    events.write_text(row + "\n")
    recording = Recording("a_1", "a", tmp_path / "a_1.edf", (events,), "train")
    with pytest.raises(RecordingError, match=r"a_1\.rec") as error:
        Tuev(tmp_path).segments(recording, 60 * RATE)
    assert len(str(error.value)) < 300


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_tuab_splits_subjects_and_takes_labels_from_folders(tmp_path: Path) -> None:
    for part, label, subjects in (
        ("train", "normal", "abcde"),
        ("train", "abnormal", "efghi"),  # subject e has recordings of both kinds
        ("eval", "normal", "x"),
        ("eval", "abnormal", "y"),
    ):
        for subject in subjects:
            name = f"{subject * 8}_s001_t00{'0' if label == 'normal' else '1'}.edf"
            _touch(tmp_path / "edf" / part / label / "01_tcp_ar" / name)
    corpus = Tuab(tmp_path)
    recordings = corpus.find_recordings()
    assert len(recordings) == 12
    splits = corpus.assign(recordings)
    assert splits["eeeeeeee_s001_t000"] == "validation"  # the last of the normal subjects
    assert splits["eeeeeeee_s001_t001"] == "train"  # the first of the abnormal ones
    assert splits["xxxxxxxx_s001_t000"] == "test"
    first = next(r.path for r in recordings if r.subject == "a" * 8)
    _touch(first.with_name(f"._{first.name}"))  # a Mac's; it would be the first subject of all
    assert corpus.assign(corpus.find_recordings()) == splits
    disjoint = Tuab(tmp_path, protocol="disjoint").assign(recordings)
    assert len({disjoint[r.key] for r in recordings if r.subject == "e" * 8}) == 1
    abnormal = next(r for r in recordings if r.key == "ffffffff_s001_t001")
    segments, _ = corpus.segments(abnormal, 35 * RATE)
    assert segments == [Segment(at * RATE, "abnormal") for at in (0, 10, 20)]


def test_a_recording_that_is_there_twice_is_named() -> None:
    two = [Recording("k", "s", Path("b/k.edf")), Recording("k", "s", Path("a/k.edf"))]
    first, second = mark_repeated(two)
    assert first.path == Path("a/k.edf") and not first.fault
    assert "a/k.edf" in second.fault and second.key != "k"


# Sleep-EDF ---------------------------------------------------------------------------------------


def test_original_hypnogram_gives_the_known_epochs(recordings_dir: Path, tmp_path: Path) -> None:
    path = recordings_dir / "sleep-edf" / "SC4001EC-Hypnogram.edf"
    recording = Recording("SC4001E0", "SC400", tmp_path / "SC4001E0-PSG.edf", (path,))
    samples = 79500 * RATE
    segments, left_out = SleepEdf(tmp_path).segments(recording, samples)
    assert len(segments) == 2650 and left_out == {"beyond the end of the recording": 230}
    counts = Counter(segment.label for segment in segments)
    assert {stage: counts[stage] for stage in ("N1", "N2", "N3", "REM")} == {
        "N1": 58, "N2": 250, "N3": 220, "REM": 125,
    }  # fmt: skip
    starts = np.array([segment.start for segment in segments])
    assert (np.diff(starts) == 30 * RATE).all()
    trimmed, _ = SleepEdf(tmp_path, protocol="deepsleepnet").segments(recording, samples)
    assert len(trimmed) == 841  # the published number of epochs of this night


def test_hypnogram_of_every_stage(recordings_dir: Path) -> None:
    stages = {
        stage for *_, stage in read_stages(next((recordings_dir / "sleep-edf").glob("*Hyp*")))
    }
    assert set(STAGES) <= stages


def test_wake_is_kept_up_to_the_margin() -> None:
    segments = [Segment(at, "W" if at not in (50, 60) else "N2") for at in range(0, 120, 10)]
    assert [segment.start for segment in trim_wake(segments, 2)] == list(range(30, 90, 10))
    assert trim_wake(segments, 9) == segments  # there is less wake than the margin
    wake = [segment for segment in segments if segment.label == "W"]
    assert trim_wake(wake, 2) == wake


def test_psg_is_paired_with_its_hypnogram(tmp_path: Path) -> None:
    for name in (
        "SC4001E0-PSG.edf",
        "SC4001EC-Hypnogram.edf",
        "SC4002E0-PSG.edf",
        "ST7011J0-PSG.edf",
    ):
        _touch(tmp_path / "sleep-cassette" / name)
    recordings = {recording.key: recording for recording in SleepEdf(tmp_path).find_recordings()}
    assert recordings["SC4001E0"].companions[0].name == "SC4001EC-Hypnogram.edf"
    assert recordings["SC4001E0"].subject == recordings["SC4002E0"].subject == "SC400"
    assert "none" in recordings["SC4002E0"].fault
    assert recordings["ST7011J0"].left_out
    assert SLEEP_CARD.channels == ("FPZ-CZ", "PZ-OZ")


# PhysioNet MI ------------------------------------------------------------------------------------


def test_original_runs_give_their_cues(recordings_dir: Path) -> None:
    corpus = PhysionetMi(recordings_dir / "eegmmidb")
    recordings = {recording.key: recording for recording in corpus.find_recordings()}
    used = [key for key, recording in recordings.items() if not recording.left_out]
    assert used == ["S001R04", "S001R06", "S001R08", "S001R10", "S002R04"]
    assert "execution" in recordings["S001R03"].left_out
    assert "dropped" in recordings["S088R10"].left_out
    for key, first, classes in (
        ("S001R04", "right", {"left", "right", "rest"}),
        ("S001R06", "feet", {"both fists", "feet", "rest"}),
    ):
        segments, left_out = corpus.segments(recordings[key], 125 * RATE)
        assert {segment.label for segment in segments} == classes and not left_out
        assert Counter(segment.label for segment in segments)["rest"] == 15
        starts = [(segment.start, segment.label) for segment in segments[:2]]
        assert starts == [(0, "rest"), (840, first)]


def test_original_channels_are_found_in_order(recordings_dir: Path) -> None:
    path = recordings_dir / "eegmmidb" / "S088R10.edf"
    signal, rate = read_edf(path, PhysionetMi.card.channels)
    assert signal.shape == (64, 15872) and rate == 128
    assert 5 < np.median(signal.std(axis=1)) < 200  # microvolt, not volt
    backwards, _ = read_edf(path, PhysionetMi.card.channels[::-1])
    np.testing.assert_array_equal(backwards[::-1], signal)
