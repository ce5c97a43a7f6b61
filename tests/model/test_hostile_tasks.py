"""A task's files that want to harm: nothing is run, nothing large is made, and the error says why.

Damage that is no attack is in ``test_adapter_damage``.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tracemalloc
from pathlib import Path

import pytest
import torch
from hostile import (
    CARD,
    CONFIG,
    GIGABYTES,
    HEAD,
    LORA,
    Payload,
    changed,
    enlarged,
    entry,
    hostile_base,
    publish,
    script,
    with_header,
)
from tiny_models import CARDS, logits_of, model_with_tasks, tiny_model

from modeling_mteeg import MteegModel, TaskCard
from modeling_mteeg.model.adapter_files import AdapterError
from modeling_mteeg.model.checked_files import MAX_HEADER_BYTES, MAX_JSON_BYTES

MOST_PYTHON_BYTES = 64 * 2**20


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return publish(tmp_path_factory.mktemp("made"))


@pytest.fixture
def base(made, tmp_path) -> Path:
    """A copy to be made hostile."""
    return Path(shutil.copytree(made, tmp_path / "base"))


@pytest.fixture
def task(base) -> Path:
    """The folder of one of its tasks."""
    return base / "adapters/tuab"


@pytest.fixture
def mark(tmp_path) -> Path:
    """A file that appears if somebody's code runs."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists(), "a stranger's code was run"


@pytest.fixture
def model() -> MteegModel:
    """A base with one task, to load another into."""
    return model_with_tasks("seed-v")


def refused(model: MteegModel, folder: Path, message: str, monkeypatch) -> None:
    """Loading is refused before a task is made, and without much memory."""

    def too_early(*_):
        raise AssertionError("the task was put into the model before its files were checked")

    monkeypatch.setattr(MteegModel, "_insert", too_early)
    tracemalloc.start()
    try:
        with pytest.raises(AdapterError, match=message):
            model.load_adapter(folder)
        assert tracemalloc.get_traced_memory()[1] < MOST_PYTHON_BYTES
    finally:
        tracemalloc.stop()
    assert set(model.tasks) == {"seed-v"}


# Pickles


@pytest.mark.parametrize("file", [LORA, HEAD])
def test_a_task_with_pickled_weights_alone_is_refused(task, model, mark, file, monkeypatch):
    (task / file).unlink()
    with open((task / file).with_suffix(".bin"), "wb") as stream:
        pickle.dump(Payload(mark), stream)
    refused(
        model, task, f"{file} is missing.* {file[:4]}.*bin: pickled .* never loaded", monkeypatch
    )


def test_pickles_beside_a_whole_task_are_not_opened(task, model, mark):
    for name in ("adapter_model.bin", "training_args.bin"):
        with open(task / name, "wb") as stream:
            pickle.dump(Payload(mark), stream)
    assert model.load_adapter(task).name == "tuab"


# Sizes, and numbers that lie


@pytest.mark.parametrize("file", [CARD, CONFIG])
def test_files_of_gigabytes_are_not_read(task, model, file, monkeypatch):
    enlarged(task / file)
    refused(model, task, f"{file}.* at most {MAX_JSON_BYTES:,} bytes", monkeypatch)


@pytest.mark.parametrize("file", [LORA, HEAD])
def test_a_tail_of_gigabytes_is_refused(task, model, file, monkeypatch):
    enlarged(task / file)
    refused(model, task, f"{file} is damaged", monkeypatch)


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": [f"label {number}" for number in range(100_000)]},
        {"labels": ["a", "b" * 1000]},
        {"channels": ["FP1"] * 5000},
        {"channels": ["FP1" * 10_000]},
        {"metrics": ["auroc"] * 100},
        {"window_s": 1e6},
        {"window_s": 10**30},
        {"rate_hz": 1e8},
        {"rate_hz": float("inf")},
        {"scale_uv": float("nan")},
        {"base": {"fingerprint": ["0"]}},
        {"base": {"hidden_size": True}},
        {"name": "../../tuab"},
        {"name": "/tuab"},
        {"name": "a/b"},
        {"name": "a" * 10**6},
        {"results": {"auroc": float("nan")}},
        {"description": "x" * MAX_JSON_BYTES},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_cards_that_claim_too_much_are_refused(task, model, fields, monkeypatch):
    changed(task / CARD, **fields)
    with pytest.raises(AdapterError, match=r"task\.json") as caught:
        model.load_adapter(task)
    assert len(str(caught.value)) < 2000, "an error message is for people"
    refused(model, task, r"task\.json", monkeypatch)


@pytest.mark.parametrize("file", [CARD, CONFIG])
@pytest.mark.parametrize(
    "content",
    ['{"name": "a", "name": "b"}', '{"r": NaN}', '{"r": -Infinity}', '{"a":' * 50 + "1" + "}" * 50,
     "[" * 50 + "]" * 50, '{"r": 1' + "0" * 10_000 + "}", "\ufeff{}", "{}{}"],
    ids=["twice", "nan", "infinity", "deep", "deep list", "digits", "mark", "two"],
)  # fmt: skip
def test_json_that_is_none_is_refused(task, model, file, content, monkeypatch):
    (task / file).write_text(content, "utf-8")
    refused(model, task, file, monkeypatch)


def test_many_labels_are_no_reason_to_allocate(task, model, monkeypatch):
    changed(task / CARD, labels=[str(n) for n in range(4096)], loss="", monitor="", metrics=[])
    refused(
        model, task, r"head.weight: expected shape \(4096, 100\), found \(1, 100\)", monkeypatch
    )


