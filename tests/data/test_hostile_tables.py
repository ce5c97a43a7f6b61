"""Tables and JSON beside data and results from elsewhere: wrong types and sizes are named."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from modeling_mteeg.comparison.units import ResultError, read_result
from modeling_mteeg.data import parquet_files
from modeling_mteeg.data.index import _META, INDEX_VERSION, read_index
from modeling_mteeg.data.source import WindowFormatError
from modeling_mteeg.data.split_manifest import read_split
from modeling_mteeg.data.stretches import MANIFEST_FILE, read_manifest
from modeling_mteeg.evaluation.saved_predictions import PredictionFileError, read_predictions
from modeling_mteeg.methods.task_files import read_weights
from modeling_mteeg.model.checked_files import UnsafeFileError
from modeling_mteeg.training.record import read_record

DEEP = "[" * 100_000 + "]" * 100_000
SAID = {
    "version": INDEX_VERSION, "files": ["a.arrow"], "dtype": "int16", "shape": [2, 200],
    "channels": ["Cz", "Pz"], "labels": ["a", "b"],
}  # fmt: skip
KINDS = {
    "file": pa.int32(), "offset": pa.int64(), "crc32": pa.uint32(), "scale": pa.float32(),
    "label": pa.int32(),
}  # fmt: skip


def index(said=SAID, **columns) -> bytes:
    values = {"file": [0, 0], "offset": [8, 900], "crc32": [1, 2], "scale": [1.0, 1.0],
              "label": [0, 1]}  # fmt: skip
    arrays = {name: pa.array(values[name], kind) for name, kind in KINDS.items()}
    arrays = {k: v for k, v in (arrays | columns).items() if v is not None}
    text = said if isinstance(said, str) else json.dumps(said)
    table, file = pa.table(arrays).replace_schema_metadata({_META: text}), io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"files": "a.arrow"}, "files is no list of str"),
        ({"files": [1]}, "files is no list of str"),
        ({"files": ["../a.arrow"]}, "files outside its folder"),
        ({"shape": [2, "200"]}, "shape is no list of int"),
        ({"shape": [2, True]}, "shape is no list of int"),
        ({"shape": 400}, "shape is no list of int"),
        ({"channels": None}, "channels is no list of str"),
        ({"labels": {"a": 0}}, "labels is no list of str"),
        ({"dtype": ["int16"]}, "unknown number type"),
        ({"version": [1]}, "expected version"),
    ],
    ids=lambda value: "changed" if callable(value) else str(value),
)  # fmt: skip
def test_an_index_of_wrong_types_is_named(fields, words):
    assert read_index(index(), "here")[0]["shape"] == (2, 200)
    with pytest.raises(WindowFormatError, match=rf"here: .*{words}"):
        read_index(index(SAID | fields), "here")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (index("[]"), "expected keys and values"),
        (index('{"version": ' + DEEP + "}"), "not valid JSON|at most 32 levels"),
        (index(label=None), "label"),
        (index(label=pa.array(["a", "b"])), "label holds no numbers"),
        (index(offset=pa.array([8, None], pa.int64())), "offset holds no .* not everywhere"),
        (b"PAR1" + bytes(100) + b"PAR1", "not an index"),
        (b"", "not an index"),
    ],
    ids=["list", "deep", "no labels", "text", "null", "empty footer", "empty"],
)  # fmt: skip
def test_a_table_that_is_no_index_is_named(content, words):
    with pytest.raises(WindowFormatError, match=words):
        read_index(content, "here")


def test_bytes_of_a_damaged_table_are_shown_as_text(tmp_path):
    content = bytearray(index())
    content[-120:-100] = b"\x0e\x1b[31m" * 3 + b"\x0e\x0e"
    (tmp_path / "a.parquet").write_bytes(content)
    for damaged in (bytes(content), content[:-8] + b"\xff\0\0\0PAR1", content[:40] + content[-40:]):
        (tmp_path / "a.parquet").write_bytes(damaged)
        with pytest.raises(PredictionFileError) as caught:
            read_predictions(tmp_path / "a.parquet")
        assert str(caught.value).isprintable()


def test_tables_of_endless_rows_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_files, "MAX_ROWS", 1)
    path = tmp_path / "a.parquet"
    path.write_bytes(index())
    with pytest.raises(WindowFormatError, match="expected at most 1 rows, found 2"):
        read_index(path.read_bytes(), "here")
    with pytest.raises(
        ValueError, match=r"a\.parquet holds no manifest .* at most 1 rows, found 2"
    ):
        read_split(path)
    with pytest.raises(
        PredictionFileError, match=r"a\.parquet holds no .* at most 1 rows, found 2"
    ):
        read_predictions(path)


@pytest.mark.parametrize("said", ["[]", "1", DEEP, '{"version": {}}', '{"labels": []}', "{"])
def test_what_a_table_says_of_itself_may_be_anything(tmp_path, said):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"row": [1]}).replace_schema_metadata({_META: said}), path)
    with pytest.raises(ValueError, match=r"a\.parquet holds no manifest of a split"):
        read_split(path)
    with pytest.raises(PredictionFileError, match=r"a\.parquet holds no predictions"):
        read_predictions(path)


@pytest.mark.parametrize("text", [DEEP, '{"a": ' + "9" * 5000 + "}", '{"a": 1, "a": 2}', "\0"])
def test_json_of_results_and_folders_may_be_anything(tmp_path, text):
    (tmp_path / "unit.json").write_text(text)
    with pytest.raises(ResultError, match=r"unit\.json is damaged"):
        read_result(tmp_path / "unit.json")
    (tmp_path / MANIFEST_FILE).write_text(text)
    with pytest.raises(WindowFormatError, match="prepare the folder again"):
        read_manifest(tmp_path)
    (tmp_path / "training.json").write_text(text)
    assert read_record(tmp_path) == {}


def test_weights_of_methods_are_finite(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(3), "n": torch.tensor(1)}, path)
    assert read_weights(path)["a"].tolist() == [1, 1, 1]
    save_file({"a": torch.tensor([1.0, float("nan")])}, path)
    with pytest.raises(UnsafeFileError, match=r"weights\.safetensors: expected finite .* in a"):
        read_weights(path)
