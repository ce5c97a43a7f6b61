"""A folder of recordings before any signal is read: whose, with which channels and events."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg._clone import as_typed
from modeling_mteeg.dataset_scripts.annotated_options import AnnotatedOptions
from modeling_mteeg.dataset_scripts.completeness import names_missing, some_names
from modeling_mteeg.dataset_scripts.corpus import Recording, mark_repeated
from modeling_mteeg.dataset_scripts.electrode_choice import blame_unlike
from modeling_mteeg.dataset_scripts.labelling import (
    Event,
    LabelTable,
    label_by_name,
    read_events,
    usual_window_s,
)
from modeling_mteeg.dataset_scripts.opening import check_header, refused_or_given
from modeling_mteeg.dataset_scripts.renaming import channels_renamed, taken_names
from modeling_mteeg.dataset_scripts.unlabelled.layouts import Source, UnlabelledRecording
from modeling_mteeg.model.bids_channels import reasons_by_table
from modeling_mteeg.model.bids_sidecars import find_sidecars, has_entities, is_bids_eeg, values_of
from modeling_mteeg.model.channels import (
    ELECTRODES,
    clean_name,
    montage_of_numbers,
    numbered_system,
)
from modeling_mteeg.model.file_faults import blamed_on
from modeling_mteeg.model.record_times import stretches, time_fault
from modeling_mteeg.model.recording_headers import (
    RecordingError,
    RecordingWarning,
    read_edf_header,
)
from modeling_mteeg.model.visible_text import MOST_NAMES, listed
from modeling_mteeg.recordings.bids_events import events_file


@dataclasses.dataclass(frozen=True)
class Found:
    """What is known of a recording.

    Parameters
    ----------
    recording : Recording
    channels : tuple of str
        Clean names.
    seconds : float
    events : tuple of Event
        Those with a class, which is their text; a recording of one class is one event.
    others : Counter
        Descriptions of events that stand for no class.
    bad : tuple of Event
        Parts that annotations mark as bad (``BAD...``, as MNE has it).
    unusable : mapping of str to str
        Clean names of channels that are there and not used, with the reason.
    remarks : tuple of str
        What is odd about its events, ``kind: details`` each.
    """

    recording: Recording
    channels: tuple[str, ...] = ()
    seconds: float = 0.0
    events: tuple[Event, ...] = ()
    others: Counter[str] = dataclasses.field(default_factory=Counter)
    bad: tuple[Event, ...] = ()
    unusable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def used(self) -> bool:
        return not (self.recording.left_out or self.recording.fault)


class Survey:
    """All recordings of a folder.

    Attributes
    ----------
    channels : tuple of str
        Those of the task.
    window_s : float
        Of the task.
    """

    def __init__(self, raw: Path, task: str, options: AnnotatedOptions) -> None:
        self.raw, self.options, self.task = raw, options, task
        self._table = self._open_table()
        self._found: dict[str, Found] | None = None
        self._renamed: dict[str, str] = {}
        self._check_labels()
        self.channels, self._without = self._common_channels()
        events = [one.events for one in self._used()]
        whole = options.labels_from != "events"
        self.window_s = options.window or usual_window_s(events, whole)

    @property
    def found(self) -> dict[str, Found]:
        """All recordings by key, sorted."""
        if self._found is None:
            self._found = self._look_at_all()
        return self._found

    def of(self, recording: Recording) -> Found:
        """What is known of one recording, without a look at the others."""
        if self._found is not None:
            return self._found[recording.key]
        return self._look(Source().describe(self.raw, recording.path), recording.subject)

    def __getstate__(self) -> dict[str, Any]:
        """Without the recordings: it travels to a process with each of them."""
        return {**self.__dict__, "_found": None}

    def _look_at_all(self) -> dict[str, Found]:
        there = [one for one in Source().find(self.raw) if self._fits(one)]
        files = [one for one in there if has_entities(one.path, self.options.entities)]
        if not files:
            raise FileNotFoundError(self._nothing(there))
        subjects = {one.key: self._subject(one) for one in files}
        self._check_subjects({one.key: subjects[one.key] for one in files if not one.left_out})
        found = [self._look(one, subjects[one.key]) for one in files]
        if not self.options.channels:
            found = blame_unlike(found)
        by_path = {one.recording.path: one for one in found}
        marked = mark_repeated([one.recording for one in found])
        return {
            recording.key: dataclasses.replace(by_path[recording.path], recording=recording)
            for recording in marked
        }

    def recordings(self) -> list[Recording]:
        """All of them, used or not, sorted by key."""
        return [one.recording for one in self.found.values()]

    def notes(self) -> list[str]:
        """What is not used, a sentence each: recordings, events and channels."""
        kinds = Counter(text for one in self._used() for text in one.others.elements())
        reasons: dict[str, list[str]] = {}
        for one in self.found.values():
            if one.recording.left_out:
                reasons.setdefault(one.recording.left_out, []).append(one.recording.path.name)
        lines = [] if self.options.window else [f"Windows of {self.window_s:g} s (--window)"]
        lines += [f"Not used, {why}: {len(names)} recordings ({some_names(names, 3)})"
                  for why, names in sorted(reasons.items())]  # fmt: skip
        if kinds:
            shown = ", ".join(f"{text} ({count})" for text, count in sorted(kinds.items()))
            lines.append(f"Events that stand for no class and are not used: {shown}")
        return lines + self._without

    def people_without_recording(self) -> list[str]:
        """Of a BIDS dataset, who of ``participants.tsv`` is not there, and who is not in it."""
        path = self.raw / "participants.tsv"
        if not (self.options.bids and path.is_file()):
            return []
        try:
            listed = LabelTable(path).subjects
        except ValueError as error:
            return [f"It is not used: {error}"]
        bare = {name.removeprefix("sub-") for name in listed}
        here = {one.recording.subject.removeprefix("sub-") for one in self.found.values()
                if not one.recording.left_out}  # fmt: skip
        told = names_missing("people of participants.tsv", sorted(bare), here)
        more = sorted(here - bare)
        return told + ([f"participants.tsv has no row of {some_names(more)}"] if more else [])

    def _used(self) -> list[Found]:
        return [one for one in self.found.values() if one.used]

    def _open_table(self) -> LabelTable | None:
        path = self.raw / self.options.table
        if path.is_file():
            return LabelTable(path)
        if self.options.labels_from == "table" or self.options.subject_from == "table":
            raise FileNotFoundError(f"No table of labels: expected {path} (--label-table).")
        return None

    def _fits(self, one: UnlabelledRecording) -> bool:
        pattern = self.options.files
        fits = not pattern or Path(one.key).match(pattern) or one.path.match(f"{pattern}.*")
        return fits and (is_bids_eeg(one.path) or not self.options.bids)

    def _nothing(self, there: Sequence[UnlabelledRecording]) -> str:
        """Why there is nothing to prepare, and what there is."""
        options = self.options
        if options.bids and not there:
            command = as_typed("python -m dataset_scripts.annotated")
            return (
                f"{self.task}: no EEG recording below {self.raw} that is named as BIDS has it "
                f"(sub-..._eeg.edf and others); {command} takes any names."
            )
        if there and options.entities:
            found = values_of([one.path for one in there], options.entities)
            asked, has = ("; ".join(f"{key} {', '.join(of)}" for key, of in values.items())
                          for values in (options.entities, found))  # fmt: skip
            return f"{self.task}: no recording of {asked}. There are {has}."
        only = f" that fits {options.files!r}" if options.files else ""
        return f"{self.task}: no recording{only} that MNE reads below {self.raw}."

    # Whose they are ------------------------------------------------------------------------------

    def _subject(self, one: UnlabelledRecording) -> str:
        way, table = self.options.subject_from, self._table
        if way in ("auto", "table") and table is not None and table.by_file:
            subject = table.of_file(one.key).get(table.people, "")
            if subject or way == "table":
                return subject
        if way == "name":
            return one.path.name.partition(".")[0]
        if way == "folder":
            first, slash, _ = one.key.partition("/")
            return first if slash else ""
        if way in ("auto", "bids"):
            return one.subject
        match = self.options.subject_pattern.search(one.key) if way != "table" else None
        return (match[1] or "") if match else ""

    def _check_subjects(self, subjects: Mapping[str, str]) -> None:
        unknown = [key for key, subject in subjects.items() if not subject]
        if unknown:
            raise ValueError(
                f"{self.raw}: expected to know whom every recording is of, found nobody for "
                f"{len(unknown)} of {len(subjects)}: {some_names(unknown, 6)}. Windows of a person "
                "must not be in two splits, so say --subject-from name (every file is another "
                "person), folder, bids, or a regular expression with one group such as "
                "'(S[0-9]+)_'; or write columns file and subject into labels.tsv."
            )

    # What is in them -----------------------------------------------------------------------------

    def _look(self, one: UnlabelledRecording, subject: str) -> Found:
        """Header and labels of a recording; what is wrong with them becomes its fault."""
        key = one.path.name.partition(".")[0]
        # Names of BIDS are unique; beside the data they come again.
        if one.left_out or not key.startswith("sub-"):
            key = "_".join((*Path(one.key).parts[:-1], key))
        companions = [*one.files[1:], *find_sidecars(one.path, "channels")[:1]]
        if self._table is not None:
            companions.append(self._table.path)
        data = max(one.files, key=lambda file: file.stat().st_size if file.exists() else -1)
        recording = Recording(
            key, subject, one.path, tuple(companions), left_out=one.left_out, data=data
        )
        if one.left_out:
            return Found(recording)
        try:
            table = events_file(one.path) if self.options.labels_from == "events" else None
            if table is not None:
                recording = dataclasses.replace(recording, companions=(*companions, table))
            with channels_renamed(self.options.rename) as renaming, blamed_on(one.path):
                channels, seconds, unusable = _header(one.path, self.options.keep_bad_channels)
            self._renamed |= renaming.applied
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always", RecordingWarning)
                events = self._events(one, subject, seconds)
        except RecordingError as error:
            return Found(dataclasses.replace(recording, fault=str(error)))
        labels = self.options.labels
        known = [event for event in events if event.text in labels]
        bad = [event for event in events if event.text.lower().startswith("bad")]
        others = Counter(event.text for event in events if event not in known and event not in bad)
        if not known:
            whose = {"events": "no event of a class", "table": "no class in the table",
                     "name": "no rule fits its name"}[self.options.labels_from]  # fmt: skip
            recording = dataclasses.replace(recording, left_out=whose)
        remarks = tuple(dict.fromkeys(str(one.message) for one in told
                                      if issubclass(one.category, RecordingWarning)))  # fmt: skip
        return Found(
            recording, channels, seconds, tuple(known), others, tuple(bad), unusable, remarks
        )

    def _events(self, one: UnlabelledRecording, subject: str, seconds: float) -> list[Event]:
        """Events with classes for texts where the options say so, sorted by onset."""
        options = self.options
        if options.labels_from == "events":
            with blamed_on(one.path):
                events = read_events(one.path, options.event_column)
            renamed = [dataclasses.replace(event, text=options.events.get(event.text, event.text))
                       for event in events]  # fmt: skip
            return sorted(renamed, key=lambda event: event.onset_s)
        if options.labels_from == "name":
            label = label_by_name(one.key[: len(one.key) - len(one.path.suffix)], options)
        else:
            table = self._table
            row = table.of_file(one.key) if table.by_file else table.of_subject(subject)
            if options.label_column not in table.columns:
                raise ValueError(
                    f"{table.path}: expected a column {options.label_column}, found "
                    f"{', '.join(table.columns)} (--label-column)."
                )
            label = row.get(options.label_column, "")
            label = options.events.get(label, label)
        return [Event(0.0, seconds, label)] if label else []

    def _check_labels(self) -> None:
        """Every class must be somewhere, or its name is wrong."""
        labels = Counter(event.text for one in self.found.values() for event in one.events)
        others = Counter(text for one in self.found.values() for text in one.others.elements())
        absent = [label for label in self.options.labels if not labels[label]]
        if self.options.labels and not absent:
            return
        shown = listed([f"{text} ({n})" for text, n in sorted((labels + others).items())],
                       MOST_NAMES)  # fmt: skip
        wanted = (
            f"classes {', '.join(absent)}" if absent else "the classes as labels (--labels A,B)"
        )
        hint = ""
        if self._table is not None and self.options.labels_from == "events":
            hint = f" {self._table.path.name} has columns {', '.join(self._table.columns)}: " \
                   "--labels-from table takes classes from it."  # fmt: skip
        faults = [one.recording.fault for one in self.found.values() if one.recording.fault]
        hint += f" {len(faults)} recordings cannot be read: {faults[0]}" if faults else ""
        raise ValueError(
            f"{self.raw}: expected {wanted}, found {shown or 'no label at all'} in "
            f"{len(self.found)} recordings ({self.options.labels_from}).{hint}"
        )

    # Channels ------------------------------------------------------------------------------------

    def _common_channels(self) -> tuple[tuple[str, ...], list[str]]:
        """Channels of the task, and sentences about those that are left out."""
        used = self._used()
        counts = Counter(name for one in used for name in dict.fromkeys(one.channels))
        absent = [old for old in self.options.rename if old not in self._renamed]
        if absent:
            raise ValueError(
                f"{self.raw}: expected channels {', '.join(absent)} to rename, found "
                f"{listed(list(counts), MOST_NAMES)} (--rename)."
            )
        if self.options.channels:
            chosen = tuple(clean_name(name) for name in self.options.channels)
        else:
            chosen = tuple(name for name in counts
                           if name in ELECTRODES and counts[name] == len(used))  # fmt: skip
        sentence = numbered_system(tuple(counts))
        if sentence and not self.options.interpolate:
            montage = montage_of_numbers(tuple(counts))
            other = f" Or --channels A,B --interpolate {montage}." if montage else ""
            raise ValueError(f"{self.raw}: {sentence}{other}")
        if not chosen:
            raise ValueError(
                f"{self.raw}: expected electrodes of the 10-20 or 10-10 system that all "
                f"{len(used)} recordings have, found {listed(list(counts), MOST_NAMES)}. Name "
                "channels (--channels), or rename them (--rename OLD=NEW)."
            )
        rest = {name: count for name, count in counts.items() if name not in chosen}
        partly = [f"{name} (in {count} of {len(used)} recordings)" for name, count in rest.items()
                  if name in ELECTRODES]  # fmt: skip
        other = [name for name in rest if name not in ELECTRODES]
        lines = [f"Channels left out, not among those asked for or not in every recording: "
                 f"{', '.join(partly)}"] if partly else []  # fmt: skip
        bad = Counter(name for one in used for name, why in one.unusable.items()
                      if name not in chosen and "bad" in why)  # fmt: skip
        if bad:
            shown = ", ".join(f"{name} ({n} of {len(used)} recordings)" for name, n in bad.items())
            lines.append(f"Channels left out, marked bad: {shown} (--keep-bad-channels uses them)")
        if other:
            lines.append(f"Channels left out, no electrodes of the 10-20 or 10-10 system: "
                         f"{', '.join(other)}")  # fmt: skip
        return chosen, lines


def _header(path: Path, keep_bad: bool) -> tuple[tuple[str, ...], float, dict[str, str]]:
    """Clean names of the channels, seconds from start to end, and channels that are not used, with
    reasons, without reading the signal."""
    if path.suffix.lower() == ".edf":
        header = read_edf_header(path)
        names = [label for label in header.labels if "Annotations" not in label]
        parts = stretches(path, header)
        if parts is None:
            raise RecordingError(time_fault(path))
        seconds = max(part.stop_s for part in parts)
        reasons = reasons_by_table(path, names)
        reasons = {name: why for name, why in reasons.items() if not (keep_bad and "bad" in why)}
        taken = dict(zip(names, map(clean_name, taken_names(names)), strict=True))
        channels = tuple(new for name, new in taken.items() if name not in reasons)
        return channels, seconds, {taken[name]: why for name, why in reasons.items()}
    check_header(path, "labelled")
    source = refused_or_given(path, "labelled", keep_bad=keep_bad)
    left = dict(text.removesuffix(")").split(" (", 1) for text in source.left_out)
    unusable = zip(map(clean_name, taken_names(list(left))), left.values(), strict=True)
    names = taken_names([*source.names, *source.unfit])
    return tuple(map(clean_name, names)), source.end_s, dict(unusable)
