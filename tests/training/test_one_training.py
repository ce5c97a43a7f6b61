"""A second training in an output folder is refused, and a second prediction of the same results."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest
from places import SUPPORT
from recipe_modules import load_recipe

from modeling_mteeg.prediction.held_targets import LOCK as PREDICTING
from modeling_mteeg.prediction.held_targets import alone_at
from modeling_mteeg.prediction.result_files import plan_targets
from modeling_mteeg.settings.disk_faults import WriteError
from modeling_mteeg.settings.folder_lock import held
from modeling_mteeg.training import output_folder
from modeling_mteeg.training.launch import TrainingError
from modeling_mteeg.training.output_folder import LOCK, one_training

MAIN = types.SimpleNamespace(is_main_process=True, num_processes=1)


def test_the_folder_is_held_until_the_end_and_again_for_a_command_within(tmp_path):
    folder = tmp_path / "new"
    with one_training(folder), one_training(folder, MAIN), held(folder / LOCK) as mine:
        assert not mine
    with held(folder / LOCK) as mine:
        assert mine
        with (
            pytest.raises(TrainingError, match="another training is at work"),
            one_training(folder, MAIN),
        ):
            pass
    with one_training(folder, MAIN, f"{LOCK}-1-of-2"), one_training(folder, MAIN, f"{LOCK}-2-of-2"):
        pass


@pytest.mark.parametrize("said", [(True, ""), (False, ""), (True, "x: could not be written")])
def test_other_processes_of_a_start_lock_nothing_and_hear_of_it(said, tmp_path, monkeypatch):
    monkeypatch.setattr(output_folder, "agreed", lambda accelerator, value: said)
    second = types.SimpleNamespace(is_main_process=False, num_processes=2)
    if said == (True, ""):
        with one_training(tmp_path, second):
            pass
    else:
        with (
            pytest.raises(TrainingError, match=said[1] or "another"),
            one_training(tmp_path, second),
        ):
            pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_said_to_all(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(
        output_folder, "agreed", lambda accelerator, value: told.append(value) or value
    )

    def full(path):
        raise WriteError(28, "No space left on device", str(path))

    monkeypatch.setattr(output_folder, "held", full)
    with pytest.raises(WriteError, match="no space left"), one_training(tmp_path, MAIN):
        pass
    assert "no space left" in told[0][1]


@pytest.mark.parametrize("recipe", ["joint", "pretrain_tokenizer", "cross_validate"])
def test_recipes_refuse_before_they_touch_anything(recipe, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--output", str(out)]
    words += ["--split", "kfold:2"] if recipe == "cross_validate" else []
    words += [] if recipe == "pretrain_tokenizer" else ["--tasks", "sleep-edf"]
    with held(out / LOCK) as mine:
        assert mine
        assert load_recipe(recipe).main(words) == 2
    out_text, err = capsys.readouterr()
    assert err.count("\n") == 1 and "another training is at work there" in err and not out_text
    assert [path.name for path in out.iterdir()] == [LOCK]


def test_the_same_results_are_made_once_and_others_beside(tmp_path):
    """The other process is real: locks of parts of a file are between processes."""
    targets = plan_targets(["a.edf", "b.edf"], ["tuab", "tuev"], tmp_path)
    taken = targets[2].events
    process = subprocess.Popen(
        [sys.executable, str(SUPPORT / "ending_program.py"), "hold", str(tmp_path / ".other"),
         str(tmp_path / PREDICTING), taken.name],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "mine\n"
        with pytest.raises(ValueError, match=f"{taken.name}: another process"), alone_at(targets):
            pass
        with alone_at([target for target in targets if target.events != taken]):
            pass
    finally:
        process.kill()
        process.communicate()
    with alone_at(targets):  # the system has freed what the killed one held
        assert (tmp_path / PREDICTING).stat().st_size == 0
    assert not (tmp_path / PREDICTING).exists()


def test_locks_of_results_leave_nothing(tmp_path):
    with alone_at(plan_targets(["a.edf"], ["tuab"], tmp_path / "new" / "out")):
        assert (tmp_path / "new/out" / PREDICTING).is_file()
    assert not list(tmp_path.iterdir())
