"""Heads in a training: who gets which, counts, resuming, and what the recipe leaves."""

from __future__ import annotations

import json

import pytest
import torch
from recipe_modules import load_recipe
from safetensors.torch import load_file
from tiny_corpora import CARDS, save_corpora, save_corpus
from training_program import make_config, make_trainer, outcome, run

from modeling_mteeg import MteegModel, TaskCard
from modeling_mteeg.data import load_corpora
from modeling_mteeg.methods import METHODS
from modeling_mteeg.methods.method import TrainingError
from modeling_mteeg.model.head_options import PLAIN_HEAD, HeadOptions
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.checkpoint import CheckpointError
from modeling_mteeg.training.joint_config import NEW_TASK_HEAD, TASKS, JointConfig
from modeling_mteeg.training.optimization import build_optimizer

SIZES = {"tuab": (16, 8, 8), "seed-v": (18, 9, 9), "sleep-edf": (9, 6, 6)}
MIXED = {
    "tuab": {"kind": "channels", "dropout": 0.3},
    "seed-v": {"kind": "attention", "queries": 2, "hidden": 6},
}
NEW = TaskCard("mine", ("a", "b"), ("C3", "C4"), window_s=1)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return load_corpora(folder, tuple(SIZES))


def head_of(config: JointConfig, card: TaskCard) -> HeadOptions:
    return config.head_of(card.name, card)


# Which task gets which head ----------------------------------------------------------------------


def test_the_six_have_the_papers_head_and_new_tasks_another():
    config = make_config()
    for task in TASKS:
        assert config.head_of(task, NEW.replace(name=task)) == PLAIN_HEAD
    assert head_of(config, NEW) == HeadOptions(NEW_TASK_HEAD, band_power=True)
    by_hand = make_config(head={"kind": "channels"})
    assert head_of(by_hand, NEW) == HeadOptions("channels")
    assert NEW_TASK_HEAD != "mean"


def test_a_new_task_that_cannot_have_a_channels_head_has_the_papers():
    config = make_config()
    assert head_of(config, NEW.replace(channels=())) == PLAIN_HEAD
    assert head_of(config, NEW.replace(max_missing_channels=1)) == PLAIN_HEAD


def test_head_is_every_tasks_and_heads_has_those_of_single_ones():
    config = make_config(head={"kind": "attention", "hidden": 4}, heads={"tuab": {"hidden": 3}})
    assert head_of(config, CARDS["seed-v"]) == HeadOptions("attention", 4)
    assert head_of(config, CARDS["tuab"]) == HeadOptions("mean", 3)
    assert head_of(config, NEW) == HeadOptions("attention", 4)


def test_a_configuration_without_heads_is_what_it_was():
    """Checkpoints of versions that knew no heads go on."""
    plain = make_config()
    assert not [key for key in plain.identity() if key.startswith("head")]
    assert JointConfig.build(plain.to_dict()) == plain
    changed = make_config(heads=MIXED, head={"hidden": 5})
    assert JointConfig.build(changed.to_dict()) == changed
    assert {key for key in changed.identity() if key.startswith("head")} == {
        "head.hidden", "heads.tuab.kind", "heads.tuab.dropout", "heads.seed-v.kind",
        "heads.seed-v.hidden", "heads.seed-v.queries",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        ({"head": {"kind": "chanels"}}, "head.kind: expected one of auto, mean, channels, attent"),
        ({"head": {"hidden": 0}}, "head.hidden: expected a number > 0, found 0"),
        ({"head": {"width": 3}}, "head.width: unknown key"),
        ({"head": "mean"}, "head: expected keys and values, found 'mean'"),
        ({"heads": {"tuob": {"kind": "mean"}}}, r"heads.tuob: unknown task \(did you mean 'tuab'"),
        ({"heads": {"tuab": {"kind": "mean", "queries": 3}}}, "queries: expected .* from 1 to 1"),
        ({"method": "band-power", "adapter": {}, "head": {"hidden": 3}}, "has no heads"),
        ({"method": "band-power", "adapter": {}, "heads": {"tuab": {}}}, "has no heads"),
    ],
)
def test_faults_of_heads_are_named(overrides, fault):
    with pytest.raises(ConfigError, match=fault):
        make_config(**overrides)


def test_a_head_that_the_data_do_not_allow_stops_the_training():
    card = NEW.replace(max_missing_channels=1)
    config = make_config(("mine",), head={"kind": "channels"}, sampling={})
    with pytest.raises(TrainingError, match="head: Task 'mine': a channels head has weights"):
        METHODS["mteeg"].build(config, {"mine": card}, 0)


