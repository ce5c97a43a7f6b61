"""Configurations: what is wrong is said, all of it, before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import ROOT

from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.joint_config import TASKS, JointConfig

CONFIGS = sorted((ROOT / "recipes/configs").glob("joint_*.yaml"))
MINIMAL = {"model": {"preset": "tiny"}, "data": {"folder": "data"}}


def merged(**sections) -> dict:
    """``MINIMAL`` with more keys in its sections."""
    tree = {key: dict(value) for key, value in MINIMAL.items()}
    for key, value in sections.items():
        both = isinstance(value, dict) and isinstance(tree.get(key), dict)
        tree[key] = {**tree[key], **value} if both else value
    return tree


def faults_of(tree, overrides=None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        JointConfig.build(tree, overrides)
    return caught.value.faults


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_loads_and_says_how_to_run_it(path):
    config = JointConfig.load(path)
    assert config.data.tasks == TASKS
    header = path.read_text("utf-8").splitlines()[0]
    expected = "recipes/joint.py" if path.stem == "joint_demo" else f"recipes/configs/{path.name}"
    assert header.startswith("# accelerate launch recipes/joint.py") and expected in header
    assert Path(config.output).name == path.stem


def test_there_are_three_shipped_configs():
    assert [path.stem for path in CONFIGS] == ["joint_base", "joint_demo", "joint_large"]


def test_base_and_large_have_labrams_fine_tuning_values():
    for name, epochs, warmup, decay in (("base", 50, 5, 0.65), ("large", 30, 3, 0.8)):
        path = next(path for path in CONFIGS if path.stem == f"joint_{name}")
        config = JointConfig.load(path)
        o = config.optimization
        assert (o.epochs, o.warmup_epochs, o.layer_decay) == (epochs, warmup, decay)
        assert (o.lr, o.min_lr, o.weight_decay, o.betas) == (5e-4, 1e-6, 0.05, (0.9, 0.999))
        assert (o.batch_size, o.label_smoothing, o.clip_norm) == (512, 0.1, None)
        assert config.model.drop_path == 0.1 and config.adapter.rank == 8
        assert config.sampling["tuab"].fraction == 0.1
        assert config.sampling["chb-mit"].negative_fraction == 0.1
        assert len(config.seeds) == 3


def test_all_faults_are_reported_at_once(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(
        """
model: {preset: tinny, drop_path: 1.5}
data: {folder: data, tasks: [tuab, seedv, tuab]}
adaptor: {rank: 4}
adapter: {rank: eight}
optimization: {learning_rate: 1e-3, lr: -1, betas: [0.9, high], epochs: 2.5,
  gradient_accumulation: true}
