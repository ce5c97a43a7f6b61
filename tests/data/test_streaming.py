"""Streaming: the same windows to the bit from anywhere, with patience, and never garbage."""

from __future__ import annotations

import pickle
import threading
import time
import tracemalloc
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import concatenate_datasets, load_from_disk
from range_server import HubServer, running, serving
from tiny_corpora import CARDS, make_dataset, save_corpora

from modeling_mteeg.data import (
    EpochPlan,
    JointBatches,
    RemoteFolder,
    StreamedReader,
    StreamError,
    WindowFormatError,
    WindowReader,
    load_corpora,
    run_ahead,
    stream_corpus,
    streaming,
    training_mixes,
    write_index,
)

SIZES = {"tuab": (40, 6, 5), "seed-v": (23, 4, 3), "sleep-edf": (7, 3, 3)}
QUICK = {"attempts": 4, "wait_s": 0.01}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return folder


@pytest.fixture
def server(data):
    with serving(data) as running:
        yield running


@pytest.fixture(params=["folder", "memory", "http", "cached"])
def url(request, data, tmp_path) -> str:
    """The same corpora behind different file systems."""
    if request.param == "folder":
        yield str(data)
    elif request.param == "memory":
        memory = fsspec.filesystem("memory")
        memory.put(str(data), "/eeg", recursive=True)
        yield "memory://eeg"
        memory.rm("/eeg", recursive=True)
    else:
        with serving(data) as running:
            chain = "simplecache::" if request.param == "cached" else ""
            yield f"{chain}{running.url}"


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_a_stream_has_the_windows_of_the_disk_to_the_bit(tmp_path, dtype, monkeypatch):
    """Several files and record batches, any order, repeats, whole ranges and single requests."""
    folder = tmp_path / "corpus" / "train"
    parts = [make_dataset(CARDS["tuab"], 37, dtype=dtype).select(range(*part))
             for part in [(0, 5), (5, 20), (20, 37)]]  # fmt: skip
    concatenate_datasets(parts).save_to_disk(str(folder), num_shards=3)
    write_index(folder)
    local = WindowReader(load_from_disk(str(folder)))
    with serving(tmp_path / "corpus") as server:
        stream = StreamedReader(RemoteFolder(server.url, **QUICK), "train")
        for name in ("channels", "shape", "dtype", "label_names", "window_bytes"):
            assert getattr(stream, name) == getattr(local, name)
        for name in ("labels", "subjects", "recordings", "onsets_s"):
            assert np.array_equal(getattr(stream, name), getattr(local, name))
        for gap in (0, 32 * 1024):
            monkeypatch.setattr(streaming, "GAP_BYTES", gap)
            for rows in ([36, 0, 20, 19, 5, 4, 4], range(37), [11], []):
                assert np.array_equal(stream.read(rows), local.read(rows))
                assert np.array_equal(
                    stream.read(rows, unit_uv=100.0), local.read(rows, unit_uv=100.0)
                )
        again = pickle.loads(pickle.dumps(stream))
        assert np.array_equal(again.read([3]), local.read([3]))


def test_batches_of_a_stream_are_those_of_the_disk_from_any_step(data, url):
    local, stream = load_corpora(data, list(SIZES)), load_corpora(url, list(SIZES), streaming=True)
    assert all(isinstance(r, StreamedReader) for c in stream.values() for r in c.splits.values())
    assert [corpus.card for corpus in stream.values()] == list(CARDS.values())
    plans = [EpochPlan(training_mixes(corpora), 16, seed=1, world_size=2, slices=2)
             for corpora in (local, stream)]  # fmt: skip
    for start, prefetch in [(0, None), (1, 0), (2, 3)]:
        ours = list(JointBatches(local, plans[0], 1, start))
        theirs = list(JointBatches(stream, plans[1], 1, start, prefetch))
        assert len(ours) == len(theirs) > 0
        for one, other in zip(ours, theirs, strict=True):
            assert one.keys() == other.keys()
            for task, batch in one.items():
                assert all(torch.equal(other[task][key], value) for key, value in batch.items())


def test_only_what_is_read_is_fetched_and_neighbours_come_together(server, data, monkeypatch):
    reader = stream_corpus(f"{server.url}/tuab", **QUICK).splits["train"]
    size, before = reader.window_bytes, server.bytes_sent
    monkeypatch.setattr(streaming, "GAP_BYTES", 1024)
    server.requests.clear()
    reader.read([30, 2, 17, 30])
    assert len(server.requests) == 3 and server.bytes_sent == 3 * size
    server.requests.clear()
    reader.read(range(8, 16))
    assert len(server.requests) == 1 and server.bytes_sent <= 8 * size + 8 * 1024
    monkeypatch.setattr(streaming, "REQUEST_BYTES", 3 * size)
    server.requests.clear()
    reader.read(range(8, 16))
    assert len(server.requests) >= 3
    assert before < 20_000  # opening fetches the card and the indexes only


