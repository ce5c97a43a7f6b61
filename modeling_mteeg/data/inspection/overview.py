"""An overview of a prepared corpus: the numbers behind its text and its picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..._clone import as_typed
from ...model.task_card import CARD_FILE, TaskCard
from .. import Corpus, WindowReader, load_corpus
from ..loading import SPLITS
from .averages import ClassAverages, RunningAverages, looks_cued
from .plausibility import coarse_windows, corpus_remarks, resolution_remarks, signal_remarks
from .statistics import Amplitudes, ChannelLikeness, window_spectra

WINDOWS = 64
"""Windows of every class and split that are read, where nobody asks for another number."""
SHARES = (0.5, 0.95, 0.99, 0.999)
"""Quantiles of the absolute signal that are given."""
_BLOCK_BYTES = 32e6


@dataclasses.dataclass(frozen=True)
class SplitOverview:
    """One split.

    Parameters
    ----------
    name : str
    counts : tuple of int
        Windows of every class, in the card's order.
    hours : float
        Sum of the windows' lengths (windows may overlap).
    recordings, subjects : int
        How many there are.
    read : int
        Windows whose signals were looked at.
    quantiles_uv : tuple of float
        Of the absolute signal over all channels, at ``SHARES``.
    highest_uv : float
        Largest absolute value.
    """

    name: str
    counts: tuple[int, ...]
    hours: float
    recordings: int
    subjects: int
    read: int
    quantiles_uv: tuple[float, ...]
    highest_uv: float


@dataclasses.dataclass(frozen=True)
class Example:
    """One window of a class, and where it comes from; signal (channels, samples) in microvolt."""

    split: str
    recording: str
    subject: str
    onset_s: float
    signal_uv: np.ndarray


@dataclasses.dataclass(frozen=True)
class Overview:
    """A prepared corpus, looked at.

    Parameters
    ----------
    folder : Path
    card : TaskCard
    channels : tuple of str
    splits : tuple of SplitOverview
    channel_quantiles_uv : numpy.ndarray
        (channels, shares) of the absolute signal at ``SHARES``.
    frequencies_hz : numpy.ndarray
        (frequencies,)
    spectra : dict of str to numpy.ndarray
        Class to power spectral density (frequencies,) in microvolt^2 / Hz: the median over
        channels, then over the windows read. Classes without a window are left out.
    examples : dict of str to Example
        Class to one window.
    rule : str
        Which windows were read.
    remarks : tuple of str
        What is odd, a sentence each.
    averages : ClassAverages or None
        Of a cued task: the mean window of every class, over the windows read.
    """

    folder: Path
    card: TaskCard
    channels: tuple[str, ...]
    splits: tuple[SplitOverview, ...]
    channel_quantiles_uv: np.ndarray
    frequencies_hz: np.ndarray
    spectra: dict[str, np.ndarray]
    examples: dict[str, Example]
    rule: str
    remarks: tuple[str, ...]
    averages: ClassAverages | None = None


def prepared_folders(folder: str | Path) -> list[Path]:
    """The prepared corpus ``folder``, or those directly below it, sorted.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    folder = Path(folder)
    if (folder / CARD_FILE).is_file():
        return [folder]
    below = sorted(path.parent for path in folder.glob(f"*/{CARD_FILE}"))
    if not below:
        fault = "that folder does not exist" if not folder.is_dir() else "found none"
        command = as_typed("python -m dataset_scripts.<corpus>")
        raise FileNotFoundError(
            f"{folder}: expected a prepared corpus (a folder with {CARD_FILE}) or a folder of "
            f"them, {fault}. Prepare one with `{command}`."
        )
    return below


def corpus_overview(
    folder: str | Path,
    splits: Sequence[str] = SPLITS,
    windows: int = WINDOWS,
    progress: bool = True,
    averages: bool | None = None,
) -> Overview:
    """Look at a prepared corpus.

    Counts are of all windows. Signals are read of a fixed sample: of every class in every split,
    up to ``windows`` of them, evenly spaced in the order of the rows. The example of a class is
    the window of median power among those read of it, from the first split that has it.

    Parameters
    ----------
    folder : str or Path
    splits : sequence of str
        Splits to look at.
    windows : int
        Windows read of every class and split.
    progress : bool
        Show a bar on a terminal.
    averages : bool, optional
        Whether windows are averaged by class, as makes sense where they begin at a cue. Default:
        where their onsets look so (``looks_cued``).

    Raises
    ------
    FileNotFoundError, WindowFormatError
        See :func:`modeling_mteeg.data.load_corpus`.
    ValueError
        A split is unknown, or ``windows`` is below 1.

    Notes
    -----
    A block of about 32 MB is in memory at a time, however large the corpus is.
    """
    unknown = [split for split in splits if split not in SPLITS]
    if unknown or not splits:
        raise ValueError(f"splits: expected some of {list(SPLITS)}, found {list(splits)}.")
    if windows < 1:
        raise ValueError(f"windows: expected 1 or more, found {windows}.")
    corpus = load_corpus(folder)
    names = [split for split in SPLITS if split in splits]
    readers, card = [corpus.splits[name] for name in names], corpus.card
    if averages is None:
        averages = looks_cued(readers, card.window_s, card.rate_hz)
    rows = {name: sampled_rows(corpus.splits[name], windows) for name in names}
    bar = tqdm(
        total=sum(len(of_class) for by_class in rows.values() for of_class in by_class),
        desc=corpus.card.name,
        unit="window",
        disable=None if progress else True,
        leave=False,
    )
    with bar:
        return _look(Path(folder), corpus, rows, windows, bar, averages)


