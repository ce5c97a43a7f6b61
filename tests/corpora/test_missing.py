"""What a download lacks, and whom splits share, is said by name: printed and in the card."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from modeling_mteeg.dataset_scripts import chb_mit, tuab
from modeling_mteeg.dataset_scripts.chb_mit import ChbMit
from modeling_mteeg.dataset_scripts.corpus import Corpus, Segment
from modeling_mteeg.dataset_scripts.physionet_mi import RUN_LABELS, PhysionetMi
from modeling_mteeg.dataset_scripts.physionet_mi import SUBJECTS as PHYSIONET_SUBJECTS
from modeling_mteeg.dataset_scripts.report import Outcome, count_differences
from modeling_mteeg.dataset_scripts.seed_v import SeedV
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.sleep_edf import NIGHTS, SleepEdf
from modeling_mteeg.dataset_scripts.tuab import Tuab
from modeling_mteeg.dataset_scripts.tuev import Tuev
from modeling_mteeg.dataset_scripts.writer import prepare

SEED_SESSIONS = [f"{s}_{k}" for s in range(1, 17) for k in (1, 2, 3)]


def touch(raw: Path, *names: str) -> None:
    """Files that are no recordings, each with another content, as copies would be noticed."""
    for name in names:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_text(name * 64)


def missing(reader: type[Corpus], raw: Path) -> list[str]:
    corpus = reader(raw)
    return corpus.missing(corpus.find_recordings())


def one_line_with(lines: list[str], *names: str) -> None:
    assert len(lines) == 1, lines
    for name in names:
        assert name in lines[0]


def test_seed_v_names_the_absent_sessions(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}_20180416.cnt" for name in SEED_SESSIONS))
    assert missing(SeedV, tmp_path) == []
    for name in ("3_2", "16_1"):
        (tmp_path / f"{name}_20180416.cnt").unlink()
    one_line_with(missing(SeedV, tmp_path), "2 of 48 sessions", "3_2, 16_1")


def test_sleep_edf_knows_the_153_nights(tmp_path: Path) -> None:
    """The table of MNE's downloader, which was made elsewhere, has the same."""
    import mne.datasets.sleep_physionet

    table = Path(mne.datasets.sleep_physionet.__file__).parent / "age_records.csv"
    published = {word[:6] for word in table.read_text().split(",") if "-PSG.edf" in word}
    assert len(NIGHTS) == 153 and set(NIGHTS) == published
    touch(tmp_path, *(f"sleep-cassette/{night}E0-PSG.edf" for night in NIGHTS))
    assert missing(SleepEdf, tmp_path) == []
    (tmp_path / "sleep-cassette/SC4012E0-PSG.edf").unlink()
    one_line_with(missing(SleepEdf, tmp_path), "1 of 153 nights", ": SC4012")


def test_physionet_names_subjects_and_runs_of_imagery(tmp_path: Path) -> None:
    for subject in PHYSIONET_SUBJECTS:
        touch(tmp_path, *(f"{subject}/{subject}R{run:02d}.edf" for run in RUN_LABELS))
    assert len(PHYSIONET_SUBJECTS) == 103
    assert missing(PhysionetMi, tmp_path) == []  # nobody asks for S088 or runs of execution
    (tmp_path / "S005/S005R10.edf").unlink()
    for path in (tmp_path / "S007").iterdir():
        path.unlink()
    subjects, runs = missing(PhysionetMi, tmp_path)
    assert "1 of 103 subjects" in subjects and subjects.endswith(": S007")
    assert "1 of 612 imagery runs" in runs and runs.endswith(": S005R10")


def test_tuab_counts_the_four_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(tuab.RECORDINGS.values()) == 2993
    monkeypatch.setattr(tuab, "RECORDINGS", dict.fromkeys(tuab.RECORDINGS, 2))
    for part, label in (group.split("/") for group in tuab.RECORDINGS):
        folder = f"edf/{part}/{label}/01_tcp_ar"
        touch(tmp_path, *(f"{folder}/{part}{label}{n}_s001_t000.edf" for n in "ab"))
    assert missing(Tuab, tmp_path) == []
    next(tmp_path.glob("edf/eval/abnormal/01_tcp_ar/*a_s001*")).unlink()
    one_line_with(missing(Tuab, tmp_path), "eval/abnormal (v3.0.1): expected 2, found 1")


