"""From recordings to a prepared corpus on disk: parts, report, splits, card.

Every recording becomes one Arrow part, written by one process and renamed into place when it is
complete; the parts are then merged into ``<out>/<task>``, which appears by one rename at the very
end. So a killed preparation never leaves a folder that loads as complete, a second start redoes
only what is missing, and the result does not depend on the number of processes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from modeling_mteeg.data import encode_window, window_features

from .completeness import missing_lines
from .corpus import Corpus, Recording
from .duplicates import mark_same_signal
from .merging import SPLITS_FILE, merge, publish, window_unit, write_documents
from .reading import RecordingError
from .report import Outcome, print_expected, write_report
from .settings import Settings
from .splits import SPLITS, check_filled, make_manifest, sha256_of, within_groups

FORMAT_VERSION = 1
"""Raised whenever the same recordings and settings would give other windows than before."""
REPORT_FILE = "report.tsv"
ROWS_PER_BATCH = 256
BAR_FORMAT = "{l_bar}{bar}| {n:.2f}/{total:.2f} h of EEG [{elapsed}<{remaining}, {rate_noinv_fmt}]"


class PreparationError(RuntimeError):
    """A preparation that ended without its dataset; what was done is kept for the next start."""


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
        The folder: a saved ``DatasetDict`` with ``task.json``, ``splits.json``, ``report.tsv``
        and a dataset card.

    Raises
    ------
    FileNotFoundError
        No recordings below the raw folder.
    SplitError
        A split would be empty.
    PreparationError
        Too many recordings could not be used.
    FileExistsError
        The folder holds a corpus made with other settings or from other files.
    """
    settings = settings or Settings()
    card = corpus.card
    if settings.split not in corpus.splits:
        raise ValueError(
            f"{card.name}: split: expected one of {list(corpus.splits)}, found {settings.split!r}."
        )
    recordings = _select(corpus, settings)
    missing = missing_lines(corpus, recordings, settings)
    wanted = [one for one in recordings if not one.left_out]
    manifest = _protocol_manifest(corpus, wanted) if settings.split == "protocol" else None
    fingerprint = _fingerprint(corpus, settings, wanted)
    target, work = Path(out) / card.name, Path(out) / f".{card.name}.partial"
    if _already_prepared(target, fingerprint, settings):
        return target
    print_expected(corpus, wanted, settings)
    (work / "parts").mkdir(parents=True, exist_ok=True)
    outcomes = _write_parts(corpus, wanted, work / "parts", settings)
    outcomes += [Outcome(one, status="left-out", reason=one.left_out)
                 for one in recordings if one.left_out]  # fmt: skip
    outcomes.sort(key=lambda outcome: outcome.recording.key)
    write_report(work / REPORT_FILE, corpus.raw, outcomes)
    _check_skipped(corpus, outcomes, settings, work / REPORT_FILE)
    used = [one for one in outcomes if one.status == "used"]
    if manifest is None:
        manifest = _within_subject_manifest(corpus, used)
    final = work / "final"
    shutil.rmtree(final, ignore_errors=True)
    manifest["fingerprint"] = fingerprint
    manifest["missing"] = missing
    merge(corpus, used, manifest, work / "parts", final)
    write_documents(corpus, used, manifest, final, settings.dtype, settings.progress)
    write_report(final / REPORT_FILE, corpus.raw, outcomes)
    publish(final, target)
    shutil.rmtree(work)
    return target


def _select(corpus: Corpus, settings: Settings) -> list[Recording]:
    """Recordings found, with the reason where the call leaves one out."""
    recordings = mark_same_signal(corpus.find_recordings())
    if not any(not one.left_out for one in recordings):
        raise FileNotFoundError(
            f"{corpus.card.name}: no recording that the protocol uses below {corpus.raw} (expected "
            f"{corpus.layout}; found {len(recordings)} recordings that it leaves out)."
        )
    if not settings.subjects:
        return recordings
    there = {one.subject for one in recordings}
    unknown = sorted(set(settings.subjects) - there)
    if unknown:
        raise ValueError(
            f"{corpus.card.name}: subjects {unknown} have no recordings; found {sorted(there)}."
        )
    reason = f"not among the subjects asked for ({', '.join(settings.subjects)})"
    return [
        one
        if one.left_out or one.subject in settings.subjects
        else dataclasses.replace(one, left_out=reason)
        for one in recordings
    ]