def sampled_rows(reader: WindowReader, windows: int) -> list[np.ndarray]:
    """Rows of every class that are read: up to ``windows``, evenly spaced in their order."""
    result = []
    for label in range(len(reader.label_names)):
        rows = np.flatnonzero(reader.labels == label)
        picks = np.linspace(0, len(rows) - 1, min(windows, len(rows))).round().astype(np.int64)
        result.append(rows[picks])
    return result


def _look(
    folder: Path,
    corpus: Corpus,
    rows: dict[str, list[np.ndarray]],
    windows: int,
    bar,
    averaged: bool,
) -> Overview:
    """Read the sampled rows once, block by block."""
    card = corpus.card
    reader = next(iter(corpus.splits.values()))
    likeness, pooled = (kind(len(reader.channels)) for kind in (ChannelLikeness, Amplitudes))
    averages = RunningAverages(card.labels, reader.shape) if averaged else None
    densities: list[list[np.ndarray]] = [[] for _ in card.labels]
    examples: dict[str, Example] = {}
    splits, frequencies, coarse = [], np.zeros(0), 0
    for split, by_class in rows.items():
        reader, amplitudes = corpus.splits[split], Amplitudes(len(reader.channels))
        for label, of_class in enumerate(by_class):
            power = []
            for signals in _blocks(reader, of_class):
                frequencies, density = window_spectra(signals, card.rate_hz)
                densities[label].append(density)
                power += np.square(signals).mean(axis=(1, 2)).tolist()
                coarse += coarse_windows(reader.dtype, signals)
                for statistic in (amplitudes, pooled, likeness):
                    statistic.add(signals)
                if averages is not None:
                    averages.add(label, signals)
                bar.update(len(signals))
            if len(of_class) and card.labels[label] not in examples:
                middle = of_class[np.argsort(power, kind="stable")[(len(power) - 1) // 2]]
                examples[card.labels[label]] = _example(split, reader, int(middle))
        splits.append(_split_overview(split, reader, card, sum(map(len, by_class)), amplitudes))
    spectra = {
        label: np.median(np.concatenate(parts), axis=0)
        for label, parts in zip(card.labels, densities, strict=True)
        if parts
    }
    read = sum(split.read for split in splits)
    remarks = [
        *corpus_remarks(folder, corpus, list(rows)),
        *signal_remarks(
            reader.channels,
            pooled,
            likeness,
            read,
            frequencies,
            spectra,
            card.lowpass_hz,
            card.notch_hz,
        ),
        *resolution_remarks(coarse, read),
    ]
    rule = (
        f"Signals of {read} windows were read: of every class in every split up to {windows}, "
        "evenly spaced in the order of the rows. The example of a class is the one of median "
        "power among them."
    )
    return Overview(
        folder, card, reader.channels, tuple(splits), pooled.quantiles(SHARES), frequencies,
        spectra, examples, rule, tuple(remarks), averages and averages.result(),
    )  # fmt: skip


def _blocks(reader: WindowReader, rows: np.ndarray):
    """Signals of rows, (windows, channels, samples) float32, about 32 MB at a time."""
    size = max(1, int(_BLOCK_BYTES // (4 * reader.shape[0] * reader.shape[1])))
    for start in range(0, len(rows), size):
        yield reader.read(rows[start : start + size])


def _example(split: str, reader: WindowReader, row: int) -> Example:
    return Example(
        split,
        str(reader.recordings[row]),
        str(reader.subjects[row]),
        float(reader.onsets_s[row]),
        reader.read([row])[0],
    )


def _split_overview(
    name: str, reader: WindowReader, card: TaskCard, read: int, amplitudes: Amplitudes
) -> SplitOverview:
    counts = np.bincount(reader.labels, minlength=len(card.labels))
    return SplitOverview(
        name,
        tuple(int(count) for count in counts),
        len(reader) * card.window_s / 3600,
        len(np.unique(reader.recordings)),
        len(np.unique(reader.subjects)),
        read,
        tuple(amplitudes.pooled(SHARES).tolist()),
        float(amplitudes.highest.max()),
    )