def test_memory_does_not_grow_with_what_was_read(tmp_path):
    """Peak of an epoch of single windows: a small part of the split."""
    save_corpora(tmp_path, {"tuab": (300, 2, 2)})
    reader = stream_corpus(tmp_path / "tuab", **QUICK).splits["train"]
    reader.read([0])
    tracemalloc.start()
    for row in range(len(reader)):
        reader.read([row])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(reader) * reader.window_bytes / 10


@pytest.mark.parametrize(
    "fault",
    ["cut", "drop", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("503", "429"))],
)
def test_a_server_that_fails_now_and_then_is_asked_again(server, data, fault):
    reader = stream_corpus(f"{server.url}/tuab", attempts=4, wait_s=0.001).splits["train"]
    expected = load_corpora(data, ["tuab"])["tuab"].splits["train"].read(range(12))
    start = len(server.requests)
    server.fault = lambda number, path: fault if (number - start) % 3 < 2 else None
    found = np.concatenate([reader.read([row]) for row in range(12)])
    assert np.array_equal(found, expected)
    assert len(server.requests) - start >= 30


def test_a_server_that_keeps_failing_is_an_error_in_the_end(server):
    reader = stream_corpus(f"{server.url}/tuab", **QUICK).splits["train"]
    server.fault = lambda number, path: "503"
    start = len(server.requests)
    with pytest.raises(StreamError, match=r"reads failed 4 times.*503.*start again"):
        reader.read([1])
    assert len(server.requests) - start == 4


def test_what_waiting_does_not_mend_is_an_error_at_once(server, data):
    reader = stream_corpus(f"{server.url}/tuab", **QUICK).splits["train"]
    start = len(server.requests)
    server.fault = lambda number, path: "403"
    with pytest.raises(StreamError, match=r"refused .*credentials"):
        reader.read([1])
    server.fault = lambda number, path: "404"
    with pytest.raises(FileNotFoundError, match=r"data-00000-of-00001\.arrow: not found"):
        reader.read([1])
    assert len(server.requests) - start == 2


def test_a_server_without_ranges_is_named(server):
    reader = stream_corpus(f"{server.url}/tuab", **QUICK).splits["train"]
    server.ranges = False
    with pytest.raises(StreamError, match="answers range requests"):
        reader.read([1])


@pytest.mark.parametrize("change", ["one bit", "shorter", "another corpus"])
def test_a_file_that_is_not_the_indexed_one_is_an_error(tmp_path, change):
    save_corpora(tmp_path, {"tuab": (9, 2, 2)})
    reader = stream_corpus(tmp_path / "tuab", **QUICK).splits["train"]
    path = tmp_path / "tuab" / "train" / "data-00000-of-00001.arrow"
    content = bytearray(path.read_bytes())
    place = int(reader._offset[4]) + 100
    if change == "one bit":
        content[place] ^= 1
    elif change == "shorter":
        del content[place:]
    else:
        make_dataset(CARDS["tuab"], 9, seed=5).save_to_disk(str(tmp_path / "other"))
        content = (tmp_path / "other" / path.name).read_bytes()
    path.write_bytes(content)
    message = "reads failed" if change == "shorter" else "not the one that index.parquet"
    with pytest.raises(StreamError, match=message):
        reader.read([4])
    if change == "one bit":
        assert reader.read([3, 5]).shape == (2, 3, 400)  # the others are as they were


def _without(table: pa.Table, column: str) -> pa.Table:
    return table.drop_columns([column])


def _set(table: pa.Table, column: str, value: int) -> pa.Table:
    index = table.column_names.index(column)
    field = table.schema.field(column)
    return table.set_column(index, field, pa.array([value] * len(table), field.type))


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda table: _without(table, "offset"), "not an index"),
        (lambda table: table.replace_schema_metadata(None), "not an index"),
        (lambda table: table.replace_schema_metadata({"mteeg": '{"version": 99}'}), "version 1"),
        (lambda table: _set(table, "file", 3), "file numbers"),
        (lambda table: _set(table, "offset", -1), "negative"),
        (lambda table: _set(table, "label", 2), "labels"),
        (lambda table: table.slice(0, 0), "no rows"),
    ],
)
def test_a_damaged_index_is_an_error(tmp_path, damage, message):
    save_corpora(tmp_path, {"tuab": (5, 2, 2)})
    path = tmp_path / "tuab" / "train" / "index.parquet"
    pq.write_table(damage(pq.read_table(path)), path)
    with pytest.raises(WindowFormatError, match=message):
        stream_corpus(tmp_path / "tuab", **QUICK)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(WindowFormatError, match="not an index"):
        stream_corpus(tmp_path / "tuab", **QUICK)


