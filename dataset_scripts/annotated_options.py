"""What :mod:`.annotated` can be told: a dataclass, a command line, a YAML file."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg.commands.shared_arguments import MONTAGES, parse_rename, split_list
from modeling_mteeg.dataset_scripts.renaming import checked_rename
from modeling_mteeg.model.mains_notch import NotchHz, checked_notch, parse_notch
from modeling_mteeg.settings.command_line import CommandParser
from modeling_mteeg.settings.config_file import read_tree
from modeling_mteeg.settings.schema import ConfigError, nearest, read_section, setting
from modeling_mteeg.settings.vocabulary import add_option

FROM_FILE = "file"
"""Instead of a montage: positions in an ``electrodes.tsv``, else in the recording's file."""
SUBJECT_WORDS = ("auto", "table", "bids", "folder", "name")
_NOT_THE_WINDOWS = ("folder", "corpus", "license", "description")


@dataclasses.dataclass(frozen=True)
class AnnotatedOptions:
    """How windows and classes are found in a folder of recordings.

    Parameters
    ----------
    labels : tuple of str
        Classes in order; of two the second is the positive one.
    labels_from : {"events", "table", "name"}
        ``events``: a BIDS events file beside the recording, else the file's annotations; ``table``:
        a class for a whole recording or person, from ``table``; ``name``: by ``label_by_name``.
    label_by_name : dict
        Regular expression, searched in the path below the folder without suffix, to class; the
        whole recording has it. Given, it is ``labels_from: name``.
    events : dict
        Description of an event to the class it stands for, where they differ; several may stand
        for one class.
    event_column : str
        Column of a BIDS events file that holds the description.
    table, label_column : str
        Table of labels (``.tsv``, or ``.csv``) below the folder, with a column ``file`` (or
        ``participant_id`` or ``subject``, for whole people), and the column with the classes.
    subject_from : str
        ``table``, ``bids`` (``sub-01`` in the path), ``folder`` (the first below the raw one),
        ``name`` (every file is a person), or a regular expression with one group, searched in the
        path; ``auto``: the table where it has files and subjects, else BIDS.
    files : str
        Pattern of the recordings that are used, such as ``*task-rest*``; empty: all.
    window : float, optional
        Seconds. By default as long as the usual labelled event, 1 to 10 whole seconds; where events
        are moments, up to the next one, 4 at most; 4 where whole recordings have labels.
    windows : {"auto", "cue", "inside"}
        ``cue``: one window an event, from its onset; ``inside``: consecutive ones over its
        duration; ``auto``: inside events that are as long as a window, from the cue of shorter
        ones.
    offset : float
        Seconds from the event's onset to the first window; may be below 0.
    channels : tuple of str
        By default all electrodes of the 10-20 and 10-10 systems that every recording has.
    rename : dict
        Channels that are meant by other names, old to new, such as ``{T7: T3}``; taken so in every
        recording that has them.
    keep_bad_channels : bool
        Use channels that a header or ``channels.tsv`` marks as bad. Else they count as not there:
        no channel of the task by default, and a recording that lacks one of ``channels`` is
        skipped.
    bids : bool
        The folder is a BIDS dataset: only files named ``sub-..._eeg.*`` are recordings.
    bids_task, session, run : tuple of str
        Only recordings with one of these in their BIDS names; empty: all.
    interpolate : str
        Make those of ``channels`` that a recording lacks from the others, by the positions of one
        of MNE's standard montages, or by those in ``electrodes.tsv`` or the ``file``; empty: do
        not.
    cut_before_filter : bool
        Cut by the events first, then filter each piece alone: for files that are trials end to end.
    constant : {"leave-out", "keep"}
        Windows in which channels stay at one value for half of it or more, as padded ends do.
    highpass, lowpass : float or None
        Filters in Hz; None leaves one out.
    notch : float, list of float or None
        Mains frequency in Hz, or several, such as ``[50, 60]``.
    corpus, license, description : str
        For the cards.
    folder : str
        Below the raw folder, for a file of several tasks; by default the task's name.
    """

    labels: tuple[str, ...] = ()
    labels_from: str = setting("events", "events|table|name")
    label_by_name: dict[str, str] = setting({})
    events: dict[str, str] = setting({})
    event_column: str = "trial_type"
    table: str = "labels.tsv"
    label_column: str = "label"
    subject_from: str = "auto"
    files: str = ""
    window: float | None = setting(None, "> 0")
    windows: str = setting("auto", "auto|cue|inside")
    offset: float = 0.0
    channels: tuple[str, ...] = ()
    rename: dict[str, str] = setting({})
    keep_bad_channels: bool = False
    bids: bool = False
    bids_task: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    interpolate: str = ""
    cut_before_filter: bool = False
    constant: str = setting("leave-out", "leave-out|keep")
    highpass: float | None = setting(0.1, "> 0")
    lowpass: float | None = setting(75.0, "> 0")
    notch: Any = 50.0
    corpus: str = ""
    license: str = "not stated"
    description: str = ""
    folder: str = ""

    def __post_init__(self) -> None:
        if self.label_by_name:
            object.__setattr__(self, "labels_from", "name")
        if self.labels and (len(self.labels) < 2 or len(set(self.labels)) < len(self.labels)):
            raise ValueError(f"labels: expected two or more different ones, found {self.labels}.")
        if not math.isfinite(self.offset):
            raise ValueError(f"offset: expected seconds, found {self.offset}.")
        object.__setattr__(self, "rename", checked_rename(self.rename))
        notch = checked_notch(self.notch)  # of the kinds that a command line gives
        object.__setattr__(self, "notch", float(notch) if isinstance(notch, int) else notch)
        if self.interpolate and not self.channels:
            raise ValueError("interpolate: name the channels that are wanted, too (--channels).")
        if self.labels_from == "name" and not self.label_by_name:
            raise ValueError("label_by_name: expected rules such as '_1$=rest,_2$=task'.")
        for key, given in (("label_by_name", self.label_by_name), ("events", self.events)):
            strange = sorted(set(given.values()) - set(self.labels))
            if strange and self.labels:
                raise ValueError(
                    f"{key}: expected classes among {', '.join(self.labels)}, found "
                    f"{', '.join(strange)}."
                )
        for pattern in self.label_by_name:
            _compiled("label_by_name", pattern)
        if self.subject_from not in SUBJECT_WORDS and self.subject_pattern.groups != 1:
            raise ValueError(
                f"subject_from: expected {', '.join(SUBJECT_WORDS)} or a regular expression with "
                f"one group, such as '(S[0-9]+)_', found {self.subject_from!r}."
            )

    @property
    def entities(self) -> dict[str, tuple[str, ...]]:
        """Entities of BIDS that recordings must have, with the values of each."""
        asked = {"task": self.bids_task, "ses": self.session, "run": self.run}
        return {key: values for key, values in asked.items() if values}

    @property
    def subject_pattern(self) -> re.Pattern[str]:
        """``subject_from`` where it is none of the words."""
        return _compiled("subject_from", self.subject_from)

    def given(self) -> dict[str, Any]:
        """Options that decide the windows and are not at their defaults, in plain types."""
        plain, defaults = dataclasses.asdict(self), dataclasses.asdict(AnnotatedOptions())
        changed = {key: value for key, value in plain.items() if value != defaults[key]}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in changed.items()
            if key not in _NOT_THE_WINDOWS
        }


