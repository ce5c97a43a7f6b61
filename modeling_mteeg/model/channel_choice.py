"""Which channels of a recording serve a task: found by name, derived, missing, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from .channel_units import NO_UNIT, UNIT_REMEDY
from .channels import (
    amplifier_numbers,
    clean_name,
    is_known,
    montage_of_numbers,
    numbered_system,
    other_names,
)
from .findings import Finding
from .record_parts import Part
from .recording_sources import Source, grouped_reasons
from .signal_checks import AMPLITUDE_REMEDY, OtherUnitError, SignalError
from .signal_ranges import NO_SCALE, RANGE_REMEDY
from .visible_text import MOST_NAMES, MOST_REASONS, listed

NOT_INTERPOLATED = "not interpolated: "
"""How the reason begins why an electrode cannot be interpolated."""


@dataclasses.dataclass(frozen=True)
class ChannelChoice:
    """Which channels of a recording serve, and how each is made.

    Parameters
    ----------
    names : tuple of str
        Channels in the order wanted, without the missing ones.
    parts : tuple of tuple of str
        For every channel the recording's channel, or the two whose difference it is.
    missing : tuple of str
        Wanted channels that the recording cannot give.
    reasons : mapping of str to str
        Why, of those that are there and cannot be used.
    """

    names: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...]
    missing: tuple[str, ...] = ()
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def derived(self) -> tuple[str, ...]:
        """Channels that are differences of two others."""
        return tuple(n for n, part in zip(self.names, self.parts, strict=True) if len(part) == 2)

    @property
    def needed(self) -> tuple[str, ...]:
        """Channels of the recording to read, each once."""
        return tuple(dict.fromkeys(half for part in self.parts for half in part))

    def derive(self, signal: np.ndarray, order: Sequence[str]) -> np.ndarray:
        """The chosen channels (..., channels, samples) from those named in ``order``.

        Returns ``signal`` itself where nothing has to be done, else a new array.
        """
        if self.parts == tuple((name,) for name in order):
            return signal
        place = {name: row for row, name in enumerate(order)}
        out = signal[..., [place[part[0]] for part in self.parts], :]
        for row, part in enumerate(self.parts):
            if len(part) == 2:
                out[..., row, :] -= signal[..., place[part[1]], :]
        return out


def choose_channels(
    source: Source, wanted: Sequence[str] | None = None, max_missing: int = 0
) -> ChannelChoice:
    """Find the channels that are wanted among those of a recording.

    Parameters
    ----------
    source : Source
    wanted : sequence of str or None
        Names; None takes every channel in the recording's order.
    max_missing : int
        How many of them may be missing.

    Returns
    -------
    ChannelChoice

    Raises
    ------
    SignalError
        More are missing than may be, or all of them; or names are an amplifier's own numbers.

    Notes
    -----
    Channels that are there, but unfit for their unit, count as missing. A bipolar name that the
    recording does not have, but whose two electrodes it has, is derived as their difference; with a
    common reference this is exact.
    """
    present = dict.fromkeys(source.names)
    if wanted is None:
        unfit = (name for name in source.unfit if is_known(name) and name not in present)
        names = (*present, *unfit)
    else:
        names = tuple(clean_name(name) for name in wanted)
    _check_system(source, wanted is None, names)
    kept, parts, missing = [], [], []
    for name in names:
        halves = tuple(name.split("-"))
        if name in present:
            parts.append((name,))
        elif len(halves) == 2 and all(half in present for half in halves):
            parts.append(halves)
        else:
            missing.append(name)
            continue
        kept.append(name)
    if missing and (len(missing) > max_missing or not kept):
        raise SignalError(_missing_text(source, missing, len(names), max_missing))
    reasons = {
        name: source.unfit[half]
        for name in missing
        for half in (name, *name.split("-"))
        if half in source.unfit
    }
    return ChannelChoice(tuple(kept), tuple(parts), tuple(missing), reasons)


def _check_system(source: Source, all_of_them: bool, wanted: Sequence[str]) -> None:
    """Raise where names are an amplifier's numbers, unless all that are wanted are none of them."""
    sentence = numbered_system(source.names)
    if not sentence:
        return
    there = {*source.names, *source.unfit} - amplifier_numbers(source.names)
    found = [name in there or there.issuperset(name.split("-")) for name in wanted]
    if all_of_them or not all(found):
        text = (
            f"{sentence} In Python: rename={{{source.names[0]!r}: 'FP1', ...}}; on the command "
            f"line: --rename {source.names[0]}=FP1 ..."
        )
        montage = montage_of_numbers(source.names)
        if montage:
            text += (
                " Or interpolate the task's electrodes (predict, explain): "
                f"interpolate={montage!r}; on the command line: --interpolate {montage}."
            )
        raise SignalError(text)


def without_unfit(source: Source, error: OtherUnitError) -> Source:
    """The recording without the channels that turned out to be in another unit.

    Raises
    ------
    OtherUnitError
        The same, where any of them is a difference of two electrodes: which is it?
    """
    if not all(name in source.names for name in error.reasons):
        raise error
    return source.without(error.reasons)


