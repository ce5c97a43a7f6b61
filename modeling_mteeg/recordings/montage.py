"""Which channels of a recording serve which task, and under which names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ..model.channel_choice import (
    NOT_INTERPOLATED,
    ChannelChoice,
    channel_findings,
    choose_channels,
)
from ..model.channels import channel_ids, clean_name
from ..model.findings import Finding
from ..model.head_options import CHANNELS_ADVICE
from ..model.recording_sources import Source
from ..model.signal_checks import SignalError
from ..model.task_card import TaskCard
from ..model.visible_text import MOST_NAMES, listed

LEAST_SOURCES = 8
"""Electrodes with a position that an interpolation needs."""


def rename_channels(source: Source, rename: Mapping[str, str]) -> Source:
    """The same recording under other channel names.

    Parameters
    ----------
    source : Source
    rename : mapping of str to str
        Name in the recording to the name that is meant, such as ``{"T7": "T3"}``; both are cleaned
        first. Names are exchanged at once, so two may be swapped.

    Raises
    ------
    SignalError
        The recording lacks a name, or already has the new one.
    """
    if not rename:
        return source
    new = {clean_name(old): clean_name(name) for old, name in rename.items()}
    there = (*source.names, *source.unfit)
    absent = [old for old in new if old not in there]
    if absent:
        raise SignalError(
            f"Expected channels to rename, but {', '.join(absent)} are not in the recording. "
            f"Found: {listed(source.names, MOST_NAMES)}."
        )
    taken = [name for old, name in new.items() if name in there and name not in new]
    twice = {name for name in new.values() if list(new.values()).count(name) > 1}
    if taken or twice:
        raise SignalError(
            f"Cannot rename channels to {', '.join(sorted({*taken, *twice}))}: every name may "
            "occur once. Rename or leave out the other one, too."
        )
    names = tuple(new.get(name, name) for name in source.names)
    unfit = {new.get(name, name): reason for name, reason in source.unfit.items()}
    return dataclasses.replace(source, names=names, unfit=unfit)


def choose_for_task(source: Source, card: TaskCard, allow_missing: int | None) -> ChannelChoice:
    """The task's channels among the recording's.

    Parameters
    ----------
    source : Source
    card : TaskCard
        Its channels; without any, all those of the recording.
    allow_missing : int or None
        How many may be missing; None: as many as the card allows.

    Raises
    ------
    SignalError
        More are missing; the message names them and says what the card allows. A head with
        weights for every channel allows none, whatever ``allow_missing`` says.
    UnknownChannelError
        Channels of the recording that the spatial table does not know.
    """
    most = card.max_missing_channels if allow_missing is None else allow_missing
    by_channel = card.head.kind == "channels"
    most = 0 if by_channel else most
    try:
        choice = choose_channels(source, card.channels or None, most)
    except SignalError as error:
        advice = (
            f" The card of task {card.name!r} allows {card.max_missing_channels or 'none'} to be "
            "missing; allow_missing (--allow-missing) says otherwise."
        )
        if by_channel:
            advice = (
                " Its head has weights of its own for every channel, so that none may be missing "
                f"(allow_missing does not apply). {CHANNELS_ADVICE}"
            )
        if len(source.places) >= LEAST_SOURCES and NOT_INTERPOLATED not in str(error):
            advice += (
                f" {len(source.places)} electrodes have a position: interpolate=True "
                "(--interpolate) makes those that are near enough to them."
            )
        raise SignalError(f"Task {card.name!r}: {error}{advice}") from error
    channel_ids(choice.names, card.bipolar)
    return choice


def findings_on(
    source: Source, choice: ChannelChoice, card: TaskCard, rename: Mapping[str, str]
) -> list[Finding | str]:
    """How the channels differ from the recording's or the task's; sentences where that is usual."""
    found: list[Finding | str] = []
    if rename:
        pairs = ", ".join(f"{clean_name(old)} as {clean_name(new)}" for old, new in rename.items())
        names = tuple(clean_name(new) for new in rename.values())
        sentence = f"Channels were taken under other names: {pairs}."
        found.append(Finding("renamed", sentence, channels=names))
    found += channel_findings(source, choice)
    if not card.channels:
        found.append(f"No channels are named; used were {', '.join(choice.names)}.")
    return found


def electrodes_of(choices: Sequence[ChannelChoice]) -> tuple[str, ...]:
    """Channels of the recording that any of the choices needs, each once."""
    return tuple(dict.fromkeys(name for choice in choices for name in choice.needed))
