"""A prepared corpus in the hands of plain ``datasets``, and rows with nothing prepared at all."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import datasets
import numpy as np
import pytest
from tiny_runs import write_run, write_runs

from modeling_mteeg import dataset_scripts
from modeling_mteeg.data import WindowFormatError, WindowReader, decode_window, load_corpus
from modeling_mteeg.dataset_scripts import (
    RecordingError,
    Settings,
    corpus_class,
    prepare_corpus,
    stream,
)
from modeling_mteeg.dataset_scripts.physionet_mi import CARD

SIZES = {"train": 24, "validation": 6, "test": 6}


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    return write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module", params=["int16", "float32"])
def folder(request, raw, tmp_path_factory) -> Path:
    settings = Settings(progress=False, dtype=request.param)
    return prepare_corpus(
        corpus_class("physionet-mi")(raw), tmp_path_factory.mktemp("out"), settings
    )


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_load_dataset_reads_a_prepared_folder(folder):
    loaded = datasets.load_dataset(str(folder))
    assert {split: len(rows) for split, rows in loaded.items()} == SIZES
    saved, corpus = datasets.load_from_disk(str(folder)), load_corpus(folder)
    for split, rows in loaded.items():
        assert rows.features == saved[split].features
        assert rows.features["label"] == datasets.ClassLabel(names=list(CARD.labels))
        assert rows[:] == saved[split][:]
        expected = corpus.splits[split].read(range(len(rows)))
        assert np.array_equal(WindowReader(rows).read(range(len(rows))), expected)


def test_load_dataset_streams_a_prepared_folder(folder):
    streamed = datasets.load_dataset(str(folder), streaming=True)
    assert set(streamed) == set(SIZES)
    for split, rows in streamed.items():
        assert rows.features["label"] == datasets.ClassLabel(names=list(CARD.labels))
        reader = load_corpus(folder).splits[split]
        decoded = [(decode_window(row), row["label"]) for row in rows]
        assert len(decoded) == SIZES[split]
        assert np.array_equal([signal for signal, _ in decoded], reader.read(range(len(reader))))
        assert [label for _, label in decoded] == reader.labels.tolist()
        hundred = [decode_window(row, unit_uv=100.0) for row in rows.take(3)]
        assert np.array_equal(hundred, reader.read(range(3), unit_uv=100.0))
    moved = streamed["test"].map(lambda row: {"signal": decode_window(row).shape})
    assert next(iter(moved))["signal"] == (len(CARD.channels), 800)


@pytest.mark.parametrize(
    "change", [{"signal": b"123"}, {"signal": None}, {"dtype": "int8"}, {"shape": [64, 801]}]
)
def test_a_row_that_is_no_window_is_an_error(folder, change):
    row = load_first(folder)
    assert decode_window(row).shape == (64, 800)
    with pytest.raises(WindowFormatError, match=r"signal|dtype"):
        decode_window({**row, **change})


def load_first(folder: Path) -> dict:
    return datasets.load_from_disk(str(folder))["train"][0]


def test_rows_without_preparing_are_those_of_the_prepared_split(folder, raw):
    corpus = corpus_class("physionet-mi")(raw)
    saved = datasets.load_from_disk(str(folder))
    dtype = saved["train"][0]["dtype"]
    for split in ("validation", "test"):
        rows = stream(corpus, split, dtype)
        assert rows.features == saved[split].features
        assert list(rows) == saved[split].to_list()
    everything = stream(corpus, dtype=dtype)
    assert everything.num_shards == 6
    halves = [list(everything.shard(2, index)) for index in range(2)]
    assert len(halves[0]) == len(halves[1]) == 18
    with pytest.raises(ValueError, match="split"):
        stream(corpus, "training")


def test_a_bad_recording_stops_a_stream_with_its_name(raw, tmp_path):
    write_runs(tmp_path)
    write_run(tmp_path / "S002" / "S002R08.edf", 1, CARD.channels[:5])
    with pytest.raises(RecordingError, match=r"S002R08\.edf: channels missing"):
        list(stream(corpus_class("physionet-mi")(tmp_path), "test"))


def test_trial_splits_read_each_recording_for_its_own_trials(tmp_path):
    from modeling_mteeg.dataset_scripts.demo import simulate

    simulate(tmp_path / "raw", tasks=["seed-v"], size="small", progress=False)
    corpus = corpus_class("seed-v")(tmp_path / "raw" / "seed-v")
    folder = prepare_corpus(corpus, tmp_path / "out", Settings(progress=False))
    saved = datasets.load_from_disk(str(folder))
    for split in SIZES:
        rows = list(stream(corpus, split))
        assert [row["signal"] for row in rows] == list(saved[split]["signal"])


def test_the_package_names_what_it_offers():
    for name in dataset_scripts.__all__:
        assert inspect.getdoc(getattr(dataset_scripts, name)), name
    assert set(dataset_scripts.__all__) <= set(dir(dataset_scripts))
    assert pickle.loads(pickle.dumps(Settings())) == Settings()
    with pytest.raises(AttributeError, match="no attribute 'prepare_all'"):
        dataset_scripts.prepare_all  # noqa: B018