def read_channels(source: Source, choice: ChannelChoice, parts: Sequence[Part]) -> np.ndarray:
    """Read the recording's channels that a choice needs.

    Parameters
    ----------
    source : Source
    choice : ChannelChoice
        Of this source.
    parts : sequence of Part
        What is read of a continuous recording, each part for itself; of windows all is read.

    Returns
    -------
    numpy.ndarray
        (windows, channels, samples), in ``source.unit``: ``choice.needed``, of which
        :meth:`ChannelChoice.derive` makes those that were chosen; parts one behind the other.

    Raises
    ------
    SignalError
        One name stands for channels that differ.
    ValueError
        The file is damaged.

    Notes
    -----
    A name that occurs several times with equal signals (``T8-P8`` in CHB-MIT) is taken once.
    """
    rows = rows_by_name(source)
    repeated = [name for name in choice.needed if len(rows[name]) > 1]
    firsts = [rows[name][0] for name in choice.needed]
    pieces = []
    for part in parts or (None,):
        for name in repeated:
            check_equal(name, _read(source, rows[name], part))
        pieces.append(_read(source, firsts, part))
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=2)


def _read(source: Source, positions: list[int], part: Part | None) -> np.ndarray:
    """A part of a continuous recording; None: all windows."""
    if part is None:
        return source.read(positions)
    return source.read_span(positions, part.start, part.stop)


def rows_by_name(source: Source) -> dict[str, list[int]]:
    """Positions of the channels of every name; several where the name is repeated."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(source.names):
        rows.setdefault(name, []).append(row)
    return rows


def channel_findings(source: Source, choice: ChannelChoice) -> list[Finding]:
    """Labels that occur several times, derived channels, missing ones."""
    found = []
    rows = rows_by_name(source)
    twice = tuple(name for name in choice.needed if len(rows[name]) > 1)
    if twice:
        sentence = f"Several times there, with equal signals, and taken once: {', '.join(twice)}."
        found.append(Finding("repeated-label", sentence, channels=twice))
    if choice.derived:
        sentence = f"Derived as differences of two electrodes: {', '.join(choice.derived)}."
        found.append(Finding("derived", sentence, channels=choice.derived))
    if choice.missing:
        found.append(Finding(_why(choice), missing_note(choice), channels=choice.missing))
    return found


def _why(choice: ChannelChoice) -> str:
    """The code for channels that are missing: that of the reason where all have the same."""
    reasons = [choice.reasons.get(name, "") for name in choice.missing]
    for start, code in ((NO_UNIT, "unknown-unit"), (NO_SCALE, "range")):
        of_this = [reason.startswith(start) for reason in reasons]
        if any(of_this):
            return code if all(of_this) else "missing"
    return "other-unit" if all(reasons) else "missing"


def missing_note(choice: ChannelChoice) -> str:
    """Sentence about the channels that are missing, where they may be."""
    count = len(choice.names) + len(choice.missing)
    shown = [name for name in choice.missing if name not in choice.reasons]
    shown += grouped_reasons(choice.reasons)
    return (
        f"{len(choice.missing)} of the task's {count} channels are missing and left out: "
        f"{listed(shown, MOST_NAMES)}. The task was not trained on such montages."
    )


def check_equal(name: str, copies: np.ndarray) -> None:
    """Raise where the channels (..., copies, samples) of one name differ."""
    first = np.broadcast_to(copies[..., :1, :], copies.shape)
    if not np.array_equal(copies, first, equal_nan=True):
        raise SignalError(
            f"Expected every channel once, found {name} {copies.shape[-2]} times with different "
            "signals. Rename or drop the wrong one."
        )


def _missing_text(source: Source, missing: Sequence[str], count: int, max_missing: int) -> str:
    text = (
        f"Expected {count} channels, of which {len(missing)} are missing: "
        f"{listed(missing, MOST_NAMES)}. Found: {listed(source.names, MOST_NAMES)}."
    )
    unfit = source.unfit
    if source.left_out or unfit:
        unused = [*source.left_out, *grouped_reasons(unfit)]
        text += f" Not usable: {listed(unused, MOST_REASONS)}."
    if any(reason.startswith(NO_UNIT) for reason in unfit.values()):
        text += f" {UNIT_REMEDY}"
    if any(reason.startswith(NO_SCALE) for reason in unfit.values()):
        text += f" {RANGE_REMEDY}"
    told = (NO_UNIT, NO_SCALE, NOT_INTERPOLATED)
    if not any(reason.startswith(NO_UNIT) for reason in unfit.values()) and not all(
        reason.startswith(told) for reason in unfit.values()
    ):
        text += f" {AMPLITUDE_REMEDY}"
    pairs = other_names(missing, source.names)
    if pairs:
        text += (
            f" {', '.join(f'{new} is {old}' for old, new in pairs.items())} in the other naming "
            f"system: rename them if they are meant (rename={pairs}; on the command line "
            f"{' '.join(f'--rename {old}={new}' for old, new in pairs.items())})."
        )
    if max_missing:
        text += f" At most {max_missing} may be missing, and at least one must be there."
    filled = "Nothing is filled in; add"
    if any(reason.startswith(NOT_INTERPOLATED) for reason in unfit.values()):
        filled = "An electrode that none is near to cannot be interpolated: add"
    return f"{text} {filled} the channels, or choose a task that fits."
