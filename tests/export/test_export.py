"""ONNX export: the file answers as the model does, says what it is, and is not kept otherwise."""

from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from places import ROOT
from tiny_models import CARDS, HEADS, inputs_of, model_with_tasks, randomize, snapshot
from tiny_recordings import eeg, raw_of

from modeling_mteeg import MteegModel, TaskCard, cli
from modeling_mteeg.export import onnx as export
from modeling_mteeg.export.onnx import ExportError, MissingOnnxError, export_onnx

DOC = ROOT / "docs" / "export.md"
SHAPES = [(1, 1, 1), (5, 1, 7), (2, 6, 1), (1, 4, 16), (2, 3, 17), (1, 2, 33), (1, 19, 9)]


@pytest.fixture(scope="module")
def model() -> MteegModel:
    """One layer, two tasks, the second with ranks by kind of layer; not to be changed."""
    model = model_with_tasks("sleep-edf", num_hidden_layers=1)
    model.add_adapter("tuab", card=CARDS["tuab"], rank={"attention": 4, "feed-forward": 16})
    randomize(model, "tuab")
    return model


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    """A multi-class task, exported, and the model's parameters from before."""
    before = snapshot(model), dict(model.tasks), model.config._attn_implementation
    result = export_onnx(model, "sleep-edf", tmp_path_factory.mktemp("onnx") / "sleep-edf.onnx")
    return result, before


def run(path, inputs) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feed = {key: value.numpy() for key, value in inputs.items()}
    return dict(zip(names, session.run(None, feed), strict=True))


@torch.no_grad()
def expected(model, inputs, task) -> dict[str, np.ndarray]:
    logits = model(**inputs, task=task).logits
    probabilities = model.tasks[task].probabilities(logits)
    return {"logits": logits.numpy(), "probabilities": probabilities.numpy()}


def assert_same(found: dict, wanted: dict) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == np.float32 and found[name].shape == value.shape
        assert np.abs(found[name] - value).max() < 1e-4, name


@pytest.mark.parametrize("shape", SHAPES)
def test_the_file_answers_as_the_model_in_any_shape(model, made, shape):
    random = torch.Generator().manual_seed(sum(shape))
    ids = torch.randint(1, 129, (shape[1], 2), generator=random)
    values = 0.3 * torch.randn((*shape, 200), generator=random)
    inputs = {"input_values": values, "channel_ids": ids}
    found = run(made[0].path, inputs)
    assert_same(found, expected(model, inputs, "sleep-edf"))
    assert np.allclose(found["probabilities"].sum(1), 1, atol=1e-6)


def test_channel_ids_and_values_both_matter(made):
    inputs = inputs_of("sleep-edf")
    base = run(made[0].path, inputs)["logits"]
    other_ids = inputs | {"channel_ids": inputs["channel_ids"].flip(0)}
    other_values = inputs | {"input_values": inputs["input_values"].flip(2)}
    assert np.abs(run(made[0].path, other_ids)["logits"] - base).max() > 1e-3
    assert np.abs(run(made[0].path, other_values)["logits"] - base).max() > 1e-3


def test_the_model_stays_as_it_was(model, made):
    weights, tasks, attention = made[1]
    now = snapshot(model)
    assert now.keys() == weights.keys()
    assert all(torch.equal(now[name], value) for name, value in weights.items())
    assert model.tasks == tasks and model.config._attn_implementation == attention


def test_the_file_and_its_sidecar_say_what_they_are(model, made):
    result, _ = made
    file = onnx.load(result.path)
    facts = {entry.key: entry.value for entry in file.metadata_props}
    card = TaskCard.from_dict(json.loads(facts["task"]))
    assert card.replace(base=None) == model.tasks["sleep-edf"]
    assert json.loads(facts["labels"]) == ["W", "N1", "N2", "N3", "REM"]
    assert facts["base_fingerprint"] == card.base["fingerprint"] == model.fingerprint()
    assert facts["opset"] == "18" == str(file.opset_import[0].version)
    assert facts["package_version"] == file.producer_version
    dims = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*file.graph.input, *file.graph.output)
    ]
    assert dims == [
        ["batch", "channels", "patches", 200],
        ["channels", 2],
        ["batch", 5],
        ["batch", 5],
    ]
    sidecar = json.loads(result.sidecar.read_text("utf-8"))
    for key, text in facts.items():
        assert sidecar[key] == (int(text) if key == "opset" else _value(text))
    assert result.max_difference == sidecar["check"]["max_difference"] <= 1e-4
    assert len(result.shapes) == 9 and max(shape[2] for shape in result.shapes) > 16


@pytest.mark.parametrize("head", [HEADS[3], HEADS[5]], ids=str)
@pytest.mark.slow
def test_every_head_is_in_the_file(tmp_path, head):
    """A hidden layer over the mean token of every channel, and over attention."""
    model = model_with_tasks("seed-v", heads={"seed-v": head}, num_hidden_layers=1)
    result = export_onnx(model, "seed-v", tmp_path)
    inputs, order = inputs_of("seed-v"), torch.tensor([4, 0, 2, 5, 1, 3])
    wanted = expected(model, inputs, "seed-v")
    assert_same(run(result.path, inputs), wanted)
    values, ids = inputs["input_values"], inputs["channel_ids"]
    moved = {"input_values": values[:, order], "channel_ids": ids[order]}
    assert_same(run(result.path, moved), wanted)
    longer = {"input_values": values[:1].repeat(1, 1, 18, 1), "channel_ids": ids}
    assert_same(run(result.path, longer), expected(model, longer, "seed-v"))
    fewer = run(result.path, {"input_values": values[:, 1:], "channel_ids": ids[1:]})
    # A graph cannot refuse: without a channel that the head knows it gives no number.
    assert np.isnan(fewer["logits"]).all() == (head["kind"] == "channels")
    facts = json.loads(result.sidecar.read_text("utf-8"))
    assert TaskCard.from_dict(facts["task"]).head == model.tasks["seed-v"].head
    assert ("of the task's" in facts["inputs"]["channel_ids"]) == (head["kind"] == "channels")