def _compiled(key: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"{key}: expected a regular expression, found {pattern!r}: {error}."
        ) from error


# fmt: off
def add_options(parser: Any) -> None:
    """Declare every option; what is not given stays away from the namespace."""
    add = functools.partial(parser.add_argument, default=argparse.SUPPRESS)
    shared = functools.partial(add_option, parser, default=argparse.SUPPRESS)
    add("--labels", type=_listed, metavar="A,B",
        help="classes in order, separated by commas; of two the second is the positive one")
    add("--labels-from", choices=("events", "table", "name"),
        help="events files or annotations (default), a table, or file names")
    add("--label-by-name", action="append", metavar="REGEX=LABEL",
        help="class of whole recordings by name, such as '_1$=rest,_2$=task'; may be repeated")
    add("--event", dest="events", action="append", metavar="TEXT=LABEL",
        help="an event's description that stands for a class, such as T1=left; may be repeated")
    add("--event-column", help="of BIDS events files (default: trial_type)")
    add("--label-table", dest="table", metavar="FILE",
        help="table of labels and subjects (default: labels.tsv)")
    add("--label-column", help="of that table (default: label)")
    shared("--subject-from", "table, bids, folder, name, or a regular expression with one group")
    add("--files", metavar="PATTERN", help="use these only, such as '*task-rest*'")
    shared("--window")
    add("--windows-by", dest="windows", choices=("auto", "cue", "inside"),
        help="one from the cue, or consecutive ones inside the event (default: by its length)")
    shared("--offset")
    shared("--channels", "(default: all electrodes that every recording has)", type=_listed)
    add("--keep-bad-channels", action="store_true",
        help="use channels that are marked bad in a header or in channels.tsv")
    add("--bids", action="store_true",
        help="a BIDS dataset: only files named sub-..._eeg.* are recordings")
    for name in ("bids-task", "session", "run"):
        add(f"--{name}", type=_listed, metavar="A,B", help=f"only this {name} by BIDS names")
    shared("--interpolate", MONTAGES, nargs="?", const=FROM_FILE)
    add("--cut-before-filter", action="store_true",
        help="filter every annotated piece alone: for files that are trials end to end")
    shared("--constant", "(default: leave-out)", choices=("leave-out", "keep"))
    shared("--highpass", "or none (default: 0.1)", type=_hz)
    add("--lowpass", type=_hz, metavar="HZ", help="Hz, or none (default: 75)")
    shared("--notch", "or none (default: 50)", type=_notch)
    add("--corpus-name", dest="corpus", metavar="NAME", help="of the corpus, for the cards")
    for name in ("license", "description"):
        add(f"--{name}", help=f"{name} of the corpus, for the cards")


