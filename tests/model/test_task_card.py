"""Task cards: checked when made, the same after saving and loading."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from modeling_mteeg import TaskCard, TaskCardError
from modeling_mteeg.model.task_card import CARD_FILE, check_task_name

FULL = TaskCard(
    name="my-task",
    labels=("a", "ü", "c"),
    channels=("EEG C3-REF", "Fc5.", "FP1-F7"),
    window_s=4,
    highpass_hz=None,
    notch_hz=60,
    metrics=("balanced_accuracy", "cohen_kappa"),
    bipolar="table",
    corpus="simulated",
    simulated=True,
    split_hash="abc",
    base={"fingerprint": "0" * 64, "hidden_size": 200},
    results={"test": {"cohen_kappa": 0.5}},
)


def test_two_labels_make_a_binary_task():
    card = TaskCard("tuab", ["normal", "abnormal"])
    assert (card.num_outputs, card.is_binary, card.monitor) == (1, True, "auroc")
    assert card.metrics == ("balanced_accuracy", "auc_pr", "auroc")


def test_more_labels_make_a_multi_class_task():
    card = TaskCard("seed-v", list("abcde"))
    assert (card.num_outputs, card.is_binary, card.monitor) == (5, False, "cohen_kappa")
    assert card.metrics == ("balanced_accuracy", "cohen_kappa", "weighted_f1")


def test_two_labels_may_have_two_outputs():
    card = TaskCard("tuab", ["normal", "abnormal"], loss="cross_entropy")
    assert (card.num_outputs, card.is_binary, card.monitor) == (2, False, "auroc")


def test_probabilities_of_a_binary_task_put_the_positive_class_second():
    found = TaskCard("tuab", ["normal", "abnormal"]).probabilities(torch.tensor([[0.0], [20.0]]))
    assert torch.allclose(found, torch.tensor([[0.5, 0.5], [0.0, 1.0]]), atol=1e-6)


def test_probabilities_of_classes_sum_to_one():
    card = TaskCard("seed-v", list("abc"))
    logits = torch.randn(4, 3, dtype=torch.float16)
    found = card.probabilities(logits)
    assert found.dtype == torch.float32
    assert torch.allclose(found.sum(1), torch.ones(4))
    assert torch.equal(found.argmax(1), logits.argmax(1))
    with pytest.raises(ValueError, match=r"expected logits \(batch, 3\), found \(4, 2\)"):
        card.probabilities(logits[:, :2])


def test_channels_are_cleaned_and_patches_counted():
    assert FULL.channels == ("C3", "FC5", "FP1-F7")
    assert FULL.patches == 4


@pytest.mark.parametrize("card", [FULL, TaskCard("tuab", ("normal", "abnormal"))])
def test_saved_and_loaded_is_equal(card, tmp_path):
    path = card.save(tmp_path / "new" / "folder")
    assert path.name == CARD_FILE
    assert TaskCard.load(path.parent) == TaskCard.load(path) == card
    assert TaskCard.from_dict(card.to_dict()) == card
    assert json.loads(path.read_text("utf-8")) == card.to_dict()


def test_cards_do_not_change_but_are_replaced():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.name = "other"
    assert FULL.replace(name="other").name == "other" and FULL.name == "my-task"
    with pytest.raises(TaskCardError, match="labels"):
        FULL.replace(labels=("only",))


WRONG = {
    "name": [5, None, ["a"]],
    "labels": [None, "ab", [1, 2], {"a": 1}],
    "channels": ["C3", [3], None],
    "window_s": ["10", None, True, 0, -1, float("nan"), float("inf"), 10**400, [10]],
    "rate_hz": [0, "200", float("inf")],
    "scale_uv": [-1, None, 1e-300, 1e300],
    "highpass_hz": [0, "0.1", False],
    "loss": [1, None],
    "monitor": [None],
    "metrics": ["auroc", [None]],
    "bipolar": [None],
    "simulated": [0, "yes", None],
    "split_hash": [5],
    "base": ["x", []],
    "results": [[1]],
    "description": [None],
}


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key, values in WRONG.items() for value in values],
    ids=lambda value: repr(value)[:20],
)
def test_wrong_types_are_named(key, value, tmp_path):
    fields = {"name": "x", "labels": ["a", "b"], key: value}
    with pytest.raises(TaskCardError, match=f"{key}: expected"):
        TaskCard(**fields)
    (tmp_path / CARD_FILE).write_text(json.dumps(fields))
    with pytest.raises(TaskCardError, match=rf"task.json.*{key}: expected"):
        TaskCard.load(tmp_path)


def test_all_wrong_types_are_named_at_once():
    with pytest.raises(TaskCardError) as error:
        TaskCard(name=1, labels=2, window_s="3", simulated=4)
    for key in ("name", "labels", "window_s", "simulated"):
        assert f"{key}: expected" in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": ["a"]}, r"two or more different labels, found \['a'\]"),
        ({"labels": ["a", "a"]}, "different labels"),
        ({"loss": "hinge"}, "loss: expected one of .*, found 'hinge'"),
        ({"loss": "binary_cross_entropy", "labels": list("abc")}, "two labels, found 3"),
        ({"monitor": "auc"}, "monitor 'auc' is not among its metrics"),
        ({"bipolar": "both"}, "bipolar: expected one of .*, found 'both'"),
        ({"adapter": "prefix"}, "adapter: expected one of .*, found 'prefix'"),
        ({"adapter": ["lora"]}, "adapter: expected one of"),
        ({"window_s": 1.5}, "whole number of 1 s patches, found 1.5"),
        ({"channels": ["C3", "c3"]}, "more than once: C3"),
        ({"channels": ["ECG"]}, "'ECG'"),
    ],
)
def test_contradictions_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        TaskCard(**{"name": "x", "labels": ["a", "b"], **fields})


@pytest.mark.parametrize("name", ["tuab", "seed-v", "a", "t1-2-x", "default", "weight", "layers"])
def test_names_of_tasks(name):
    assert check_task_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "TUAB", "0", "1a", "-a", "a.b", "a_b", "a b", "a/b", "../a", "ä", "a\n", None, 3, ("a",)],
)
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="expected lower-case letters, digits and dashes"):
        check_task_name(name)


@pytest.mark.parametrize("name", ["qkv", "proj", "fc1", "fc2", "train", "keys", "type", "training"])
def test_names_of_parts_of_the_model_are_refused(name):
    with pytest.raises(ValueError, match="part of the model"):
        TaskCard(name, ("a", "b"))


@pytest.mark.parametrize("fields", [[], "x", None, 5])
def test_a_card_is_a_mapping(fields):
    with pytest.raises(TaskCardError, match="expected a mapping"):
        TaskCard.from_dict(fields)


def test_unknown_and_missing_fields_are_named():
    with pytest.raises(TaskCardError, match=r"unknown fields \['window'\], missing.*'labels'"):
        TaskCard.from_dict({"name": "x", "window": 3})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1]", b"null", b'{"name": "x"'])
def test_damaged_files_are_named(content, tmp_path):
    (tmp_path / CARD_FILE).write_bytes(content)
    with pytest.raises(TaskCardError, match=CARD_FILE):
        TaskCard.load(tmp_path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=CARD_FILE):
        TaskCard.load(tmp_path)


def test_how_many_channels_may_be_missing_is_saved_and_older_cards_load(tmp_path):
    allowing = FULL.replace(max_missing_channels=2)
    assert TaskCard.load(allowing.save(tmp_path)).max_missing_channels == 2
    # Cards of older versions, and hashes of such cards, stay as they are.
    assert "max_missing_channels" not in FULL.to_dict()
    assert TaskCard.from_dict(FULL.to_dict()).max_missing_channels == 0


@pytest.mark.parametrize("value", [-1, 3, 1.0, True, "1", None])
def test_at_least_one_channel_must_be_there(value):
    with pytest.raises(TaskCardError, match="max_missing_channels"):
        FULL.replace(max_missing_channels=value)
    with pytest.raises(TaskCardError, match="expected 0 to 0 of 0 channels"):
        TaskCard("any", ("a", "b"), max_missing_channels=1)


def test_a_card_says_whether_its_labels_are_of_recordings(tmp_path):
    """Cards of before, and hashes of them, do not know it."""
    whole = FULL.replace(label_of="recording")
    assert TaskCard.load(whole.save(tmp_path)).label_of == "recording"
    assert FULL.label_of == "window" and "label_of" not in FULL.to_dict()
    assert TaskCard.from_dict(FULL.to_dict()).label_of == "window"
    for wrong in ("person", "", None, 3):
        with pytest.raises(TaskCardError, match="label_of"):
            FULL.replace(label_of=wrong)
