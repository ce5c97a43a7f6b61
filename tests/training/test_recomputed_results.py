"""mteeg evaluate: the figures of a card, computed again; equal or not, and why not."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
from recipe_modules import load_recipe
from safetensors.torch import load_file, save_file
from tiny_people import CARD, save_people

from modeling_mteeg import cli
from modeling_mteeg.evaluation import intervals
from modeling_mteeg.evaluation.stated_figures import Figure, compare, stated_figures
from modeling_mteeg.model.task_card import TaskCard

SMALL = ["--set", "model.preset=tiny", "--set", "optimization.epochs=1", "--set", "floor=false",
         "--set", "optimization.batch_size=48", "--set", "threshold=validation"]  # fmt: skip
ADAPTER = "model/adapters/eegmat"


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    """Intervals from 40 resamples of people, in the training and after it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "RESAMPLES", 40)
        yield


@pytest.fixture(scope="module")
def trained(few_resamples, tmp_path_factory):
    """A corpus of 12 people, and a task trained on half of them, with a threshold."""
    folder = tmp_path_factory.mktemp("trained")
    save_people(folder / "data")
    manifest = {"fingerprint": "of the first preparation", "source": {"version": "1.0"}}
    (folder / "data/eegmat/splits.json").write_text(json.dumps(manifest), "utf-8")
    arguments = ["--data", str(folder / "data"), "--output", str(folder), "--tasks", "eegmat"]
    split = ["--split", "kfold:2", "--fold", "1", "--set", "data.validation_share=0.4"]
    assert load_recipe("joint").main([*arguments, *split, *SMALL]) == 0
    return folder


@pytest.fixture
def copied(trained, tmp_path):
    """The same in a folder that a test may change."""
    shutil.copytree(trained, tmp_path / "copy")
    return tmp_path / "copy"


def evaluate(folder, *more, data="data"):
    task = ("--task", folder / ADAPTER)
    return cli.main(["evaluate", *map(str, (*task, "--data", folder / data, *more))])


def change_card(folder, change):
    path = folder / ADAPTER / "task.json"
    fields = json.loads(path.read_text("utf-8"))
    change(fields)
    path.write_text(json.dumps(fields), "utf-8")


# Equal -------------------------------------------------------------------------------------------


def test_figures_of_the_training_are_found_again(trained, tmp_path, capsys):
    out = tmp_path / "new" / "found.json"
    assert evaluate(trained, "--out", out) == 0
    text = capsys.readouterr().out
    assert "eegmat: equal to what the card states, within 0.001." in text
    assert "eegmat, test: 144 windows of 6 people" in text and "unequal" not in text
    found = json.loads(out.read_text("utf-8"))
    task = found["tasks"]["eegmat"]
    assert found["equal"] is task["equal"] is True and task["reasons"] == []
    results = json.loads((trained / "results.json").read_text("utf-8"))
    tested = task["splits"]["test"]
    for name, summary in results["test"]["eegmat"].items():
        assert tested["found"][name] == pytest.approx(summary["mean"], abs=1e-6)
        assert tested["compared"][name]["equal"] is True
    judged = results["judgement"]["eegmat"]
    assert tested["confusion"] == judged["confusion"] and tested["people"] == judged["people"]
    low = judged["intervals"]["auroc"]["low"]
    assert tested["compared"]["auroc low"]["found"] == pytest.approx(low, abs=1e-6)
    card = TaskCard.load(trained / ADAPTER)
    assert card.threshold is not None  # chosen on validation, after its figures were stated
    stated = card.results["validation"]["balanced_accuracy"]
    compared = task["splits"]["validation"]["compared"]["balanced_accuracy"]
    assert compared["stated"] == stated == pytest.approx(compared["found"], abs=1e-6)


