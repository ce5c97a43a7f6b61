"""``--task`` of the recipes: which tasks a configuration gets."""

from __future__ import annotations

import pytest
from places import ROOT

from modeling_mteeg.comparison.comparison_arguments import comparison_parser, over_common
from modeling_mteeg.training.arguments import joint_overrides, joint_parser
from modeling_mteeg.training.joint_config import TASKS

CONFIGS = ROOT / "recipes" / "configs"


def joint(*words: str):
    return joint_overrides(joint_parser("", CONFIGS).parse_args([*map(str, words)]))


def comparison(*words: str):
    return over_common(comparison_parser("", CONFIGS).parse_args([*map(str, words)]))


@pytest.fixture
def data(tmp_path):
    for task in ("mine", "another"):
        (tmp_path / "data" / task).mkdir(parents=True)
        (tmp_path / "data" / task / "task.json").touch()
    (tmp_path / "data" / "no-task").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize("keys", [joint, comparison])
def test_tasks_by_any_spelling_in_their_order(keys, data):
    for words in (("--tasks", "mine,another"), ("--task", "mine", "--tasks", "another"),
                  ("--tasks", "mine", "another")):  # fmt: skip
        assert keys("--data", data, *words)["data.tasks"] == ["mine", "another"]
    assert "data.tasks" not in keys("--data", data)


@pytest.mark.parametrize("keys", [joint, comparison])
def test_all_are_those_of_the_data(keys, data, tmp_path):
    assert keys("--data", data, "--task", "all")["data.tasks"] == ["another", "mine"]
    assert keys("--task", "all")["data.tasks"] == TASKS  # the demo simulates them
    with pytest.raises(ValueError, match="found none"):
        keys("--data", tmp_path, "--task", "all")
    for place in ("hf://datasets/me/eeg", f"{data}-{{task}}"):
        with pytest.raises(ValueError, match="name the tasks"):
            keys("--data", place, "--task", "all")


def test_the_file_says_where_the_data_is(data, tmp_path):
    (tmp_path / "own.yaml").write_text(f"data:\n  folder: {data}\n")
    assert joint("--config", tmp_path / "own.yaml", "--task", "all")["data.tasks"] == [
        "another", "mine",
    ]  # fmt: skip
    given = ("--config", tmp_path / "own.yaml", "--set", f"data.folder={tmp_path}", "--task", "all")
    with pytest.raises(ValueError, match="found none"):
        joint(*given)


def test_to_overwrite_is_never_to_resume():
    parser = joint_parser("", CONFIGS)
    assert parser.parse_args([]).resume == "auto"
    assert parser.parse_args(["--overwrite"]).resume == "never"
    assert parser.parse_args(["--resume", "always"]).resume == "always"
