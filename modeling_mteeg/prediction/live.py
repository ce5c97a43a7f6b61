"""Answers while a signal comes in: chunks of any size in, a result for every window out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..model.channels import clean_name
from ..model.findings import Finding
from ..model.preprocessing import preprocessing_info
from ..model.recording_sources import Source
from ..model.signal_checks import SignalError, unit_factor
from .live_checks import LiveWindowError, WindowFacts
from .live_groups import FilterGroup, TaskStream
from .onnx_forward import OnnxForward
from .task_loading import cards_of

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LiveResult:
    """The answer of one task for one window.

    Parameters
    ----------
    task : str
    onset_s, duration_s : float
        Where the window lies, in seconds from the first sample that was pushed.
    label : str
        The most probable class, or what the card's threshold decides.
    probabilities : dict of str to float
        Of every class; they sum to 1.
    flat : tuple of str
        Channels that carry no signal in this window.
    marked : str
        What is wrong with the window, such as ``constant: F3 F4``; empty where nothing is.
    findings : tuple of Finding
        All that is odd about the signal in this window.
    """

    task: str
    onset_s: float
    duration_s: float
    label: str
    probabilities: dict[str, float]
    flat: tuple[str, ...] = ()
    marked: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def end_s(self) -> float:
        """Where the window ends."""
        return self.onset_s + self.duration_s


class LivePredictor:
    """Predict while a signal comes in.

    Parameters
    ----------
    model : MteegModel
        In evaluation mode, with the tasks loaded.
    tasks : str or sequence of str
        One task, or several that share the filters.
    channels : sequence of str
        Names of the rows of the chunks. Rows that no task needs are ignored; a bipolar channel
        that is not among them is derived as the difference of its two electrodes.
    rate_hz : float
        Rate of the chunks.
    unit : {"uV", "mV", "V"}
        Unit of the chunks.
    stride_s : float or None
        From the start of one window to the next; None: windows touch.
    samples : int or None
        Length of the recording, where it is known (a file that is played): results are then those
        of the file to float32's precision. None: see Notes.
    highpass_hz : float or None
        Instead of the tasks' own high-pass (0.1 Hz). A higher one makes the delay shorter (5.3 s
        at 1 Hz) and the signal another than the adapters were trained on.
    lookahead_s : float or None
        None: a window is answered when all of its future has arrived that the filters reach to.
        Less makes the delay shorter; the future that lacks is continued by odd reflection, and the
        answers are approximate.
    allow_missing : int or None
        How many of a task's channels may be missing; None: as many as its card allows. Those that
        are missing are logged.
    onnx : str, Path or None
        Folder with a file ``<task>.onnx`` of every task, as ``mteeg export`` writes them: the
        forward pass is then ONNX Runtime's, in less than half of the model's own time on a CPU.

    Raises
    ------
    SignalError
        Channels of a task are missing.
    MissingOnnxError, FileNotFoundError
        With ``onnx``: ONNX Runtime is not installed, or a task has no file there.
    ValueError, TypeError
        Wrong use; the message says what was expected.

    Notes
    -----
    The same windows, and the same probabilities, that the feature extractor and the model give for
    the whole recording, with memory that does not grow. Two things differ from a file:

    - Without ``samples`` output samples lie on the nominal grid. MNE's resampling puts them less
      than one sample (5 ms) beside it, by a length that only the end of the recording decides.
    - At rates where no low-pass can be applied (100 and 128 Hz) resampling differs a little:
      ``StreamFilter``.

    Results do not depend on the sizes of the chunks, to the bit.
    """

    def __init__(
        self,
        model: Any,
        tasks: str | Sequence[str],
        channels: Sequence[str],
        rate_hz: float,
        unit: str = "uV",
        stride_s: float | None = None,
        samples: int | None = None,
        highpass_hz: float | None = None,
        lookahead_s: float | None = None,
        allow_missing: int | None = None,
        onnx: str | Path | None = None,
    ) -> None:
        cards = cards_of(model, tasks)
        if isinstance(channels, str):
            raise ValueError(f"channels: expected a list of names, found {channels!r}.")
        self.model, self.rate_hz, self.unit = model, float(rate_hz), unit
        self.channels = tuple(clean_name(name) for name in channels)
        self._factor, self._lookahead_s = unit_factor(unit), lookahead_s
        source = Source("array", self.channels, self.rate_hz, _unread, cut=False, unit=unit)
        self._copies = _copies(self.channels)
        members = [TaskStream(card, source, stride_s, allow_missing) for card in cards]
        self._groups = self._grouped(members, samples, highpass_hz)
        self._exported: dict[str, OnnxForward] = {}
        if onnx is not None:
            self._exported = {
                card.name: OnnxForward(Path(onnx) / f"{card.name}.onnx", model, card.name)
                for card in cards
            }
        for group in self._groups:
            group.needed(lookahead_s)  # an impossible lookahead is an error before the first chunk
        self.samples_in = 0
        self._finished = False

    def _grouped(
        self, members, samples: int | None, highpass_hz: float | None
    ) -> list[FilterGroup]:
        """Members by the filters that they ask for."""
        by_filters: dict[tuple, list[TaskStream]] = {}
        for member in members:
            card = member.card
            highpass = card.highpass_hz if highpass_hz is None else highpass_hz
            filters = (card.rate_hz, highpass, card.lowpass_hz, card.notch_hz)
            by_filters.setdefault(filters, []).append(member)
        groups = []
        for filters, sharing in by_filters.items():
            info = preprocessing_info(self.rate_hz, *filters)
            for sentence in info.left_out:
                logger.warning(sentence)
            groups.append(FilterGroup(sharing, info, samples))
        return groups

    @property
    def findings(self) -> dict[str, tuple[Finding, ...]]:
        """By task, how the stream's channels differ from the task's; known from the start."""
        return {
            member.card.name: (
                *member.findings,
                *(Finding("filter-left-out", text) for text in group.filter.info.left_out),
            )
            for group in self._groups
            for member in group.members
        }

    @property
    def delay_s(self) -> float:
        """Seconds from a window's end until its answer: what the filters need of the future."""
        longest = max(group.filter.delay_s for group in self._groups)
        return longest if self._lookahead_s is None else self._lookahead_s

    @property
    def first_answer_s(self) -> float:
        """Seconds from the first sample until the first answer."""
        return min(
            max(member.card.window_s + self.delay_s, group.filter.delay_s)
            for group in self._groups
            for member in group.members
        )

    def push(self, chunk: np.ndarray) -> list[LiveResult]:
        """Take the next samples and return the answers that they complete.

        Parameters
        ----------
        chunk : numpy.ndarray
            (channels, n), any real dtype, in ``unit``, n from 0 on.

        Returns
        -------
        list of LiveResult
            In the order of the windows' ends; often empty.

        Raises
        ------
        SignalError
            NaN or infinity in a channel that is needed (with its name and time), or two channels of
            one name that differ. Nothing of such a chunk is taken, so that a repaired one can
            follow.
        LiveWindowError
            In a window channels are in another unit than the others, or the numbers cannot be EEG
            in their unit. The chunk is taken, and the stream can go on: the next windows are
            judged anew. ``answers`` of the error are those of all other windows.
        ValueError
            A chunk of another shape, or a stream that is finished.
        """
        chunk = self._checked(chunk)
        results, faults, place = [], [], 0
        while place < chunk.shape[1]:
            # The chunk is cut where a window of any group gets its last sample: answers come then,
            # and in the same passes whatever the sizes of the chunks.
            needed = [group.needed(self._lookahead_s) for group in self._groups]
            ahead = [count - self.samples_in for count in needed if count is not None]
            step = min([chunk.shape[1] - place, *(max(count, 1) for count in ahead)])
            piece = chunk[:, place : place + step]  # (rows of the chunk, step)
            place += step
            self.samples_in += step
            blocks = []
            for group, count in zip(self._groups, needed, strict=True):
                group.recorded.push(piece[group.rows])
                # (electrodes, samples at the tasks' rate), in microvolt
                block = group.filter.push(piece[group.rows] * self._factor)
                if count is not None and self.samples_in >= count:
                    block = np.concatenate([block, group.filter.drain(self._lookahead_s)], axis=1)
                blocks.append(block)
            results += self._answers(blocks, faults)
        return _given(results, faults)

    def finish(self) -> list[LiveResult]:
        """End the signal and return the answers for what is left of it.

        Returns
        -------
        list of LiveResult
            Of windows whose future had not arrived: the end is continued by odd reflection, as for
            the end of a file. Samples that do not fill a window are left out, as for a file.

        Raises
        ------
        LiveWindowError
            As for :meth:`push`.
        ValueError
            Nothing was pushed, or not the ``samples`` that were announced.
        """
        self._check_open()
        self._finished = True
        faults: list[LiveWindowError] = []
        results = self._answers([group.filter.finish() for group in self._groups], faults)
        return _given(results, faults)

    def _answers(self, blocks: list[np.ndarray], faults: list[LiveWindowError]) -> list[LiveResult]:
        """Cut windows from the filters' output, one block per group, judge and predict them."""
        results = []
        for group, block in zip(self._groups, blocks, strict=True):
            for member in group.members if block.shape[1] else ():
                onsets, windows = member.push(block, group.rows)
                facts = [
                    self._judged(group, member, onset, window, faults)
                    for onset, window in zip(onsets.tolist(), windows, strict=True)
                ]
                fit = [number for number, found in enumerate(facts) if found is not None]
                if fit:
                    rows = self._probabilities(member, windows[fit])
                    results += [
                        _result(member, int(onsets[number]), facts[number], row)
                        for number, row in zip(fit, rows, strict=True)
                    ]
        return sorted(results, key=lambda result: result.end_s)

    @staticmethod
    def _judged(
        group: FilterGroup, member: TaskStream, onset: int, window: np.ndarray, faults: list
    ) -> WindowFacts | None:
        """What was found about a window; None where it cannot be answered."""
        try:
            second = onset / member.card.rate_hz
            facts = member.checks.judge(second, window, *group.during(member, onset))
        except LiveWindowError as error:
            faults.append(error)
            return None
        for finding in facts.findings:
            member.log(finding)
        return facts

    def _probabilities(self, member: TaskStream, windows: np.ndarray) -> list[list[float]]:
        """Class probabilities of every window, (k, channels, samples) each in microvolt."""
        card = member.card
        values = torch.from_numpy(windows / np.float32(card.scale_uv))
        if card.name in self._exported:
            patches = values.unflatten(-1, (card.patches, -1))
            logits = self._exported[card.name](patches, member.ids)
        else:
            with torch.inference_mode():
                values = values.to(self.model.device)
                logits = self.model(values, member.ids, task=card.name).logits
        return card.probabilities(logits).tolist()

    def _check_open(self) -> None:
        if self._finished:
            raise ValueError("This stream is finished; make a new LivePredictor.")

    def _checked(self, chunk: np.ndarray) -> np.ndarray:
        """The chunk as an array that can be taken, or an error."""
        self._check_open()
        chunk = np.asarray(chunk)
        if chunk.ndim != 2 or chunk.shape[0] != len(self.channels):
            raise ValueError(
                f"Expected a chunk ({len(self.channels)} channels, samples), found shape "
                f"{chunk.shape}."
            )
        rows = sorted({row for group in self._groups for row in group.rows})
        with np.errstate(invalid="ignore"):
            # A sum is finite only where all its terms are: one pass instead of a mask.
            fine = np.isfinite(chunk[rows].sum(axis=1, dtype=np.float64))
        if not fine.all():
            bad = [row for row, good in zip(rows, fine, strict=True) if not good]
            first = int(np.flatnonzero(~np.isfinite(chunk[bad]).all(axis=0))[0])
            raise SignalError(
                f"Expected finite numbers, found NaN or infinity in "
                f"{', '.join(self.channels[row] for row in bad)}, first at "
                f"{(self.samples_in + first) / self.rate_hz:.6g} s. Repair the chunk and push it "
                "again; nothing of it was taken."
            )
        for first, copies in self._copies.items():
            if first in rows and not (chunk[copies] == chunk[first]).all():
                raise SignalError(
                    f"Expected every channel once, found {self.channels[first]} "
                    f"{1 + len(copies)} times with different signals. Rename or drop the wrong one."
                )
        return chunk


def _given(results: list[LiveResult], faults: list[LiveWindowError]) -> list[LiveResult]:
    """The answers; where windows have none, an error that holds the others."""
    if faults:
        faults[0].answers = results
        if len(faults) > 1:
            faults[0].add_note(f"{len(faults) - 1} more windows have no answer.")
        raise faults[0]
    return results


def _result(member: TaskStream, onset: int, facts: WindowFacts, row: list[float]) -> LiveResult:
    card = member.card
    return LiveResult(
        task=card.name,
        onset_s=onset / card.rate_hz,
        duration_s=card.window_s,
        label=card.labels[int(card.decide(np.array([row]))[0])],
        probabilities=dict(zip(card.labels, row, strict=True)),
        flat=facts.flat,
        marked=facts.marked,
        findings=facts.findings,
    )


def _unread(*_: Any) -> np.ndarray:
    raise NotImplementedError("A live source gives its channels' names alone.")


def _copies(names: Sequence[str]) -> dict[int, list[int]]:
    """Rows of names that occur again, by the row where they occur first."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return {first: again for first, *again in rows.values() if again}
