"""The study: both arms differ in their start alone, and the table is what was measured."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

STUDY = Path(__file__).resolve().parents[1] / "recipes/pretraining_study.py"


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("pretraining_study", STUDY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_arms_differ_in_the_base_alone(study, tmp_path):
    tokenizer, pretrain, random, pretrained = study.commands(tmp_path, "0,1", None)
    assert pretrained[-2:] == ["--base", tmp_path / "base/model"]
    places = {tmp_path / "random", tmp_path / "pre-trained"}
    assert [one for one in random if one not in places] == [
        one for one in pretrained[:-2] if one not in places
    ]
    assert tmp_path / "tokenizer/model" in pretrain and tmp_path / "tokenizer" in tokenizer


def test_the_table_says_what_was_measured(study, tmp_path):
    for arm, kappa in (("random", [0.2, 0.4]), ("pre-trained", [0.3, 0.3])):
        (tmp_path / arm).mkdir()
        test = {
            "tuab": {"auroc": {"values": [0.5, 0.5]}, "auc_pr": {"values": [0, 0]}},
            "tuev": {"cohen_kappa": {"values": kappa}},
        }
        (tmp_path / arm / "results.json").write_text(json.dumps({"test": test}))
    results = {arm: study.read_results(tmp_path / arm) for arm in study.ARMS}
    table = study.comparison(results)
    assert "| tuab | AUROC | 0.500 ± 0.000 | 0.500 ± 0.000 | 0 of 2 |" in table
    assert "| tuev | Cohen's kappa | 0.300 ± 0.141 | 0.300 ± 0.000 | 1 of 2 |" in table
    assert "| **mean** |  | 0.400 ± 0.071 | 0.400 ± 0.000 | 1 of 2 |" in table


def test_a_failing_step_ends_the_study(study, tmp_path, capfd):
    assert study.main(["--output", str(tmp_path), "--epochs", "0"]) == 2
    text = capfd.readouterr().err
    assert "optimization.epochs: expected a number > 0" in text
    assert "pretrain_tokenizer.py ended with 2" in text