optimization2: 3
sampling: {chbmit: {fraction: 0.1}, tuab: {fraction: 0}}
method: mtteeg
seeds: 0
checkpoint: [1]
monitor: {tuab: aurok, tuob: auroc, tuev: 3}
metrics: {seed-v: [cohen_kappa, weightedf1], sleepedf: [weighted_f1]}
""",
        "utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        JointConfig.load(path)
    faults = caught.value.faults
    expected = {
        "model.preset": "'tiny'",
        "model.drop_path": "1.5",
        "data.tasks: 'tuab'": "2 times",
        "adaptor": "'adapter'",
        "adapter.rank": "'eight'",
        "optimization.learning_rate": "unknown key",
        "optimization.lr": "-1",
        "optimization.betas[1]": "'high'",
        "optimization.epochs": "2.5",
        "optimization.gradient_accumulation": "True",
        "optimization2": "'optimization'",
        "sampling.chbmit": "'chb-mit'",
        "sampling.tuab.fraction": "> 0",
        "method": "'mteeg'",
        "seeds": "a list",
        "checkpoint": "keys and values",
        "monitor.tuev": "expected text",
        "monitor.tuob": "'tuab'",
        "monitor.tuab": "unknown metric 'aurok' (did you mean 'auroc'?)",
        "metrics.seed-v": "unknown metric 'weightedf1' (did you mean 'weighted_f1'?)",
        "metrics.sleepedf": "'sleep-edf'",
    }
    for key, part in expected.items():
        assert any(f.startswith(key) and part in f for f in faults), (key, part, faults)
    assert len(faults) == len(expected)
    assert str(path) in str(caught.value) and f"{len(faults)} faults" in str(caught.value)


@pytest.mark.parametrize(
    ("sections", "part"),
    [
        ({"model": {"base": "somewhere"}}, "either preset"),
        ({"model": {"preset": None}}, "either preset"),
        ({"data": {"folder": None}}, "simulate"),
        ({"data": {"tasks": []}}, "at least one task"),
        ({"data": {"folder": None, "simulate": True, "tasks": ["eegmat"]}}, "(--data)"),
        ({"data": {"tasks": ["Tuab"]}}, "no task name"),
        ({"method": "full", "adapter": {"rank": 4}}, "no adapters"),
        ({"method": "full", "train_temporal_encoder": False}, "trains everything"),
        ({"optimization": {"lr": 1e-4, "min_lr": 1e-3}}, "above lr"),
        ({"optimization": {"epochs": 3, "warmup_epochs": 4}}, "warmup_epochs"),
        ({"optimization": {"betas": [0.9]}}, "two numbers"),
        ({"optimization": {"batch_size": 5}}, "less than one sample"),
        ({"optimization": {"task_weights": {"tuab": 0}}}, "> 0"),
        ({"optimization": {"task_weights": {"tuub": 1}}}, "'tuab'"),
        ({"optimization": {"lr": float("nan")}}, "nan"),
        ({"optimization": {"lr": float("inf")}}, "inf"),
        ({"seeds": [1, 1]}, "different numbers"),
        ({"seeds": []}, "different numbers"),
        ({"num_processes": 0}, "> 0"),
        ({"output": ""}, "a folder"),
        ({"model": "tiny"}, "keys and values"),
    ],
)
def test_wrong_combinations_and_values(sections, part):
    assert any(part in fault for fault in faults_of(merged(**sections)))


def test_words_and_numbers_are_those_of_yaml_1_2(tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text(
        "model: {preset: tiny}\ndata: {folder: on}\nmixed_precision: no\n"
        "optimization: {lr: 5e-4, min_lr: 1E-6, warmup_epochs: 1}\n",
        "utf-8",
    )
    config = JointConfig.load(path)
    assert config.mixed_precision == "no" and config.data.folder == "on"
    assert (config.optimization.lr, config.optimization.min_lr) == (5e-4, 1e-6)
    assert isinstance(config.optimization.warmup_epochs, float)


def test_a_key_given_twice_is_a_fault(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text(
        "model: {preset: tiny}\ndata: {folder: a}\noptimization:\n  lr: 0.1\n  lr: 0.2\n", "utf-8"
    )
    with pytest.raises(ConfigError, match="lr: stands twice"):
        JointConfig.load(path)


@pytest.mark.parametrize("text", ["[1, 2", "- a\n- b\n", "just words", "", "a: !!python/name:os.x"])
def test_what_is_no_configuration_is_refused(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError):
        JointConfig.load(path)


def test_a_missing_file_names_those_that_are_there(tmp_path):
    (tmp_path / "here.yaml").write_text("", "utf-8")
    with pytest.raises(FileNotFoundError, match=r"here\.yaml"):
        JointConfig.load(tmp_path / "gone.yaml")


def test_a_saved_configuration_reads_back_equal(tmp_path):
    for path in CONFIGS:
        config = JointConfig.load(path)
        config.save(tmp_path / "sub" / "config.yaml")
        assert JointConfig.load(tmp_path / "sub" / "config.yaml") == config


def test_overrides_win_and_are_checked():
    config = JointConfig.build(MINIMAL, {"data.tasks": ["tuab"], "optimization.epochs": 7})
    assert config.data.tasks == ("tuab",) and config.optimization.epochs == 7
    assert any("optimization.epoch:" in f for f in faults_of(MINIMAL, {"optimization.epoch": 7}))
    assert MINIMAL == {"model": {"preset": "tiny"}, "data": {"folder": "data"}}


def test_a_rule_for_a_task_that_is_not_trained_is_no_fault():
    tree = merged(sampling={"chb-mit": {"negative_fraction": 0.1}}, data={"tasks": ["my-task"]})
    assert JointConfig.build(tree).data.tasks == ("my-task",)


def test_identity_holds_what_decides_the_numbers_and_nothing_else():
    base = JointConfig.build(MINIMAL).identity()
    for change in ({"output": "x"}, {"tracker": "tensorboard"}, {"seeds": [5]},
                   {"num_processes": 4}, {"monitor": {}}, {"metrics": {"tuab": ["auroc"]}},
                   {"checkpoint": {"every_steps": 1}}):  # fmt: skip
        assert JointConfig.build(merged(**change)).identity() == base
    for change in ({"optimization": {"lr": 1e-3}}, {"adapter": {"rank": 4}}, {"method": "full"},
                   {"sampling": {"tuab": {"fraction": 0.5}}}, {"data": {"tasks": ["tuab"]}},
                   {"optimization": {"gradient_accumulation": 2}},
                   {"monitor": {"tuab": "auc_pr"}},
                   {"mixed_precision": "bf16"}):  # fmt: skip
        assert JointConfig.build(merged(**change)).identity() != base


def test_without_a_chosen_monitor_the_identity_is_that_of_earlier_checkpoints():
    assert sorted(JointConfig.build(MINIMAL).identity()) == [
        "adapter.dropout", "adapter.location", "adapter.rank", "adapter.scaling",
        "adapter.separate_qkv", "data.tasks", "method", "mixed_precision", "model.base",
        "model.drop_path", "model.preset", "optimization.batch_size", "optimization.betas",
        "optimization.clip_norm", "optimization.epochs", "optimization.gradient_accumulation",
        "optimization.label_smoothing", "optimization.layer_decay", "optimization.lr",
        "optimization.max_tokens", "optimization.min_lr", "optimization.task_weights",
        "optimization.warmup_epochs", "optimization.weight_decay", "sampling",
        "train_temporal_encoder",
    ]  # fmt: skip


def test_monitor_and_metrics_are_chosen_by_task():
    tree = merged(monitor={"tuab": "balanced_accuracy"}, metrics={"tuev": ["weighted_f1"]})
    config = JointConfig.build(tree)
    assert config.monitor == {"tuab": "balanced_accuracy"}
    assert config.metrics == {"tuev": ("weighted_f1",)}
    assert config.identity()["monitor.tuab"] == "balanced_accuracy"
    with_own_task = merged(monitor={"my-task": "auroc"}, data={"tasks": ["my-task"]})
    assert JointConfig.build(with_own_task).monitor == {"my-task": "auroc"}


def test_unknown_metrics_are_named_with_the_nearest():
    tree = merged(monitor={"tuab": "aurok"}, metrics={"tuev": ["f1"]})
    assert faults_of(tree) == (
        "monitor.tuab: unknown metric 'aurok' (did you mean 'auroc'?)",
        "metrics.tuev: unknown metric 'f1' (known: balanced_accuracy, auc_pr, auroc, cohen_kappa, "
        "weighted_f1, macro_auroc)",
    )
