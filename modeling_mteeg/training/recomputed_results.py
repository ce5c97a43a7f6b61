"""The results that a task's card states, computed again from a prepared corpus."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..data.loading import Corpus, load_corpora, load_corpus, task_location
from ..data.remote import is_url
from ..data.split_views import view_corpora
from ..evaluation import WindowPredictions, judge, predict_task, score
from ..evaluation.judgement import number_text, people_text, range_text
from ..evaluation.metrics import BESIDE
from ..evaluation.stated_figures import (
    COUNTED,
    Figure,
    all_equal,
    compare,
    figure_title,
    figures_of,
    not_compared,
    stated_figures,
    why_unequal,
)
from ..model.modeling_mteeg import MteegModel
from ..model.task_card import CARD_FILE, TaskCard
from .record import data_record, package_versions, read_record
from .results import aligned

TOLERANCE = 1e-3
"""By which a figure may differ: on another machine a window or two lie on the other side of a
decision."""
_TYPES = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class SplitResult:
    """A split of a task, evaluated.

    Parameters
    ----------
    split : str
    found : mapping of str to float or None
        Metrics, ``loss``, ``num_samples``, ends of intervals.
    judgement : mapping
        Of :func:`~modeling_mteeg.evaluation.judge`: people, intervals, confusion matrix.
    figures : tuple of Figure
        Those that the card states; empty: none.
    others : tuple of str
        Further numbers that the card states, under names that are none of its metrics'.
    """

    split: str
    found: Mapping[str, float | None]
    judgement: Mapping[str, Any]
    figures: tuple[Figure, ...]
    others: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Recomputed:
    """A task on a prepared corpus, beside what its card says.

    Parameters
    ----------
    card : TaskCard
    results : tuple of SplitResult
    tolerance : float
    reasons : tuple of str
        What differs from the training that the card states.
    corpus : str
        Where the corpus lies.
    """

    card: TaskCard
    results: tuple[SplitResult, ...]
    tolerance: float
    reasons: tuple[str, ...]
    corpus: str

    @property
    def equal(self) -> bool | None:
        """Whether all figures that the card states are found again; None: it states none."""
        return all_equal([one for each in self.results for one in each.figures], self.tolerance)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as for JSON."""
        splits = {}
        for one in self.results:
            figures = {
                figure.name: {"stated": figure.stated, "found": figure.found,
                              "difference": figure.difference,
                              "equal": figure.equal(self.tolerance)}
                for figure in one.figures
            }  # fmt: skip
            splits[one.split] = {
                "equal": all_equal(one.figures, self.tolerance), "found": dict(one.found),
                "compared": figures, "not_compared": list(one.others), **one.judgement,
            }  # fmt: skip
        return {
            "equal": self.equal,
            "tolerance": self.tolerance,
            "reasons": list(self.reasons),
            "simulated": self.card.simulated,
            "corpus": self.corpus,
            "splits": splits,
        }

    def text(self) -> str:
        """A table for every split, and a sentence."""
        lines = []
        for one in self.results:
            data = ", simulated data" if self.card.simulated else ""
            people = people_text(one.judgement["people"])
            lines.append(f"{self.card.name}, {one.split}: {one.judgement['windows']:,} windows of "
                         f"{people}{data}")  # fmt: skip
            lines += [f"  {line}" for line in aligned(_rows(one, self.tolerance), text_columns=1)]
            missing = {each.get("missing") for each in one.judgement["intervals"].values()}
            lines += [f"  no interval: {reason}" for reason in sorted(filter(None, missing))]
        seeds = (self.card.results or {}).get("seeds") or []
        if len(seeds) > 1:
            lines.append(f"stated: of this training alone (seed {self.card.results.get('seed')}); "
                         f"the model card has the mean over {len(seeds)} seeds")  # fmt: skip
        return "\n".join([*lines, self.sentence()])

    def sentence(self) -> str:
        """Equal or not, and why not."""
        name = self.card.name
        others = [f"{other} ({one.split})" for one in self.results for other in one.others]
        left = f" Not compared, since no metric of the task: {', '.join(others)}." if others else ""
        if self.equal is None:
            what = "no figures of its metrics" if others else "no figures of these splits"
            return f"{name}: nothing to compare: its card states {what}.{left}"
        if self.equal:
            return f"{name}: equal to what the card states, within {self.tolerance:g}.{left}"
        unequal = [
            f"{figure_title(figure.name)} ({one.split})"
            for one in self.results
            for figure in one.figures
            if not figure.equal(self.tolerance)
        ]
        why = self.reasons or (
            "nothing that is recorded differs: the weights or the windows were changed since, or "
            "figures were written into the card",
        )
        head = (f"{name}: NOT equal to what the card states, by more than {self.tolerance:g}: "
                f"{', '.join(unequal)}.{left}")  # fmt: skip
        return "\n".join([head, *(f"  {reason}" for reason in why)])


