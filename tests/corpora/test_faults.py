"""One bad file of each kind among good ones: named with its remedy, and nothing else is lost."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from tiny_runs import RATE, SECONDS, report, write_run

from modeling_mteeg.dataset_scripts.physionet_mi import CARD, PhysionetMi
from modeling_mteeg.dataset_scripts.reading import read_edf
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.soundness import check_raw_signal, clipped_share, rate_notes
from modeling_mteeg.dataset_scripts.writer import PreparationError, prepare

TOLERANT = Settings(progress=False, max_skipped=0.2)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("runs")
    for subject in (1, 2):
        for run in (4, 6, 8):
            name = f"S00{subject}R{run:02d}.edf"
            write_run(raw / f"S00{subject}" / name, 10 * subject + run)
    return raw


@pytest.fixture
def raw(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs, tmp_path / "raw"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def count_wrongly(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:236] + b"27      " + content[244:])


def without(*names: str) -> Callable[[Path], None]:
    return lambda path: write_run(path, 14, [name for name in CARD.channels if name not in names])


def renamed(path: Path) -> None:
    write_run(path, 14, ["EEG1" if name == "CZ" else name for name in CARD.channels])


def unit(name: str) -> Callable[[Path], None]:
    return lambda path: write_run(path, 14, unit=name)


def scaled(factor: float) -> Callable[[Path], None]:
    return lambda path: write_run(path, 14, change=lambda name, signal: factor * signal)


def without_cues(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x14T", b"\x14X"))


def copy_of_another(path: Path) -> None:
    """Another run under this one's name, as a wrong download leaves it; only the date differs."""
    other = path.with_name("S001R06.edf").read_bytes()
    path.with_name("S001R12.edf").write_bytes(other[:168] + b"02.02.02" + other[176:])


SKIPPED = {
    "truncated": (cut, "S001R04", "it is incomplete; download it again"),
    "wrong count of records": (count_wrongly, "S001R04", "promises 27 data records"),
    "missing channels": (without("OZ", "CZ"), "S001R04", "channels missing: CZ, OZ"),
    "other names": (renamed, "S001R04", "channels missing: CZ; found"),
    "no unit": (unit(""), "S001R04", "no unit of voltage"),
    "unit of another quantity": (unit("degC"), "S001R04", "unit"),
    "volt as microvolt": (unit("V"), "S001R04", "unit or the range in the header is wrong"),
    "microvolt as volt": (scaled(1e-4), "S001R04", "channel has any activity|unit or the range"),
    "cues of another kind": (without_cues, "S001R04", "unknown cue|no cues"),
    "one signal, two names": (copy_of_another, "S001R12", "the same signal as S001R06.edf"),
}


EVERY = [
    pytest.param(case, marks=() if number % 4 == 0 else pytest.mark.slow)
    for number, case in enumerate(SKIPPED)
]


@pytest.mark.parametrize("case", EVERY)
def test_a_recording_that_cannot_be_used_is_skipped_with_reason_and_remedy(
    case: str, raw: Path, tmp_path: Path
) -> None:
    damage, key, reason = SKIPPED[case]
    damage(raw / "S001" / "S001R04.edf")
    with pytest.raises(PreparationError, match=reason):
        prepare(PhysionetMi(raw), tmp_path / "out", Settings(progress=False))
    folder = prepare(PhysionetMi(raw), tmp_path / "out", TOLERANT)
    rows = report(folder)
    assert rows[key]["status"] == "skipped"
    assert f"{key}.edf" in rows[key]["reason"] and rows[key]["windows"] == "0"
    used = {name for name, row in rows.items() if row["status"] == "used"}
    assert used == set(rows) - {key} and len(used) >= 5
    saved = datasets.load_from_disk(str(folder))
    assert sum(map(len, saved.values())) == 6 * len(used)


def test_a_file_without_a_count_is_read_and_its_repaired_copy_is_the_one_used(raw, tmp_path):
    """A recorder that was switched off leaves -1 records in the header."""
    path = raw / "S001" / "S001R04.edf"
    plain = prepare(PhysionetMi(raw), tmp_path / "plain", TOLERANT)
    whole = path.read_bytes()
    path.write_bytes(whole[:236] + b"-1      " + whole[244:])
    folder = prepare(PhysionetMi(raw), tmp_path / "alone", TOLERANT)
    row = report(folder)["S001R04"]
    assert row["status"] == "used" and "does not count the data records" in row["warnings"]
    alone, before = (datasets.load_from_disk(str(one)) for one in (folder, plain))
    assert alone["train"]["signal"] == before["train"]["signal"]
    path.with_name("S001R08.edf").write_bytes(whole)
    rows = report(prepare(PhysionetMi(raw), tmp_path / "both", TOLERANT))
    assert (rows["S001R04"]["status"], rows["S001R08"]["status"]) == ("skipped", "used")


