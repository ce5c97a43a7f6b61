"""Several mains frequencies in a preparation, and a line that is left in its recordings."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from annotated_recordings import CUES, noise, write_annotated

from modeling_mteeg.data import load_corpus, read_manifest
from modeling_mteeg.dataset_scripts.annotated import Annotated, main
from modeling_mteeg.dataset_scripts.annotated_options import AnnotatedOptions, read_tasks
from modeling_mteeg.dataset_scripts.unlabelled import __main__ as unlabelled
from modeling_mteeg.dataset_scripts.unlabelled.stretch_settings import UnlabelledSettings
from modeling_mteeg.model.preprocessing import preprocess
from modeling_mteeg.settings.schema import ConfigError

OPTIONS = ("--task", "presses", "--labels", "rest,press", "--subject-from", "name")
LEFT = "a mains line is left"


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Four people; 60 Hz of 30 microvolt in all channels of the first."""
    folder = tmp_path_factory.mktemp("humming")
    for person in range(1, 5):
        signal = noise(15, person)
        if person == 1:
            signal += 30 * np.sin(120 * np.pi * np.arange(signal.shape[1]) / 200)
        write_annotated(folder / f"p{person}.edf", signal, CUES)
    return folder


def report_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def test_a_reading_names_a_line_that_is_left_and_windows_are_those_of_the_chain(raw):
    left = {}
    for notch in (50.0, [60, 50]):
        options = AnnotatedOptions(labels=("rest", "press"), subject_from="name", notch=notch)
        corpus = Annotated(raw, "presses", options)
        for recording in corpus.find_recordings():
            reading = corpus.read(recording)
            left[str(notch), recording.key] = any(LEFT in text for text in reading.warnings)
    assert [key for key, odd in left.items() if odd] == [("50.0", "p1")]
    recorded = corpus.load(recording)
    with pytest.warns(UserWarning, match="shorter"):
        whole = preprocess(recorded.signal_uv, recorded.rate_hz, notch_hz=(50, 60))
    segment, window = next(iter(reading.windows))
    assert np.array_equal(window, whole[:, segment.start : segment.start + window.shape[1]])


@pytest.mark.slow
def test_a_labelled_preparation_takes_several_and_names_what_is_left(raw, tmp_path):
    found = {}
    for notch in ("50", "50,60"):
        out = tmp_path / notch
        assert main(["--raw", str(raw), "--out", str(out), *OPTIONS, "--notch", notch]) == 0
        card = (out / "presses" / "README.md").read_text("utf-8").replace("\n", " ")
        rows = {row["recording"]: row["warnings"] for row in report_of(out / "presses/report.tsv")}
        found[notch] = {key for key, text in rows.items() if LEFT in text}, card, rows
    assert found["50"][0] == {"p1"} and found["50,60"][0] == set()
    assert "notch 50 Hz (both" in found["50"][1] and f"Used though {LEFT}" in found["50"][1]
    assert "notch 50 and 60 Hz (both" in found["50,60"][1] and LEFT not in found["50,60"][1]
    assert "left at 60 Hz" in found["50"][2]["p1"] and "--notch 50,60" in found["50"][2]["p1"]
    task = load_corpus(tmp_path / "50,60" / "presses").card
    assert task.notch_hz == (50.0, 60.0)


def test_a_file_of_options_takes_a_list(tmp_path):
    path = tmp_path / "tasks.yaml"
    found = {}
    for value in ("60", "[60, 50]", "null", "[60]"):
        path.write_text(f"tasks:\n  presses:\n    labels: [rest, press]\n    notch: {value}\n")
        found[value] = read_tasks(path)["presses"].notch
    assert found == {"60": 60.0, "[60, 50]": (50.0, 60.0), "null": None, "[60]": 60.0}
    assert isinstance(found["60"], float)
    for wrong in ("[]", "-1", "[50, 50]", "fifty"):
        path.write_text(f"tasks:\n  presses:\n    labels: [rest, press]\n    notch: {wrong}\n")
        with pytest.raises(ConfigError, match="notch_hz: expected"):
            read_tasks(path)


def test_a_wrong_notch_ends_the_command(raw, tmp_path, capsys):
    for command in (main, unlabelled.main):
        words = ["--raw", str(raw), "--out", str(tmp_path / "out"), "--notch", "50,51"]
        try:
            code = command(words if command is unlabelled.main else [*words, *OPTIONS])
        except SystemExit as error:  # argparse
            code = error.code
        assert code in (1, 2)
        assert "at least 1.25 Hz apart" in capsys.readouterr().err


@pytest.mark.slow
def test_an_unlabelled_preparation_takes_several_and_notes_what_is_left(raw, tmp_path):
    noted = {}
    for notch in ("50", "60,50", "none"):
        out = tmp_path / notch
        words = ["--raw", str(raw), "--out", str(out), "--max-seconds", "4", "--notch", notch]
        assert unlabelled.main(words) == 0
        rows = report_of(out / "report.csv")
        noted[notch] = [row["recording"] for row in rows if "mains line is left" in row["notes"]]
    assert noted == {"50": ["p1.edf"], "60,50": [], "none": ["p1.edf"]}
    assert read_manifest(tmp_path / "60,50")["notch_hz"] == [50.0, 60.0]
    assert "notch 50 and 60 Hz, microvolt" in (tmp_path / "60,50" / "README.md").read_text()
    assert "no notch, microvolt" in (tmp_path / "none" / "README.md").read_text()


def test_settings_of_before_have_their_key_and_high_notches_are_refused():
    assert UnlabelledSettings(notch_hz=[50.0]).key() == UnlabelledSettings().key()
    assert (
        UnlabelledSettings(notch_hz=[60, 50]).key() == UnlabelledSettings(notch_hz=(50, 60)).key()
    )
    with pytest.raises(ValueError, match="below 100, found 100, 150"):
        UnlabelledSettings(notch_hz=[50, 100, 150])
