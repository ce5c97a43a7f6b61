"""The last step of a preparation: parts become splits, with their documents, by one rename."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modeling_mteeg.data import write_index
from modeling_mteeg.dataset_scripts.cards import dataset_card
from modeling_mteeg.dataset_scripts.corpus import Corpus
from modeling_mteeg.dataset_scripts.provenance import source_of
from modeling_mteeg.dataset_scripts.renaming import unused_note
from modeling_mteeg.dataset_scripts.report import Outcome, count_differences, print_result
from modeling_mteeg.dataset_scripts.soundness import rate_notes, warning_notes
from modeling_mteeg.dataset_scripts.splits import SPLITS, check_filled, sha256_of, shared_subjects

SPLITS_FILE = "splits.json"
PUBLISHED, REPLACED = "published", "replaced"
"""In the working folder: a mark that the renames have begun, and the folder that was there."""


def window_unit(outcome: Outcome, index: int) -> str:
    """Name of one window where the split is made by windows."""
    return f"{outcome.recording.key}#{index:05d}"


def _split_of_rows(outcome: Outcome, manifest: dict[str, Any]) -> np.ndarray:
    """Split of every window of a recording, (windows,) array of str."""
    assignments = manifest["assignments"]
    if manifest["rule"] == "within-subject":
        keys: Iterable[str] = (window_unit(outcome, i) for i in range(len(outcome.labels)))
    else:
        keys = outcome.units
    return np.array([assignments[key] for key in keys])


def merge(
    corpus: Corpus,
    used: Sequence[Outcome],
    manifest: dict[str, Any],
    parts: Mapping[str, Path],
    final: Path,
    remedies: Sequence[str],
) -> None:
    """Save the splits as an indexed ``DatasetDict``; parts (by key) are never held in memory.

    ``remedies`` are said where a split has nothing in it.
    """
    import datasets

    pieces: dict[str, list[Any]] = {split: [] for split in SPLITS}
    for outcome in used:
        outcome.row_splits = _split_of_rows(outcome, manifest)
        part = datasets.Dataset.from_file(str(parts[outcome.recording.key]))
        for split in SPLITS:
            rows = np.flatnonzero(outcome.row_splits == split)
            if len(rows):
                pieces[split].append(part.select(rows))
    counts = {split: sum(map(len, pieces[split])) for split in SPLITS}
    check_filled(corpus.card.name, counts, remedies)
    quiet = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        saved = datasets.DatasetDict(
            {split: datasets.concatenate_datasets(pieces[split]) for split in SPLITS}
        )
        saved.save_to_disk(str(final))
    finally:
        if quiet:
            datasets.enable_progress_bars()
    for split in SPLITS:  # the library's fingerprint is random; ours is a function of the content
        state_file = final / split / "state.json"
        state = json.loads(state_file.read_text("utf-8"))
        state["_fingerprint"] = sha256_of([manifest["fingerprint"], split])[:16]
        state["_split"] = split
        state_file.write_text(json.dumps(state, indent=2, sort_keys=True), "utf-8")
        write_index(final / split)


def write_documents(
    corpus: Corpus,
    used: Sequence[Outcome],
    manifest: dict[str, Any],
    final: Path,
    dtype: str,
    progress: bool,
) -> None:
    """Task card, manifest and dataset card of a merged corpus; prints the summary."""
    where: dict[str, set[str]] = {}
    for outcome in used:
        where.setdefault(outcome.recording.subject, set()).update(outcome.row_splits.tolist())
    leaks = shared_subjects(where)
    notes = sorted({line for outcome in used for line in outcome.filters_left_out})
    missing = manifest.get("missing", [])
    notes += [*corpus.notes(), *missing, *count_differences(corpus, used, missing)]
    notes += rate_notes([(outcome.recording.key, outcome.rate_hz) for outcome in used])
    notes += unused_note(corpus.rename, [line for outcome in used for line in outcome.warnings])
    notes += warning_notes([(outcome.recording.key, outcome.warnings) for outcome in used])
    card = corpus.card.replace(split_hash=manifest["hash"])
    if corpus.simulated:
        card = card.replace(
            simulated=True,
            corpus=f"simulated recordings in the layout of {card.corpus}",
            license="Apache-2.0",
        )
    card.save(final)
    manifest["source"] = source_of(corpus, used)
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (final / SPLITS_FILE).write_text(text + "\n", "utf-8")
    readme = dataset_card(corpus, card, used, manifest, leaks, notes, dtype)
    (final / "README.md").write_text(readme, "utf-8")
    if progress:
        print_result(corpus, used, leaks, notes)


def publish(final: Path, target: Path) -> None:
    """Put the finished folder in its place; an older one goes first.

    Two renames, so a kill may come between them: :func:`recover` puts the older one back.
    """
    work = final.parent
    (work / PUBLISHED).touch()
    if target.exists():
        old = work / REPLACED
        shutil.rmtree(old, ignore_errors=True)
        os.replace(target, old)
    os.replace(final, target)


def recover(work: Path, target: Path) -> None:
    """Put right what a kill during or after :func:`publish` has left."""
    shutil.rmtree(_aside(work), ignore_errors=True)
    if not (work / PUBLISHED).exists():
        return
    if not target.exists() and (work / REPLACED).exists():
        os.replace(work / REPLACED, target)
    if (work / "final").exists():
        (work / PUBLISHED).unlink()
    else:
        discard(work)


def discard(work: Path) -> None:
    """Remove what a published preparation needed; a kill in between leaves no half of it."""
    os.replace(work, _aside(work))
    shutil.rmtree(_aside(work))


def _aside(work: Path) -> Path:
    return work.with_name(f"{work.name}.removing")