# Training ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mteeg", "hps", "linear-probe"])
def test_every_method_on_a_labram_has_the_heads_and_counts_them(name):
    options = {} if name == "mteeg" else {"adapter": {}}
    plain = METHODS[name].build(make_config(method=name, **options), CARDS, 0)
    method = METHODS[name].build(make_config(method=name, heads=MIXED, **options), CARDS, 0)
    assert plain.identity() == {} and set(method.identity()) == {"head of tuab", "head of seed-v"}
    width = method.module.config.hidden_size
    more = 3 * width - width  # one output: weights of three channels instead of one mean
    more += 2 * width + (6 * 2 * width + 6) + (3 * 6 + 3) - (3 * width + 3)
    counts = [built.facts()["trainable_parameters"] for built in (plain, method)]
    assert counts[1] - counts[0] == more
    for task in method.cards:
        names = [n for n, _ in method.module.named_parameters() if n.startswith(f"heads.{task}.")]
        assert names and {method.task_of(name) for name in names} == {task}
        assert {method.depth(name) for name in names} == {method.depths}
    groups = build_optimizer(method, make_config(heads=MIXED).optimization).param_groups
    by_id = {id(p): group for group in groups for p in group["params"]}
    for key, parameter in method.module.heads.named_parameters():
        group, matrix = by_id[id(parameter)], parameter.ndim > 1 and "query" not in key
        assert group["lr_scale"] == 1.0 and (group["weight_decay"] > 0) == matrix


def test_the_same_seed_gives_the_papers_heads_the_same_start():
    """The heads of other tasks do not matter to what comes before them."""
    config = make_config(("sleep-edf", "tuab"), heads={"tuab": MIXED["tuab"]})
    plain = make_config(("sleep-edf", "tuab"))
    first, second = (METHODS["mteeg"].build(c, CARDS, 0).module for c in (plain, config))
    assert torch.equal(first.heads["sleep-edf"].weight, second.heads["sleep-edf"].weight)


class Stop(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("method", ["mteeg", pytest.param("linear-probe", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_mixed_heads_train_and_resume_to_the_bit(corpora, tmp_path, method):
    options = {"heads": MIXED, "method": method, **({"adapter": {}} if method != "mteeg" else {})}
    whole = make_trainer(corpora, tmp_path / "whole", **options)
    start = {name: p.detach().clone() for name, p in whole.trainable().items()}
    run(whole)
    still = [n for n, p in whole.trainable().items() if torch.equal(p, start[n])]
    assert not [name for name in still if name.startswith("heads.")]
    for stop in (3, 2):
        trainer = make_trainer(corpora, tmp_path / "parts", **options)
        real, left = trainer.train_step, iter(range(stop))

        def train_step(*step, real=real, left=left):
            if next(left, None) is None:
                raise Stop
            return real(*step)

        trainer.train_step = train_step
        with pytest.raises(Stop):
            run(trainer)
    last = make_trainer(corpora, tmp_path / "parts", **options)
    run(last)
    expected, found = outcome(whole), outcome(last)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert last.evaluate("test") == whole.evaluate("test")


def test_a_checkpoint_of_another_head_is_refused(tmp_path):
    """Also where the configuration is the same: what ``auto`` means may change."""
    save_corpus(tmp_path / "mine", NEW, (16, 8, 8))
    corpora = load_corpora(tmp_path, ("mine",))
    trainer = make_trainer(corpora, tmp_path / "out", sampling={})
    trainer.train_epoch()
    trainer.save_checkpoint()
    other = make_trainer(corpora, tmp_path / "out", sampling={})
    other.store.identity = {k: v for k, v in other.store.identity.items() if "head of" not in k}
    with pytest.raises(CheckpointError, match="head of mine"):
        other.resume()


def test_the_recipe_takes_a_head_and_saves_it_with_the_task(tmp_path, capsys):
    save_corpora(tmp_path / "data", {"tuab": SIZES["tuab"]})
    save_corpus(tmp_path / "data/mine", NEW, (16, 8, 8))
    words = ["--data", tmp_path / "data", "--output", tmp_path / "out", "--tasks", "tuab,mine",
             "--head", "attention", "--set", "heads={mine: {hidden: 4}}",
             "--set", "model.preset=tiny", "--set", "optimization.epochs=1",
             "--set", "optimization.batch_size=12", "--set", "optimization.warmup_epochs=0",
             "--set", "floor=false"]  # fmt: skip
    assert load_recipe("joint").main([str(word) for word in words]) == 0
    printed = capsys.readouterr().out
    assert "head: attention over all patch tokens, linear" in printed
    assert "head: mean token of every channel and its log band power, 4 hidden units" in printed
    model = MteegModel.from_pretrained(tmp_path / "out/model")
    assert model.load_adapter("tuab").head == HeadOptions("attention")
    assert model.load_adapter("mine").head == HeadOptions("channels", 4, band_power=True)
    text = (tmp_path / "out/model/adapters/mine/README.md").read_text("utf-8")
    assert "| head | mean token of every channel and its log band power, 4 hidden units |" in text
    record = json.loads((tmp_path / "out/model/training.json").read_text())
    assert record["config"]["head"]["kind"] == "attention"
    stored = load_file(tmp_path / "out/model/adapters/mine/head.safetensors")
    assert tuple(stored["hidden.weight"].shape) == (4, 2 * (model.config.hidden_size + 5))
