"""What became of every recording and what the result is: report and summary."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording
from modeling_mteeg.dataset_scripts.locking import write_whole
from modeling_mteeg.dataset_scripts.splits import SPLITS
from modeling_mteeg.model.task_card import TaskCard

if TYPE_CHECKING:
    from modeling_mteeg.dataset_scripts.settings import Settings

BYTES = {"int16": 2, "float32": 4}
REPORT_COLUMNS = (
    "recording", "status", "reason", "windows", "subject", "split", "hours", "rate_hz",
    "windows_left_out", "warnings", "findings", "file",
)  # fmt: skip


@dataclasses.dataclass
class Outcome:
    """What became of a recording.

    Parameters
    ----------
    recording : Recording
    status : {"used", "skipped", "left-out"}
        ``skipped``: the protocol wants it and it could not be used; ``left-out``: the protocol
        or the call does not want it.
    reason : str
        Why it was skipped or left out.
    seconds, rate_hz : float
        Length and rate.
    labels, units : list of str
        Class and split unit of every window.
    left_out : dict
        Windows of this recording that were left out: reason to number.
    filters_left_out : list of str
        Filters that cannot be applied at its rate.
    warnings : list of str
        What is odd about its signal though it is used.
    findings : list of str
        Codes of what was found (:data:`modeling_mteeg.model.findings.POLICIES`).
    sources : list of dict
        Its files: name, size, hashes (:mod:`modeling_mteeg.dataset_scripts.sources`).
    row_splits : numpy.ndarray, (windows,), str
        Split of every window, once the splits are made.
    """

    recording: Recording
    status: str = "used"
    reason: str = ""
    seconds: float = 0.0
    rate_hz: float = 0.0
    labels: list[str] = dataclasses.field(default_factory=list)
    units: list[str] = dataclasses.field(default_factory=list)
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)
    filters_left_out: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    findings: list[str] = dataclasses.field(default_factory=list)
    sources: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    row_splits: np.ndarray = dataclasses.field(default_factory=lambda: np.array([], dtype=str))


def write_report(path: Path, raw: Path, outcomes: Sequence[Outcome]) -> None:
    """Write ``report.tsv``: one row per recording, used or not."""
    lines = ["\t".join(REPORT_COLUMNS)]
    for outcome in outcomes:
        recording = outcome.recording
        left_out = "; ".join(f"{reason}: {count}" for reason, count in outcome.left_out.items())
        present = set(outcome.row_splits.tolist())
        split = "+".join(split for split in SPLITS if split in present)
        cells = (
            recording.key, outcome.status, outcome.reason, len(outcome.labels), recording.subject,
            split, f"{outcome.seconds / 3600:.4f}", f"{outcome.rate_hz:g}", left_out,
            "; ".join(outcome.warnings), " ".join(outcome.findings), _relative(recording.path, raw),
        )  # fmt: skip
        lines.append("\t".join(" ".join(str(cell).split()) for cell in cells))
    write_whole(path, "\n".join(lines) + "\n")


def _relative(path: Path, raw: Path) -> str:
    return path.relative_to(raw).as_posix() if path.is_relative_to(raw) else path.as_posix()


def print_expected(corpus: Corpus, wanted: Sequence[Recording], settings: Settings) -> None:
    """Print how much is about to be written, from the headers alone."""
    if not settings.progress:
        return
    windows = sum(expected(corpus.expected_windows, recording) for recording in wanted)
    hours = sum(expected(corpus.duration_s, recording) for recording in wanted) / 3600
    numbers = windows * len(corpus.card.channels) * corpus.window_samples
    size = numbers * BYTES.get(settings.dtype, 4) / 1e6
    kind = "simulated recordings" if corpus.simulated else "recordings"
    print(
        f"{corpus.card.name}: {len(wanted)} {kind}, {hours:.2f} h; expected about {windows} "
        f"windows, {size:,.0f} MB as {settings.dtype} (twice that while merging)."
    )


def expected(tell: Callable[[Recording], float], recording: Recording) -> float:
    """What a corpus tells of a recording before it is read; 0 where it cannot.

    Whatever is wrong with the recording, reading it says so.
    """
    try:
        return tell(recording)
    except Exception:
        return 0


def window_counts(used: Sequence[Outcome]) -> dict[str, Counter[str]]:
    """Windows of every class in every split."""
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for outcome in used:
        for split, label in zip(outcome.row_splits.tolist(), outcome.labels, strict=True):
            counts[split][label] += 1
    return counts


def count_differences(
    corpus: Corpus, used: Sequence[Outcome], missing: Sequence[str] = ()
) -> list[str]:
    """Lines on classes that a split lacks and on counts that differ from the known ones.

    ``missing`` is what is known to lack already: it explains a difference.
    """
    counts = window_counts(used)
    lines = []
    for split in SPLITS:
        lacking = [label for label in corpus.card.labels if not counts[split][label]]
        if lacking:
            lines.append(f"{split} has no window of: {', '.join(lacking)}")
    if corpus.simulated or corpus.protocol != "paper" or not corpus.known_counts:
        return lines
    totals = tuple(sum(counts[split].values()) for split in SPLITS)
    if totals not in corpus.known_counts.values():
        known = "; ".join(f"{name}: {' / '.join(map(str, numbers))}"
                          for name, numbers in corpus.known_counts.items())  # fmt: skip
        why = (
            f"Why: {'; '.join(missing)}."
            if missing
            else "No recording is missing: it is another version of the corpus, or recordings were "
            "skipped (`report.tsv`)."
        )
        lines.append(
            f"Known counts (train / validation / test) are {known}; found "
            f"{' / '.join(map(str, totals))}. {why}"
        )
    return lines


def print_result(
    corpus: Corpus, used: Sequence[Outcome], leaks: Sequence[str], notes: Sequence[str]
) -> None:
    """Print windows per split and class, leaks and notes."""
    print(counts_table(corpus.card, used))
    for line in leaks:
        print(f"{corpus.card.name}: leak of the split: {line}")
    for line in notes:
        print(f"{corpus.card.name}: {line}")


def counts_table(card: TaskCard, used: Sequence[Outcome]) -> str:
    """A Markdown table: windows of every class in every split."""
    counts = window_counts(used)
    lines = [f"| {card.name} | " + " | ".join(SPLITS) + " |", "|---|" + "---:|" * len(SPLITS)]
    for label in card.labels:
        lines.append(f"| {label} | " + " | ".join(str(counts[s][label]) for s in SPLITS) + " |")
    total = " | ".join(str(sum(counts[split].values())) for split in SPLITS)
    return "\n".join([*lines, f"| all | {total} |"])
