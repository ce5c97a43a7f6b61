"""What every corpus reader has in common: recordings, segments, windows.

A corpus file states where its recordings lie, which split each belongs to, and where its windows
are; everything else (reading, preprocessing, writing, reporting) is shared.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from modeling_mteeg.dataset_scripts.downloads.database import Database
from modeling_mteeg.dataset_scripts.part_spans import Span, part_by_part, placed, span_of
from modeling_mteeg.dataset_scripts.reading import RecordingError, edf_duration_s, load_edf
from modeling_mteeg.dataset_scripts.recording import (  # noqa: F401  (a corpus's file takes them all from here)
    Reading,
    Recorded,
    Recording,
    Segment,
    mark_repeated,
    recording_warnings,
    visible_files,
    windows_in_order,
)
from modeling_mteeg.dataset_scripts.renaming import channels_renamed, checked_rename
from modeling_mteeg.dataset_scripts.simulation_file import SIMULATED_FILE, read_simulation  # noqa: F401
from modeling_mteeg.dataset_scripts.soundness import (
    check_amplitude,
    check_mains,
    check_raw_signal,
    codes_of,
)
from modeling_mteeg.dataset_scripts.unsound import sound_windows
from modeling_mteeg.evaluation import check_metrics
from modeling_mteeg.model.preprocessing import preprocess, preprocessing_info
from modeling_mteeg.model.recording_headers import RecordingWarning
from modeling_mteeg.model.task_card import TaskCard


class Corpus:
    """Base class of all corpora; docs/new_corpus.md shows how to write one.

    A subclass gives a task ``card``, ``homepage`` and :attr:`layout`, and says

    * in :meth:`describe`, whom a file is of, and whether it is used;
    * in :meth:`assign`, which split each belongs to;
    * in :meth:`segments`, where the windows of a recording lie and what class each is of.

    Where a recording is more than one file it overrides :meth:`find_recordings`, where the files
    are not EDF :attr:`file_pattern`, :meth:`load` and :meth:`duration_s`, where windows are more
    than slices :meth:`cut`. Everything else is shared: preprocessing, writing, splits that are
    hashed, the report, the cards, resuming and processes. An instance travels between processes,
    so it must be possible to pickle it, and it holds no signals.

    Parameters
    ----------
    raw : str or Path
        Folder of the download.
    protocol : str, optional
        One of :attr:`protocols`; the first by default.
    split_seed : int, optional
        Seed of the split, for :attr:`seeded_protocols` only; 0 by default.

    Raises
    ------
    FileNotFoundError
        ``raw`` is not a folder.
    ValueError
        The protocol is unknown, a seed was given for one that has none, or the card names a metric
        that there is not.
    """

    card: ClassVar[TaskCard]
    homepage: ClassVar[str] = ""
    database: ClassVar[Database | None] = None
    """Where ``--download`` has it from, and what of it."""
    layout: ClassVar[str] = ""
    """Where the recordings are expected below the raw folder, for messages."""
    license_id: ClassVar[str] = "other"
    """Licence as the Hub names it; ``other`` for terms of its own."""
    license_link: ClassVar[str] = ""
    """Address of the licence or of the terms."""
    redistributable: ClassVar[bool] = False
    """Whether the licence lets anybody publish what is made of the corpus: without it the result
    is never pushed (``dataset_scripts.push``)."""
    recorded: ClassVar[str] = ""
    """Who was recorded, where and how, for the dataset card."""
    references: ClassVar[tuple[str, ...]] = ()
    """What users of the corpus cite."""
    tags: ClassVar[tuple[str, ...]] = ()
    """More tags of the dataset card."""
    file_pattern: ClassVar[str] = "*.edf"
    """Names of the recordings' files, at any depth below the raw folder."""
    protocols: ClassVar[dict[str, str]] = {"default": "as its class says"}
    """Ways to label, cut and split, by name; the first is used where nobody asks for another."""
    protocol_cards: ClassVar[dict[str, TaskCard]] = {}
    """Cards of the protocols whose classes are not those of ``card``."""
    seeded_protocols: ClassVar[tuple[str, ...]] = ()
    """Protocols whose split is a shuffle: ``split_seed`` decides it."""
    splits: ClassVar[tuple[str, ...]] = ("protocol",)
    """Ways to split; ``within-subject`` is for corpora whose windows do not overlap and whose
    labels change within a recording."""
    rename: Mapping[str, str] = MappingProxyType({})
    """Channels that are meant by other names, where a recording has them: clean name in the file to
    the one that is meant; see :meth:`use_rename`."""
    in_order: ClassVar[bool] = False
    """Whether windows lie one behind the other from a recording's start on, and so begin anew with
    every part of one that has gaps, instead of being told by times."""
    constant: str = "keep"
    """``leave-out``: without windows in which channels are constant for half of it or more, such as
    padded ends; ``keep``: as the published scripts do."""
    options_given: ClassVar[dict[str, Any]] = {}
    """What else decides the windows, where a corpus has options; part of the result's identity."""
    filtered_on: ClassVar[str] = "whole recordings before they are cut"
    """What the filters run over, for the dataset card."""
    known_counts: ClassVar[dict[str, tuple[int, int, int]]] = {}
    """Windows in train, validation and test by version of the corpus, where a study gives them."""

    def __init__(
        self, raw: str | Path, protocol: str | None = None, split_seed: int | None = None
    ) -> None:
        self.raw = Path(raw)
        if not self.raw.is_dir():
            how = f"{self.homepage}{', or the option --download' if self.database else ''}"
            raise FileNotFoundError(
                f"{self.card.name}: the raw folder {self.raw} does not exist. Download the corpus "
                f"({how}) and pass the folder that holds {self.layout}."
            )
        check_metrics([self.card])
        protocol = next(iter(self.protocols)) if protocol is None else protocol
        if protocol not in self.protocols:
            raise ValueError(
                f"{self.card.name}: protocol: expected one of {sorted(self.protocols)}, "
                f"found {protocol!r}."
            )
        self.protocol = protocol
        if protocol in self.protocol_cards:
            self.card = self.protocol_cards[protocol]
        seeded = protocol in self.seeded_protocols
        if split_seed is not None and (not seeded or split_seed < 0):
            raise ValueError(
                f"{self.card.name}: split_seed: expected 0 or above, and a protocol that shuffles "
                f"({', '.join(self.seeded_protocols) or 'this corpus has none'}), found "
                f"{split_seed} for protocol {protocol!r}."
            )
        self.split_seed = (split_seed or 0) if seeded else None
        self.simulation = read_simulation(self.raw)
        self.simulated = self.simulation is not None
        """Whether ``raw`` has a ``SIMULATED`` file."""

    def use_rename(self, rename: Mapping[str, str]) -> None:
        """Take channels under other names; part of the result's identity."""
        if rename:
            self.rename = checked_rename(rename)
            self.options_given = {**self.options_given, "rename": self.rename}

    def use_constant(self, constant: str) -> None:
        """Set :attr:`constant`, which decides the windows."""
        if constant != self.constant:
            self.constant = constant
            self.options_given = {**self.options_given, "constant": constant}

    @property
    def rule(self) -> str:
        """Name of the split, as manifest and card give it."""
        seed = "" if self.split_seed is None else f", seed {self.split_seed}"
        return f"protocol: {self.protocol}{seed}"

    # What a corpus must say --------------------------------------------------------------------

    def describe(self, path: Path) -> Recording:
        """What the names of a file and its folders say of a recording, used or not."""
        raise NotImplementedError

    def assign(self, recordings: Sequence[Recording]) -> dict[str, str]:
        """The protocol's split: ``train``, ``validation`` or ``test`` for every unit.

        Parameters
        ----------
        recordings : sequence of Recording
            All recordings that the protocol uses, readable or not, so that one bad file does not
            move the others into another split.

        Returns
        -------
        dict
            Unit (``key``, or ``key/unit`` where segments name units) to split.
        """
        raise NotImplementedError

    def segments(self, recording: Recording, samples: int) -> tuple[list[Segment], Counter[str]]:
        """Windows of a recording of ``samples`` samples at the card's rate, in order.

        Returns
        -------
        tuple
            The segments, and how many possible windows were left out for which reason.

        Raises
        ------
        RecordingError
            The annotations are missing or contradict the recording.
        """
        raise NotImplementedError

    # What a corpus may say otherwise -----------------------------------------------------------

    def find_recordings(self) -> list[Recording]:
        """All recordings below the raw folder, used or not, sorted by key."""
        return mark_repeated(list(map(self.describe, visible_files(self.raw, self.file_pattern))))

    def load(self, recording: Recording) -> Recorded | tuple[np.ndarray, float]:
        """Signal (channels of the card, samples) in microvolt, and its rate in Hz; parts, marks."""
        return load_edf(recording.path, self.card.channels)

    def cut(self, signal: np.ndarray, start: int, length: int) -> np.ndarray:
        """Window (channels, ``length``) of a signal (channels, samples)."""
        if start < 0 or start + length > signal.shape[1]:
            raise ValueError(
                f"Window [{start}, {start + length}) is outside a signal of {signal.shape[1]} "
                "samples."
            )
        return signal[:, start : start + length]

    def duration_s(self, recording: Recording) -> float:
        """Length by the file's header, without reading the signal; 0 where it is unreadable."""
        return edf_duration_s(recording.path)

    def expected_windows(self, recording: Recording) -> int:
        """About how many windows the recording will give (for the expected size)."""
        return int(self.duration_s(recording) // self.card.window_s)

    def missing(self, recordings: Sequence[Recording]) -> list[str]:
        """What a whole download has and this one lacks, a sentence each with the names.

        Parameters
        ----------
        recordings : sequence of Recording
            All recordings below the raw folder, used or not.
        """
        return []

    def notes(self) -> list[str]:
        """What else users of the result must know, a sentence each: printed, and on its card."""
        return []

    # Shared ------------------------------------------------------------------------------------

    @property
    def window_samples(self) -> int:
        """Samples per window at the card's rate."""
        return round(self.card.window_s * self.card.rate_hz)

    def read(self, recording: Recording) -> Reading:
        """Read, preprocess and cut one recording.

        Raises
        ------
        RecordingError
            The recording cannot be used; the message says why and what to do.
        """
        if recording.fault:
            raise RecordingError(recording.fault)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RecordingWarning)
            # Short simulated recordings; a real one that is short gives few windows.
            warnings.filterwarnings("ignore", message="A recording is shorter than")
            with channels_renamed(self.rename) as renaming:
                reading = self.read_windows(recording)
        if self.rename and not renaming.asked:
            raise RecordingError(
                f"{self.card.name} reads its files by other means than "
                "modeling_mteeg.dataset_scripts.reading, so channels cannot be renamed (--rename); "
                "rename them in its load."
            )
        filters_left_out = preprocessing_info(reading.rate_hz, *self._settings()).left_out
        odd = reading.warnings + renaming.warnings() + recording_warnings(caught)
        codes = (*reading.findings, *codes_of(odd), *["filter-left-out"] * bool(filters_left_out))
        return dataclasses.replace(
            reading,
            filters_left_out=filters_left_out,
            warnings=odd,
            findings=tuple(dict.fromkeys(codes)),
        )

    def read_windows(self, recording: Recording) -> Reading:
        """What :meth:`read` does for a recording without a fault: filtered whole, then cut."""
        card, length = self.card, self.window_samples
        recorded, odd = self._recorded(recording)
        info = preprocessing_info(recorded.rate_hz, *self._settings())
        spans = [span_of(part, info.samples_out(part.samples), card.rate_hz)
                 for part in recorded.parts]  # fmt: skip
        # A part that holds no window is not filtered; a whole recording is long enough.
        signals = {
            number: preprocess(recorded.part_uv(part), recorded.rate_hz, *self._settings())
            for number, part in enumerate(recorded.parts)
            if spans[number].samples >= length
        }
        everything = list(signals.values())
        whole = everything[0] if len(everything) == 1 else np.concatenate(everything, axis=1)
        odd += check_amplitude(whole, card.channels, recording.path.name)
        odd += check_mains(whole, info)
        del whole, everything
        segments, left_out = self.segments_in(recording, spans)
        segments, more_odd = self._sound(recorded, segments, left_out)
        self._expect_windows(recording, segments, left_out)
        windows = (
            (segment, self.cut(signals[at], segment.start - spans[at].start, length))
            for segment in segments
            for at in [segment.part]
        )
        reading = self._reading(windows, left_out, recorded, odd + more_odd)
        shortest_s = min(recorded.parts[number].samples for number in signals) / recorded.rate_hz
        if shortest_s >= info.filter_s:
            return reading
        return dataclasses.replace(reading, findings=(*reading.findings, "short-for-filter"))

    @staticmethod
    def _reading(
        windows: Iterator[tuple[Segment, np.ndarray]],
        left_out: Counter[str],
        recorded: Recorded,
        odd: tuple[str, ...],
    ) -> Reading:
        seconds = sum(part.samples for part in recorded.parts) / recorded.rate_hz
        codes = tuple(finding.code for finding in recorded.findings)
        return Reading(windows, left_out, seconds, recorded.rate_hz, warnings=odd, findings=codes)

    def segments_in(
        self, recording: Recording, spans: Sequence[Span]
    ) -> tuple[list[Segment], Counter[str]]:
        """Windows of a recording in one part or several, by true times.

        Parameters
        ----------
        recording : Recording
        spans : sequence of Span
            Its parts, at the card's rate.

        Notes
        -----
        :meth:`segments` is asked once, for the time from start to end with all pauses, and windows
        that do not lie in one part are left out; where :attr:`in_order`, for every part alone.
        """
        length = self.window_samples
        if len(spans) == 1 and spans[0].start == 0:
            return self.segments(recording, spans[0].samples)
        if not self.in_order:
            segments, left_out = self.segments(recording, max(span.stop for span in spans))
            segments, outside = placed(segments, spans, length)
            return segments, left_out + outside
        return part_by_part(
            spans, length, lambda number: self.segments(recording, spans[number].samples)
        )

    def _sound(
        self, recorded: Recorded, segments: Sequence[Segment], left_out: Counter[str]
    ) -> tuple[list[Segment], tuple[str, ...]]:
        """See :func:`modeling_mteeg.dataset_scripts.unsound.sound_windows`."""
        leave_out = self.constant == "leave-out"
        return sound_windows(recorded, segments, left_out, self.card, leave_out)

    @staticmethod
    def _expect_windows(
        recording: Recording, segments: Sequence[Segment], left_out: Counter[str]
    ) -> None:
        if not segments:
            raise RecordingError(
                f"{recording.path.name}: no window (left out: {dict(left_out) or 'none'}); check "
                "its annotations."
            )

    def _settings(self) -> tuple[float | None, ...]:
        card = self.card
        return card.rate_hz, card.highpass_hz, card.lowpass_hz, card.notch_hz

    def _recorded(self, recording: Recording) -> tuple[Recorded, tuple[str, ...]]:
        """What was recorded, checked, and what is odd about it."""
        card, name = self.card, recording.path.name
        recorded = self.load(recording)
        if not isinstance(recorded, Recorded):
            recorded = Recorded(*recorded)
        longest_s = max(part.samples for part in recorded.parts) / recorded.rate_hz
        if longest_s < card.window_s:
            count = len(recorded.parts)
            what = "" if count == 1 else f"the longest of its {count} parts is "
            raise RecordingError(
                f"{name}: {what}{longest_s:g} s long, shorter than one window of "
                f"{card.window_s:g} s; check that the file is complete."
            )
        signal = recorded.signal_uv
        if len(recorded.parts) > 1:  # what lies between parts is no signal
            signal = np.concatenate([recorded.part_uv(part) for part in recorded.parts], axis=1)
        return recorded, check_raw_signal(signal, card.channels, name)

    def windows(self, recording: Recording) -> Iterator[tuple[Segment, np.ndarray]]:
        """The windows of one recording: segment, and signal in microvolt (channels, samples)."""
        return self.read(recording).windows
