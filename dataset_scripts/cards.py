"""The dataset card of a prepared corpus: ``README.md`` with the Hub's YAML header."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from modeling_mteeg._shown_text import shown, unmarked
from modeling_mteeg.dataset_scripts.corpus import Corpus
from modeling_mteeg.dataset_scripts.report import Outcome, counts_table
from modeling_mteeg.dataset_scripts.splits import SPLITS
from modeling_mteeg.model.mains_notch import notch_text
from modeling_mteeg.model.task_card import TaskCard

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
STORED = {
    "int16": "little-endian int16 counts; microvolt = count x `scale`, where `scale` is the "
    "window's largest absolute value / 32767, so that rounding is off by at most half of it",
    "float32": "little-endian float32 in microvolt, exact (`scale` is 1)",
}
WITHIN_SUBJECT = "64/16/20 % of every subject's windows, in order within each class"
LIMITS = (
    "Research on methods only. It is no medical device and no part of one: nothing that is trained "
    "or tested on it may guide the diagnosis, monitoring or treatment of a person."
)
OWN_LICENSE = "apache-2.0"
"""Licence of what the simulator writes."""


def dataset_card(
    corpus: Corpus,
    card: TaskCard,
    used: Sequence[Outcome],
    manifest: dict[str, Any],
    leaks: Sequence[str],
    notes: Sequence[str],
    dtype: str,
) -> str:
    """The whole card.

    Parameters
    ----------
    corpus : Corpus
    card : TaskCard
        As saved beside the data: with the split's hash, and simulated or not.
    used : sequence of Outcome
        Recordings used, with the split of every window.
    manifest : dict
        What ``splits.json`` says.
    leaks, notes : sequence of str
        Subjects that splits share, and everything else that a reader must know.
    dtype : {"int16", "float32"}

    Returns
    -------
    str
        Markdown.
    """
    sections = [
        f"# {unmarked(_title(card))}",
        _origin(corpus, card),
        *([f"{corpus.recorded}"] if corpus.recorded and not card.simulated else []),
        "## Task",
        unmarked(card.description),
        f"Classes, in the order of their numbers: {unmarked(', '.join(card.labels))}.",
        "## Data",
        *_data(corpus, card, used, dtype),
        "## Splits",
        *_splits(corpus, card, used, manifest, leaks),
        *(["Notes:\n\n" + _list(map(unmarked, notes))] if notes else []),
        "## Load",
        _load(corpus, card),
        "## Citation",
        _citation(corpus, card),
        "## What it is not for",
        LIMITS + (" Results on simulated data say nothing about people." if card.simulated
                  else " Do not try to find out who was recorded."),
    ]  # fmt: skip
    body = "\n\n".join(_wrap(section) for section in sections)
    return f"---\n{card_header(corpus, card, used)}\n---\n\n{shown(body)}\n"


def card_header(corpus: Corpus, card: TaskCard, used: Sequence[Outcome]) -> str:
    """The YAML between the dashes, in the Hub's words; more keys are more arguments here."""
    from huggingface_hub import DatasetCardData

    license_id = OWN_LICENSE if card.simulated else corpus.license_id
    other = license_id == "other"
    return DatasetCardData(
        pretty_name=_title(card),
        license=license_id,
        license_name=f"{card.name}-terms" if other else None,
        license_link=(corpus.license_link or corpus.homepage or None) if other else None,
        size_categories=[size_category(sum(len(outcome.labels) for outcome in used))],
        task_categories=["other"],
        tags=[
            "eeg", card.name, "time-series-classification", *corpus.tags,
            *(["simulated"] if card.simulated else []),
        ],
        configs=[{  # what load_dataset reads, streaming or not
            "config_name": "default",
            "data_files": [{"split": split, "path": f"{split}/data-*.arrow"} for split in SPLITS],
        }],
    ).to_yaml()  # fmt: skip


def size_category(windows: int) -> str:
    """The Hub's word for a number of rows."""
    return next((name for limit, name in SIZES if windows < limit), "1M<n<10M")


def _title(card: TaskCard) -> str:
    return card.corpus[0].upper() + card.corpus[1:]


def _origin(corpus: Corpus, card: TaskCard) -> str:
    if card.simulated:
        return (
            "**Simulated data**: no person was recorded, and results on it say nothing of the real "
            f"corpus. Simulation: {corpus.simulation}. Licence: {card.license}."
        )
    terms = f" ([terms]({corpus.license_link}))" if corpus.license_link else ""
    shared = (
        ""
        if corpus.redistributable
        else " Do not publish this folder: nothing says that the licence allows it."
    )
    where = f" ({corpus.homepage})" if corpus.homepage else ""
    name, license = unmarked(card.corpus), unmarked(card.license)
    return f"Prepared from {name}{where}. Licence: {license}{terms}.{shared}"


