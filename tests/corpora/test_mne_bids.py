"""BIDS datasets that mne-bids writes: sources for answers, features, unlabelled and own tasks."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from annotated_recordings import CUES, noise
from recording_files import write_recording
from tiny_models import randomize, tiny_model
from tiny_recordings import card

from modeling_mteeg import MteegFeatureExtractor, cli
from modeling_mteeg.data import load_corpus
from modeling_mteeg.dataset_scripts.bids import main as prepare
from modeling_mteeg.dataset_scripts.unlabelled import Source, UnlabelledSettings, prepare_unlabelled
from modeling_mteeg.explanation.explaining import explain
from modeling_mteeg.model.recording_sources import open_source
from modeling_mteeg.prediction import predict

mne = pytest.importorskip("mne")
mne_bids = pytest.importorskip("mne_bids", reason="mne-bids is not installed: the extra bids")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
NAMES = ["C3", "Cz", "C4", "VEOG"]
FORMATS = ("rec.edf", "rec.bdf", "rec.vhdr", "rec.set")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Four people, each in another format, two sessions of two runs; a bad channel of the last."""
    folder = tmp_path_factory.mktemp("mne-bids")
    for person, name in enumerate(FORMATS, 1):
        for part in range(4):
            source = folder / "source" / f"{person}{part}"
            signal = noise(15, 10 * person + part)
            raw = mne.io.read_raw(
                write_recording(source, name, signal, NAMES, 200), verbose="error"
            )
            raw.set_channel_types({"VEOG": "eog"}, verbose="error")
            onsets, texts = zip(*CUES, strict=True)
            raw.set_annotations(mne.Annotations(onsets, 2.0, texts))
            raw.info["bads"] = ["C4"] if person == 4 else []
            raw.info["line_freq"] = 50
            mne_bids.write_raw_bids(raw, bids_path(folder / "ds", person, part), verbose="error")
    return folder / "ds"


def bids_path(root: Path, person: int, part: int):
    return mne_bids.BIDSPath(
        root=root, subject=f"{person:02d}", session="ab"[part // 2], run=part % 2 + 1, task="press"
    )


def of_person(root: Path, person: int, part: int = 0) -> Path:
    return Path(bids_path(root, person, part).update(suffix="eeg", datatype="eeg").fpath)


@pytest.fixture(scope="module")
def model():
    model = tiny_model()
    model.add_adapter("press", card=card(name="press", channels=("C3", "CZ"), window_s=2))
    randomize(model)
    return model.eval()


@pytest.mark.parametrize("person", [1, 2, 3, 4])
def test_a_bids_path_is_its_file_with_what_mne_bids_reads_of_it(person, root):
    source = open_source(bids_path(root, person, 1))
    assert source.findings == ()  # nothing that mne-bids writes is a contradiction
    raw = mne_bids.read_raw_bids(
        bids_path(root, person, 1).update(suffix="eeg", datatype="eeg"), verbose="error"
    )
    other = open_source(raw)
    assert (source.names, source.left_out) == (other.names, other.left_out)
    assert source.left_out == (("C4 (marked bad in channels.tsv)",) if person == 4 else ()) + (
        "VEOG (type eog)",
    )
    positions = list(range(len(source.names)))
    np.testing.assert_array_equal(source.read(positions), other.read(positions))


@pytest.mark.parametrize("person", [1, 3])
def test_answers_on_a_bids_path_are_those_of_its_file(person, root, model):
    path, given = of_person(root, person), bids_path(root, person, 0)
    by_path, by_bids = (predict(one, model, "press")["press"] for one in (path, given))
    np.testing.assert_array_equal(by_bids.probabilities, by_path.probabilities)
    assert by_bids.recording == str(path)
    extractor = MteegFeatureExtractor()
    first, second = (extractor(one, task=model.tasks["press"], return_tensors="np").input_values
                     for one in (path, given))  # fmt: skip
    np.testing.assert_array_equal(first, second)
    first, second = (explain(one, model, "press", windows=2, steps=4) for one in (path, given))
    np.testing.assert_array_equal(first.values, second.values)
    from modeling_mteeg.prediction.pipeline import EegClassificationPipeline

    label = EegClassificationPipeline(model, adapter="press")
    assert label(given) == label(path)


def test_a_dataset_is_predicted_recording_by_recording(root, model, tmp_path):
    base, out = tmp_path / "base", tmp_path / "out"
    model.save_pretrained(base)
    model.save_adapter("press", base / "adapters" / "press")
    words = ["predict", str(root), "--base", str(base), "--task", "press", "--out", str(out)]
    assert cli.main([*words, "--quiet"]) == 0
    tables = sorted(path.name for path in out.glob("*_events.tsv"))
    assert len(tables) == 16
    assert tables[0] == "sub-01_ses-a_task-press_run-1_desc-press_events.tsv"


def test_a_task_is_prepared_from_events_and_people(root, tmp_path, capsys):
    words = ["--raw", root, "--out", tmp_path, "--task-name", "press", "--labels", "rest,press",
             "--column", "trial_type", "--window", 2]  # fmt: skip
    assert prepare(list(map(str, words))) == 0
    corpus = load_corpus(tmp_path / "press")
    assert corpus.card.channels == ("C3", "CZ")
    names = [str(name) for reader in corpus.splits.values() for name in reader.recordings]
    assert len(names) == 16 * 4 and len(set(names)) == 16
    people = [set(map(str, reader.subjects)) for reader in corpus.splits.values()]
    assert sum(map(len, people)) == len(set.union(*people)) == 4
    assert "marked bad: C4 (4 of 16 recordings)" in capsys.readouterr().out
    again = [*words, "--session", "a", "--run", "2", "--keep-bad-channels", "--overwrite"]
    assert prepare(list(map(str, again))) == 0
    corpus = load_corpus(tmp_path / "press")
    names = {str(name) for reader in corpus.splits.values() for name in reader.recordings}
    assert names == {f"sub-0{n}_ses-a_task-press_run-2_eeg" for n in (1, 2, 3, 4)}
    assert corpus.card.channels == ("C3", "CZ", "C4")


def test_unlabelled_windows_are_without_bad_channels(root, tmp_path):
    out = tmp_path / "out"
    prepare_unlabelled(root, out, Source(), UnlabelledSettings(max_seconds=4), progress=False)
    with open(out / "report.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 and {row["status"] for row in rows} == {"used"}
    by_person = {row["subject"]: row["channels"] for row in rows}
    assert by_person == {f"sub-0{n}": "C3 CZ C4" for n in (1, 2, 3)} | {"sub-04": "C3 CZ"}
