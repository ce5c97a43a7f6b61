"""``--quiet``: nothing but errors and a command's product; what is doubtful stays in the files.

What is written is looked for where a terminal reads it, below Python's own streams, too.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from annotated_recordings import presses
from recipe_modules import load_recipe
from tiny_bases import save_base, save_recordings
from tqdm import tqdm

from modeling_mteeg import _ending, cli
from modeling_mteeg._shown_text import Shown
from modeling_mteeg.dataset_scripts import annotated, demo, prepare


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return save_recordings(tmp_path_factory.mktemp("recordings"))


def loud() -> None:
    print("a line")
    print("a remark", file=sys.stderr)
    for _ in tqdm(range(2), desc="a bar"):
        tqdm.write("beside the bar")


@pytest.mark.parametrize(("quiet", "printed"), [(False, False), (True, False), (True, True)])
def test_what_is_heard(quiet, printed, capfd):
    def run() -> None:
        _ending.hush(quiet, printed)
        loud()
        _ending.say_error("a sentence")
        raise ValueError("an error")

    assert _ending.ended(run, name="x", errors=(ValueError,), code=2) == 2
    out, err = capfd.readouterr()
    assert ("a line" in out) == (printed or not quiet)
    assert err.endswith("x: error: an error\n") and "a sentence\n" in err
    if quiet:
        assert err == "a sentence\nx: error: an error\n"
    else:
        assert all(text in err for text in ("a remark", "a bar"))


WARNING = """
import importlib.util, sys, warnings
spec = importlib.util.find_spec("modeling_mteeg")
sys.modules["modeling_mteeg"] = importlib.util.module_from_spec(spec)  # nothing heavy
from modeling_mteeg import _ending

def run():
    _ending.hush(sys.argv[1] == "quiet")
    warnings.warn("a warning")
    code = "import warnings; warnings.warn('of a process')"
    import subprocess
    subprocess.run([sys.executable, "-c", code], check=True)

