"""A comparison's file: rows over what they have in common, all faults at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from places import ROOT

from modeling_mteeg.comparison import comparison_plan
from modeling_mteeg.comparison.comparison_plan import load_plan
from modeling_mteeg.comparison.units import all_parts
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.search import all_tries

CONFIGS = ROOT / "recipes/configs"
COMMON = {
    "model": {"preset": "tiny"},
    "data": {"folder": "data", "tasks": ["tuab", "eegmat"]},
    "adapter": {"rank": 8},
    "head": {"kind": "mean"},
    "optimization": {"lr": 1e-3, "warmup_epochs": 0, "epochs": 3},
    "sampling": {"tuab": {"fraction": 0.5}},
    "monitor": {"eegmat": "auroc"},
}

PAPERS = {
    "mteeg", "hps", "mmoe", "cgc", "biot", "sparcnet", "contrawr", "ffcl",
    "cnn-transformer", "st-transformer", "band-power", "linear-probe",
}  # fmt: skip


def written(folder: Path, rows: list[dict], **more) -> Path:
    path = folder / "comparison.yaml"
    path.write_text(yaml.safe_dump({"common": COMMON, "rows": rows, **more}), "utf-8")
    return path


def faults(path: Path, **over) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_plan(path, over)
    return caught.value.faults


def test_a_row_comes_over_its_file_and_that_over_common(tmp_path):
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({
        "method": "hps", "model": {"base": "labram"}, "data": {"folder": "elsewhere"},
        "seeds": [7], "optimization": {"lr": 5e-4, "weight_decay": 0.1}, "output": "there",
    }))  # fmt: skip
    rows = [{"name": "a", "config": "own.yaml", "set": {"optimization.lr": 2e-4}},
            {"name": "b", "method": "mteeg", "seeds": [4]}]  # fmt: skip
    a, b = load_plan(written(tmp_path, rows), {"optimization.epochs": 9, "seeds": [1, 2]}).rows
    assert (a.config.method, b.config.method) == ("hps", "mteeg")
    assert a.config.model.base == "labram" and a.config.model.preset is None
    assert a.config.data == b.config.data and a.config.data.folder == "data"
    assert (a.config.seeds, b.config.seeds) == ((1, 2), (4,))
    opt = a.config.optimization
    assert (opt.lr, opt.weight_decay, opt.epochs) == (2e-4, 0.1, 9)
    assert b.config.optimization.lr == 1e-3 and b.config.adapter.rank == 8


def test_what_is_common_is_dropped_for_methods_without_it_and_a_rows_own_is_not(tmp_path):
    rows = [{"name": "conv", "method": "shallow-convnet"}, {"name": "full", "method": "hps"}]
    conv, full = load_plan(written(tmp_path, rows), {}).rows
    assert conv.config.adapter.rank == 8 == type(conv.config.adapter)().rank
    assert full.config.head.kind == "mean" and conv.config.head.kind == "auto"
    rows[0]["set"] = {"adapter.rank": 4}
    (fault,) = faults(written(tmp_path, rows))
    assert fault.startswith("row 'conv': adapter: method shallow-convnet has no adapters")


def test_all_faults_come_at_once_with_the_nearest_names(tmp_path):
    rows = [
        {"name": "a", "method": "mtteg"},
        {"name": "a", "method": "hps", "set": {"optimization.lrr": 1}},
        {"name": "b", "method": "hps", "set": {"data.split": "kfold:3", "seeds": [1]}},
        {"name": "c", "method": "hps", "config": "nowhere.yaml"},
    ]
    path = written(tmp_path, rows)
    assert "has the same folder as 'a'" in faults(path)[0]
    rows[1]["name"] = "other"
    text = "\n".join(faults(written(tmp_path, rows, report={"claims": {"mteeg": "othr"}})))
    for part in (
        "row 'a': method: expected", "did you mean 'mteeg'?",
        "row 'other': optimization.lrr: unknown key (did you mean 'lr'?)",
        "row 'b': set.data.split: belongs to common", "row 'b': set.seeds: belongs to common",
        "row 'c': config: No configuration",
        "there is no row 'othr' (did you mean 'other'?)",
    ):  # fmt: skip
        assert part in text


def test_a_fault_of_common_is_told_once(tmp_path):
    rows = [{"name": name, "method": "hps"} for name in "abc"]
    found = faults(written(tmp_path, rows), **{"optimization.epochs": 0})
    assert found == ("common: optimization.epochs: expected a number > 0, found 0",)
    more = {"floor": True, "search": {"lr": [1e-3]}, "method": "hps", "data.fold": 1}
    text = "\n".join(faults(written(tmp_path, rows), **more))
    for key in ("common.floor: floors are rows", "common.search: use tune", "common.method:",
                "common.data.fold: a comparison runs all folds"):  # fmt: skip
        assert key in text


def test_tries_are_around_the_rows_own_value_and_as_many_for_every_row(tmp_path):
    tune = {"grid": {"lr": ["x0.3", "x1", 0.1]}, "set": {"optimization.epochs": 1}}
    rows = [
        {"name": "a", "method": "hps", "set": {"optimization.lr": 2e-3}},
        {"name": "b", "method": "mteeg", "grid": {"lr": [1e-4, 2e-4, 3e-4]}},
        {"name": "c", "method": "mteeg", "tuned": False},
        {"name": "d", "method": "band-power"},
    ]
    a, b, c, d = load_plan(written(tmp_path, rows, tune=tune), {}).rows
    tried = all_tries(a.tries, 100, tmp_path)
    assert [each.config.optimization.lr for each in tried] == [6e-4, 2e-3, 0.1]
    assert {each.config.optimization.epochs for each in tried} == {1}
    assert a.tries.seeds == (100,) and a.config.optimization.epochs == 3
    assert b.tries.search == {"lr": (1e-4, 2e-4, 3e-4)} and c.tries is None and d.tries is None
    rows[1]["grid"] = {"lr": [1e-4]}
    (fault,) = faults(written(tmp_path, rows, tune=tune))
    assert "the same number of tries for every row, found a: 3, b: 1" in fault
    rows[1].pop("grid")
    text = "\n".join(faults(written(tmp_path, rows, tune=tune), seeds=[1, 100]))
    assert "tune.seed: expected one that is not among the final seeds [1, 100]" in text


def test_a_training_of_one_task_has_what_is_said_of_that_task_alone(tmp_path):
    rows = [{"name": "a", "method": "hps", "separate": True}, {"name": "b", "method": "hps"}]
    plan = load_plan(written(tmp_path, rows), {"seeds": [0, 1]})
    parts = all_parts(plan.rows, folds=1)
    configs = [part.training(seed) for part in parts for seed in part.seeds]
    assert [config.data.tasks for config in configs] == [
        ("tuab",), ("tuab",), ("eegmat",), ("eegmat",), ("tuab", "eegmat"), ("tuab", "eegmat"),
    ]  # fmt: skip
    assert [sorted(config.sampling) for config in configs[::2]] == [["tuab"], [], ["tuab"]]
    assert [sorted(config.monitor) for config in configs[::2]] == [[], ["eegmat"], ["eegmat"]]
    assert len({config.output for config in configs}) == 6


def test_shards_share_everything_out_once_and_no_tries_twice(tmp_path):
    rows = [{"name": "a", "method": "hps", "separate": True}, {"name": "b", "method": "band-power"}]
    plan = load_plan(written(tmp_path, rows, tune={"grid": {"lr": ["x1"]}}), {"seeds": [0, 1]})
    dealt = [all_parts(plan.rows, 3, f"{share}/4") for share in (1, 2, 3, 4)]
    units = [(part.unit_folder(seed)) for some in dealt for part in some for seed in part.seeds]
    everything = [part.unit_folder(s) for part in all_parts(plan.rows, 3) for s in part.seeds]
    assert sorted(units) == sorted(everything) and len(set(units)) == len(units) == 18
    tries = [{part.folder for part in some if part.row.tries} for some in dealt]
    assert sum(map(len, tries)) == len(set.union(*tries)) == 6
    with pytest.raises(ValueError, match="--shard"):
        all_parts(plan.rows, 1, "5/4")


def test_a_row_of_a_package_that_is_not_installed_is_left_out_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison_plan, "import_fault", lambda package: "no such package")
    rows = [{"name": "a", "method": "hps"}, {"name": "EEGNet", "method": "braindecode:EEGNet"}]
    plan = load_plan(written(tmp_path, rows), {})
    assert [row.name for row in plan.rows] == ["a"]
    assert "modeling-mteeg[braindecode]" in plan.left_out["EEGNet"]
    with pytest.raises(ValueError, match="is not installed"):
        plan.chosen(["EEGNet"])


@pytest.mark.parametrize("name", ["demo", "paper", "real"])
def test_shipped_comparisons_are_right(name):
    path = CONFIGS / f"comparison_{name}.yaml"
    first = path.read_text("utf-8").splitlines()[0]
    command = f"# accelerate launch recipes/comparison.py --config recipes/configs/{path.name}"
    assert first.startswith(command)
    plan = load_plan(path, {})
    rows = {row.name: row for row in plan.rows}
    methods = {row.config.method for row in plan.rows}
    assert methods >= PAPERS
    assert rows["LaBraM-Base" if name == "paper" else "LaBraM"].options.separate
    assert len(rows) + len(plan.left_out) == len(plan.config.rows)
    for row in plan.rows:
        seeds, tasks = ((0,), 4) if name == "real" else ((0, 1, 2), 6)
        assert row.config.seeds == seeds and len(row.tasks) == tasks
        assert row.options.separate == (row.options.group == "single-task")
    ranks = {row.config.adapter.rank for row in plan.rows if row.config.method == "mteeg"}
    assert ranks >= ({8} if name == "real" else {4, 8, 16, 32})


def test_fewer_tasks_need_no_other_file(tmp_path):
    rows = [{"name": "a", "method": "hps"}]
    (row,) = load_plan(written(tmp_path, rows), {"data.tasks": ["tuab"]}).rows
    assert row.tasks == ("tuab",) and not row.config.monitor and list(row.config.sampling)
    text = "\n".join(faults(written(tmp_path, rows), **{"monitor.eegmta": "auroc"}))
    assert "monitor.eegmta: unknown task" in text, "a slip of the pen is none of those left out"