def test_tuev_names_a_part_without_recordings(tmp_path: Path) -> None:
    touch(tmp_path, "edf/train/aaa/aaa_00000001.edf")
    one_line_with(missing(Tuev, tmp_path), "1 of 2 parts", ": eval")
    touch(tmp_path, "edf/eval/032/bckg_032_a_.edf")
    assert missing(Tuev, tmp_path) == []


def summary(raw: Path, case: int, files: dict[str, int]) -> None:
    text = "Data Sampling Rate: 256 Hz\n"
    for name, seizures in files.items():
        text += f"\nFile Name: {name}\nNumber of Seizures in File: {seizures}\n"
        for n in range(seizures):
            text += f"Seizure Start Time: {100 * n + 10} seconds\n"
            text += f"Seizure End Time: {100 * n + 40} seconds\n"
    path = raw / f"chb{case:02d}" / f"chb{case:02d}-summary.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def chb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """23 cases of two files, one of them with a seizure."""
    monkeypatch.setattr(chb_mit, "FILES", 46)
    monkeypatch.setattr(chb_mit, "SEIZURES", 23)
    for case in range(1, 24):
        names = [f"chb{case:02d}_01.edf", f"chb{case:02d}_02+.edf"]
        touch(tmp_path, *(f"chb{case:02d}/{name}" for name in names))
        summary(tmp_path, case, dict(zip(names, (0, 1), strict=True)))
    return tmp_path


def test_chb_mit_names_cases_and_files(chb: Path) -> None:
    assert missing(ChbMit, chb) == []
    touch(chb, "chb24/chb24_01.edf")  # in no part of the split, neither asked for nor counted
    assert missing(ChbMit, chb) == []
    (chb / "chb05/chb05_02+.edf").unlink()
    for path in (chb / "chb07").iterdir():
        path.unlink()
    cases, files, number, seizures = missing(ChbMit, chb)
    assert cases == "1 of 23 cases are missing: chb07"
    assert files == "1 of 44 files that the summaries name are missing: chb05_02+.edf"
    assert number.endswith("expected 46, found 43")
    assert seizures.endswith("expected 23, found 22")


def test_chb_mit_says_which_summary_is_not_valid(chb: Path) -> None:
    path = chb / "chb03/chb03-summary.txt"
    path.write_text(path.read_text().replace("in File: 1", "in File: 2"))
    lines = missing(ChbMit, chb)
    assert len(lines) == 2 and "chb03-summary.txt" in lines[0] and "found 22" in lines[1]


def test_the_known_numbers_of_chb_mit() -> None:
    assert (chb_mit.FILES, chb_mit.SEIZURES) == (664, 182)


def test_original_summaries_count(recordings_dir: Path) -> None:
    lines = missing(ChbMit, recordings_dir / "chb-mit")
    assert "23 of 23 cases" in lines[0] and "chb01" in lines[0]
    assert lines[1].startswith("81 of 81 files that the summaries name")  # 42 + 39
    assert lines[-1].endswith("expected 182, found 12")  # 7 + 5


# From the download to the card -------------------------------------------------------------------


class QuickSignals:
    """Noise in place of the signals, so that any files do."""

    def load(self, recording):
        seconds = self.card.window_s * 2
        random = np.random.default_rng(list(recording.key.encode()))
        return random.normal(0, 20, (len(self.card.channels), int(seconds * 200))), 200.0


class QuickChbMit(QuickSignals, ChbMit):
    def segments(self, recording, samples):
        return [Segment(0, "background"), Segment(self.window_samples, "seizure")], Counter()


class QuickSleep(QuickSignals, SleepEdf):
    def find_recordings(self):
        return [recording for recording in super().find_recordings() if not recording.left_out]

    def segments(self, recording, samples):
        return [Segment(0, "W"), Segment(self.window_samples, "N2")], Counter()


class QuickTuab(QuickSignals, Tuab):
    pass


def prepared(reader: type[Corpus], raw: Path, out: Path, **settings) -> Path:
    return prepare(reader(raw), out, Settings(**settings))


def test_what_is_missing_is_printed_first_and_in_the_card(chb: Path, tmp_path: Path, capsys):
    for case in (2, *range(4, 19)):
        for path in (chb / f"chb{case:02d}").iterdir():
            path.unlink()
    folder = prepared(QuickChbMit, chb, tmp_path / "out")
    printed, card = capsys.readouterr().out, (folder / "README.md").read_text("utf-8")
    line = "16 of 23 cases are missing: chb02, chb04"
    assert line in card and line in printed
    assert printed.index(line) < printed.index("expected about")  # before any work
    manifest = json.loads((folder / "splits.json").read_text())
    assert manifest["missing"][0].startswith("16 of 23 cases")


def test_simulated_corpora_and_chosen_subjects_lack_nothing(chb: Path, tmp_path: Path, capsys):
    for case in (2, *range(4, 19)):
        for path in (chb / f"chb{case:02d}").iterdir():
            path.unlink()
    some = ("chb01", "chb20", "chb22")
    folder = prepared(QuickChbMit, chb, tmp_path / "some", subjects=some)
    card = (folder / "README.md").read_text("utf-8")
    assert "missing" not in card and "Only the subjects asked for: chb01, chb20, chb22" in card
    (chb / "SIMULATED").write_text("{}")
    folder = prepared(QuickChbMit, chb, tmp_path / "simulated")
    assert "missing" not in (folder / "README.md").read_text("utf-8")
    assert "missing" not in capsys.readouterr().out


def test_a_known_count_that_differs_comes_with_its_reason(tmp_path: Path) -> None:
    touch(tmp_path, "1_1_20180416.cnt")
    corpus = SeedV(tmp_path)
    recording = corpus.find_recordings()[0]
    labels = list(corpus.card.labels)
    splits = np.repeat(["train", "validation", "test"], len(labels))
    used = [Outcome(recording, labels=labels * 3, row_splits=splits)]
    (line,) = count_differences(corpus, used, corpus.missing([recording]))
    assert "found 5 / 5 / 5" in line and "Why: 47 of 48 sessions" in line
    (line,) = count_differences(corpus, used)
    assert "No recording is missing" in line


def leaky_download(task: str, raw: Path) -> type[Corpus]:
    """A few recordings of which the paper's split puts one subject into two splits."""
    if task == "chb-mit":
        for case in (1, 2, 20, 21, 22):
            touch(raw, f"chb{case:02d}/chb{case:02d}_01.edf")
            summary(raw, case, {f"chb{case:02d}_01.edf": 1})
        return QuickChbMit
    if task == "sleep-edf":
        for night in ("SC4001", "SC4002", "SC4011", "SC4012", "SC4021", "SC4022"):
            touch(raw, f"{night}E0-PSG.edf", f"{night}EC-Hypnogram.edf")
        return QuickSleep
    for label, subjects in (("normal", "abcde"), ("abnormal", "efghi")):
        touch(
            raw,
            *(f"edf/train/{label}/01_tcp_ar/{subject}_s001_{label}.edf" for subject in subjects),
        )
        touch(raw, f"edf/eval/{label}/01_tcp_ar/{label}_s001_t000.edf")
    return QuickTuab


@pytest.mark.parametrize(
    ("task", "leak"),
    [
        # Case 21 is the girl of case 1.
        ("chb-mit", "train and validation share 1 subject(s): chb01"),
        # Six nights: four train, one validates, one tests.
        ("sleep-edf", "validation and test share 1 subject(s): SC402"),
        # Subject e is normal and abnormal: last of the normal, first of the abnormal.
        ("tuab", "train and validation share 1 subject(s): e"),
    ],
)
def test_known_leaks_are_printed_and_in_the_card(
    task: str, leak: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    reader = leaky_download(task, tmp_path / "raw")
    folder = prepared(reader, tmp_path / "raw", tmp_path / "out")
    assert f"{task}: leak of the split: {leak}" in capsys.readouterr().out
    assert f"- {leak}" in (folder / "README.md").read_text("utf-8")


def test_disjoint_tuab_has_no_leak(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    leaky_download("tuab", tmp_path / "raw")
    folder = prepare(QuickTuab(tmp_path / "raw", "disjoint"), tmp_path / "out")
    assert "leak" not in capsys.readouterr().out
    assert "- none" in (folder / "README.md").read_text("utf-8")
