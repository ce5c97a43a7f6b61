"""Finished rows of a comparison that never took place, with numbers that can be chosen."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from modeling_mteeg import TaskCard
from modeling_mteeg.comparison.row_results import RowResults
from modeling_mteeg.evaluation import WindowPredictions

CARDS = {
    "tuab": TaskCard("tuab", ("normal", "abnormal"), simulated=True),
    "tuev": TaskCard("tuev", ("SPSW", "GPED", "PLED", "EYEM", "ARTF", "BCKG"), simulated=True),
    "seed-v": TaskCard("seed-v", ("disgust", "fear", "sad", "neutral", "happy"), simulated=True),
    "chb-mit": TaskCard("chb-mit", ("background", "seizure"), simulated=True),
    "sleep-edf": TaskCard("sleep-edf", ("W", "N1", "N2", "N3", "REM"), window_s=30, simulated=True),
    "physionet-mi": TaskCard("physionet-mi", ("left fist", "right fist", "both fists", "both feet",
                                              "rest"), simulated=True),
}  # fmt: skip
PEOPLE = {"tuab": 24, "tuev": 20, "seed-v": 16, "chb-mit": 2, "sleep-edf": 12, "physionet-mi": 18}


def predictions(
    card: TaskCard,
    effect: float = 1.0,
    people: int = 12,
    windows: int = 30,
    seed: int = 0,
    row: str = "",
    spread: float = 0.3,
) -> WindowPredictions:
    """What a model of some skill says of windows that depend on card and people alone.

    Noise is shared by all rows, in part, as it is where the same windows are hard for all.
    """
    size, classes = people * windows, len(card.labels)
    common = np.random.default_rng(zlib.crc32(card.name.encode()))
    own = np.random.default_rng([zlib.crc32(f"{card.name} {row}".encode()), seed])
    labels = np.tile(np.arange(windows) % classes, people)
    person = np.repeat(np.arange(people), windows)
    skill = np.maximum(effect + common.normal(0, spread, people)[person], -1)
    noise = 0.8 * common.normal(0, 1, (size, classes)) + 0.6 * own.normal(0, 1, (size, classes))
    logits = np.eye(classes)[labels] * (skill + own.normal(0, 0.02))[:, None] + noise
    logits = logits[:, 1:] - logits[:, :1] if card.is_binary else logits
    subjects = np.array([f"s{number:03}" for number in person], object)
    half = np.tile(np.arange(windows) % 2, people)
    recordings = np.array([f"{one}_{two}" for one, two in zip(subjects, half, strict=True)], object)
    onsets = np.tile(np.arange(windows) * card.window_s, people)
    return WindowPredictions(logits.astype(np.float32), labels, card, recordings, subjects, onsets)


def in_folds(said: WindowPredictions, folds: int) -> list[WindowPredictions]:
    """The people dealt to folds."""
    names = sorted(set(said.subjects))
    parts = []
    for fold in range(folds):
        rows = np.flatnonzero(np.isin(said.subjects, names[fold::folds]))
        fields = ("logits", "labels", "recordings", "subjects", "onsets_s")
        parts.append(WindowPredictions(
            card=said.card, **{field: getattr(said, field)[rows] for field in fields}
        ))  # fmt: skip
    return parts


def fake_row(
    name: str,
    effects: Mapping[str, float] | float = 1.0,
    group: str = "multi-task",
    tasks: Sequence[str] = ("tuab", "tuev"),
    seeds: Sequence[int] = (0, 1, 2),
    folds: int = 1,
    windows: int = 30,
    people: Mapping[str, int] = PEOPLE,
    missing: Mapping[str, str] | None = None,
    trained: int | None = 1000,
    conflicts: Mapping | None = None,
    noise_of: str | None = None,
) -> RowResults:
    """A row; ``effects``: how well it tells the classes, of all tasks or by task.

    ``noise_of``: the row whose noise it has; its own otherwise.
    """
    missing = missing or {}
    tested, facts = {}, {}
    for task in tasks:
        if task in missing:
            continue
        effect = effects if isinstance(effects, (int, float)) else effects[task]
        tested[task], facts[task] = {}, {}
        for seed in seeds:
            said = predictions(CARDS[task], effect, people[task], windows, seed,
                               name if noise_of is None else noise_of)  # fmt: skip
            tested[task][seed] = [said] if folds == 1 else in_folds(said, folds)
            facts[task][seed] = {
                "parameters": {} if trained is None else {"total": 9 * trained, "trained": trained},
                "seconds": 60.0, "peak_memory_bytes": 2_000_000,
                **({"conflicts": conflicts} if conflicts else {}),
            }  # fmt: skip
    return RowResults(name, group, tested, facts, missing, {"name": name})


def everything(
    windows: int = 60, seeds: Sequence[int] = (0, 1, 2)
) -> tuple[list[RowResults], dict]:
    """The rows of the paper and of this package on six tasks, and the plan of their report."""
    tasks = tuple(CARDS)
    one = {"tasks": tasks, "seeds": seeds, "windows": windows}
    pairs = np.full((6, 6), -0.05) + 1.05 * np.eye(6)
    conflict = {"tasks": list(tasks), "mean_cosine": pairs.tolist(), "negative_share": 0.6}
    rows = [
        fake_row("MTEEG-Base", 1.5, trained=1_848_399, conflicts=conflict, **one),
        fake_row("HPS", dict.fromkeys(tasks, 1.2) | {"seed-v": 1.5}, trained=5_800_000,
                 conflicts=conflict, **one),
        fake_row("MMoE", 1.25, trained=35_000_000, **one),
        fake_row("CGC", 1.22, trained=70_000_000, **one),
        fake_row("MTEEG-Large", 1.6, trained=7_383_943, **one),
        fake_row("LaBraM-Base", 1.5, "single-task", trained=5_800_000, **one),
    ]  # fmt: skip
    scratch = {"BIOT": 1.3, "SPaRCNet": 1.0, "ContraWR": 1.05, "CNN-Transformer": 1.1, "FFCL": 0.9,
               "ST-Transformer": 0.95, "braindecode:EEGConformer": 1.0}  # fmt: skip
    gap = {"sleep-edf": "ST-Transformer needs 4 channels or more, the task has 2"}
    for name, effect in scratch.items():
        missing = gap if name.startswith("ST") else None
        rows.append(fake_row(name, effect, "single-task", missing=missing, **one))
    rows += [
        fake_row("band power + logistic regression", 0.8, "floor", **one | {"seeds": (0,)}),
        fake_row("linear probe", 0.7, "floor", **one),
    ]
    axes = {
        "rank": {"4": 1.4, "16": 1.45, "32": 1.4},
        "location": {"attention": 1.2, "feed-forward": 1.3},
        "temporal encoder": {"frozen": 1.2},
        "start": {"random": 0.9},
    }
    best = {"rank": "8", "location": "both", "temporal encoder": "trained", "start": "pre-trained"}
    figures = {}
    for axis, values in axes.items():
        figures[axis] = {}
        for value, effect in values.items():
            figures[axis][value] = f"MTEEG, {axis} {value}"
            rows.append(fake_row(figures[axis][value], effect, "ablation", **one))
        figures[axis] = {**figures[axis], best[axis]: "MTEEG-Base"}
    figures["rank"] = {rank: figures["rank"][rank] for rank in ("4", "8", "16", "32")}
    for name in ("shared", "shared+own", "pool of 4 low-rank experts"):
        rows.append(fake_row(f"MTEEG, {name}", 1.45, "sharing", **one))
    for name in ("adaptive sampling", "uncertainty weighting"):
        rows.append(fake_row(f"MTEEG, {name}", 1.55, "balancing", **one))
    plan = {
        "figures": figures,
        "claims": {
            "mteeg": "MTEEG-Base", "hps": "HPS", "mmoe": "MMoE", "cgc": "CGC",
            "single": "LaBraM-Base", "band-power": "band power + logistic regression",
            "linear-probe": "linear probe", "scratch": list(scratch),
            "adaptive": ["MTEEG, adaptive sampling", "MTEEG, uncertainty weighting"],
            "sharing": ["MTEEG, shared", "MTEEG, shared+own", "MTEEG, pool of 4 low-rank experts"],
        },
    }  # fmt: skip
    return rows, plan