def at_rest(name: str, signal: np.ndarray) -> np.ndarray:
    return np.zeros_like(signal) if name in ("OZ", "CZ") else signal


def saturated(name: str, signal: np.ndarray) -> np.ndarray:
    return np.clip(signal, -30, 30) if name == "PZ" else signal


@pytest.mark.parametrize(
    ("change", "warning"),
    [(at_rest, "flat: 2 of 64 (CZ, OZ)"), (saturated, "clipped: 1 of 64 (PZ (")],
)
def test_an_odd_recording_is_used_and_the_report_and_the_card_say_so(
    change: Callable, warning: str, raw: Path, tmp_path: Path
) -> None:
    write_run(raw / "S001" / "S001R04.edf", 14, change=change)
    folder = prepare(PhysionetMi(raw), tmp_path / "out", Settings(progress=False))
    rows = report(folder)
    assert rows["S001R04"]["status"] == "used" and rows["S001R04"]["windows"] == "6"
    assert warning in rows["S001R04"]["warnings"]
    assert all(not row["warnings"] for key, row in rows.items() if key != "S001R04")
    readme = " ".join((folder / "README.md").read_text("utf-8").split())
    assert f"Used though some channels are {warning.split(':')[0]}: 1 of 6 (S001R04)" in readme


def test_another_rate_inside_a_corpus_is_resampled_and_named(raw: Path, tmp_path: Path) -> None:
    write_run(raw / "S001" / "S001R04.edf", 14, rate_hz=128)
    folder = prepare(PhysionetMi(raw), tmp_path / "out", Settings(progress=False))
    assert report(folder)["S001R04"]["rate_hz"] == "128"
    readme = " ".join((folder / "README.md").read_text("utf-8").split())
    assert "Recordings have several rates (128 Hz: 1, 160 Hz: 5)" in readme
    assert "1 of 6 (S001R04 (128 Hz))" in readme
    rows = datasets.load_from_disk(str(folder))["train"]
    assert set(map(tuple, rows["shape"])) == {(64, 800)}


def test_channels_in_another_order_give_the_same_signal(raw: Path) -> None:
    path = raw / "S001" / "S001R04.edf"
    expected, _ = read_edf(path, CARD.channels)
    write_run(path, 14, CARD.channels[::-1])
    shuffled, _ = read_edf(path, CARD.channels)
    np.testing.assert_array_equal(shuffled, expected)


def test_values_that_are_no_numbers_are_refused() -> None:
    signal = np.random.default_rng(0).normal(0, 20, (3, 1000))
    signal[1, 7] = np.nan
    with pytest.raises(ValueError, match=r"a\.fif: NaN or infinite values in 1 of 3 \(C3\)"):
        check_raw_signal(signal, ("CZ", "C3", "C4"), "a.fif")
    with pytest.raises(ValueError, match="no channel has any activity"):
        check_raw_signal(np.ones((3, 1000)), ("CZ", "C3", "C4"), "a.edf")


def test_only_a_signal_that_stays_at_its_limit_is_clipped() -> None:
    noise = np.random.default_rng(0).normal(0, 20, SECONDS * RATE)
    assert clipped_share(noise) == 0
    assert clipped_share(np.round(noise)) < 1e-3  # coarse steps touch their extremes now and then
    assert clipped_share(np.clip(noise, -20, 20)) > 0.05
    assert clipped_share(np.array([1.0])) == 0


def test_one_rate_needs_no_note() -> None:
    assert rate_notes([("a", 250.0), ("b", 250.0)]) == []


def test_empty_files_are_not_copies_of_each_other(raw: Path, tmp_path: Path) -> None:
    for name in ("S001R04.edf", "S001R06.edf"):
        (raw / "S001" / name).write_bytes(b"")
    settings = Settings(progress=False, max_skipped=0.5)
    rows = report(prepare(PhysionetMi(raw), tmp_path / "out", settings))
    for key in ("S001R04", "S001R06"):
        assert "shorter than an EDF header" in rows[key]["reason"]


def test_two_good_recordings_are_not_the_same_signal(raw: Path, tmp_path: Path) -> None:
    """All runs have one size, so they are compared by content, and none is taken for a copy."""
    sizes = {path.stat().st_size for path in raw.rglob("*.edf")}
    assert len(sizes) == 1
    settings = dataclasses.replace(TOLERANT, max_skipped=0.0)
    rows = report(prepare(PhysionetMi(raw), tmp_path / "out", settings))
    assert {row["status"] for row in rows.values()} == {"used"}
