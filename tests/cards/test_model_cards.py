"""Model cards: the whole text against its pattern, and what a person wrote is kept.

The patterns lie in ``data/model_cards``: every sentence of a card, with ``<part>`` where only the
form is known.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from places import SUPPORT
from tiny_models import CARDS, model_with_tasks, tiny_model

from modeling_mteeg import MteegModel, TaskCard
from modeling_mteeg.cards import CardError, curves, write_cards
from modeling_mteeg.cards.facts import task_facts
from modeling_mteeg.evaluation import METRICS, Metric
from modeling_mteeg.methods.mteeg import Mteeg
from modeling_mteeg.training.record import (
    command_line,
    note_seeds,
    simulated_record,
    task_results,
)
from modeling_mteeg.training.results import summarize

PATTERNS = SUPPORT / "model_cards"
PARTS = {
    "hash": "[0-9a-f]{64}",
    "mark": "[0-9a-f]{16}",
    "version": r"\d[\w.+-]*",
    "count": r"\d{1,3}(?:,\d{3})*",
}
COMMAND = "accelerate launch recipes/joint.py --tasks tuab,sleep-edf --seeds 0,1,2"
TASKS = {
    "tuab": CARDS["tuab"].replace(
        corpus="TUH Abnormal EEG Corpus (TUAB)",
        license="TUH EEG terms of use: redistribution is not allowed",
        description="Is the recording normal?",
        split_hash="a1" * 32,
    ),
    "sleep-edf": CARDS["sleep-edf"].replace(
        corpus="simulated recordings in the layout of Sleep-EDF 1.0.0",
        license="Apache-2.0",
        description="Which stage of sleep is the window of?",
        split_hash="b2" * 32,
        simulated=True,
    ),
}
DATA = {
    "tuab": {"location": "data/tuab", "windows": {"train": 1070, "validation": 20, "test": 30},
             "rule": "protocol: paper", "fingerprint": "c3" * 32, "version": "v3.0.1"},
    "sleep-edf": {"location": "hf://datasets/me/nights/sleep-edf", "rule": "within-subject",
                  "windows": {"train": 213, "validation": 73, "test": 72},
                  "fingerprint": "d4" * 32, "simulation": {"seed": 0, "version": 2, "by": None}},
}  # fmt: skip
TEST = {
    0: {"tuab": {"balanced_accuracy": 0.75, "auc_pr": 0.5, "auroc": 0.75, "num_samples": 30.0},
        "sleep-edf": {"balanced_accuracy": 0.5, "cohen_kappa": 0.25, "weighted_f1": 0.5,
                      "num_samples": 72.0}},
    1: {"tuab": {"balanced_accuracy": 0.7, "auc_pr": 0.75, "auroc": 0.875, "num_samples": 30.0},
        "sleep-edf": {"balanced_accuracy": 0.25, "cohen_kappa": 0.0, "weighted_f1": 0.25,
                      "num_samples": 72.0}},
    2: {"tuab": {"balanced_accuracy": 0.8, "auc_pr": 1.0, "auroc": 0.625, "num_samples": 30.0},
        "sleep-edf": {"balanced_accuracy": 0.75, "cohen_kappa": 0.5, "weighted_f1": float("nan"),
                      "num_samples": 72.0}},
}  # fmt: skip


def record_of(seed: int, start: dict | None = None) -> dict:
    """What a training of two tasks over three epochs leaves."""
    epochs = [
        {
            "epoch": epoch,
            "train_loss": dict.fromkeys(TASKS, 1 / (epoch + 1)),
            "validation": {
                task: {"loss": 1.5 / (epoch + 1), "auroc": 0.1 * epoch, "cohen_kappa": 0.1 * epoch}
                for task in TASKS
            },
            "score": 0.5,
        }
        for epoch in range(3)
    ]
    return {
        "format": 1, "command": COMMAND, "method": "mteeg", "start_kind": "random",
        "start": "size 'tiny', random weights", "train_temporal_encoder": True, "epochs": 3,
        "device": "cpu", "processes": 1, "precision": "no",
        "packages": {"python": "3.12.1", "torch": torch.__version__}, "data": DATA, "seed": seed,
        "epoch": 1, "history": epochs, "trainable_parameters": 12345,
        "config": {"model": {"base": None}, "data": {"folder": "hf://datasets/me/nights"}},
    } | (start or {})  # fmt: skip


def saved(folder: Path, seeds: tuple[int, ...], start: dict | None = None, **changes) -> Path:
    """A base with two tasks as joint training leaves it, of the first seed."""
    model = tiny_model()
    for task, card in TASKS.items():
        model.add_adapter(task, card=card.replace(**changes))
    record = record_of(seeds[0], start)
    results = {
        task: task_results(
            record, task, record["epoch"], TEST[seeds[0]][task], model.tasks[task].simulated
        )
        for task in TASKS
    }
    Mteeg(model).save(folder, results, record)
    if len(seeds) > 1:
        note_seeds(Mteeg, folder, summarize({seed: TEST[seed] for seed in seeds}), seeds)
    return folder


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Path:
    pytest.importorskip("matplotlib")
    return saved(tmp_path_factory.mktemp("three") / "model", (0, 1, 2))


def matched(folder: Path, pattern: str) -> ModelCard:
    """The card of a folder, if its whole text is that of the pattern."""
    text = (folder / "README.md").read_text("utf-8")
    template = (PATTERNS / f"{pattern}.md").read_text("utf-8")
    regex = re.sub(r"<(\w+)>", lambda part: PARTS[part[1]], re.escape(template))
    assert re.fullmatch(regex, text), text
    return ModelCard.load(folder / "README.md")


def test_card_of_a_base_with_two_tasks_and_three_seeds(three):
    data = matched(three, "base_two_tasks").data
    assert (data.license, data.library_name) == ("unknown", "transformers")
    assert [(result.dataset_type, result.metric_type) for result in data.eval_results] == [
        ("tuab", "balanced_accuracy"), ("tuab", "auc_pr"), ("tuab", "auroc"),
        ("sleep-edf", "balanced_accuracy"), ("sleep-edf", "cohen_kappa"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("origin", "license_id", "said"),
    [
        ({"start_simulated": True, "only_simulated": False}, "unknown", True),
        ({"start_simulated": True, "only_simulated": True}, "apache-2.0", True),
        pytest.param(
            {"start_simulated": False, "only_simulated": False},
            "unknown",
            False,
            marks=pytest.mark.slow,
        ),
        pytest.param({}, "unknown", False, marks=pytest.mark.slow),
    ],
)
def test_a_simulated_start_is_said_and_counts_for_the_licence(tmp_path, origin, license_id, said):
    start = {"start_kind": "base", "start": "pretrained", **origin}
    folder = saved(tmp_path / "model", (0,), start, simulated=True)
    for place in (folder, folder / "adapters/tuab"):
        card = ModelCard.load(place / "README.md")
        assert card.data.license == license_id
        assert ("**Simulated start**" in card.text) is said


def test_where_weights_come_from_is_read_from_the_start(tmp_path):
    for name, content in {
        "clean": {"simulated": True, "only_simulated": True},
        "tuned": {"simulated": False, "start_simulated": True, "only_simulated": False},
        "real": {"simulated": False, "only_simulated": False},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "training.json").write_text(json.dumps(content))
    (tmp_path / "silent").mkdir()
    found = {
        (name, *own, *others): tuple(
            simulated_record(
                own, name and tmp_path / name, *(tmp_path / other for other in others)
            ).values()
        )
        for name, own, others in [
            (None, [True], ()), (None, [True, False], ()), ("clean", [True], ()),
            ("tuned", [True], ()), ("real", [True], ()), ("silent", [True], ()),
            (None, [True], ("clean",)), (None, [True], ("real",)), ("none-at-all", [True], ()),
        ]
    }  # fmt: skip
    assert list(found.values()) == [
        (False, True), (False, False), (True, True), (True, False), (False, False), (False, False),
        (False, True), (False, False), (False, False),
    ]  # fmt: skip


def test_a_metric_beyond_the_papers_has_its_title_in_card_and_picture(tmp_path, monkeypatch):
    entry = Metric("sensitivity", "sensitivity of class 1", max)
    monkeypatch.setitem(METRICS, "sensitivity", entry)
    card = TASKS["tuab"].replace(metrics=("auroc", "sensitivity"), monitor="sensitivity")
    model = tiny_model()
    model.add_adapter("tuab", card=card)
    model.save_pretrained(tmp_path)
    place = tmp_path / "adapters/tuab"
    model.save_adapter("tuab", place, results={"auroc": 0.5, "sensitivity": 0.25})
    for folder in (tmp_path, place):
        write_cards(folder)
        text = (folder / "README.md").read_text("utf-8")
        assert "| AUROC | sensitivity of class 1 |" in text
        assert "| 0.500 | 0.250 |" in text
        named = [result.metric_name for result in ModelCard(text).data.eval_results]
        assert named == ["AUROC", "sensitivity of class 1"]
    facts = task_facts(place)
    assert curves._monitor_axis({"tuab": facts}) == "sensitivity of class 1"
    assert curves._monitor_label(facts.card, alone=False) == "tuab (sensitivity of class 1)"


def test_card_of_a_task_with_three_seeds(three):
    matched(three / "adapters/tuab", "adapter_three_seeds")


def test_card_of_a_simulated_task_with_one_seed(tmp_path):
    folder = saved(tmp_path / "model", (0,), simulated=True)
    data = matched(folder / "adapters/sleep-edf", "adapter_one_seed").data
    assert data.license == "apache-2.0" and "simulated" in data.tags
    assert ModelCard.load(folder / "README.md").data.license == "apache-2.0"


def test_cards_of_a_users_own_model_say_what_is_not_stated(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    write_cards(tmp_path)
    matched(tmp_path, "base_plain")
    model.add_adapter("hand-task", ["left", "right"])
    folder = model.save_adapter("hand-task", tmp_path / "adapters/hand-task")
    matched(folder, "adapter_plain")
    assert not (folder / "curves.png").exists()


def test_the_licence_is_apache_only_where_the_files_tell_it(tmp_path):
    started = saved(tmp_path / "a", (0,), {"start_kind": "base", "start": "x"}, simulated=True)
    assert ModelCard.load(started / "README.md").data.license == "unknown"
    given = saved(tmp_path / "b", (0,))
    with pytest.raises(ValueError, match="license_id: expected a name"):
        write_cards(given, "my own -->")
    write_cards(given, "cc-by-4.0")
    write_cards(given)  # what was given stays, as when the folder is pushed
    for place in (given, given / "adapters/tuab"):
        card = ModelCard.load(place / "README.md")
        assert card.data.license == "cc-by-4.0"
        assert "Licence of the weights: cc-by-4.0." in card.text


@pytest.mark.slow
def test_base_and_data_of_the_hub_are_named_as_such(tmp_path):
    location = {"data": {"folder": "hf://datasets/me/eeg-{task}@v1/x"}}
    start = {"start_repo": "me/labram", "config": location}
    folder = saved(tmp_path / "model", (0,), start)
    data = ModelCard.load(folder / "README.md").data
    assert data.base_model == "me/labram"
    assert data.datasets == ["me/eeg-sleep-edf", "me/eeg-tuab"]
    model = MteegModel.from_pretrained(folder)
    model.load_adapter("tuab")
    model.config._name_or_path = "me/base"
    again = model.save_adapter("tuab", tmp_path / "again")
    card = ModelCard.load(again / "README.md")
    assert card.data.base_model == "me/base" and 'base = "me/base"' in card.text


def test_a_loaded_task_keeps_its_record_and_loses_it_when_trained_on(three, tmp_path):
    model = MteegModel.from_pretrained(three)
    model.load_adapter("tuab")
    folder = model.save_adapter("tuab", tmp_path / "same")
    assert (folder / "README.md").read_text() == (three / "adapters/tuab/README.md").read_text()
    assert (folder / "curves.png").stat().st_size > 10_000
    with torch.no_grad():
        model.heads["tuab"].bias.add_(1)
    with pytest.warns(UserWarning, match="'tuab' has changed since it was loaded: its results"):
        model.save_adapter("tuab", folder)
    assert TaskCard.load(folder).results is None and not (folder / "curves.png").exists()
    text = (folder / "README.md").read_text()
    assert "Not stated: the files hold no results." in text and COMMAND not in text
    assert model.save_adapter("tuab", folder, results={"auroc": 0.5})
    assert "| tuab | recorded | not stated | not stated | 0.500 |" in (
        folder / "README.md"
    ).read_text("utf-8")


def test_a_card_that_a_person_wrote_or_changed_is_kept(three, tmp_path):
    model = model_with_tasks("tuab")
    folder = model.save_adapter("tuab", tmp_path)
    path = folder / "README.md"
    first = path.read_text("utf-8")
    for text in ("mine", first.replace("left out", "x") + "more", first.replace("Task", "My")):
        path.write_text(text, "utf-8")
        assert write_cards(folder) == []
        model.save_adapter("tuab", folder)
        assert path.read_text("utf-8") == text
    path.write_text(first, "utf-8")
    model.save_adapter("tuab", folder, description="Another one.")
    assert "Another one." in path.read_text("utf-8")
    assert write_cards(folder) == [path]


def test_without_matplotlib_there_is_no_picture_and_no_word_of_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    folder = saved(tmp_path / "model", (0,))
    for place in (folder, folder / "adapters/tuab"):
        text = (place / "README.md").read_text("utf-8")
        assert COMMAND in text and "png" not in text and "curve" not in text
        assert not (place / "curves.png").exists()


def test_the_picture_of_the_same_curves_stays(three, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(three / "adapters/tuab", tmp_path / "task"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text, picture = ((folder / name).read_bytes() for name in ("README.md", "curves.png"))
    write_cards(folder)
    assert (folder / "README.md").read_bytes() == text
    assert (folder / "curves.png").read_bytes() == picture
    card = TaskCard.load(folder)
    card.results["training"]["history"][0]["train_loss"] = 9.0
    card.save(folder)
    write_cards(folder)
    assert not (folder / "curves.png").exists(), "it showed other curves"


def test_text_of_a_card_cannot_break_out_of_its_place(tmp_path):
    model = tiny_model()
    odd = "# a | b\n---\n# Title\n"
    model.add_adapter("tuab", ["x|y", "line\nbreak"], corpus=odd, license=odd, description=odd)
    folder = model.save_adapter("tuab", tmp_path)
    card = ModelCard.load(folder / "README.md")
    assert card.text.count("\n# ") == 1 and "\n---\n" not in card.text
    assert "\n\\# a | b --- # Title\n" in card.text
    assert "| labels | x\\|y, line break |" in card.text
    assert "| corpus | # a \\| b --- # Title |" in card.text


def test_folders_without_a_model_are_refused(tmp_path, three):
    with pytest.raises(CardError, match=r"expected a base .* or a task"):
        write_cards(tmp_path)
    CARDS["tuab"].save(tmp_path)  # as a prepared corpus has it
    with pytest.raises(CardError, match=r"expected a base .* or a task"):
        write_cards(tmp_path)
    (tmp_path / "head.safetensors").write_bytes(b"")
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(CardError, match=r"task\.json"):
        write_cards(tmp_path)


def test_records_of_another_shape_are_read_as_far_as_they_go(tmp_path):
    model = model_with_tasks("tuab")
    for results in (
        {"test": 3, "training": [], "seeds": "x"},
        {"test": {"auroc": "high", "balanced_accuracy": True}},
        {"test_over_seeds": {"auroc": {"mean": "a", "values": 3}}, "seeds": [0, None]},
        {"training": {"command": "x", "history": [1, {"validation": 3}], "data": {"windows": 3}}},
    ):
        folder = model.save_adapter("tuab", tmp_path, results=results)
        assert "nan" not in (folder / "README.md").read_text("utf-8").lower()


def test_the_command_is_that_of_the_launcher(tmp_path, monkeypatch):
    import psutil

    assert command_line("recipes/joint.py", ["--set", "a b=1"]) == (
        "python recipes/joint.py --set 'a b=1'"
    )
    for words, expected in (
        (["python3", "/x/bin/accelerate", "launch", "r.py", "a b"], "accelerate launch r.py 'a b'"),
        (["/x/torchrun", "--nproc_per_node", "2", "r.py"], "torchrun --nproc_per_node 2 r.py"),
        (["python", "-m", "torch.distributed.run", "r.py"], "python -m torch.distributed.run r.py"),
        (["bash"], "python r.py --x 1"),
        ([], "python r.py --x 1"),
    ):
        monkeypatch.setattr(psutil.Process, "cmdline", lambda self, words=words: words)
        monkeypatch.setattr(sys, "argv", ["r.py", "--x", "1"])
        assert command_line("r.py") == expected


JUDGED = {
    "people": 12, "windows": 30,
    "intervals": {"auroc": {"low": 0.5, "high": 0.75}, "auc_pr": {"missing": "it is undefined"}},
    "floors": {"the floor": {"scores": {"auroc": 0.25, "auc_pr": None}, "difference": {},
                             "relation": "above"}},
    "sentence": "AUROC 0.625; above the floor.",
}  # fmt: skip


def test_cards_tell_people_intervals_and_floors(tmp_path):
    folder = saved(tmp_path / "model", (0, 1, 2))
    summary = summarize({seed: TEST[seed] for seed in (0, 1, 2)})
    judgements = {"tuab": JUDGED, "sleep-edf": {**JUDGED, "intervals": {}, "floors": {}}}
    note_seeds(Mteeg, folder, summary, (0, 1, 2), judgements)
    for place in (folder, folder / "adapters/tuab"):
        text = (place / "README.md").read_text("utf-8")
        assert "| task | data | test windows | people | seeds |" in text
        assert re.search(r"\| tuab \| recorded \| 30 \| 12 \| 0, 1, 2 \|", text)
        assert re.search(r"\| tuab \| 95 % over people \|.*\|  \| 0.500 to 0.750 \|", text)
        assert re.search(r"\| tuab \| the floor \|.*\| undefined \| 0.250 \|", text)
        assert "- tuab: AUROC 0.625; above the floor." in text
        by_metric = {(result.dataset_type, result.metric_type): result.metric_args
                     for result in ModelCard(text).data.eval_results}  # fmt: skip
        assert by_metric["tuab", "auroc"]["people"] == 12
        assert by_metric["tuab", "auroc"]["interval_over_people"] == [0.5, 0.75]
        assert "interval_over_people" not in by_metric["tuab", "auc_pr"]
    text = (folder / "adapters/sleep-edf/README.md").read_text("utf-8")
    assert "95 %" not in text and "- sleep-edf: AUROC 0.625" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "judgement", [3, {"people": "x", "intervals": 3, "floors": {"a": 1, "b": {"scores": []}}},
                  {"intervals": {"auroc": {"low": "a", "high": None}}, "sentence": ["# x", 3]}],
)  # fmt: skip
def test_a_stranger_s_judgement_may_be_anything(tmp_path, judgement):
    folder = saved(tmp_path / "model", (0, 1, 2))
    summary = summarize({seed: TEST[seed] for seed in (0, 1, 2)})
    note_seeds(Mteeg, folder, summary, (0, 1, 2), dict.fromkeys(TASKS, judgement))
    assert "95 %" not in (folder / "README.md").read_text("utf-8")
