"""``--rename OLD=NEW`` in labelled preparations, and the hint at it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from annotated_recordings import CUES, noise, write_annotated

from modeling_mteeg.data import load_corpus
from modeling_mteeg.dataset_scripts.annotated import Annotated, main
from modeling_mteeg.dataset_scripts.annotated_options import AnnotatedOptions, read_tasks
from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording, Segment
from modeling_mteeg.dataset_scripts.plan_file import read_plan
from modeling_mteeg.dataset_scripts.reading import RecordingError, read_edf
from modeling_mteeg.dataset_scripts.renaming import channels_renamed, checked_rename
from modeling_mteeg.dataset_scripts.writer import PreparationError, merge_shards
from modeling_mteeg.model.task_card import TaskCard

OLD = ("EEG T3-REF", "EEG Cz-REF", "EEG T4-REF")
NEW = ("EEG T7-REF", "EEG Cz-REF", "EEG T8-REF")
WORDS = ("--rename", "t7=T3", "--rename", "T8=T4")
OPTIONS = ("--task", "presses", "--labels", "rest,press", "--subject-from", "name")


class Temporal(Corpus):
    """Recordings whose electrodes are called T3 and T4, or T7 and T8."""

    card = TaskCard("temporal", ("a", "b"), ("T3", "CZ", "T4"), window_s=2, license="none")

    def describe(self, path):
        return Recording(path.stem, path.stem, path)

    def assign(self, recordings):
        return {
            one.key: ("train", "validation", "test")[int(one.key[1:]) % 3] for one in recordings
        }

    def segments(self, recording, samples):
        return [Segment(0, "a"), Segment(400, "b")], Counter()


class ByItself(Temporal):
    """Its files are read by means of its own."""

    def load(self, recording):
        return noise(15, 1, 3), 200.0


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Six people, the last two recorded with the new names."""
    folder = tmp_path_factory.mktemp("temporal")
    for person in range(1, 7):
        names = OLD if person < 5 else NEW
        write_annotated(folder / f"p{person}.edf", noise(15, person, 3), CUES, names)
    return folder


def test_a_missing_channel_is_hinted_at_with_the_words_to_say(raw):
    with pytest.raises(RecordingError, match="channels missing: T3, T4") as error:
        read_edf(raw / "p6.edf", ("T3", "CZ", "T4"))
    assert "T3 is T7, T4 is T8 in the other naming system" in str(error.value)
    assert "--rename T7=T3 --rename T8=T4 if they are meant" in str(error.value)
    with pytest.raises(RecordingError, match=r"--rename T7=T3 if"):  # in a bipolar task
        read_edf(raw / "p6.edf", ("T3-CZ",), derive=True)
    with pytest.raises(RecordingError) as error:
        read_edf(raw / "p6.edf", ("OZ",))
    assert "--rename" not in str(error.value)


@pytest.mark.filterwarnings("ignore:derived")
def test_renamed_channels_are_those_of_the_file(raw):
    expected, _ = read_edf(raw / "p6.edf", ("T7", "CZ", "T8"))
    with channels_renamed({"T7": "T3", "T8": "T4", "OZ": "O1"}) as renaming:
        found, _ = read_edf(raw / "p6.edf", ("T3", "CZ", "T4"))
        difference, _ = read_edf(raw / "p6.edf", ("T3-CZ",), derive=True)
    assert np.array_equal(found, expected)
    np.testing.assert_allclose(difference[0], expected[0] - expected[1], atol=1e-9)
    assert renaming.warnings() == ("renamed: T7 as T3, T8 as T4",)
    with channels_renamed({"T7": "T8", "T8": "T7"}):  # both at once
        swapped, _ = read_edf(raw / "p6.edf", ("T8", "CZ", "T7"))
    assert np.array_equal(swapped, expected)
    with (
        channels_renamed({"T7": "CZ"}),
        pytest.raises(RecordingError, match="with different signals: CZ"),
    ):
        read_edf(raw / "p6.edf", ("CZ",))
    with pytest.raises(RecordingError, match="missing: T3"):  # no longer
        read_edf(raw / "p6.edf", ("T3",))


