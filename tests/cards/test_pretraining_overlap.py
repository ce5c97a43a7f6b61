"""What weights had learned from, and the overlap with a task's test data that cards state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from tiny_models import CARDS, tiny_model
from tiny_unlabelled import save_unlabelled

from modeling_mteeg import TaskCard
from modeling_mteeg.cards import write_cards
from modeling_mteeg.cards.pretraining_overlap import LABRAM_CORPORA, learned_before, overlap
from modeling_mteeg.data.stretches import MANIFEST_FILE, read_manifest
from modeling_mteeg.training.pretraining_record import pretraining_record, unlabelled_corpora

LABRAM = {"pretraining": {"known": False, "corpora": [], "labram_file": "labram-base.pth"}}
NOTHING = {"pretraining": {"known": True, "corpora": []}}


def learned(*names, labels=False, simulated=False) -> dict:
    """A record of weights that had learned from these corpora."""
    corpora = [{"corpus": name, "labels": labels, "simulated": simulated} for name in names]
    return {"pretraining": {"known": True, "corpora": corpora}}


@pytest.mark.parametrize(
    ("task", "record", "words"),
    [
        ("tuab", NOTHING, "none: training began from random weights"),
        ("tuab", {}, "unknown: the files do not say"),
        ("tuab", {"pretraining": {"known": False, "corpora": []}}, "unknown: the files"),
        ("tuab", {"start": "size 'base', random weights", "start_kind": "random"}, "none: train"),
        ("tuab", {"start": "weights of EEG.ckpt", "start_kind": "random"}, "unknown: the files"),
        ("tuab", {"start": "me/base", "start_kind": "base"}, "unknown: the files"),
        ("physionet-mi", LABRAM, "the same corpus (EEG Motor Movement/Imagery Dataset), without"),
        ("tuab", LABRAM, "another corpus, but of the same archive (TUH EEG): TUAR, TUEP, TUSZ, TU"),
        ("tuev", LABRAM, "whether people are in both is unknown"),
        ("seed-v", LABRAM, "of the same laboratory (the SEED series): SEED, SEED-IV, SEED-GER, S"),
        ("chb-mit", LABRAM, "none by the names of the corpora"),
        ("sleep-edf", LABRAM, "none by the names of the corpora"),
        ("tuab", learned("TUEG"), "the same corpus (TUEG), without labels"),
        ("tuev", learned("tuev", labels=True), "the same corpus (tuev), with labels"),
        ("tuev", learned("tuev", simulated=True), "none by the names of the corpora"),
    ],
)  # fmt: skip
def test_the_overlap_of_every_task_is_what_is_known(task, record, words):
    assert words in overlap(CARDS[task], record)


def test_own_tasks_are_known_by_their_corpus_and_simulated_ones_show_nobody():
    own = TaskCard("hands", ("left", "right"), ("C3", "C4"))
    assert overlap(own, LABRAM) == "unknown: the task's corpus is not stated"
    imagery = own.replace(corpus="EEG Motor Movement/Imagery Dataset 1.0.0 (PhysioNet)")
    assert overlap(imagery, LABRAM).startswith("the same corpus")
    assert overlap(own.replace(corpus="My Hands"), learned("my hands")).startswith(
        "the same corpus"
    )
    assert overlap(own.replace(corpus="My Hands"), learned("others")).startswith(
        "none by the names"
    )
    assert overlap(imagery.replace(simulated=True), LABRAM).startswith("no person's data")


def test_what_weights_had_learned_from_is_said_in_words():
    assert learned_before(NOTHING) == ("nothing: random weights", [])
    assert learned_before({}) == ("unknown", None)
    words, corpora = learned_before(LABRAM)
    assert "if labram-base.pth holds those" in words and "appendix D" in words
    assert [one["corpus"] for one in corpora] == list(LABRAM_CORPORA) and len(corpora) == 19
    for broken in (3, [], {"corpora": 3, "known": "x"}, {"corpora": [3], "known": True}):
        assert isinstance(learned_before({"pretraining": broken})[0], str)


def write(folder, name, content) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content), "utf-8")


def test_every_training_adds_to_what_was_learned_before(tmp_path):
    assert pretraining_record(None) == {"known": True, "corpora": []}
    assert pretraining_record(None, file="EEG.ckpt") == {"known": False, "corpora": []}
    assert pretraining_record(tmp_path) == {"known": False, "corpora": []}
    first = {"stage": "one", "corpora": [{"corpus": "tusz", "labels": False, "simulated": False}]}
    write(tmp_path / "one", "training.json", first | NOTHING)
    after = pretraining_record(tmp_path / "one")
    assert after == {"known": True, "corpora": first["corpora"]}
    joint = {"pretraining": after, "data": {"tuab": {"simulation": None},
                                            "sleep-edf": {"simulation": {"seed": 0}}}}  # fmt: skip
    write(tmp_path / "two", "training.json", joint)
    second = pretraining_record(tmp_path / "two")
    assert second["known"] and [one["corpus"] for one in second["corpora"]] == [
        "tusz", "tuab", "sleep-edf",
    ]  # fmt: skip
    assert [one["labels"] for one in second["corpora"]] == [False, True, True]
    assert [one["simulated"] for one in second["corpora"]] == [False, False, True]
    both = pretraining_record(tmp_path / "one", tmp_path / "two")  # a base and its tokenizer
    assert both == second
    write(tmp_path / "old", "training.json", {"stage": "one"})
    assert pretraining_record(tmp_path / "old") == {"known": False, "corpora": []}
    assert pretraining_record(tmp_path / "one", tmp_path / "old")["known"] is False


def test_a_converted_base_says_what_published_weights_had_learned_from(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    write(tmp_path, "conversion.json", {"source": {"file": "labram-base.pth"}})
    assert pretraining_record(tmp_path) == LABRAM["pretraining"]
    write_cards(tmp_path)
    text = ModelCard.load(tmp_path / "README.md").text
    assert "| what the weights had learned from | BCI Competition IV-1, Emobrain" in text


def test_unlabelled_folders_are_known_by_their_manifests(tmp_path):
    folders = [str(save_unlabelled(tmp_path / name)) for name in ("a", "b")]
    path = Path(folders[0]) / MANIFEST_FILE
    path.write_text(json.dumps({**read_manifest(folders[0]), "source": "tuep", "simulated": False}))
    found = unlabelled_corpora(folders, simulated=False)
    assert found[0] == {"corpus": "tuep", "labels": False, "simulated": False}
    assert found[1]["corpus"] == read_manifest(folders[1]).get("source", "not stated")
    assert unlabelled_corpora((), simulated=True)[0]["simulated"] is True
