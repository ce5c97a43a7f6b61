"""Files of a comparison that say other things than they should: each is named, none trips."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from mutated.prepared_originals import ORIGINALS, TASK, UNIT

from modeling_mteeg.comparison.finished_rows import read_rows
from modeling_mteeg.comparison.units import ResultError, read_result
from modeling_mteeg.methods.method import TrainingError
from modeling_mteeg.model.checked_files import UnsafeFileError, read_json
from modeling_mteeg.training.cross_validation import FOLDS, read_folds
from modeling_mteeg.training.search import TRY_FILE, _read_try

ROW, DONE = "rows/row/row.json", f"{UNIT}/unit.json"


@pytest.fixture
def results(tmp_path) -> Path:
    next(each for each in ORIGINALS if each.name == "results").write(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "fields", "words"),
    [
        (ROW, {"tasks": 0.5}, "tasks: expected a list of which each is text, found 0.5"),
        (ROW, {"tasks": [1]}, "tasks: 0: expected text, found 1"),
        (ROW, {"seeds": None}, "seeds: expected a list"),
        (ROW, {"folds": True}, "folds: expected a whole number from 1 to 10,000, found True"),
        (ROW, {"folds": 10**9}, "folds: expected a whole number from 1 to 10,000"),
        (ROW, {"folds": 10**400}, r"folds: expected a number of at most .*401 characters"),
        (ROW, {"name": ["row"]}, "name: expected text"),
        (DONE, {"tasks": "tuab"}, "tasks: expected a list"),
        (DONE, {"seconds": "60"}, "seconds: expected a number, found '60'"),
        (DONE, {"files": {"a": 1}}, "files: 'a': expected a mapping with bytes, sha256, found 1"),
        (DONE, {"files": {"a": {"bytes": "1"}}}, "files: 'a': bytes: expected a whole number"),
        (DONE, {"chosen_epoch": {}}, r"chosen_epoch: expected \['tuab'\], found \[\]"),
        (DONE, {"parameters": {TASK: 9}}, "parameters: 'tuab': expected a mapping"),
        (DONE, {"parameters": {TASK: {"total": []}}}, "parameters: 'tuab': total: expected"),
    ],
    ids=lambda value: "changed" if callable(value) else str(value),
)
def test_a_value_of_another_type_is_named(results, file, fields, words):
    (row,) = read_rows(results)
    assert list(row.tested) == [TASK] and not row.missing
    path = results / file
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(ResultError, match=words) as caught:
        read_rows(results)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("history", ['{"epoch": 0}', "[1]", "[", "null"])
def test_a_history_is_a_list_of_epochs_whatever_its_hash(results, history):
    path = results / UNIT / "history.json"
    path.write_text(history)
    said = json.loads((results / DONE).read_text())
    said["files"]["history.json"] = {
        "bytes": len(history), "sha256": hashlib.sha256(history.encode()).hexdigest(),
    }  # fmt: skip
    (results / DONE).write_text(json.dumps(said))
    with pytest.raises(ResultError, match=r"history\.json is damaged"):
        read_rows(results)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("missing.json", '{"tuab": 1}', "'tuab': expected text, found 1"),
        ("missing.json", "[]", "expected a mapping to text"),
        ("tuning.json", '{"identity": {}}', "chosen: expected a mapping, found None"),
        ("tuning.json", '{"chosen": {}, "identity": {}}', "split_hash: expected a mapping"),
    ],
)
def test_what_is_missing_and_what_was_tried_are_checked(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(ResultError, match=rf"{name} is damaged: .*{words}"):
        read_result(tmp_path / name)


@pytest.mark.parametrize("text", ["[]", "{", '{"folds": true, "seeds": [0]}', '{"folds": 5}'])
def test_notes_of_folds_and_tries_are_checked(tmp_path, text):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / FOLDS).write_text(text)
    with pytest.raises(TrainingError, match=rf"{FOLDS}.* Remove the file"):
        read_folds(tmp_path)
    (tmp_path / TRY_FILE).write_text(text)
    with pytest.raises(TrainingError, match=rf"{TRY_FILE}.* Remove the file"):
        _read_try(tmp_path / TRY_FILE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_in_the_place_of_json_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "row.json")
    with pytest.raises(UnsafeFileError, match="found a pipe"):
        read_json(tmp_path / "row.json")
