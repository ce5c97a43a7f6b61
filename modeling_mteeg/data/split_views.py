"""Splits and classes chosen at training: views over the stored windows, no signal touched again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ..model.task_card import TaskCard
from .leaks import WindowTable, find_leaks, shared_names
from .loading import Corpus
from .split_manifest import LEFT_OUT, SplitManifest, hash_of, manifest_rows
from .split_rules import SplitRule, assign, fold_numbers
from .streaming import SPLITS
from .window_views import WindowView, card_changes, label_map

LabelViews = Mapping[str, Mapping[str, Sequence[str]]]


def view_corpora(
    corpora: Mapping[str, Corpus],
    split: str = "corpus",
    seed: int = 0,
    fold: int | None = None,
    validation_share: float = 0.2,
    labels: LabelViews | None = None,
) -> dict[str, Corpus]:
    """The corpora in the split and with the classes that a training chooses.

    Parameters
    ----------
    corpora : mapping of str to Corpus
        As prepared.
    split : str
        ``corpus``: as prepared. ``kfold:6``, ``leave-one-subject-out``: over people.
        ``within-subject``: blocks in time; ``within-subject:5``: five of them, each tested in its
        fold. ``few-shot:20``, ``kfold:6+few-shot:20``: so many labelled windows of every person of
        the test go to the training.
    seed : int
        Draws folds, validation people, and where blocks and calibrations lie.
    fold : int, optional
        From 0, for splits with folds.
    validation_share : float
        Of the training people of a fold.
    labels : mapping, optional
        Task to new class to the stored ones that it joins; classes that are not named are left out.

    Returns
    -------
    dict of str to Corpus
        With ``split``, the manifest. Where neither split nor classes are chosen, readers and cards
        are the given ones; else the card's ``split_hash`` is the manifest's.

    Raises
    ------
    SplitError
        The split cannot be made of these windows.
    ValueError
        ``labels`` name a task or class that there is not.
    """
    unknown = sorted(set(labels or {}) - set(corpora))
    if unknown:
        raise ValueError(f"data.labels: expected tasks of {sorted(corpora)}, found {unknown}.")
    rule = SplitRule.parse(split)
    views = {
        task: _view(corpus, split, rule, seed, fold, validation_share, (labels or {}).get(task, {}))
        for task, corpus in corpora.items()
    }
    return {task: _with_leaks_between(task, views) for task in views}


def fold_count(corpora: Mapping[str, Corpus], split: str, labels: LabelViews | None = None) -> int:
    """Number of folds of a split, the same for all tasks.

    Raises
    ------
    SplitError
        It has no folds.
    ValueError
        The tasks differ in the number of people, of which each is a fold.
    """
    rule, counts = SplitRule.parse(split), {}
    for task, corpus in corpora.items():
        people = set()
        kept = [old for olds in (labels or {}).get(task, {}).values() for old in olds]
        for reader in corpus.splits.values():
            names = np.array(reader.label_names, object)
            used = np.isin(names, kept or names)[reader.labels]
            people.update(reader.subjects[used])
        counts[task] = len(fold_numbers(rule, sorted(people)))
    if len(set(counts.values())) > 1:
        raise ValueError(f"data.split: {split} gives {counts} folds; take one task at a time.")
    return next(iter(counts.values()))


def _view(
    corpus: Corpus,
    name: str,
    rule: SplitRule,
    seed: int,
    fold: int | None,
    share: float,
    classes: Mapping[str, Sequence[str]],
) -> Corpus:
    card, sources = corpus.card, [corpus.splits[split] for split in SPLITS]
    own = rule == SplitRule() and not classes
    if own and fold is None and any(source.remote for source in sources):
        return _with_manifest(corpus, name, None, None)  # its names would be fetched for this alone
    mapped = label_map(card.labels, classes, card.name) if classes else None
    stored = np.repeat(np.arange(len(SPLITS)), [len(source) for source in sources])
    rows = np.concatenate([np.arange(len(source)) for source in sources])
    labels = np.concatenate([source.labels for source in sources])
    labels = labels if mapped is None else mapped[labels]
    kept = labels >= 0
    columns = [np.concatenate([getattr(source, what) for source in sources])[kept]
               for what in ("subjects", "recordings", "onsets_s")]  # fmt: skip
    windows = WindowTable(*columns, labels[kept], card.window_s)
    stored, rows = stored[kept], rows[kept]
    parts, words = assign(rule, windows, stored, seed, fold, share)
    leaks = tuple(find_leaks(windows, parts))
    if own:
        return _with_manifest(corpus, name, words, leaks)

    label_names = tuple(classes) or card.labels
    table = manifest_rows(windows, parts, stored, rows, label_names)
    digest = hash_of(card.name, card.split_hash, table)
    changes = card_changes(label_names, card.labels) if classes else {}
    views: dict[str, WindowView] = {}
    for part, split in enumerate(SPLITS):
        here = parts == part
        views[split] = WindowView(
            sources, stored[here], rows[here], windows.labels[here], label_names
        )
    notes = _notes(card, classes, int((~kept).sum()), parts, windows.labels, label_names)
    counts = {split: _count(windows.subjects[parts == part]) for part, split in enumerate(SPLITS)}
    if (parts < 0).any():
        counts[LEFT_OUT] = _count(windows.subjects[parts < 0])
    manifest = SplitManifest(
        card.name, name, words, seed, fold, digest, counts, leaks, tuple(notes),
        {new: tuple(olds) for new, olds in classes.items()}, table,
    )  # fmt: skip
    return Corpus(card.replace(split_hash=digest, **changes), dict(views), manifest)


def _with_leaks_between(task: str, views: Mapping[str, Corpus]) -> Corpus:
    """A view that also names the people of its test who train another task of the same corpus."""
    corpus, leaks = views[task], []
    if corpus.split.leaks is None or not corpus.card.corpus:
        return corpus
    for other, view in views.items():
        if other != task and view.card.corpus == corpus.card.corpus:
            shared = set(corpus.splits["test"].subjects) & set(view.splits["train"].subjects)
            where = dict.fromkeys(shared, (f"train of {other}", "test"))
            leaks += shared_names(where, "subject(s)", [(f"train of {other}", "test")])
    if not leaks:
        return corpus
    split = dataclasses.replace(corpus.split, leaks=(*corpus.split.leaks, *leaks))
    return dataclasses.replace(corpus, split=split)


def _with_manifest(
    corpus: Corpus, name: str, words: str | None, leaks: tuple[str, ...] | None
) -> Corpus:
    """The corpus in its own split; readers and card are the same objects."""
    counts = (
        {}
        if leaks is None
        else {split: _count(reader.subjects) for split, reader in corpus.splits.items()}
    )
    card, words = corpus.card, words or "the corpus's own"
    manifest = SplitManifest(
        card.name, name, words, 0, None, card.split_hash, counts, leaks, (), {}, None
    )
    return Corpus(corpus.card, corpus.splits, manifest)


def _count(subjects: np.ndarray) -> dict[str, int]:
    return {"windows": len(subjects), "people": len(set(subjects))}


def _notes(
    card: TaskCard,
    classes: Mapping[str, Sequence[str]],
    dropped: int,
    parts: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
) -> list[str]:
    """Windows in no part, classes that a part lacks."""
    notes = []
    if classes:
        joined = ", ".join(f"{new} = {' + '.join(olds)}" for new, olds in classes.items())
        notes.append(f"classes: {joined}")
    kept = {old for olds in classes.values() for old in olds}
    gone = [name for name in card.labels if name not in kept]
    if classes and gone:
        notes.append(f"{dropped:,} windows of the classes {', '.join(gone)} are left out")
    number = int((parts < 0).sum())
    if number:
        notes.append(f"{number:,} windows that overlap another part are left out")
    for part, split in enumerate(SPLITS):
        lacking = sorted(set(range(len(names))) - set(labels[parts == part].tolist()))
        if lacking:
            shown = ", ".join(names[number] for number in lacking)
            notes.append(f"{split} has no window of {shown}")
    return notes
