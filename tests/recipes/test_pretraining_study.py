"""The study: its arms differ in their start alone, and the table is what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from recipe_modules import load_recipe
from tiny_corpora import save_corpora
from tiny_unlabelled import save_unlabelled

from modeling_mteeg import MteegConfig, MteegModel


@pytest.fixture(scope="module")
def study():
    return load_recipe("pretraining_study")


def test_the_arms_differ_in_the_base_alone(study, tmp_path):
    args = study.parse_arguments(["--output", str(tmp_path), "--seeds", "3,4", "--parts"])
    steps = study.steps(args)
    assert len(steps) == 2 * (2 + 4)
    for seed, of_seed in ((3, steps[:6]), (4, steps[6:])):
        folder = tmp_path / f"seed-{seed}"
        (tokenizer, _), (pretrain, _), *arms = of_seed
        assert f"seed={seed}" in tokenizer and f"seed={seed}" in pretrain
        assert folder / "tokenizer/model" in pretrain and folder / "tokenizer" in tokenizer
        plain = [command[: command.index("--output")] for command, _ in arms]
        assert plain[0] == plain[1] == plain[2] == plain[3] and seed in plain[0]
        ends = [command[command.index("--output") + 1 :] for command, _ in arms]
        assert [end[0].name for end in ends] == study.arms_of(args)
        assert [end[1:] for end in (ends[0], ends[3])] == [[], ["--base", folder / "base/model"]]
        assert [mix is not None for _, mix in arms] == [False, True, True, False]
        for (_, mix), end in zip(arms[1:3], ends[1:3], strict=True):
            assert mix[0] == folder / "base/model" and mix[1] == seed and mix[3] == end[2]


@pytest.mark.parametrize("temporal_encoder", [True, False])
def test_a_mixed_base_is_pretrained_in_one_part_and_random_in_the_other(
    study, temporal_encoder, tmp_path
):
    torch.manual_seed(99)
    trained = MteegModel(MteegConfig.from_preset("tiny"))
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.rand_like(parameter))
    trained.save_pretrained(tmp_path / "base")
    torch.manual_seed(7)
    random = MteegModel(MteegConfig.from_preset("tiny", drop_path_rate=0.1)).state_dict()
    study.mix_base(tmp_path / "base", 7, temporal_encoder, tmp_path / "mixed")
    mixed = MteegModel.from_pretrained(tmp_path / "mixed").state_dict()
    for name, value in trained.state_dict().items():
        is_trained = name.startswith("temporal_encoder") == temporal_encoder
        assert torch.equal(mixed[name], value if is_trained else random[name]), name
        assert not torch.equal(value, random[name]), name


def save_results(folder: Path, kappa: float, scores: list[float], simulated: bool = True) -> None:
    for task, monitor in (("tuab", "auroc"), ("tuev", "cohen_kappa")):
        place = folder / "model/adapters" / task
        place.mkdir(parents=True)
        (place / "task.json").write_text(json.dumps({"monitor": monitor}))
    test = {
        "tuab": {"auroc": {"mean": 0.5}, "auc_pr": {"mean": 0.0}},
        "tuev": {"balanced_accuracy": {"mean": 0.0}, "cohen_kappa": {"mean": kappa}},
    }
    flags = {"tuab": True, "tuev": simulated}
    (folder / "results.json").write_text(json.dumps({"test": test, "simulated": flags}))
    (folder / "history.json").write_text(json.dumps([{"score": score} for score in scores]))


def test_the_table_says_what_was_measured(study, tmp_path):
    for arm, kappas in (("random", [0.2, 0.4]), ("pre-trained", [0.4, 0.3])):
        for seed, kappa in enumerate(kappas):
            save_results(tmp_path / f"seed-{seed}" / arm, kappa, [0.1, kappa, 0.0])
    results = study.collect(tmp_path, [0, 1], ["random", "pre-trained"])
    assert results["data"] == "simulated"
    table = study.comparison(results)
    assert "| tuab | AUROC | 0.500 ± 0.000 | 0.500 ± 0.000 | +0.000 ± 0.000 | 0 of 2 |" in table
    row = "| 0.300 ± 0.141 | 0.350 ± 0.071 | +0.050 ± 0.212 | 1 of 2 |"
    assert f"| tuev | Cohen's kappa {row}" in table
    assert "| **mean** |  | 0.400 ± 0.071 | 0.425 ± 0.035 | +0.025 ± 0.106 | 1 of 2 |" in table
    assert f"| mean on validation |  {row}" in table


@pytest.mark.parametrize(("simulated", "said"), [(True, "simulated"), (False, "partly simulated")])
def test_simulated_data_are_called_so(study, simulated, said, tmp_path):
    save_results(tmp_path / "seed-0/random", 0.1, [0.1], simulated)
    assert study.collect(tmp_path, [0], ["random"])["data"] == said


@pytest.mark.slow
def test_a_failing_step_ends_the_study(study, tmp_path, capfd):
    assert study.main(["--output", str(tmp_path), "--epochs", "0"]) == 2
    text = capfd.readouterr().err
    assert "optimization.epochs: expected a number > 0" in text
    assert "pretrain_tokenizer.py ended with 2" in text


@pytest.mark.slow
def test_the_whole_study_and_again_without_training(study, tmp_path, capfd):
    unlabelled = save_unlabelled(tmp_path / "unlabelled", max_patches=64, max_seconds=8)
    save_corpora(tmp_path / "corpora", {"tuab": (24, 12, 12), "seed-v": (20, 15, 15)})
    words = ["--output", str(tmp_path / "out"), "--seeds", "1", "--epochs", "1", "--parts"]
    words += ["--unlabelled", str(unlabelled), "--data", str(tmp_path / "corpora")]
    words += ["--tasks", "tuab,seed-v"]
    assert study.main(words) == 0
    text = capfd.readouterr().out
    assert "[6/6]" in text and "Test split, recorded data, seeds 1" in text
    comparison = json.loads((tmp_path / "out/comparison.json").read_text())
    arms = ["random", "temporal encoder", "transformer", "pre-trained"]
    assert list(comparison["test"]) == list(comparison["validation"]) == arms
    assert comparison["monitors"] == {"tuab": "auroc", "seed-v": "cohen_kappa"}
    for arm in arms:
        saved = json.loads((tmp_path / "out/seed-1" / arm / "results.json").read_text())["test"]
        for task, metric in comparison["monitors"].items():
            assert comparison["test"][arm][task] == [saved[task][metric]["mean"]]
    assert study.main(words) == 0
    text = capfd.readouterr().out
    assert text.count("all epochs are done already") == 6
    assert json.loads((tmp_path / "out/comparison.json").read_text()) == comparison