def test_a_corpus_takes_new_names_and_its_report_says_so(raw):
    corpus = Temporal(raw)
    old, new = (Recording(key, key, raw / f"{key}.edf") for key in ("p1", "p6"))
    with pytest.raises(RecordingError, match="--rename T7=T3"):
        corpus.read(new)
    corpus.use_rename({"EEG T7": "T3", "T8": "T4"})
    assert corpus.options_given == {"rename": {"T7": "T3", "T8": "T4"}}
    assert Temporal.rename == {} and Temporal(raw).options_given == {}
    assert not any("renamed" in line for line in corpus.read(old).warnings)
    reading = corpus.read(new)
    assert "renamed: T7 as T3, T8 as T4" in reading.warnings
    by_itself = ByItself(raw)
    assert by_itself.read(old).warnings == ()
    by_itself.use_rename({"T7": "T3"})
    with pytest.raises(
        RecordingError, match=r"by other means than modeling_mteeg\.dataset_scripts"
    ):
        by_itself.read(old)


def test_pairs_that_are_none_are_refused(raw, tmp_path, capsys):
    for wrong in ({"T7": "T3", "EEG T7": "T4"}, {"T7": "T3", "T9": "T3"}):
        with pytest.raises(ValueError, match="every old and every new name once"):
            checked_rename(wrong)
    words = ["--raw", str(raw), "--out", str(tmp_path), *OPTIONS]
    assert main([*words, "--rename", "T7"]) == 1
    assert "expected OLD=NEW" in capsys.readouterr().err
    assert main([*words, "--rename", "T9=T3"]) == 1
    assert "expected channels T9 to rename, found T3, CZ, T4, T7, T8" in capsys.readouterr().err


def test_a_survey_knows_the_new_names(raw, tmp_path):
    options = AnnotatedOptions(labels=("rest", "press"), subject_from="name")
    assert Annotated(raw, "presses", options).card.channels == ("CZ",)
    path = tmp_path / "tasks.yaml"
    path.write_text("tasks:\n  presses:\n    labels: [rest, press]\n    subject_from: name\n"
                    "    rename: {T7: T3, T8: T4}\n")  # fmt: skip
    corpus = Annotated(raw, "presses", read_tasks(path)["presses"])
    assert corpus.card.channels == ("T3", "CZ", "T4")
    windows = dict(enumerate(corpus.windows(corpus.find_recordings()[5])))
    assert len(windows) == 4 and windows[0][1].shape == (3, 400)


def test_a_file_of_corpora_and_the_command_of_a_shard_have_them(raw, tmp_path):
    own = tmp_path / "temporal_corpus.py"
    own.write_text("from test_renamed import Temporal\n")
    plan = tmp_path / "corpora.yaml"
    plan.write_text(f"out: {tmp_path}/out\ncorpora:\n  {own}:Temporal:\n    raw: {raw}\n"
                    "    rename: {T7: T3, T8: T4}\n")  # fmt: skip
    ((corpus, settings),) = read_plan(plan).corpora
    assert dict(corpus.rename) == {"T7": "T3", "T8": "T4"}
    (tmp_path / "out" / "temporal.shard-1-of-2").mkdir(parents=True)
    with pytest.raises(PreparationError, match="was never started") as error:
        merge_shards(corpus, tmp_path / "out", settings=settings)
    assert "--rename T7=T3 --rename T8=T4" in str(error.value)


@pytest.mark.slow
def test_the_command_renames_and_the_card_counts(raw, tmp_path):
    out = tmp_path / "out"
    assert main(["--raw", str(raw), "--out", str(out), *OPTIONS, *WORDS]) == 0
    corpus = load_corpus(out / "presses")
    assert corpus.card.channels == ("T3", "CZ", "T4")
    with open(out / "presses" / "report.tsv", encoding="utf-8", newline="") as file:
        odd = {row["recording"]: row["warnings"] for row in csv.DictReader(file, delimiter="\t")}
    renamed = {key for key, text in odd.items() if "renamed: T7 as T3, T8 as T4" in text}
    assert renamed == {"p5", "p6"}
    card = (out / "presses" / "README.md").read_text("utf-8").replace("\n", " ")
    assert "Used though some channels are renamed: 2 of 6 (p5, p6)" in card
    assert main(["--raw", str(raw), "--out", str(out), *OPTIONS]) == 1  # another preparation
