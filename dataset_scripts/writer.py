"""From recordings to a prepared corpus on disk: parts, report, splits, card.

Every recording becomes one Arrow part, written by one process and renamed into place when it is
complete; the parts are then merged into ``<out>/<task>``, which appears by one rename at the very
end. So a killed preparation never leaves a folder that loads as complete, a second start redoes
only what is missing, and the result does not depend on the number of processes or of shards.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg.dataset_scripts.completeness import some_names
from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording
from modeling_mteeg.dataset_scripts.locking import PreparationError, locked
from modeling_mteeg.dataset_scripts.merging import (
    discard,
    merge,
    publish,
    recover,
    window_unit,
    write_documents,
)
from modeling_mteeg.dataset_scripts.parts import remove_strangers, write_parts
from modeling_mteeg.dataset_scripts.planning import SOURCES_FILE, Plan
from modeling_mteeg.dataset_scripts.report import Outcome, print_expected, write_report
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.shards import (
    Shard,
    collect_shards,
    finish_shard,
    shard_folders,
    start_shard,
)
from modeling_mteeg.dataset_scripts.splits import SPLITS, check_filled, make_manifest, within_groups
from modeling_mteeg.model.checked_files import shortened
from modeling_mteeg.settings.disk_faults import writing

REPORT_FILE = "report.tsv"


def prepare(corpus: Corpus, out: str | Path, settings: Settings | None = None) -> Path:
    """Prepare one corpus.

    Parameters
    ----------
    corpus : Corpus
    out : str or Path
        The prepared corpus becomes ``<out>/<task>``.
    settings : Settings, optional

    Returns
    -------
    Path
        The folder: a saved ``DatasetDict`` with an index per split, ``task.json``,
        ``splits.json``, ``sources.json``, ``report.tsv`` and a dataset card.

    Raises
    ------
    FileNotFoundError
        No recordings below the raw folder.
    SplitError
        A split would be empty.
    PreparationError
        Too many recordings could not be used, or another process is preparing this folder.
    FileExistsError
        The folder holds a corpus made with other settings or from other files; both are named.
    """
    plan = Plan.make(corpus, settings or Settings())

    def write_all(work: Path) -> tuple[list[Outcome], dict[str, Path]]:
        parts = work / "parts"
        parts.mkdir(parents=True, exist_ok=True)
        outcomes = _write(plan, plan.wanted, parts)
        places = {recording.key: parts / f"{recording.key}.arrow" for recording in plan.wanted}
        return outcomes, places

    return _prepared(plan, Path(out), write_all)


def prepare_shard(
    corpus: Corpus, out: str | Path, shard: Shard, settings: Settings | None = None
) -> Path:
    """Write the parts of one share of a corpus, for :func:`merge_shards`.

    Parameters
    ----------
    corpus : Corpus
    out : str or Path
        May be the same for all shards, at the same time, or another for each.
    shard : Shard
    settings : Settings, optional
        The same as for the other shards; ``max_skipped`` is judged when they are merged.

    Returns
    -------
    Path
        ``<out>/<task>.shard-<index>-of-<count>``.

    Raises
    ------
    FileNotFoundError, SplitError, PreparationError
        As in ``prepare``.
    """
    plan = Plan.make(corpus, settings or Settings())
    folder = Path(out) / shard.folder_name(corpus.card.name)
    share = shard.share(plan.wanted, corpus.duration_s)
    with locked(Path(out), folder.name):
        outcomes = _write(plan, share, start_shard(folder))
        finish_shard(folder, plan, shard, outcomes)
    return folder


def merge_shards(
    corpus: Corpus,
    out: str | Path,
    folders: Sequence[str | Path] = (),
    settings: Settings | None = None,
) -> Path:
    """Make the prepared corpus of its shards: byte for byte what ``prepare`` makes.

    Parameters
    ----------
    corpus : Corpus
        With the raw folder: its files are compared with those that the shards were made from.
    out : str or Path
        The prepared corpus becomes ``<out>/<task>``.
    folders : sequence of str or Path
        The shards' ``out`` folders; empty: ``out`` itself. The shards stay where they are.
    settings : Settings, optional
        The same as for the shards.

    Raises
    ------
    PreparationError
        Shards are missing or incomplete (with the commands that make them), or were made with
        other settings or from other files.
    FileNotFoundError, SplitError, FileExistsError
        As in ``prepare``.
    """
    plan = Plan.make(corpus, settings or Settings())
    roots = [Path(folder) for folder in folders] or [Path(out)]

    def collect(work: Path) -> tuple[list[Outcome], dict[str, Path]]:
        collected = collect_shards(plan, shard_folders(corpus.card.name, roots), Path(out))
        work.mkdir(parents=True, exist_ok=True)
        return collected

    return _prepared(plan, Path(out), collect)


def _prepared(
    plan: Plan, out: Path, parts_in: Callable[[Path], tuple[list[Outcome], dict[str, Path]]]
) -> Path:
    """The prepared folder; ``parts_in`` gives outcomes and parts, where it is not there yet."""
    name = plan.corpus.card.name
    target, work = out / name, out / f".{name}.partial"
    with locked(out, name):
        if _already_prepared(target, work, plan):
            return target
        outcomes, places = parts_in(work)
        with writing(target):
            return _finish(plan, outcomes, places, target, work)


def _write(plan: Plan, recordings: Sequence[Recording], parts: Path) -> list[Outcome]:
    """Write the parts of recordings; what else is in the folder goes."""
    remove_strangers(parts, [recording.key for recording in recordings])
    if not recordings:
        return []
    corpus, settings, part_settings = plan.corpus, plan.settings, plan.part_settings()
    print_expected(corpus, recordings, settings)
    jobs = [
        (corpus, recording, parts, settings.dtype, part_settings, plan.sources[recording.key])
        for recording in recordings
    ]
    return write_parts(jobs, settings.num_proc, settings.progress)


def _finish(
    plan: Plan, outcomes: list[Outcome], places: Mapping[str, Path], target: Path, work: Path
) -> Path:
    """Report, splits, documents, and the rename; ``work`` goes."""
    corpus, settings = plan.corpus, plan.settings
    outcomes += [Outcome(recording, status="left-out", reason=recording.left_out)
                 for recording in plan.recordings if recording.left_out]  # fmt: skip
    outcomes.sort(key=lambda outcome: outcome.recording.key)
    write_report(work / REPORT_FILE, corpus.raw, outcomes)
    _check_skipped(corpus, outcomes, settings, work / REPORT_FILE)
    used = [outcome for outcome in outcomes if outcome.status == "used"]
    remedies = _why_missing(outcomes, work / REPORT_FILE)
    manifest = plan.manifest or _within_subject_manifest(corpus, used, remedies)
    manifest["fingerprint"] = plan.fingerprint()
    manifest["missing"] = plan.missing
    final = work / "final"
    shutil.rmtree(final, ignore_errors=True)
    merge(corpus, used, manifest, places, final, remedies)
    write_documents(corpus, used, manifest, final, settings.dtype, settings.progress)
    write_report(final / REPORT_FILE, corpus.raw, outcomes)
    (final / SOURCES_FILE).write_text(plan.sources_document(outcomes), "utf-8")
    publish(final, target)
    discard(work)
    return target


def _already_prepared(target: Path, work: Path, plan: Plan) -> bool:
    """Whether the folder is already what is asked for; anything else there is an error.

    Puts right what a kill at the very end of an earlier start has left.
    """
    recover(work, target)
    if not target.exists() or plan.settings.overwrite:
        return False
    changes = plan.differences_to(target)
    if changes:
        raise FileExistsError(
            f"{target}: holds something else than these files and settings give "
            f"({some_names(changes)}). Choose another --out, or replace it with --overwrite."
        )
    if plan.settings.progress:
        print(f"{target}: already prepared from these files with these settings.")
    return True


def _within_subject_manifest(
    corpus: Corpus, used: Sequence[Outcome], remedies: Sequence[str]
) -> dict[str, Any]:
    """Every subject's windows in order, 64/16/20 within each class."""
    groups, units = [], []
    for outcome in used:
        for index, label in enumerate(outcome.labels):
            groups.append((outcome.recording.subject, label))
            units.append(window_unit(outcome, index))
    assignments = dict(zip(units, within_groups(groups), strict=True))
    counts = {split: list(assignments.values()).count(split) for split in SPLITS}
    check_filled(corpus.card.name, counts, ["More windows per class are needed.", *remedies])
    return make_manifest(corpus.card.name, "within-subject", assignments)


