"""Prepared folders and results, as trainings and comparisons read them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .originals import Original

ROW, TASK = "row", "tuab"
UNIT = f"rows/{ROW}/{TASK}/fold-0/seed-0"


def _corpus(folder: Path) -> None:
    from tiny_corpora import CARDS, save_corpus

    save_corpus(folder, CARDS["tuab"], (16, 8, 8))


def _unlabelled(folder: Path) -> None:
    from tiny_unlabelled import save_unlabelled

    save_unlabelled(folder)


def _predictions(folder: Path, name: str = f"{TASK}.parquet") -> None:
    from fake_rows import CARDS, predictions

    from modeling_mteeg.evaluation.saved_predictions import save_predictions

    save_predictions(folder / name, predictions(CARDS[TASK], people=4, windows=6))


def _results(folder: Path) -> None:
    """A comparison's folder with one finished training."""
    unit = folder / UNIT
    _predictions(unit, f"predictions/{TASK}.parquet")
    history = [{"epoch": 0, "train": {TASK: 0.5}, "validation": {TASK: {"auroc": 0.6}}}]
    (unit / "history.json").write_text(json.dumps(history))
    files = {}
    for name in (f"predictions/{TASK}.parquet", "history.json"):
        content = (unit / name).read_bytes()
        files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    said = {
        "format": 1, "row": ROW, "group": "g", "method": "mteeg", "part": TASK, "tasks": [TASK],
        "fold": 0, "folds": 1, "seed": 0, "split_hash": {TASK: "a"}, "splits": {TASK: {}},
        "start_fingerprint": None, "epochs": 1, "chosen_epoch": {TASK: 0},
        "parameters": {TASK: {"total": 9000, "trained": 1000, "run": 5000}},
        "seconds": 60.0, "peak_memory_bytes": 2_000_000, "peak_memory": "2 MB", "packages": {},
        "device": "cpu", "tuning": None, "settings": {}, "identity": {}, "files": files,
    }  # fmt: skip
    (unit / "unit.json").write_text(json.dumps(said))
    row = {
        "name": ROW, "group": "g", "place": 0, "row": {"name": ROW}, "separate": True,
        "tasks": [TASK], "folder": ROW, "seeds": [0], "folds": 1,
    }  # fmt: skip
    (unit.parents[2] / "row.json").write_text(json.dumps(row))


def _prepared(name: str, write, targets: tuple[str, ...], way: str) -> Original:
    return Original(name, "prepared", write, targets, (way,))


_SPLIT = "train"
ORIGINALS = (
    _prepared(
        "prepared", _corpus,
        ("task.json", "dataset_dict.json", f"{_SPLIT}/dataset_info.json", f"{_SPLIT}/state.json",
         f"{_SPLIT}/data-00000-of-00001.arrow", f"{_SPLIT}/*index*"), "corpus",
    ),
    _prepared(
        "prepared-unlabelled", _unlabelled,
        ("unlabelled.json", "dataset_info.json", "state.json", "data-00000-of-00001.arrow"),
        "stretches",
    ),
    _prepared("predictions", _predictions, ("tuab.parquet",), "predictions"),
    _prepared(
        "results", _results,
        (f"{UNIT}/unit.json", f"{UNIT}/history.json", f"{UNIT}/predictions/{TASK}.parquet",
         f"rows/{ROW}/row.json"), "results",
    ),
)  # fmt: skip