def _protocol_manifest(corpus: Corpus, wanted: Sequence[Recording]) -> dict[str, Any]:
    """The protocol's split of the recordings; an empty one is an error."""
    assignments = corpus.assign([one for one in wanted if not one.fault])
    counts = {split: list(assignments.values()).count(split) for split in SPLITS}
    remedies = [f"Check that {corpus.raw} holds the whole corpus ({corpus.layout})."]
    if "within-subject" in corpus.splits:
        remedies.append(
            "With few recordings use --split within-subject: 64/16/20 % of every subject's "
            "windows in order, within each class."
        )
    check_filled(corpus.card.name, counts, remedies)
    return make_manifest(corpus.card.name, f"protocol: {corpus.protocol}", assignments)


def _within_subject_manifest(corpus: Corpus, used: Sequence[Outcome]) -> dict[str, Any]:
    """Every subject's windows in order, 64/16/20 within each class."""
    groups, units = [], []
    for outcome in used:
        for index, label in enumerate(outcome.labels):
            groups.append((outcome.recording.subject, label))
            units.append(window_unit(outcome, index))
    assignments = dict(zip(units, within_groups(groups), strict=True))
    counts = {split: list(assignments.values()).count(split) for split in SPLITS}
    check_filled(corpus.card.name, counts, ["More windows per class are needed."])
    return make_manifest(corpus.card.name, "within-subject", assignments)


def _fingerprint(corpus: Corpus, settings: Settings, wanted: Sequence[Recording]) -> str:
    """Hash of everything the result depends on: settings, and names and sizes of the files."""
    content = {
        "version": FORMAT_VERSION,
        "card": corpus.card.to_dict(),
        "protocol": corpus.protocol,
        "simulated": [corpus.simulated, corpus.simulation],
        "dtype": settings.dtype,
        "split": settings.split,
        "recordings": [
            [one.key, one.fault, [[file.name, _size(file)] for file in one.files]] for one in wanted
        ],
    }
    return sha256_of(content)


def _part_fingerprint(corpus: Corpus, settings: Settings, one: Recording) -> str:
    """Hash that says whether a part is of the file that lies there now (size and time)."""
    times = [file.stat().st_mtime_ns if file.exists() else 0 for file in one.files]
    sources = [[str(file), _size(file), time] for file, time in zip(one.files, times, strict=True)]
    content = [FORMAT_VERSION, corpus.card.to_dict(), corpus.protocol, settings.dtype, sources]
    return sha256_of(content)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _already_prepared(target: Path, fingerprint: str, settings: Settings) -> bool:
    """Whether the folder is already what is asked for; anything else there is an error."""
    if not target.exists() or settings.overwrite:
        return False
    try:
        there = json.loads((target / SPLITS_FILE).read_text("utf-8")).get("fingerprint")
    except (OSError, ValueError, AttributeError):
        there = None
    if there == fingerprint:
        if settings.progress:
            print(f"{target}: already prepared from these files with these settings.")
        return True
    raise FileExistsError(
        f"{target}: holds something else than these files and settings give. Choose another --out, "
        "or replace it with --overwrite."
    )


def _write_parts(
    corpus: Corpus, wanted: Sequence[Recording], folder: Path, settings: Settings
) -> list[Outcome]:
    """Write the parts that are missing; an outcome for every recording."""
    from tqdm import tqdm

    hours = {one.key: corpus.duration_s(one) / 3600 for one in wanted}
    jobs = [(corpus, one, folder, settings.dtype, _part_fingerprint(corpus, settings, one))
            for one in wanted]  # fmt: skip
    outcomes = []
    with tqdm(
        total=sum(hours.values()) + 1e-9,  # a sum in another order may be a bit larger
        desc=corpus.card.name,
        unit="h",
        bar_format=BAR_FORMAT,
        disable=not settings.progress,
    ) as bar:
        for outcome in _run(jobs, settings.num_proc):
            outcomes.append(outcome)
            bar.update(hours[outcome.recording.key])
            if outcome.status == "skipped" and settings.progress:
                bar.write(f"{corpus.card.name}: {outcome.recording.key} skipped: {outcome.reason}")
    return outcomes


