"""Windows on disk: what goes in comes out, through any selection, and without copies."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, concatenate_datasets, load_from_disk
from tiny_corpora import CARDS, make_dataset, signals

from modeling_mteeg.data import (
    WindowFormatError,
    WindowReader,
    decode_window,
    encode_window,
    window_features,
)
from modeling_mteeg.data.source import check_table

CARD = CARDS["tuab"]


def row(**changes):
    arguments = {
        "signal_uv": np.ones((2, 400), np.float32), "channels": ["C3", "C4"], "label": "normal",
        "recording": "r", "subject": "s", "onset_s": 0.0,
    }  # fmt: skip
    return encode_window(**(arguments | changes))


def dataset_of(*rows):
    return Dataset.from_list(list(rows), features=window_features(CARD.labels))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """37 windows in float32, saved and memory-mapped, in several record batches and shards."""
    folder = tmp_path_factory.mktemp("windows")
    parts = [make_dataset(CARD, 37).select(range(start, stop)) for start, stop in
             [(0, 5), (5, 20), (20, 37)]]  # fmt: skip
    concatenate_datasets(parts).save_to_disk(str(folder), num_shards=3)
    return load_from_disk(str(folder))


@pytest.fixture(scope="module")
def expected():
    return signals(CARD, 37, 0)


def test_float32_comes_back_exactly(saved, expected):
    reader = WindowReader(saved)
    assert len(saved.data.table.column("signal").chunks) > 1
    assert (len(reader), reader.shape, reader.dtype) == (37, (3, 400), "float32")
    assert np.array_equal(reader.read(range(37)), expected)
    order = [36, 0, 20, 19, 5, 4, 4]
    assert np.array_equal(reader.read(order), expected[order])
    assert reader.read([]).shape == (0, 3, 400)


def test_the_small_columns_come_along(saved):
    reader = WindowReader(saved)
    assert reader.channels == ("FP1", "FP2", "C3")
    assert reader.label_names == CARD.labels
    assert reader.labels.dtype == np.int64
    assert reader.labels.tolist() == saved["label"][:]
    assert list(reader.recordings) == saved["recording"][:]
    assert list(reader.subjects) == saved["subject"][:]
    assert list(reader.onsets_s) == saved["onset_s"][:]


@pytest.mark.parametrize(
    "select",
    [
        lambda d: d.select([30, 2, 2, 11]),
        lambda d: d.select(range(7, 23)),
        lambda d: d.shuffle(seed=3),
        lambda d: d.filter(lambda r: r["label"] == 1),
        lambda d: d.shuffle(seed=3).select(range(4, 9)),
        lambda d: d.shard(3, 1, contiguous=True),
        lambda d: d.with_format("numpy"),
    ],
)
def test_a_selection_reads_its_own_rows(saved, expected, select):
    chosen = select(saved)
    reader = WindowReader(chosen)
    rows = [round(onset / CARD.window_s) for onset in chosen.with_format(None)["onset_s"]]
    assert len(reader) == len(rows)
    assert np.array_equal(reader.read(range(len(rows))), expected[rows])
    assert reader.labels.tolist() == [r % 2 for r in rows]
    assert list(reader.recordings) == [f"r{r // 4}" for r in rows]


def test_int16_is_within_half_a_count():
    reader = WindowReader(make_dataset(CARD, 9, dtype="int16"))
    true = signals(CARD, 9, 0)
    peak = np.abs(true).max(axis=(1, 2), keepdims=True)
    read = reader.read(range(9))
    assert (np.abs(read - true) <= peak / 32767 * 0.501).all()
    assert reader.dtype == "int16" and not np.array_equal(read, true)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("values", [0.0, 1e-40, -3.4e38, 50.0])
def test_silent_tiny_and_huge_signals(dtype, values):
    window = row(signal_uv=np.full((2, 400), values, np.float32), dtype=dtype)
    read = WindowReader(dataset_of(window)).read([0])
    assert np.allclose(read, values, rtol=1e-4, atol=1e-38)


def test_out_and_unit(saved, expected):
    reader = WindowReader(saved)
    whole = np.full((6, 3, 400), np.nan, np.float32)
    returned = reader.read([3, 1, 36], out=whole[::2], unit_uv=100.0)
    assert np.shares_memory(returned, whole)
    assert np.allclose(whole[::2], expected[[3, 1, 36]] / 100, rtol=1e-6)
    assert np.isnan(whole[1::2]).all()


def test_views_are_on_the_memory_map(saved):
    reader = WindowReader(saved)
    buffers = [chunk.buffers()[2] for chunk in saved.data.table.column("signal").chunks]
    assert [view.ctypes.data for view in reader._bytes] == [buffer.address for buffer in buffers]
    assert all(not view.flags.owndata and not view.flags.writeable for view in reader._bytes)


def test_large_binary_reads_the_same(saved, expected):
    table = saved.data.table
    index = table.column_names.index("signal")
    large = table.set_column(index, "signal", table.column("signal").cast(pa.large_binary()))
    reader = WindowReader(Dataset(large.slice(3)).cast_column("label", saved.features["label"]))
    assert np.array_equal(reader.read(range(34)), expected[3:])


def test_a_reader_survives_pickling(saved, expected):
    reader = pickle.loads(pickle.dumps(WindowReader(saved.select([4, 8]))))
    assert np.array_equal(reader.read([1, 0]), expected[[8, 4]])


def test_labels_by_name_or_number():
    reader = WindowReader(dataset_of(row(label="abnormal"), row(label=0), row(label=1)))
    assert reader.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"signal_uv": np.full((2, 400), np.nan)}, "NaN"),
        ({"signal_uv": np.full((2, 400), np.inf)}, "infinite"),
        ({"signal_uv": np.ones(400)}, r"\(channels, samples\)"),
        ({"signal_uv": np.ones((2, 0))}, r"\(channels, samples\)"),
        ({"signal_uv": np.ones((2, 4), complex)}, "complex"),
        ({"channels": ["C3"]}, "2 channels"),
        ({"channels": "C3"}, "2 channels"),
        ({"dtype": "float64"}, "dtype"),
    ],
)
def test_a_window_that_cannot_be_written_is_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        row(**changes)


@pytest.mark.parametrize(
    "rows, message",
    [
        ([row(), row(signal_uv=np.ones((2, 200)))], "shape"),
        ([row(), row(channels=["C4", "C3"])], "channels"),
        ([row(), row(), row(signal_uv=np.ones((1, 800)), channels=["C3"])], "channels"),
        ([row(), row(channels=["C", "3C4"])], "channels"),
        ([row(), row(dtype="float32")], "dtype"),
        ([row() | {"dtype": "float64"}], "dtype"),
        ([row(), row() | {"signal": b"12"}], "2 in row 1"),
        ([row(), row() | {"signal": None}], "in row 1"),
        ([row(), row() | {"scale": None}], "empty"),
        ([row(), row() | {"label": None}], "empty"),
        ([row() | {"label": -1}], "label"),
        ([row() | {"shape": [3, 400]}], "channel names"),
    ],
)
def test_rows_that_do_not_fit_are_an_error(rows, message):
    with pytest.raises(WindowFormatError, match=message):
        WindowReader(dataset_of(*rows))


def test_rows_outside_a_selection_may_differ():
    mixed = dataset_of(row(), row(signal_uv=np.full((2, 200), 3.0)), row(label=1))
    assert WindowReader(mixed.select([0, 2])).shape == (2, 400)
    assert np.allclose(WindowReader(mixed.select([1])).read([0]), 3.0)


def test_other_datasets_are_an_error():
    with pytest.raises(WindowFormatError, match=r"missing: \['signal'"):
        WindowReader(Dataset.from_dict({"x": [1]}))
    with pytest.raises(WindowFormatError, match="empty"):
        WindowReader(make_dataset(CARD, 3).select([]))


@pytest.mark.parametrize("indices", [[-1], [37], [[1]], [0.5], [True]])
def test_wrong_indices_are_an_error(saved, indices):
    with pytest.raises((IndexError, ValueError), match="indices: expected"):
        WindowReader(saved).read(indices)


def test_wrong_out_or_unit_is_an_error(saved):
    reader = WindowReader(saved)
    for out in (np.empty((2, 3, 400)), np.empty((1, 3, 400), np.float32)):
        with pytest.raises(ValueError, match="out: expected"):
            reader.read([0, 1], out=out)
    with pytest.raises(ValueError, match="unit_uv"):
        reader.read([0], unit_uv=0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_stored_numbers_that_are_none_are_an_error(value):
    good, bad = row(dtype="float32"), row(dtype="float32")
    signal = np.frombuffer(bad["signal"], "<f4").copy()
    signal[-1] = value
    bad["signal"] = signal.tobytes()
    reader = WindowReader(dataset_of(good, bad))
    assert np.isfinite(reader.read([0])).all()
    with pytest.raises(WindowFormatError, match="row 1: NaN or infinite values"):
        reader.read([0, 1])
    with pytest.raises(WindowFormatError, match="NaN or infinite"):
        decode_window(bad)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, 1e38])
def test_a_scale_that_is_none_is_an_error(scale):
    bad = {**row(), "scale": scale}
    for read in (lambda: WindowReader(dataset_of(row(), bad)), lambda: decode_window(bad)):
        with pytest.raises(WindowFormatError, match="scale: expected numbers above 0"):
            read()


def test_a_damaged_table_is_refused_before_it_is_read():
    """Arrow's files have no sums: a lost piece makes places lie outside of their column."""
    table = dataset_of(row(), row(recording="other")).data.table.combine_chunks()
    at = table.column_names.index("recording")
    column = table.column(at).chunk(0)
    offsets = np.array([0, 2**30, 6], np.int32)
    buffers = [None, pa.py_buffer(offsets.tobytes()), column.buffers()[2]]
    bad = pa.Array.from_buffers(pa.string(), 2, buffers)
    check_table(table)
    with pytest.raises(WindowFormatError, match="a damaged table"):
        check_table(table.set_column(at, "recording", bad))