_ending.ended(run)
"""


@pytest.mark.parametrize("how", ["loud", "quiet"])
def test_warnings_are_heard_or_not_of_processes_too(how):
    done = subprocess.run([sys.executable, "-c", WARNING, how], capture_output=True, text=True,
                          check=True, timeout=100)  # fmt: skip
    assert ("a warning" in done.stderr) == ("of a process" in done.stderr) == (how == "loud")


def test_quiet_ends_with_its_command(capfd):
    assert _ending.ended(lambda: _ending.hush(True)) == 0
    assert _ending.ended(loud) == 0
    out, err = capfd.readouterr()
    assert "a line" in out and "a bar" in err and not isinstance(sys.stdout, Shown)


def test_an_inner_command_stays_quiet_and_leaves_the_outer_one_so(capfd):
    """As the recipe of the tokenizer within that of pre-training."""

    def outer() -> None:
        _ending.hush(True)
        assert _ending.ended(lambda: _ending.hush(True) or loud()) == 0
        loud()

    assert _ending.ended(outer) == 0
    assert capfd.readouterr() == ("", "")


def test_faults_of_the_program_are_heard():
    def run() -> None:
        _ending.hush(True)
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError):
        _ending.ended(run)
    assert not getattr(sys.stderr, "hushed", False)


def test_predict_is_quiet_and_its_doubts_stay_in_the_sidecar(
    base, recordings, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # a bar is for terminals
    events = tmp_path / "cues.tsv"
    events.write_text("onset\tduration\ttrial_type\n1\t0\tx\n29.5\t0\tx\n")  # the end is too near
    words = ["predict", str(recordings[0]), "--base", str(base), "--task", "fists",
             "--at", str(events), "--out"]  # fmt: skip
    assert cli.main([*words, str(tmp_path / "loud.tsv")]) == 0
    out, err = capfd.readouterr()
    assert "1 window" in out and "s of EEG/s" in err
    assert cli.main([*words, str(tmp_path / "quiet.tsv"), "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    notes = [json.loads((tmp_path / f"{name}.json").read_text("utf-8"))["Notes"]
             for name in ("loud", "quiet")]  # fmt: skip
    assert notes[0] == notes[1] and "1 of 2 cues have no answer" in " ".join(notes[1])
    assert cli.main([*words, str(tmp_path / "quiet.tsv"), "--quiet", "--unit", "V"]) == 2
    out, err = capfd.readouterr()
    assert not out and "error" in err


def test_a_dry_run_is_a_list(base, capfd):
    assert cli.main(["push", str(base), "--repo", "me/base", "--dry-run", "--quiet"]) == 0
    out, err = capfd.readouterr()
    assert "would go: " in out and "adapters/fists/task.json" in out and not err


def test_all_is_every_task_beside_the_base(base, recordings, tmp_path, capfd):
    words = ["predict", str(recordings[0]), "--base", str(base), "--quiet", "--out"]
    assert cli.main([*words, str(tmp_path / "all"), "--task", "all"]) == 0
    assert cli.main([*words, str(tmp_path / "named"), "--tasks", "fists,two-d"]) == 0
    names = [sorted(path.name for path in (tmp_path / one).iterdir()) for one in ("all", "named")]
    assert names[0] == names[1] and len(names[0]) == 4
    assert cli.main([*words, str(tmp_path / "a.tsv"), "--task", "all"]) == 2
    assert "expected a folder" in capfd.readouterr().err
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text((base / "config.json").read_text())
    words[3] = str(tmp_path / "bare")
    assert cli.main([*words, str(tmp_path / "b"), "--task", "all"]) == 2
    assert "--task all: expected tasks beside the base" in capfd.readouterr().err


def test_explain_prints_its_values_alone(base, recordings, tmp_path, capfd):
    words = ["explain", str(recordings[0]), "--base", str(base), "--task", "fists", "--onset", "3",
             "--steps", "2", "--table"]  # fmt: skip
    assert cli.main([*words, str(tmp_path / "a.tsv")]) == 0
    loud_out = capfd.readouterr().out
    assert cli.main([*words, str(tmp_path / "b.tsv"), "--quiet"]) == 0
    out, err = capfd.readouterr()
    assert not err and "table: " in loud_out and "table: " not in out
    assert out.splitlines() == loud_out.splitlines()[:-1]
    # Too few steps: what would be a warning is part of the answer.
    assert "note: Integrated gradients of 1 of 1 windows sum to their logit only" in out
    words[5] = "all"
    assert cli.main([*words, str(tmp_path / "c.tsv")]) == 2
    assert "expected one task, found fists, two-d" in capfd.readouterr().err


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_preparation_is_quiet(processes, tmp_path, capfd):
    raw = presses(tmp_path / "raw")
    words = ["--raw", str(raw), "--out", str(tmp_path / "data"), "--task", "presses", "--labels",
             "rest,press", "--subject-from", "name", "--num-processes", str(processes),
             "--quiet"]  # fmt: skip
    assert annotated.main(words) == 0
    assert capfd.readouterr() == ("", "") and (tmp_path / "data" / "presses").is_dir()
    assert annotated.main([*words, "--labels", "rest,pull"]) == 1
    out, err = capfd.readouterr()
    assert not out and err.startswith("error: ")


def test_a_plan_of_preparations_says_what_failed(tmp_path, capfd):
    (tmp_path / "plan.yaml").write_text("out: data\ncorpora:\n  tuab:\n    raw: nowhere\n")
    assert prepare.main(["--config", str(tmp_path / "plan.yaml"), "--quiet"]) == 2
    out, err = capfd.readouterr()
    assert not out and "error: " in err and "nowhere" in err


def test_a_simulation_is_quiet(tmp_path, capfd):
    words = ["--out", str(tmp_path), "--task", "sleep-edf", "--size", "small", "--quiet"]
    assert demo.main(words) == 0
    assert capfd.readouterr() == ("", "") and [*tmp_path.iterdir()] == [tmp_path / "sleep-edf"]


@pytest.mark.parametrize("recipe", ["joint", "pretrain", "cross_validate"])
def test_recipes_print_what_was_asked_for(recipe, capfd):
    assert load_recipe(recipe).main(["--show-config", "--quiet"]) == 0
    out, err = capfd.readouterr()
    assert "optimization:" in out and not err