@pytest.mark.slow
def test_a_task_is_named_by_its_base_or_its_folder_alone(trained, capsys):
    by_base = ["evaluate", "--base", str(trained / "model"), "--data"]
    for data in (trained / "data", trained / "data/eegmat", f"{trained}/data/{{task}}"):
        assert cli.main([*by_base, str(data), "--split", "test", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert list(found["tasks"]["eegmat"]["splits"]) == ["test"]
    assert cli.main([*by_base, str(trained / "data"), "--task", "eegmat"]) == 0


@pytest.mark.slow
def test_an_adapter_elsewhere_is_found_by_the_base_that_its_card_names(trained, tmp_path):
    shutil.copytree(trained / ADAPTER, tmp_path / "alone")
    path = tmp_path / "alone/task.json"
    fields = json.loads(path.read_text("utf-8"))
    fields["base"]["name_or_path"] = str(trained / "model")
    path.write_text(json.dumps(fields), "utf-8")
    arguments = ["--task", str(tmp_path / "alone"), "--data", str(trained / "data")]
    assert cli.main(["evaluate", *arguments]) == 0


# Unequal -----------------------------------------------------------------------------------------


def test_a_figure_that_was_written_into_the_card(copied, capsys):
    def better(fields):
        fields["results"]["test"]["auroc"] = 0.99

    change_card(copied, better)
    assert evaluate(copied) == 1
    text = capsys.readouterr().out
    assert "NOT equal" in text and "by more than 0.001: AUROC (test)." in text
    assert "nothing that is recorded differs" in text
    assert evaluate(copied, "--split", "validation") == 0


def test_a_figure_of_no_metric_is_named_as_not_compared(copied, tmp_path, capsys):
    change_card(copied, lambda fields: fields["results"]["test"].update(accuracy=0.99))
    assert evaluate(copied, "--on", "test", "--out", tmp_path / "found.json") == 0
    text = capsys.readouterr().out
    assert "Not compared, since no metric of the task: accuracy (test)." in text
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert found["tasks"]["eegmat"]["splits"]["test"]["not_compared"] == ["accuracy"]
    change_card(copied, lambda fields: fields.update(results={"test": {"kappa": 0.9}}))
    assert evaluate(copied, "--on", "test") == 2
    said = capsys.readouterr().out
    assert "no figures of its metrics. Not compared, since no metric of the task: kappa" in said


@pytest.mark.slow
def test_weights_that_were_changed(copied, capsys):
    path = copied / ADAPTER / "head.safetensors"
    head = load_file(path)
    torch.manual_seed(0)
    save_file({name: torch.randn_like(value) for name, value in head.items()}, path)
    assert evaluate(copied) == 1
    assert "nothing that is recorded differs" in capsys.readouterr().out


def test_another_preparation_is_the_reason(copied, capsys):
    manifest = {"fingerprint": "of a second preparation", "source": {"version": "2.0"}}
    save_people(copied / "other", windows=14, strength=0.5)
    (copied / "other/eegmat/splits.json").write_text(json.dumps(manifest), "utf-8")
    assert evaluate(copied, "--json", data="other") == 1
    (task,) = json.loads(capsys.readouterr().out)["tasks"].values()
    reasons = "\n".join(task["reasons"])
    assert "another preparation of the corpus: fingerprint of the firs" in reasons
    assert "another version of the corpus: version 1.0 then, 2.0 now" in reasons
    assert "another split: hash" in reasons and "other windows in test: 144 then, 168" in reasons
    assert task["splits"]["test"]["compared"]["num_samples"]["equal"] is False


@pytest.mark.slow
def test_other_filters_and_packages_are_said(copied, capsys):
    def other(fields):
        fields["highpass_hz"] = 0.5
        fields["results"]["training"]["packages"]["torch"] = "1.0"
        fields["results"]["test"]["loss"] = 9.0

    change_card(copied, other)
    assert evaluate(copied) == 1
    text = capsys.readouterr().out
    assert "prepared otherwise: highpass_hz 0.5 on the card, 0.1 in the corpus" in text
    assert "other packages: torch 1.0 then" in text and "loss (test)" in text


@pytest.mark.slow
def test_the_tolerance_is_the_users(copied):
    def a_little(fields):
        fields["results"]["test"]["auroc"] += 0.004

    change_card(copied, a_little)
    assert evaluate(copied) == 1 and evaluate(copied, "--tolerance", "0.005") == 0


@pytest.mark.slow
def test_the_precision_is_the_trainings_unless_another_is_asked_for(copied, capsys):
    evaluate(copied, "--precision", "bf16", "--json", "--split", "test")
    (task,) = json.loads(capsys.readouterr().out)["tasks"].values()
    assert task["reasons"] == ["another precision: no then, bf16 now"]
    assert task["splits"]["test"]["compared"]["loss"]["difference"] != 0

    def in_half(fields):
        fields["results"]["training"]["precision"] = "bf16"

    change_card(copied, in_half)
    evaluate(copied, "--json", "--split", "test")
    (again,) = json.loads(capsys.readouterr().out)["tasks"].values()
    assert again["reasons"] == [] and again["splits"]["test"] == task["splits"]["test"]


# Nothing to compare, and wrong input --------------------------------------------------------------


def test_a_card_without_figures_is_evaluated_and_never_equal(copied, capsys):
    change_card(copied, lambda fields: fields.update(results=None))
    assert evaluate(copied) == 2
    text = capsys.readouterr().out
    assert "nothing to compare" in text and "AUROC" in text
    assert evaluate(copied, "--split", "train") == 2


def test_a_file_that_is_there_stays(trained, tmp_path, capsys):
    out = tmp_path / "found.json"
    out.write_text("mine", "utf-8")
    assert evaluate(trained, "--out", out) == 2
    assert "there already" in capsys.readouterr().err and out.read_text("utf-8") == "mine"
    assert evaluate(trained, "--out", out, "--overwrite") == 0
    assert json.loads(out.read_text("utf-8"))["equal"] is True


def test_another_base_is_refused(copied, capsys):
    weights = next((copied / "model").glob("*.safetensors"))
    tensors = load_file(weights)
    tensors["cls_token"] += 1
    save_file(tensors, weights, {"format": "pt"})
    assert evaluate(copied) == 2
    assert "fingerprint" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--tolerance", "-1"], "--tolerance: expected a number from 0 to 1"),
        (["--tolerance", "nan"], "--tolerance"),
        (["--batch-size", "0"], "batch_size"),
        (["--data", "nowhere"], "no prepared corpus for"),
    ],
)
def test_wrong_arguments(trained, capsys, arguments, named):
    assert evaluate(trained, *arguments) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, named",
    [
        ([], "expected --task or --base"),
        (["--task", "eegmat"], "expected its --base"),
        (["--task", "/no/such/folder"], "No adapter"),
    ],
)
def test_a_task_that_is_not_known(trained, capsys, arguments, named):
    assert cli.main(["evaluate", "--data", str(trained / "data"), *arguments]) == 2
    assert named in capsys.readouterr().err


def test_undefined_figures_and_counts():
    assert Figure("auroc", None, None).equal(0.1) and Figure("auroc", None, None).difference is None
    assert not Figure("auroc", None, 0.5).equal(1) and not Figure("auroc", 0.5, None).equal(1)
    assert Figure("auroc", 0.5, 0.6).equal(0.2) and not Figure("auroc", 0.5, 0.6).equal(0.05)
    assert not Figure("num_samples", 100.0, 101.0).equal(0.9)
    given = CARD.replace(results={"auroc": 0.7, "auc_pr": math.nan, "note": "by hand"})
    assert stated_figures(given, "test") == {"auroc": 0.7, "auc_pr": None}
    assert stated_figures(given, "validation") == {}
    (missing,) = compare({"auroc": 0.7}, {})
    assert not missing.equal(1)