def _run(jobs: Sequence[tuple], num_proc: int) -> Iterator[Outcome]:
    """Outcomes of the jobs as they are done."""
    if num_proc == 1 or len(jobs) < 2:
        yield from (write_part(*job) for job in jobs)
        return
    with ProcessPoolExecutor(min(num_proc, len(jobs)), _process_context()) as pool:
        futures = [pool.submit(write_part, *job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise PreparationError(
                "A process ended without a word, mostly for want of memory: every process holds "
                "one recording. What is done is kept: start again with a smaller --num-proc."
            ) from error
        finally:
            for future in futures:
                future.cancel()


def _process_context() -> BaseContext:
    """Where the system can, one server imports the libraries once and every process is its copy."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["mne", "datasets", __name__])
    return context


def write_part(
    corpus: Corpus, recording: Recording, folder: Path, dtype: str, fingerprint: str
) -> Outcome:
    """Windows of one recording as ``<key>.arrow``, with ``<key>.json`` that says what is in it.

    Both appear by renaming, the description last; a part whose description carries
    ``fingerprint`` is not written again.
    """
    described, part = folder / f"{recording.key}.json", folder / f"{recording.key}.arrow"
    known = _read_json(described)
    if known and known.pop("fingerprint", None) == fingerprint and part.is_file():
        return Outcome(recording, **known)
    try:
        content = _write_windows(corpus, recording, part, dtype)
    except RecordingError as error:
        return Outcome(recording, status="skipped", reason=str(error))
    temporary = described.with_suffix(f".json.{os.getpid()}")
    temporary.write_text(json.dumps(content | {"fingerprint": fingerprint}), "utf-8")
    os.replace(temporary, described)
    return Outcome(recording, **content)


def _write_windows(corpus: Corpus, recording: Recording, part: Path, dtype: str) -> dict[str, Any]:
    """Write one Arrow file; returns the fields of its :class:`Outcome`."""
    from datasets.arrow_writer import ArrowWriter

    reading = corpus.read(recording)
    card = corpus.card
    labels, units = [], []
    temporary = part.with_suffix(f".arrow.{os.getpid()}")
    features = window_features(card.labels)
    with ArrowWriter(
        features=features, path=str(temporary), writer_batch_size=ROWS_PER_BATCH
    ) as writer:
        for segment, signal in reading.windows:
            onset_s = segment.start / card.rate_hz
            row = encode_window(
                signal, card.channels, segment.label, recording.key, recording.subject, onset_s,
                dtype,
            )  # fmt: skip
            writer.write(features.encode_example(row))
            labels.append(segment.label)
            units.append(f"{recording.key}/{segment.unit}" if segment.unit else recording.key)
        writer.finalize()
    os.replace(temporary, part)
    return {
        "status": "used",
        "seconds": reading.seconds,
        "rate_hz": reading.rate_hz,
        "labels": labels,
        "units": units,
        "left_out": dict(sorted(reading.left_out.items())),
        "filters_left_out": list(reading.filters_left_out),
        "warnings": list(reading.warnings),
    }


def _read_json(path: Path) -> dict[str, Any] | None:
    """Content of a description, or None where there is none or it is damaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _check_skipped(
    corpus: Corpus, outcomes: Sequence[Outcome], settings: Settings, report: Path
) -> None:
    """Fail where more recordings than allowed could not be used."""
    skipped = [one for one in outcomes if one.status == "skipped"]
    asked = len(skipped) + sum(one.status == "used" for one in outcomes)
    if len(skipped) <= settings.max_skipped * asked:
        return
    shown = "\n".join(f"  {one.recording.key}: {one.reason}" for one in skipped[:10])
    raise PreparationError(
        f"{corpus.card.name}: {len(skipped)} of {asked} recordings could not be used, more than "
        f"{settings.max_skipped:.1%} (--max-skipped):\n{shown}\nAll are in {report}. What could "
        "be used is kept: mend the files and start again, or allow a larger share."
    )
