"""A corpus from any folder of recordings with labels, told by options instead of a class.

    python -m dataset_scripts.annotated --raw REC --out data --task my-task --labels rest,press
    python -m dataset_scripts.annotated --raw ROOT --out data --config tasks.yaml [--tasks a,b]

Labels are BIDS events or annotations, a table, or file names; docs/new_task.md has examples. What
a folder's own rules need more than options for is a class: docs/new_corpus.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from modeling_mteeg._ending import hush
from modeling_mteeg.dataset_scripts.annotated_options import (
    AnnotatedOptions,
    add_old_spellings,
    add_options,
    options_of,
    read_tasks,
)
from modeling_mteeg.dataset_scripts.command import (
    add_writer_options,
    prepare_as_asked,
    with_exit_code,
)
from modeling_mteeg.dataset_scripts.corpus import (
    Corpus,
    Reading,
    Recorded,
    Recording,
    Segment,
    windows_in_order,
)
from modeling_mteeg.dataset_scripts.interpolated import load_interpolated
from modeling_mteeg.dataset_scripts.labelling import Event
from modeling_mteeg.dataset_scripts.part_spans import BEYOND, OVER_A_JOINT, Span, placed, span_of
from modeling_mteeg.dataset_scripts.reading import RecordingError, load_any
from modeling_mteeg.dataset_scripts.soundness import check_amplitude, check_mains
from modeling_mteeg.dataset_scripts.splits import assign_people
from modeling_mteeg.dataset_scripts.survey import Survey
from modeling_mteeg.dataset_scripts.unsound import without_marked
from modeling_mteeg.model.edf_annotations import Mark
from modeling_mteeg.model.preprocessing import preprocess, preprocessing_info
from modeling_mteeg.model.task_card import TaskCard, check_task_name
from modeling_mteeg.model.visible_text import MOST_REASONS, listed
from modeling_mteeg.settings.command_line import ALL, CommandParser
from modeling_mteeg.settings.vocabulary import add_option

ENDS_KIND, OVERLAP_KIND = "the ends of events are left out", "labelled events are overlapping"
"""Kinds of warnings."""
_NEARLY_S = 0.01
"""Onsets are rounded to samples."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """Part of a recording of one class with its windows, in samples at the card's rate."""

    start: int
    stop: int
    segments: tuple[Segment, ...]


