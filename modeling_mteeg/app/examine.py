"""What a dropped recording is, and which tasks suit it, without reading its signal."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..model.channel_choice import choose_channels
from ..model.channels import numbered_system, other_names
from ..model.recording_sources import Source, open_source
from ..model.task_card import TaskCard
from ..recordings.montage import rename_channels
from .uploads import gather_recording, open_recording

_NAMED = 4


@dataclasses.dataclass(frozen=True)
class Fit:
    """Whether a task can run on a recording, and in words what is missing or derived.

    ``exact``: all its channels were recorded as such, none has to be derived.
    """

    task: str
    fits: bool
    words: str
    exact: bool = False


@dataclasses.dataclass(frozen=True)
class Examined:
    """What a recording is, and how every task fits it."""

    facts: Mapping[str, str]
    fits: tuple[Fit, ...]

    @property
    def suggested(self) -> list[str]:
        """Tasks to mark: those that find exactly their channels, else all that can run."""
        able = [fit for fit in self.fits if fit.fits]
        return [fit.task for fit in able if fit.exact] or [fit.task for fit in able]


def examine(
    tasks: Mapping[str, TaskCard], files: Sequence[str | Path] | None, rename: Mapping[str, str]
) -> Examined:
    """Look at the files of a recording that were dropped.

    Parameters
    ----------
    tasks : mapping of str to TaskCard
    files : sequence of str or Path
    rename : mapping of str to str
        Channels that are meant by other names.

    Raises
    ------
    ValueError
        They are not one readable recording, or lack a name that was to be changed.
    """
    with tempfile.TemporaryDirectory(prefix="mteeg-app-") as folder:
        path = gather_recording(files, folder)
        raw = open_recording(path)
        source = rename_channels(open_source(raw), rename)
        fits = tuple(fit_of(task, card, source) for task, card in tasks.items())
        facts = recording_facts(raw, path)
        del facts["Recording"]  # stands above, with its size
        return Examined(facts, fits)


def fit_of(task: str, card: TaskCard, source: Source) -> Fit:
    """How a task's channels are found among those of a recording."""
    longest_s = max((part.samples for part in source.parts), default=0) / source.rate_hz
    if longest_s < card.window_s:
        what = "every part is shorter" if len(source.parts) > 1 else "shorter"
        return Fit(task, False, f"{what} than its window of {card.window_s:g} s")
    try:
        choice = choose_channels(source, card.channels or None, len(card.channels))
    except ValueError:
        none = f"none of its {len(card.channels)} channels is there"
        words = numbered_system(source.names) or none + _other_names(card.channels, source)
        return Fit(task, False, words)
    if choice.missing:
        shown = ", ".join(choice.missing[:_NAMED])
        more = f" and {len(choice.missing) - _NAMED} more" if len(choice.missing) > _NAMED else ""
        words = f"{len(choice.missing)} of {len(card.channels)} channels missing: {shown}{more}"
        if choice.reasons:
            words += "".join(f"; {name}: {why}" for name, why in choice.reasons.items())
        words += _other_names(choice.missing, source)
        return Fit(task, len(choice.missing) <= card.max_missing_channels, words)
    derived = f", {len(choice.derived)} derived" if choice.derived else ""
    words = f"all {len(choice.names)} channels{derived}"
    return Fit(task, True, words, exact=not choice.derived)


def _other_names(missing: Sequence[str], source: Source) -> str:
    """Names to change in the page's options, where the other naming system has the channels."""
    pairs = [f"{old}={new}" for old, new in other_names(missing, source.names).items()]
    return f". Meant by other names? Options, Channel names: {', '.join(pairs)}" if pairs else ""


def recording_facts(raw: Any, path: Path) -> dict[str, str]:
    """Name, length (pauses counted), parts where there are several, rate, number of channels."""
    source = open_source(raw)
    facts = {"Recording": path.name, "Length": length_text(source.end_s)}
    if len(source.parts) > 1:
        recorded_s = sum(part.samples for part in source.parts) / source.rate_hz
        facts["Parts"] = f"{len(source.parts)}, {length_text(recorded_s)} recorded"
    return facts | {"Rate": f"{source.rate_hz:g} Hz", "Channels": f"{len(raw.ch_names)}"}


def length_text(seconds: float) -> str:
    """A length in hours and minutes, or minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else rest, "s")]
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "0 s"