def _why_missing(outcomes: Sequence[Outcome], report: Path) -> list[str]:
    """Where windows are missing: the first recordings that gave none, and what names the others."""
    skipped = [outcome for outcome in outcomes if outcome.status == "skipped"]
    if not skipped:
        return [f"{report} names what every recording gave."]
    shown = "; ".join(shortened(outcome.reason, 300) for outcome in skipped[:3])
    return [f"{len(skipped)} recordings could not be used ({shown}); all are in {report}."]


def _check_skipped(
    corpus: Corpus, outcomes: Sequence[Outcome], settings: Settings, report: Path
) -> None:
    """Fail where more recordings than allowed could not be used."""
    skipped = [outcome for outcome in outcomes if outcome.status == "skipped"]
    asked = len(skipped) + sum(outcome.status == "used" for outcome in outcomes)
    if len(skipped) <= settings.max_skipped * asked:
        return
    shown = "\n".join(f"  {outcome.recording.key}: {outcome.reason}" for outcome in skipped[:10])
    raise PreparationError(
        f"{corpus.card.name}: {len(skipped)} of {asked} recordings could not be used, more than "
        f"{settings.max_skipped:.1%} (--max-skipped):\n{shown}\nAll are in {report}. What could "
        "be used is kept: mend the files and start again, or allow a larger share."
    )