def _value(text: str):
    return json.loads(text) if text[0] in "[{" else text


def test_no_code_lines_or_paths_of_the_exporting_machine_are_in_the_file(made):
    content = made[0].path.read_bytes()
    assert b"stack_trace" not in content and b".py" not in content
    assert str(Path(export.__file__).parent).encode() not in content


@pytest.mark.slow
def test_the_command_exports_a_binary_task_from_a_folder(capsys, tmp_path, model):
    base = tmp_path / "base"
    model.save_pretrained(base)
    model.save_adapter("tuab", base / "adapters" / "tuab")
    out = tmp_path / "new" / "folder"
    command = ["export", "--base", str(base), "--task", "tuab", "--out", str(out)]
    assert cli.main([*command, "--opset", "20"]) == 0
    printed = capsys.readouterr().out
    difference = float(re.search(r"difference from PyTorch ([0-9.e+-]+) ", printed)[1])
    assert 0 < difference <= 1e-4 and str(out / "tuab.onnx") in printed
    assert sorted(file.name for file in out.iterdir()) == ["tuab.json", "tuab.onnx"]
    inputs = inputs_of("tuab")
    assert_same(run(out / "tuab.onnx", inputs), expected(model, inputs, "tuab"))
    assert onnx.load(out / "tuab.onnx").opset_import[0].version == 20

    assert cli.main(command) == 2
    assert "already there" in capsys.readouterr().err


def test_a_file_that_disagrees_is_not_kept(monkeypatch, tmp_path, made):
    """As if the exporter had written another model's graph."""
    content = made[0].path.read_bytes()
    monkeypatch.setattr(export, "_trace", lambda _m, _t, path, *_: path.write_bytes(content))
    other = model_with_tasks("sleep-edf", seed=7, num_hidden_layers=1)
    with pytest.raises(ExportError, match=r"within 0\.0001 of PyTorch, found a difference"):
        export_onnx(other, "sleep-edf", tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_none_are_no_agreement():
    right = [(np.zeros((1, 2)), np.zeros((1, 2)))]
    wrong = [(np.array([[0.0, np.nan]]), np.zeros((1, 2)))]
    assert np.isnan(export._largest_difference(wrong + right, right + right))


def test_wrong_use_is_named_before_any_work(monkeypatch, tmp_path, model):
    monkeypatch.setattr(export, "_trace", lambda *_: pytest.fail("traced"))
    (tmp_path / "file").touch()
    (tmp_path / "b.json").touch()
    cases = {
        "Unknown task 'tuev'": {"task": "tuev", "out": tmp_path / "a.onnx"},
        "opset: expected 18 to 23, found 17": {"out": tmp_path / "a.onnx", "opset": 17},
        "a name that ends in .onnx": {"out": tmp_path / "file"},
        "b.json already there": {"out": tmp_path / "b.onnx"},
    }
    for words, options in cases.items():
        with pytest.raises(ValueError, match=re.escape(words)):
            export_onnx(model, **({"task": "sleep-edf"} | options))
    monkeypatch.setattr(export, "_MOST_BYTES", 1000)
    with pytest.raises(ExportError, match=r"this model has 0\.0 GB"):
        export_onnx(model, "sleep-edf", tmp_path / "a.onnx")


def test_missing_packages_are_named_with_the_extra(monkeypatch, capsys, tmp_path, model):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingOnnxError, match=r"needs onnxscript.*modeling-mteeg\[onnx\]"):
        export_onnx(model, "sleep-edf", tmp_path / "a.onnx")


def test_the_example_of_the_documentation_runs(monkeypatch, capsys, tmp_path, model, made):
    code = re.search(r"```python\n(.*?)```", DOC.read_text("utf-8"), re.S)[1]
    raw = raw_of(eeg(60, 100.0, 2), ["EEG Fpz-Cz", "EEG Pz-Oz"], 100.0)
    raw.export(tmp_path / "night.edf", verbose="error")
    (tmp_path / "sleep-edf.onnx").write_bytes(made[0].path.read_bytes())
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="75 Hz low-pass reaches the recording's Nyquist"):
        exec(compile(code, str(DOC), "exec"), names := {})
    wanted = expected(copy.deepcopy(model), _tensors(names["inputs"]), "sleep-edf")
    assert names["probabilities"].shape == (20, 5)
    assert np.abs(names["probabilities"] - wanted["probabilities"]).max() < 1e-4
    labels = [CARDS["sleep-edf"].labels[i] for i in wanted["probabilities"].argmax(1)]
    assert capsys.readouterr().out.strip() == str(labels)


def _tensors(inputs) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value) for key, value in inputs.items()}