def _rows(one: SplitResult, tolerance: float) -> list[list[str]]:
    stated = {figure.name: figure for figure in one.figures}
    rows = [["", "found", "95 % over people", "stated", "difference", ""]]
    for name in (*one.judgement["intervals"], *BESIDE):
        if name == COUNTED and name not in stated:
            continue
        interval = one.judgement["intervals"].get(name, {})
        over = range_text(interval["low"], interval["high"]) if "low" in interval else ""
        row = [figure_title(name), _cell(name, one.found[name]), over]
        if name in stated:
            figure = stated[name]
            ends = [stated[key] for key in (f"{name} low", f"{name} high") if key in stated]
            same = all(each.equal(tolerance) for each in (figure, *ends))
            off = "" if figure.difference is None else f"{figure.difference:+.1e}"
            row += [_cell(name, figure.stated), off, "" if same else "unequal"]
        rows.append(row + [""] * (len(rows[0]) - len(row)))
    return rows


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:.0f}" if name == COUNTED else number_text(value)


def open_corpus(data: str | Path, task: str) -> tuple[str, Corpus]:
    """A task's prepared corpus, and where it lies.

    Parameters
    ----------
    data : str or Path
        The corpus itself (a folder with ``task.json``), or what
        :func:`~modeling_mteeg.data.load_corpora` takes.
    task : str

    Raises
    ------
    FileNotFoundError, ValueError
        There is none, it is damaged, or it is another task's.
    """
    if is_url(data) or not (Path(data) / CARD_FILE).is_file():
        return task_location(data, task), load_corpora(data, [task])[task]
    corpus = load_corpus(data)
    if corpus.card.name != task:
        raise ValueError(f"{data}: expected the task {task!r}, found {corpus.card.name!r}.")
    return str(data), corpus


def trained_split(card: TaskCard, corpus: Corpus, base: str | None) -> Corpus:
    """The corpus in the split and with the classes that a card's training chose.

    Parameters
    ----------
    card : TaskCard
        Of the adapter; its results name the split.
    corpus : Corpus
        As prepared.
    base : str or None
        Its record may say how many people of the training validate, which the card does not.
    """
    training = (card.results or {}).get("training") or {}
    split = (training.get("data") or {}).get("split") or {}
    view = {key: split[key] for key in ("seed", "fold") if key in split}
    view |= {"split": split.get("name", "corpus"), "labels": {card.name: split.get("labels") or {}}}
    view["labels"] = view["labels"] if view["labels"][card.name] else None
    config = read_record(base).get("config") or {}
    told = (config.get("data") or {}).get("validation_share")
    options = [{"validation_share": told}] if isinstance(told, float) else []
    for option in (*options, {}):
        viewed = view_corpora({card.name: corpus}, **view, **option)[card.name]
        if viewed.card.split_hash == card.split_hash:
            break
    return viewed


def recompute(
    model: MteegModel,
    task: str,
    data: str | Path,
    splits: Sequence[str],
    *,
    tolerance: float = TOLERANCE,
    precision: str | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> Recomputed:
    """Evaluate a task on a prepared corpus as its training did, and compare.

    Parameters
    ----------
    model : MteegModel
        Holds the task.
    task : str
    data : str or Path
        See :func:`open_corpus`.
    splits : sequence of str
        Of ``train``, ``validation``, ``test``, in the training's split.
    tolerance : float
        By which figures may differ; the number of windows must be the same.
    precision : {"no", "bf16", "fp16"}, optional
        Of the forward pass. Default: that of the training.
    batch_size : int
    progress : bool

    Raises
    ------
    FileNotFoundError, ValueError
        No such corpus, or one of other labels, channels or windows than the task's; a precision
        that the device lacks.
    """
    card = model.tasks[task]
    where, corpus = open_corpus(data, task)
    corpus = trained_split(card, corpus, model.config._name_or_path or None)
    told = (card.results or {}).get("training") or {}
    precision = precision or told.get("precision") or "no"
    if precision not in _TYPES:
        raise ValueError(f"precision: expected one of {', '.join(_TYPES)}, found {precision!r}.")
    results = []
    for split in splits:
        # Validation chose the threshold, so that its figures are of before there was one.
        own = card.replace(threshold=None) if split == "validation" else card
        reader = corpus.splits[split]
        with torch.autocast(model.device.type, _TYPES[precision], precision != "no"):
            said = predict_task(model, reader, own, batch_size, progress=progress)
        predictions = WindowPredictions.of(said, reader, own)
        judgement = judge([predictions])
        found = figures_of(score(predictions, own), judgement)
        figures = compare(stated_figures(own, split), found)
        others = not_compared(own, split)
        results.append(SplitResult(split, found, judgement, tuple(figures), others))
    made = {"packages": package_versions(), "device": model.device.type, "precision": precision}
    reasons = why_unequal(card, corpus.card, data_record(where, corpus), made)
    return Recomputed(card, tuple(results), tolerance, tuple(reasons), where)