def test_missing_corpora_and_indexes_are_all_named(server, data, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load_corpora(server.url, ["tuab", "tuev", "chb-mit"])
    assert "2 tasks" in str(error.value)
    assert "tuev/task.json" in str(error.value) and "chb-mit/task.json" in str(error.value)
    save_corpora(tmp_path, {"tuab": (5, 2, 2)})
    (tmp_path / "tuab" / "test" / "index.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="write_index"):
        load_corpora(tmp_path, ["tuab"], streaming=True)
    with pytest.raises(StreamError, match="nowhere"):
        load_corpora("nowhere://x", ["tuab"])


def test_a_task_name_in_the_location(data, server, tmp_path):
    for location in (f"{data}/{{task}}", f"{server.url}/{{task}}"):
        corpora = load_corpora(location, ["seed-v", "tuab"])
        assert [corpus.card.name for corpus in corpora.values()] == ["seed-v", "tuab"]
    (tmp_path / "tuab").symlink_to(data / "seed-v", target_is_directory=True)
    with pytest.raises(ValueError, match="expected the task 'tuab', found 'seed-v'"):
        load_corpora(tmp_path, ["tuab"], streaming=True)


def test_calls_run_ahead_in_order_and_no_further_than_asked():
    running, most, lock = [0], [0], threading.Lock()

    def call(number):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02 if number % 3 else 0.05)
        with lock:
            running[0] -= 1
        if number == 17:
            raise RuntimeError("no 17")
        return number

    seen = []
    with pytest.raises(RuntimeError, match="no 17"):
        for result in run_ahead((lambda n=n: call(n) for n in range(40)), 4):
            seen.append(result)
    assert seen == list(range(17)) and 2 <= most[0] <= 4
    started = []
    ahead = run_ahead((lambda n=n: started.append(n) for n in range(40)), 3)
    next(ahead), next(ahead)
    ahead.close()
    assert len(started) <= 5
    assert list(run_ahead((lambda n=n: n for n in range(5)), 0)) == list(range(5))


def test_wrong_settings_are_errors(data):
    for options in ({"concurrency": 0}, {"attempts": 0}, {"wait_s": -1}):
        with pytest.raises(ValueError, match="expected concurrency"):
            RemoteFolder(data, **options)


def test_the_index_is_a_function_of_the_split(tmp_path):
    for name in ("one", "two"):
        save_corpora(tmp_path / name, {"tuab": (9, 2, 2)})
    one, two = (tmp_path / name / "tuab" / "train" / "index.parquet" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    table = pq.read_table(one)
    assert len(table) == 9 and table["recording"].to_pylist()[4] == "r1"
    picked = load_from_disk(str(tmp_path / "one" / "tuab" / "train")).select([3, 1])
    picked.save_to_disk(str(tmp_path / "picked"))  # written out in the new order
    write_index(tmp_path / "picked")
    reader = StreamedReader(RemoteFolder(tmp_path), "picked")
    assert reader.onsets_s.tolist() == [6.0, 2.0]


@pytest.fixture
def hub(data, monkeypatch):
    """A Hub whose store is another server; its store's ``fault`` knows the addresses."""
    import huggingface_hub
    from huggingface_hub import constants

    with serving(data) as store, running(HubServer(store)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(
            "https://huggingface.co", server.url
        )
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        huggingface_hub.HfFileSystem.clear_instance_cache()
        huggingface_hub.utils.close_session()
        yield server
        huggingface_hub.HfFileSystem.clear_instance_cache()
        huggingface_hub.utils.close_session()


HUB = "hf://datasets/me/eeg/tuab"


def test_the_hub_is_asked_once_a_file_and_its_store_for_the_windows(hub, data):
    reader = stream_corpus(HUB, **QUICK).splits["train"]
    expected = load_corpora(data, ["tuab"])["tuab"].splits["train"].read(range(40))
    before = hub.asked
    found = np.concatenate([reader.read([row]) for row in range(40)])
    assert np.array_equal(found, expected)
    assert hub.asked == before + 1 and len(hub.store.requests) == 40


def test_an_address_that_has_expired_is_asked_for_anew(hub, data):
    reader = stream_corpus(HUB, **QUICK).splits["train"]
    expected = load_corpora(data, ["tuab"])["tuab"].splits["train"].read(range(40))
    reader.read([0])
    hub.store.fault = lambda number, path: None if path.endswith("%2F2") else "403"
    assert np.array_equal(reader.read([5, 39]), expected[[5, 39]])
    assert hub.signature == 2


def test_a_store_that_fails_leaves_the_way_through_the_hub(hub, data):
    """The second attempt goes through the Hub, which forwards it with a fresh address."""
    reader = stream_corpus(HUB, **QUICK).splits["train"]
    expected = load_corpora(data, ["tuab"])["tuab"].splits["train"].read(range(40))
    hub.store.fault = lambda number, path: "503" if path.endswith("%2F1") else None
    assert np.array_equal(reader.read([7]), expected[[7]])
    assert hub.signature == 2
    hub.store.fault = lambda number, path: "403"
    with pytest.raises(StreamError, match="refused"):
        reader.read([8])


def test_a_repository_without_the_corpus_is_named(hub):
    with pytest.raises(FileNotFoundError, match=r"chb-mit/task\.json"):
        load_corpora("hf://datasets/me/eeg", ["chb-mit"])
