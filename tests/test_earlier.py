"""Files of version 0.1.0 are read by today's code, and give what they gave then.

``tests/support/make_earlier.py`` says how they were made, and computes both sides.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import make_earlier
import pytest
import torch
from datasets import load_from_disk
from make_earlier import ADAPTERS, CARDS, TRAININGS
from places import SUPPORT
from pyarrow import parquet
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForPreTraining

EARLIER = SUPPORT / "earlier"
EXPECTED = json.loads((EARLIER / "expected.json").read_text("utf-8"))
OUTPUTS = load_file(EARLIER / "outputs.safetensors")
SAME_BITS = EXPECTED["arithmetic"] == make_earlier.arithmetic()
"""Whether this machine computes as the one where the files were made, to the last bit."""
SUMS_IN_ANOTHER_ORDER = ("joint",)
"""Trainings whose last bits changed since: fused Adam, adapter products in one (CHANGELOG)."""
OF_PACKAGES = ("transformers_version", "peft_version")


@pytest.fixture(autouse=True)
def earlier(tmp_path, monkeypatch) -> Iterator[Path]:
    """A copy of the folder as the working directory, for relative paths stand in its files."""
    folder = tmp_path / "earlier"
    shutil.copytree(EARLIER, folder)
    monkeypatch.chdir(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(threads)


def assert_equal(
    computed: Mapping[str, torch.Tensor], same_bits: bool = SAME_BITS, **tolerance: float
) -> None:
    """Outputs are the stored ones: to the bit where the arithmetic is the same, else closely."""
    for name, tensor in computed.items():
        if same_bits or not tensor.is_floating_point():
            assert torch.equal(tensor, OUTPUTS[name]), name
        else:
            torch.testing.assert_close(tensor, OUTPUTS[name], msg=name, **tolerance)


def assert_alike(found: Any, expected: Any, same_bits: bool = SAME_BITS) -> None:
    """Equal values under all keys that were there then; there may be more now."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            assert_alike(found[key], value, same_bits)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for value, wanted in zip(found, expected, strict=True):
            assert_alike(value, wanted, same_bits)
    elif same_bits or not isinstance(expected, float):
        assert found == expected
    else:
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_prepared_data_are_read_alike():
    assert make_earlier.stored_windows() == EXPECTED["windows"]


def test_prepared_data_are_written_alike(tmp_path, monkeypatch):
    again = tmp_path / "again"
    again.mkdir()
    earlier = Path.cwd()
    monkeypatch.chdir(again)
    make_earlier.write_corpora()
    make_earlier.write_unlabelled()
    names = {path.relative_to(earlier) for top in ("corpora", "unlabelled")
             for path in (earlier / top).rglob("*") if path.is_file()}  # fmt: skip
    assert names == {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
    for name in names:
        if name.name in ("task.json", "unlabelled.json", "dataset_dict.json"):
            assert name.read_bytes() == (earlier / name).read_bytes(), name
        if name.name == "index.parquet":
            assert parquet.read_table(name).equals(parquet.read_table(earlier / name)), name
        if name.name == "state.json":  # datasets' own, one for every split
            now, then = (load_from_disk(str(top / name.parent)) for top in (again, earlier))
            assert now.features == then.features and now[:] == then[:], name


def test_models_give_equal_outputs():
    computed = make_earlier.outputs()
    assert {name.partition(":")[0] for name in OUTPUTS} == {*TRAININGS, "base", "student",
                                                            "tokenizer"}  # fmt: skip
    assert computed.keys() == {name for name in OUTPUTS if not name.startswith(tuple(TRAININGS))}
    assert_equal(computed, rtol=1e-5, atol=5e-6)


def json_of(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text("utf-8"))
    return {key: value for key, value in values.items() if key not in OF_PACKAGES}


def test_a_base_and_its_tasks_are_written_alike(tmp_path):
    model = AutoModel.from_pretrained("base")
    for task in CARDS:
        model.load_adapter(task)
    model.save_pretrained(tmp_path / "base")
    for task in CARDS:
        model.save_adapter(task, tmp_path / "base/adapters" / task)
    compared = []
    for path in sorted(Path("base").rglob("*")):
        again = tmp_path / path
        if path.name == "task.json" or path.suffix == ".safetensors":
            assert again.read_bytes() == path.read_bytes(), path
            compared.append(path.name)
        elif path.name == "adapter_config.json":  # peft's, which may know more options by now
            assert json_of(again).items() >= json_of(path).items(), path
        elif path.name in ("config.json", "preprocessor_config.json"):
            assert_alike_but_code(again, path)
    adapters = sum(options.get("location") != "none" for options in ADAPTERS.values())
    assert len(compared) == 1 + 2 * len(CARDS) + adapters


def assert_alike_but_code(again: Path, path: Path) -> None:
    """A JSON file has the values it had; the classes' modules have other names by now."""
    now, then = json_of(again), json_of(path)
    assert now.pop("auto_map").keys() == then.pop("auto_map").keys()
    assert_alike(now, then)


@pytest.mark.parametrize(
    ("folder", "auto"), [("student", AutoModelForPreTraining), ("tokenizer", AutoModel)]
)
def test_models_of_stage_one_are_written_alike(tmp_path, folder, auto):
    auto.from_pretrained(folder).save_pretrained(tmp_path / folder)
    name = f"{folder}/model.safetensors"
    assert (tmp_path / name).read_bytes() == Path(name).read_bytes()
    assert_alike_but_code(tmp_path / folder / "config.json", Path(folder, "config.json"))


@pytest.mark.parametrize("name", TRAININGS)
def test_a_killed_training_goes_on_to_the_same_end(name, capsys):
    """The recipe is started again in an output folder that the earlier version left half done."""
    recipe = TRAININGS[name][0]
    (killed,) = Path(name, "checkpoints").iterdir()
    before = content(killed)
    assert make_earlier.run_recipe(recipe, "--config", f"{name}/config.yaml") == 0
    assert "going on at epoch 2, step 2" in capsys.readouterr().out
    (last,) = Path(name, "checkpoints").iterdir()
    after = content(last)
    assert last.name != killed.name and after.pop("tensors") == before.pop("tensors")
    assert after.keys() >= before.keys()
    left, computed = make_earlier.trained(name)
    expected = dict(EXPECTED["trained"][name])
    digests, stored_digests = left.pop("digests"), expected.pop("digests")
    assert digests.keys() == stored_digests.keys()
    same_bits = SAME_BITS and name not in SUMS_IN_ANOTHER_ORDER
    if same_bits:
        assert digests == stored_digests
    assert_alike(left, expected, same_bits)
    assert computed.keys() == {key for key in OUTPUTS if key.startswith(f"{name}:")}
    assert_equal(computed, same_bits, rtol=1e-4, atol=1e-4)


def content(checkpoint: Path) -> dict[str, Any]:
    """Names of a checkpoint's files, of its tensors, and of the values of its state."""
    names: dict[str, Any] = {path.name: None for path in checkpoint.iterdir()}
    with safe_open(checkpoint / "trainable.safetensors", "pt") as file:
        names["tensors"] = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    state = json.loads((checkpoint / "state.json").read_text("utf-8"))
    return names | {f"progress.{key}": None for key in state["progress"]}


def test_the_extractor_of_a_base_is_written_alike(tmp_path):
    AutoFeatureExtractor.from_pretrained("base").save_pretrained(tmp_path)
    name = "preprocessor_config.json"
    assert_alike_but_code(tmp_path / name, Path("base", name))