class Annotated(Corpus):
    """Recordings of any folder, whole people in train, validation or test.

    Parameters
    ----------
    raw : str or Path
    task : str
        The task's and the adapter's name.
    options : AnnotatedOptions
    split_seed : int, optional
        0 by default.

    Raises
    ------
    FileNotFoundError
        No such folder, no recording in it, or no table of labels.
    ValueError
        A label that no recording has, recordings of nobody knows whom, no common channel, or
        options that do not fit; the message says what is there.
    """

    layout = "recordings that MNE-Python reads, at any depth"
    protocols: ClassVar[dict[str, str]] = {
        "people": "whole people, shuffled by a hash of their names, 64 % train, 16 % validate, "
        "20 % test; where every person is of one class, within each class"
    }
    seeded_protocols = ("people",)

    def __init__(
        self, raw: str | Path, task: str, options: AnnotatedOptions, split_seed: int | None = None
    ) -> None:
        check_task_name(task)
        raw, self.options = Path(raw), options
        if not raw.is_dir():
            raise FileNotFoundError(f"{task}: expected a folder of recordings, found {raw}.")
        self._survey = survey = Survey(raw, task, options)
        self.card = TaskCard(
            name=task,
            labels=options.labels,
            channels=survey.channels,
            window_s=survey.window_s,
            highpass_hz=options.highpass,
            lowpass_hz=options.lowpass,
            notch_hz=options.notch,
            corpus=options.corpus or f"recordings of {raw.resolve().name}",
            license=options.license,
            description=options.description or f"Which of {', '.join(options.labels)}?",
            label_of="window" if options.labels_from == "events" else "recording",
        )
        self.options_given = options.given()
        self.use_rename(options.rename)
        self.constant = options.constant
        if options.cut_before_filter:
            self.filtered_on = "every piece alone, after the recordings were cut by their events"
        super().__init__(raw, split_seed=split_seed)

    def find_recordings(self) -> list[Recording]:
        return self._survey.recordings()

    def assign(self, recordings: Sequence[Recording]) -> dict[str, str]:
        """People by a hash of their names, within classes where everybody has one alone."""
        classes: dict[str, set[str]] = {}
        for recording in recordings:
            labels = {event.text for event in self._survey.of(recording).events}
            classes.setdefault(recording.subject, set()).update(labels)
        by_person = assign_people(classes, self.split_seed or 0)
        return {recording.key: by_person[recording.subject] for recording in recordings}

    def missing(self, recordings: Sequence[Recording]) -> list[str]:
        """Of a BIDS dataset, people of ``participants.tsv`` without a recording."""
        return self._survey.people_without_recording()

    def duration_s(self, recording: Recording) -> float:
        return self._survey.of(recording).seconds

    def expected_windows(self, recording: Recording) -> int:
        samples = int(self.duration_s(recording) * self.card.rate_hz)
        return len(self.segments(recording, samples)[0])

    def load(self, recording: Recording) -> Recorded:
        if self.options.interpolate:
            return load_interpolated(recording.path, self.card, self.options.interpolate)
        unusable = self._survey.of(recording).unusable
        lost = {name: unusable[name] for name in self.card.channels if name in unusable}
        if lost:
            shown = listed([f"{name} ({why})" for name, why in lost.items()], MOST_REASONS)
            raise RecordingError(
                f"{recording.path.name}: channels of the task that cannot be used: {shown}. Leave "
                "them out (--channels); --keep-bad-channels uses those that are marked bad."
            )
        return load_any(recording.path, self.card.channels, self.options.keep_bad_channels)

    def _recorded(self, recording: Recording) -> tuple[Recorded, tuple[str, ...]]:
        recorded, odd = super()._recorded(recording)
        odd = (*odd, *self._survey.of(recording).remarks)
        if self.options.windows != "cue":
            odd = (*odd, *overlap_warnings(self._survey.of(recording).events))
        rest_s = self._ends_s(recording, recorded)
        if rest_s < 1 / recorded.rate_hz:
            return recorded, odd
        return recorded, (*odd, f"{ENDS_KIND}: {rest_s:.6g} s fill no window")

    def _ends_s(self, recording: Recording, recorded: Recorded) -> float:
        """Seconds at the ends of events, and of what a part holds of one, that fill no window."""
        rest_s, window_s = 0.0, self.card.window_s
        events = () if self.options.windows == "cue" else self._survey.of(recording).events
        for event in events:
            first_s = event.onset_s + self.options.offset
            last_s = event.onset_s + event.duration_s
            if last_s - first_s < window_s:  # one from its cue
                continue
            for part in recorded.parts:
                stop_s = min(last_s, part.onset_s + part.samples / recorded.rate_hz)
                inside_s = max(0.0, stop_s - max(first_s, part.onset_s))
                count = (inside_s + 0.01) // window_s  # onsets are rounded to samples
                rest_s += max(0.0, inside_s - count * window_s) if count else 0.0
        return rest_s

    def segments(self, recording: Recording, samples: int) -> tuple[list[Segment], Counter[str]]:
        return self.segments_in(recording, [Span(0, samples)])

    def segments_in(
        self, recording: Recording, spans: Sequence[Span]
    ) -> tuple[list[Segment], Counter[str]]:
        pieces, left_out = self.pieces(recording, spans)
        return [segment for piece in pieces for segment in piece.segments], left_out

    def pieces(
        self, recording: Recording, spans: Sequence[Span]
    ) -> tuple[list[Piece], Counter[str]]:
        """Labelled parts with their windows, in order, and windows left out by reason.

        A piece lies in one of the recording's parts: an event over a joint gives several.
        """
        found, length = self._survey.of(recording), self.window_samples
        left_out = Counter({f"no class: {text}": n for text, n in sorted(found.others.items())})
        bad = [Mark(event.onset_s, event.duration_s, event.text) for event in found.bad]
        result = []
        for event in found.events:
            start, stop, segments = self._windows_of(event, spans, left_out)
            if len(segments) > 1 and len(spans) > 1:  # anew behind every joint
                segments = self._in_every_part(event, start, stop, spans, left_out)
            kept, outside = placed(segments, spans, length)
            kept, marked = without_marked(kept, bad, length, self.card.rate_hz)
            left_out += outside + marked
            for part in dict.fromkeys(segment.part for segment in kept):
                inside = tuple(segment for segment in kept if segment.part == part)
                span = spans[part]
                result.append(Piece(max(start, span.start), min(stop, span.stop), inside))
        return result, left_out

    def _in_every_part(
        self, event: Event, start: int, stop: int, spans: Sequence[Span], left_out: Counter[str]
    ) -> list[Segment]:
        """Windows of what of an event lies in each part, and how many joints and gaps cost."""
        length, segments = self.window_samples, []
        for span in spans:
            first, last = max(start, span.start), min(stop, span.stop)
            segments += windows_in_order(first, last, length, event.text)
        lost = (stop - start) // length - len(segments)
        if lost > 0:
            left_out[OVER_A_JOINT] += lost
        return segments

    def _windows_of(
        self, event: Event, spans: Sequence[Span], left_out: Counter[str]
    ) -> tuple[int, int, list[Segment]]:
        """First sample, the one behind the last, and the windows of an event.

        Of one that lasts beyond the recording those within it, however long it claims to be.
        """
        length, rate = self.window_samples, self.card.rate_hz
        start = round((event.onset_s + self.options.offset) * rate)
        # An EDF+ file gives times to the microsecond, a sample's rounding is allowed for.
        stop = max(start, round((event.onset_s + event.duration_s) * rate) + 1)
        inside = stop - start >= length
        if self.options.windows == "inside" and not inside:
            left_out[f"shorter than a window: {event.text}"] += 1
            return start, start, []
        if self.options.windows == "cue" or not inside:
            return start, start + length, [Segment(start, event.text)]
        count = (stop - start) // length
        before = -((start - min(span.start for span in spans)) // length)
        within = (max(span.stop for span in spans) - start) // length
        first, last = min(max(before, 0), count), min(max(within, 0), count)
        left_out += Counter({BEYOND: count - max(0, last - first)})
        if last <= first:
            return start, start, []
        begin, end = start + first * length, start + last * length
        return begin, end, windows_in_order(begin, end, length, event.text)

    def read_windows(self, recording: Recording) -> Reading:
        if not self.options.cut_before_filter:
            return super().read_windows(recording)
        recorded, odd = self._recorded(recording)
        info = preprocessing_info(recorded.rate_hz, *self._settings())
        spans = [span_of(part, info.samples_out(part.samples), self.card.rate_hz)
                 for part in recorded.parts]  # fmt: skip
        pieces, left_out = self.pieces(recording, spans)
        segments = [segment for piece in pieces for segment in piece.segments]
        kept, more_odd = self._sound(recorded, segments, left_out)
        self._expect_windows(recording, kept, left_out)
        cut = [one for piece in pieces for one in self._alone(recorded, spans, piece, set(kept))]
        signal = np.concatenate([window for _, window in cut], axis=1)  # (channels, all samples)
        odd += check_amplitude(signal, self.card.channels, recording.path.name)
        odd += check_mains(signal, info)
        return self._reading(iter(cut), left_out, recorded, odd + more_odd)

    def _alone(
        self, recorded: Recorded, spans: Sequence[Span], piece: Piece, kept: set[Segment]
    ) -> list[tuple[Segment, np.ndarray]]:
        """Windows (channels, samples) of a piece that is filtered without what lies around it."""
        segments = [segment for segment in piece.segments if segment in kept]
        if not segments:
            return []
        part, rate_hz = segments[0].part, recorded.rate_hz
        signal, begin = recorded.part_uv(recorded.parts[part]), spans[part].start
        ratio = rate_hz / self.card.rate_hz
        needed = math.ceil((piece.stop - piece.start) * ratio - 1e-6)
        last = min(round((piece.start - begin) * ratio) + needed, signal.shape[1])
        alone = preprocess(signal[:, max(0, last - needed) : last], rate_hz, *self._settings())
        return [(segment, self.cut(alone, segment.start - piece.start, self.window_samples))
                for segment in segments]  # fmt: skip

    def notes(self) -> list[str]:
        """Channels, events and recordings that are not used; how short pieces were filtered."""
        lines = self._survey.notes()
        if self.options.interpolate:
            lines.append(
                "Channels that a recording lacks were interpolated by spherical splines "
                f"(positions: {self.options.interpolate}); report.tsv names them"
            )
        if self.options.cut_before_filter and self.card.highpass_hz is not None:
            filter_s = preprocessing_info(self.card.rate_hz, *self._settings()).filter_s
            lines.append(
                "Every piece was filtered alone, its ends continued by reflection; the filters "
                f"are {filter_s:.1f} s long, so in shorter pieces offsets and slow waves remain"
            )
        return lines


def overlap_warnings(events: Sequence[Event]) -> tuple[str, ...]:
    """A warning where labelled events, by onset, begin while others last."""
    count, seconds, labels, before = 0, 0.0, set(), None
    for event in events:
        end_s = event.onset_s + event.duration_s
        if before is not None and before[0] > event.onset_s + _NEARLY_S and event.duration_s:
            count, seconds = count + 1, seconds + min(before[0], end_s) - event.onset_s
            labels |= {before[1], event.text}
        if before is None or end_s > before[0]:
            before = end_s, event.text
    if not count:
        return ()
    return (f"{OVERLAP_KIND}: {count} of {len(events)}, for {seconds:.6g} s "
            f"({', '.join(sorted(labels))}); each gives its windows",)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return _run(arguments)


def build_parser() -> CommandParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m dataset_scripts.annotated",
        description="Prepare a folder of recordings with labels for a task; or, with --config, "
        "several folders below one.",
        examples=(
            "python -m dataset_scripts.annotated --raw recordings --out data --task presses "
            "--labels rest,press",
        ),
    )
    add_writer_options(parser)
    add_option(parser, "--task", "the new one's name, of lower-case letters, digits, dashes; with "
        "--config those of the file: several with commas, spaces or again (default: all)",
        nargs="+")  # fmt: skip
    add_option(parser, "--config", "of several tasks")
    add_option(parser, "--split-seed", "shuffles the people (default: 0)")
    add_option(parser, "--subjects", nargs="+", default=())
    add_options(parser)
    add_old_spellings(parser)
    return parser


@with_exit_code
def _run(arguments: Sequence[str] | None) -> None:
    given = build_parser().parse_args(arguments)
    hush(given.quiet)
    for task, raw, options in _tasks(given):
        corpus = Annotated(raw, task, options, given.split_seed)
        print(f"{task}: {prepare_as_asked(corpus, given)}")


def _tasks(given: argparse.Namespace) -> list[tuple[str, Path, AnnotatedOptions]]:
    """Task, folder and options of everything that a command line asks for."""
    options = options_of(given)
    if given.config is None:
        if len(given.task or ()) != 1 or given.task == [ALL]:
            raise ValueError("expected --task NAME, one, or --config FILE.yaml and maybe --tasks.")
        return [(given.task[0], given.raw, options)]
    if options != AnnotatedOptions():
        raise ValueError("--config has the options of every task: leave them out here.")
    wanted = given.task if given.task and given.task != [ALL] else ()
    return [
        (task, given.raw / (options.folder or task), options)
        for task, options in read_tasks(given.config, wanted).items()
    ]


if __name__ == "__main__":
    raise SystemExit(main())