def _data(corpus: Corpus, card: TaskCard, used: Sequence[Outcome], dtype: str) -> list[str]:
    hours = sum(outcome.seconds for outcome in used) / 3600
    rates = ", ".join(f"{rate:g}" for rate in sorted({outcome.rate_hz for outcome in used}))
    return [
        f"One row is one window of {card.window_s:g} s, {len(card.channels)} channels at "
        f"{card.rate_hz:g} Hz, in microvolt. Recordings used: {len(used)} ({hours:.2f} h, recorded "
        f"at {rates} Hz); `report.tsv` names every recording, used or not.",
        f"Channels, in order: {', '.join(card.channels)}.",
        f"Preprocessing, on {corpus.filtered_on}: {_chain(card)}. A filter whose "
        "edge is at or above half of a recording's rate cannot be applied and is left out.",
        f"Columns: `signal` (bytes of (channels, samples), row by row: {STORED[dtype]}), `dtype`, "
        "`scale`, `shape`, `channels`, `label`, `recording`, `subject`, `onset_s` (seconds from "
        "the start of the recording).",
    ]


def _chain(card: TaskCard) -> str:
    """The filters in their order, and the rate."""
    edges = (card.highpass_hz, card.lowpass_hz)
    band = {
        (True, True): "band-pass {} to {} Hz",
        (True, False): "high-pass {} Hz",
        (False, True): "low-pass {1} Hz",
        (False, False): "no band-pass",
    }[tuple(edge is not None for edge in edges)]
    numbers = [f"{edge:g}" if edge is not None else "" for edge in edges]
    return (
        f"{band.format(*numbers)}, {notch_text(card.notch_hz)} (both zero-phase FIR filters as "
        f"MNE-Python designs them by default), resampling to {card.rate_hz:g} Hz"
    )


def _splits(
    corpus: Corpus,
    card: TaskCard,
    used: Sequence[Outcome],
    manifest: dict[str, Any],
    leaks: Sequence[str],
) -> list[str]:
    within = manifest["rule"] == "within-subject"
    rule = WITHIN_SUBJECT if within else corpus.protocols[corpus.protocol]
    return [
        counts_table(card, used),
        _people(card, used),
        f"Split: {manifest['rule']} ({rule}). Manifest in `splits.json`, hash "
        f"`{manifest['hash']}`.",
        f"Subjects shared between splits:\n\n{_list(map(unmarked, leaks or ['none']))}",
    ]


def _people(card: TaskCard, used: Sequence[Outcome]) -> str:
    """Hours of windows, recordings and subjects of every split as a table."""
    lines = ["| | hours | recordings | subjects |", "|---|---:|---:|---:|"]
    for split in SPLITS:
        used_here = [(outcome, int((outcome.row_splits == split).sum())) for outcome in used]
        used_here = [(outcome, count) for outcome, count in used_here if count]
        hours = sum(count for _, count in used_here) * card.window_s / 3600
        subjects = len({outcome.recording.subject for outcome, _ in used_here})
        lines.append(f"| {split} | {hours:.2f} | {len(used_here)} | {subjects} |")
    return "\n".join(lines)


def _load(corpus: Corpus, card: TaskCard) -> str:
    """Three lines, from the Hub where the data may lie there."""
    if card.simulated or corpus.redistributable:
        lines = [
            "from huggingface_hub import snapshot_download",
            "from modeling_mteeg.data import load_corpus",
            'corpus = load_corpus(snapshot_download("OWNER/NAME", repo_type="dataset"))'
            "  # or a folder",
        ]
    else:
        lines = [
            "from modeling_mteeg.data import load_corpus",
            f'corpus = load_corpus("data/{card.name}")  # this folder',
        ]
    signals = 'signals_uv = corpus.splits["train"].read([0, 1])  # float32 (2, channels, samples)'
    return "\n".join(["```python", *lines, signals, "```"])


def _citation(corpus: Corpus, card: TaskCard) -> str:
    if not corpus.references:
        return f"See {corpus.homepage or card.corpus}."
    purpose = (
        "The simulated recordings follow the layout of a corpus described in:"
        if card.simulated
        else "Who uses the data cites:"
    )
    return f"{purpose}\n\n{_list(corpus.references)}"


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _wrap(section: str) -> str:
    """Prose at 100 characters; tables, lists, headings and code as they are."""
    if "\n" in section or section.startswith(("#", "|", "-", "```")):
        return section
    return textwrap.fill(section, 100, break_long_words=False, break_on_hyphens=False)