def add_old_spellings(parser: CommandParser) -> None:
    """Let the options that have new names go by their earlier ones, too."""
    for old, new in (("--column", "--event-column"), ("--table", "--label-table"),
                     ("--windows", "--windows-by"), ("--corpus", "--corpus-name")):
        parser.old_spelling(old, new)
# fmt: on


def options_of(arguments: argparse.Namespace) -> AnnotatedOptions:
    """The options that a command line gives.

    Raises
    ------
    ValueError
        A pair without ``=``, or options that contradict each other.
    """
    names = {field.name for field in dataclasses.fields(AnnotatedOptions)}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    for name in ("label_by_name", "events"):
        if name in given:
            given[name] = _pairs(f"--{name.removesuffix('s')}".replace("_", "-"), given[name])
    if "rename" in given:  # a list of words
        given["rename"] = parse_rename(given["rename"])
    return AnnotatedOptions(**given)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(split_list(text) or ())


def _hz(text: str) -> float | None:
    value = None if text.lower() in ("none", "null") else float(text)
    if value is not None and not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected Hz above 0 or none, found {text}")
    return value


def _notch(text: str) -> NotchHz:
    try:
        return parse_notch(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` words; several may stand in one, with commas between them."""
    pairs: dict[str, str] = {}
    for word in words:
        parts = word.split(",")
        for part in parts if all("=" in one for one in parts) else [word]:
            key, equals, value = part.rpartition("=")
            if not (equals and key and value):
                raise ValueError(f"{option}: expected TEXT=LABEL, found {part!r}.")
            pairs[key] = value.strip()
    return pairs


@dataclasses.dataclass(frozen=True)
class TasksSection:
    """A file of several tasks: their options by name."""

    tasks: dict[str, AnnotatedOptions] = dataclasses.field(default_factory=dict)


def read_tasks(path: str | Path, wanted: Sequence[str] = ()) -> Mapping[str, AnnotatedOptions]:
    """Tasks and their options from a YAML file; with ``wanted`` only these.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ConfigError
        Everything that is wrong with it.
    """
    tree, faults = read_tree(path)
    section = read_section(TasksSection, tree, "", faults)
    if not section.tasks and not faults:
        faults.append("tasks: expected one or more, found none")
    for task in wanted:
        if task not in section.tasks:
            faults.append(f"--tasks {task}: not in the file{nearest(task, section.tasks)}")
    if faults:
        raise ConfigError(str(path), faults)
    return {task: section.tasks[task] for task in wanted or section.tasks}