def test_a_rank_is_no_reason_to_allocate(task, model, monkeypatch):
    changed(task / CONFIG, r=4096, lora_alpha=4096)
    refused(model, task, r"lora_A.weight: expected \(4096, 100\), found \(8, 100\)", monkeypatch)


@pytest.mark.parametrize(
    ("header", "length", "message"),
    [
        (b"{}", 2**63, "is damaged: its header claims"),
        (b"{}", 2**64 - 1, "is damaged: its header claims"),
        (b"{}", 3, "is damaged"),
        (b"{}", 19, "is damaged: its header claims"),
        (b"{}", 0, "is damaged"),
        (b"", 2, "is damaged"),
        (entry([2**40, 2**40], 16), None, "is damaged"),
        (entry([2**62, 4], 16), None, "is damaged"),
        (entry([4], 2**60), None, "is damaged"),
        (entry([-4], 16), None, "is damaged"),
        (entry([4.5], 16), None, "is damaged"),
        (entry(["4"], 16), None, "is damaged"),
        (entry([4], 16, "OBJECT"), None, "is damaged"),
        (entry([2], 16, "I64"), None, r"expected tensors of type .*weight \(I64\)"),
        (entry([16], 16, "BOOL"), None, r"expected tensors of type .*weight \(BOOL\)"),
        (b'{"weight": 3}', None, "is damaged"),
        (b"[]", None, "is damaged"),
        (b'{"a":' * 10_000, None, "is damaged"),
    ],
    ids=lambda value: str(value)[:60],
)
@pytest.mark.parametrize("file", [LORA, HEAD])
def test_headers_that_lie_are_refused(task, model, file, header, length, message, monkeypatch):
    with_header(task / file, header, length, bytes(16))
    refused(model, task, f"{file}.*{message}|{message}.*{file}", monkeypatch)


def test_a_header_of_gigabytes_is_not_read(task, model, monkeypatch):
    with_header(task / HEAD, b"{", GIGABYTES - 8)
    enlarged(task / HEAD)
    refused(model, task, f"header of at most {MAX_HEADER_BYTES:,} bytes", monkeypatch)


# Ways out of the folder


@pytest.mark.parametrize("file", [LORA, CONFIG, HEAD, CARD])
def test_links_out_of_the_folder_are_not_followed(task, model, tmp_path, file, monkeypatch):
    elsewhere = tmp_path / "elsewhere" / file
    elsewhere.parent.mkdir()
    shutil.move(task / file, elsewhere)
    (task / file).symlink_to(elsewhere)
    refused(model, task, f"{file} is a link to .*, outside its folder", monkeypatch)


def test_a_link_that_leads_to_itself_is_no_file(task, model, monkeypatch):
    (task / CARD).unlink()
    (task / CARD).symlink_to(CARD)
    refused(model, task, f"{CARD} is a link that leads back to itself", monkeypatch)


def test_links_inside_the_folder_and_of_the_hubs_cache_are_followed(task, model, tmp_path):
    expected = logits_of(model_with_tasks("tuab", "seed-v"))["tuab"]
    (task / HEAD).rename(task / "x")
    (task / HEAD).symlink_to("x")
    model.load_adapter(task)
    model.delete_adapter("tuab")
    snapshot = tmp_path / "models--me--base/snapshots/abc/adapters/tuab"
    shutil.copytree(task, snapshot)
    blobs = tmp_path / "models--me--base/blobs"
    blobs.mkdir()
    for path in snapshot.iterdir():
        blob = blobs / path.name
        shutil.move(path, blob)
        path.symlink_to(blob)
    (blobs / HEAD).unlink()
    shutil.copy(task / "x", blobs / HEAD)
    model.load_adapter(snapshot)
    assert torch.equal(logits_of(model)["tuab"], expected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_no_file(task, model, monkeypatch):
    for file in (HEAD, CONFIG, CARD):
        (task / file).unlink()
        os.mkfifo(task / file)
        refused(model, task, file, monkeypatch)


# Code


@pytest.mark.parametrize("name", ["modeling_mteeg.py", "__init__.py", "x.so", "run.sh"])
def test_a_task_with_a_script_is_refused(task, model, mark, name, monkeypatch):
    script(task / name, mark)
    refused(model, task, f"a task needs no code, found .*{name}", monkeypatch)


@pytest.mark.parametrize(
    "fields",
    [
        {"auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"}},
        {"auto_map": {"AutoModel": "evil.Evil"}},
        {"custom_pipelines": {"x": {"impl": "evil.Evil"}}},
    ],
)
def test_an_adapter_that_names_code_is_refused(task, model, fields, monkeypatch):
    changed(task / CONFIG, **fields)
    refused(model, task, f"found .*{next(iter(fields))}", monkeypatch)


def test_a_base_named_by_an_adapter_is_not_followed(made, task, mark, tmp_path):
    """``base_model_name_or_path`` decides nothing when a task is loaded into a model."""
    evil = hostile_base(Path(shutil.copytree(made, tmp_path / "evil")), mark)
    changed(task / CONFIG, base_model_name_or_path=str(evil), revision="x", peft_version="9")
    card = TaskCard.load(task)
    card.replace(base=card.base | {"name_or_path": str(evil)}).save(task)
    model = MteegModel.from_pretrained(made)
    assert model.load_adapter(task).name == "tuab"
    assert model.config._name_or_path == str(made)


def test_nan_among_results_is_saved_as_null(tmp_path):
    model = tiny_model()
    model.add_adapter("tuab", card=CARDS["tuab"])
    folder = model.save_adapter("tuab", tmp_path, results={"auroc": float("nan"), "x": [1e999]})
    assert json.loads((folder / CARD).read_text())["results"] == {"auroc": None, "x": [None]}
    assert TaskCard.load(folder).results == {"auroc": None, "x": [None]}
