"""mteeg predict on a BIDS dataset: all its recordings, each under its own name."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from bids_datasets import channels_table, recording, sidecar
from tiny_models import randomize, tiny_model
from tiny_recordings import NAMES, card, eeg

from modeling_mteeg import cli

pytestmark = [
    pytest.mark.slow,  # a base is made, and every recording predicted
    pytest.mark.filterwarnings("ignore:A recording is shorter"),
]
GOOD = [(name, "EEG", "uV", "good") for name in NAMES]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A base with one task, which may lack a channel."""
    folder = tmp_path_factory.mktemp("base")
    model = tiny_model()
    model.add_adapter("fists", card=card(name="fists", channels=NAMES, max_missing_channels=1))
    randomize(model)
    model.save_pretrained(folder)
    model.save_adapter("fists", folder / "adapters" / "fists")
    return folder


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "ds"
    for seed, name in enumerate(("sub-01_ses-a_run-1", "sub-01_ses-a_run-2", "sub-01_ses-b_run-1",
                                 "sub-02_ses-a_run-1")):  # fmt: skip
        recording(root, name, names=NAMES, signal=(1 + 0.1 * seed) * eeg(15, 200))
    channels_table(root / "channels.tsv", GOOD)
    recording(root / "derivatives" / "clean", "sub-01_ses-a_run-1", names=NAMES)
    return root


def predict(base, source, out, *more) -> int:
    return cli.main(["predict", str(source), "--base", str(base), "--task", "fists",
                     "--out", str(out), *more])  # fmt: skip


def test_every_recording_of_a_dataset_has_its_own_events(base, root, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(base, root, out) == 0
    printed = capsys.readouterr().out
    assert "4 EEG recordings of 2 subjects; passed over: 1 in derivatives" in printed
    tables = {path.name.partition("_desc")[0]: path for path in out.glob("*_events.tsv")}
    assert sorted(tables) == ["sub-01_ses-a_run-1", "sub-01_ses-a_run-2", "sub-01_ses-b_run-1",
                              "sub-02_ses-a_run-1"]  # fmt: skip
    for name, path in tables.items():
        described = json.loads(path.with_suffix(".json").read_text("utf-8"))
        assert described["Sources"] == [f"{name}_eeg.edf"]
    answers = {path.read_text("utf-8") for path in tables.values()}
    assert len(answers) == 4
    # A subject's folder, one recording: the same answers; a file that is done is skipped.
    assert predict(base, root / "sub-02", tmp_path / "one.tsv") == 0
    one = (tmp_path / "one.tsv").read_text("utf-8")
    assert one == tables["sub-02_ses-a_run-1"].read_text("utf-8")
    assert predict(base, root, out) == 0
    assert capsys.readouterr().out.count("done already") == 4


def test_a_dataset_is_predicted_at_the_events_of_each_recording(base, root, tmp_path, capsys):
    own = {"sub-01_ses-a_run-1": (2.0, 7.5), "sub-01_ses-b_run-1": (4.0,)}
    for name, onsets in own.items():
        folder = next(root.glob(f"sub-*/**/{name}_eeg.edf")).parent
        rows = "".join(f"{onset}\t0\tgo\n" for onset in onsets)
        (folder / f"{name}_events.tsv").write_text(f"onset\tduration\ttrial_type\n{rows}", "utf-8")
    by_all = root / "sub-02_events.tsv"  # by inheritance
    by_all.write_text("onset\tduration\ttrial_type\n3.5\t0\tgo\n", "utf-8")
    own["sub-02_ses-a_run-1"] = (3.5,)
    out = tmp_path / "out"
    assert predict(base, root, out, "--at", "events") != 0
    told = capsys.readouterr().err
    assert "1 of 4 results could not be made" in told
    assert "found none (sub-01_ses-a_run-2_events.tsv)" in told
    tables = {path.name.partition("_desc")[0]: path for path in out.glob("*_events.tsv")}
    assert sorted(tables) == sorted(own)
    for name, onsets in own.items():
        lines = [line.split("\t") for line in tables[name].read_text("utf-8").splitlines()]
        cue = lines[0].index("cue")
        assert [(float(row[0]), row[cue]) for row in lines[1:]] == [(one, "go") for one in onsets]
    by_all.write_text("onset\tduration\ttrial_type\n5\t0\tgo\n", "utf-8")  # another run
    assert predict(base, root, out, "--at", "events") != 0
    told = capsys.readouterr()
    assert told.out.count("done already") == 2 and "made with another at" in told.err


def test_what_sidecars_say_is_in_the_answer_and_a_changed_one_is_another_run(base, root, tmp_path):
    path = root / "sub-02" / "ses-a" / "eeg" / "sub-02_ses-a_run-1_eeg.edf"
    out = tmp_path / "one.tsv"
    assert predict(base, path, out, "--quiet") == 0
    before = out.read_text("utf-8")
    rows = [(name, kind, "uV", "bad" if name == "CZ" else state) for name, kind, _, state in GOOD]
    rows[0] = (NAMES[0], "EEG", "mV", "good")
    channels_table(sidecar(path, "_channels.tsv"), rows)
    assert predict(base, path, out, "--quiet") == 2
    assert predict(base, path, out, "--quiet", "--overwrite") == 0
    described = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert described["MissingChannels"] == ["CZ"] and out.read_text("utf-8") != before
    notes = " ".join(described["Notes"])
    assert "says mV, the header uV of FP1: the header is used" in notes
    with out.open(newline="") as file:
        assert len(list(csv.DictReader(file, delimiter="\t"))) == 3


def test_a_needed_channel_that_is_marked_bad_is_said_to_be(base, root, tmp_path, capsys):
    channels_table(root / "channels.tsv", [
        (name, kind, unit, "bad" if name in ("CZ", "C3") else state)
        for name, kind, unit, state in GOOD
    ])  # fmt: skip
    assert predict(base, root / "sub-02", tmp_path / "one.tsv") == 2
    error = capsys.readouterr().err
    assert "2 are missing: C3, CZ" in error and "CZ (marked bad in channels.tsv)" in error


def test_a_folder_that_is_no_dataset_names_what_lies_in_it(base, tmp_path, capsys):
    recording(tmp_path / "plain", "sub-01", names=NAMES).rename(tmp_path / "plain" / "night.edf")
    assert predict(base, tmp_path / "plain", tmp_path / "one.tsv") == 2
    assert "a folder; expected the file of a recording" in capsys.readouterr().err
