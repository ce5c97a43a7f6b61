"""Prepared folders whose files say other things than `datasets` writes: each is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_corpora import CARDS, save_corpus
from tiny_unlabelled import save_unlabelled

from modeling_mteeg.data import load_corpus, load_unlabelled, write_index
from modeling_mteeg.data.source import WindowFormatError


@pytest.fixture
def corpus(tmp_path) -> Path:
    save_corpus(tmp_path, CARDS["tuab"], (4, 2, 2))
    return tmp_path


def changed(path: Path, change: Callable[[Any], Any] | dict) -> None:
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | change if isinstance(change, dict) else change(said)))


def without(key: str) -> Callable[[dict], dict]:
    return lambda said: {name: value for name, value in said.items() if name != key}


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("dataset_dict.json", {"splits": 1.5}, "splits: expected a list .*, found 1.5"),
        ("dataset_dict.json", lambda said: [said], "expected a mapping with splits, found"),
        ("dataset_dict.json", {"splits": ["train", "validation", "text"]}, "found 'text'"),
        ("dataset_dict.json", {"splits": ["train", "validation", "../a"]}, r"found '\.\./a'"),
        ("train/state.json", {"_data_files": {}}, "_data_files: expected a list"),
        ("train/state.json", {"_data_files": []}, "_data_files: expected one or more"),
        ("train/state.json", {"_data_files": [1]}, "_data_files: 0: expected a mapping"),
        ("train/state.json", {"_data_files": [{"filename": "../a.arrow"}]}, r"found '\.\./a"),
        ("train/state.json", {"_split": True}, "_split: expected text or null, found True"),
        ("train/state.json", {"_format_kwargs": 1}, "_format_kwargs: expected a mapping"),
        ("train/state.json", without("_fingerprint"), "_fingerprint: expected text, found None"),
        ("train/dataset_info.json", {"features": []}, "features: expected a mapping"),
        ("train/dataset_info.json", {"features": {"a": {"dtype": "int16"}}}, "cannot read"),
        ("train/dataset_info.json", {"features": {"a": 1}}, "features: 'a': expected a mapping"),
        (
            "train/dataset_info.json",
            {"features": {"a": {"dtype": "\x1b[31mred", "_type": "Value"}}},
            r"cannot read \(ValueError: .*x1b\[31mred",
        ),
    ],
    ids=lambda value: "changed" if callable(value) else str(value),
)
def test_a_file_of_another_type_is_named(corpus, file, change, words):
    assert load_corpus(corpus).splits["train"].labels.shape == (4,)
    changed(corpus / file, change)
    with pytest.raises(WindowFormatError, match=words) as caught:
        load_corpus(corpus)
    assert str(corpus / file) in str(caught.value) and "\x1b" not in str(caught.value)


def test_a_file_that_is_no_json_and_one_that_is_cut_are_named(corpus):
    state = corpus / "test/state.json"
    whole = state.read_text()
    state.write_text(whole[:-5])
    with pytest.raises(WindowFormatError, match=r"test/state\.json is not valid JSON"):
        load_corpus(corpus)
    with pytest.raises(WindowFormatError, match=r"test/state\.json is not valid JSON"):
        write_index(corpus / "test")
    state.write_text(whole)
    (arrow,) = (corpus / "test").glob("*.arrow")
    arrow.write_bytes(arrow.read_bytes()[:400])
    with pytest.raises(
        WindowFormatError, match=r"a file of the saved dataset is damaged"
    ) as caught:
        load_corpus(corpus)
    assert str(corpus) in str(caught.value)


def test_unlabelled_folders_are_checked_as_well(tmp_path):
    save_unlabelled(tmp_path)
    assert load_unlabelled(tmp_path, 1.0, max_patches=24, max_seconds=4)["train"]
    changed(tmp_path / "state.json", {"_format_columns": 1})
    with pytest.raises(WindowFormatError, match=r"state\.json: _format_columns: expected a list"):
        load_unlabelled(tmp_path, 1.0, max_patches=24, max_seconds=4)
