"""Predict a live stream: an answer for every window while the signal comes in.

Plays a recording through the Lab Streaming Layer on this machine, or connects to a stream that an
amplifier's software offers, and prints label and probabilities of every window. Needs mne-lsl:
``pip install 'modeling-mteeg[live]'``.

    python recipes/live.py night.edf --base outputs/joint_demo/model --task sleep-edf --speed 20
    python recipes/live.py --stream my-amplifier --base BASE --task tuab --task tuev --stride 1

An answer comes about 20 s after its window: the 0.1 Hz high-pass looks so far ahead. Less delay,
for answers that differ: --lookahead 5 (approximate) or --highpass 1 (another signal).

A stream has no gaps: of a recording that has parts (pauses, joined files) one is played, --part 2.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from modeling_mteeg import _ending  # first: Ctrl-C while the rest is imported

# isort: split
from modeling_mteeg.commands.shared_arguments import tasks_of
from modeling_mteeg.model.channel_choice import rows_by_name
from modeling_mteeg.model.findings import sentences
from modeling_mteeg.model.record_parts import spans_text
from modeling_mteeg.prediction.live import LivePredictor, LiveResult
from modeling_mteeg.prediction.live_checks import LiveWindowError
from modeling_mteeg.prediction.lsl import new_samples, open_stream, stream_unit
from modeling_mteeg.prediction.task_loading import load_tasks
from modeling_mteeg.recordings.block_reader import open_recording
from modeling_mteeg.settings.command_line import CommandParser, text_and_examples
from modeling_mteeg.settings.vocabulary import add_option


@_ending.command(errors=(OSError, ValueError), code=2)
def main(argv: Sequence[str] | None = None) -> int:
    """Connect, predict, print; returns 0 at the end of the stream."""
    args = parse_arguments(argv)
    _ending.hush(args.quiet, printed=True)
    model, tasks = load_tasks(args.base, tasks_of(args), revision=args.revision, token=args.token)
    with source(args) as (stream, ended, recorded_s):
        rate_hz = stream.info["sfreq"] / args.speed
        live = LivePredictor(
            model, tasks, stream.ch_names, rate_hz, args.unit or stream_unit(stream),
            stride_s=args.stride, highpass_hz=args.highpass, lookahead_s=args.lookahead,
            onnx=args.onnx,
        )  # fmt: skip
        say(
            args.quiet,
            f"{len(stream.ch_names)} channels at {rate_hz:g} Hz. A window is answered "
            f"{live.delay_s:.3g} s of signal after its end, the first after "
            f"{live.first_answer_s:.3g} s.",
        )
        count = 0
        seconds = None if args.seconds is None else args.seconds / args.speed
        try:
            for chunk in new_samples(stream, seconds, args.patience, ended):
                count += tell(live.push, chunk, begun=count > 0)
                if getattr(sys.stdout, "unread", False):  # a closed pipe: nobody listens any more
                    return 0
        except KeyboardInterrupt:
            say(args.quiet, "Interrupted; the rest of what arrived follows.")
        if live.samples_in == 0:
            _ending.say_error("The stream ended before a sample arrived.")
            return 1
        count += tell(live.finish, begun=count > 0)
    heard_s = live.samples_in / rate_hz
    if recorded_s is not None and args.seconds is None and recorded_s - heard_s > 0.05:
        say(
            args.quiet,
            f"The first {recorded_s - heard_s:.1f} s of the recording's {recorded_s:.1f} s were "
            "played before the stream was connected, as with any stream that one joins.",
        )
    say(args.quiet, f"End: {heard_s:.1f} s of signal, {count} answers.")
    return 0


def say(quiet: bool, text: str) -> None:
    """A line that is no answer, unless ``--quiet`` was given."""
    if not quiet:
        print(text)


def tell(give: Callable[..., list[LiveResult]], *chunk: Any, begun: bool) -> int:
    """Print the answers that samples, or the end, give; returns how many there are.

    A window without an answer gets a line of its own, unless none had one before: then something is
    wrong with the stream, and not with a window.
    """
    try:
        results, fault = give(*chunk), None
    except LiveWindowError as error:
        results, fault = error.answers, error
        if not begun and not results:
            raise
    for result in results:
        print(line(result), flush=True)
    if fault is not None:
        print(" ".join([f"No answer: {fault}", *getattr(fault, "__notes__", ())]), flush=True)
    return len(results)


def line(result: LiveResult) -> str:
    """One answer as a line: window, task, label, probabilities, what is wrong with the window."""
    parts = "  ".join(f"{label} {value:.3f}" for label, value in result.probabilities.items())
    flat = f"flat: {', '.join(result.flat)}" if result.flat else ""
    quiet = [", ".join(one.channels) for one in result.findings if one.code == "quiet"]
    said = [
        text for text in (flat, result.marked, *(f"very small: {one}" for one in quiet)) if text
    ]
    remarks = f"  ({'; '.join(said)})" if said else ""
    return (
        f"{result.onset_s:8.1f} to {result.end_s:8.1f} s  {result.task}  {result.label}:  "
        f"{parts}{remarks}"
    )


@contextlib.contextmanager
def source(args: argparse.Namespace) -> Iterator[tuple[Any, Any, float | None]]:
    """The connected stream, what says that it has ended, and the length of what is played.

    Of a stream that is not played here nothing says its end or its length: None.
    """
    if args.recording is None:
        stream = open_stream(name=args.stream)
        try:
            yield stream, None, None
        finally:
            stream.disconnect()
        return
    from mne_lsl.player import PlayerLSL

    raw = played(args.recording, args.part, args.speed)
    name = f"mteeg-{uuid.uuid4().hex[:8]}"
    chunk = max(1, round(0.05 * raw.info["sfreq"]))
    with PlayerLSL(
        raw, chunk_size=chunk, n_repeat=1, name=name, source_id=name, annotations=False
    ) as player:
        stream = open_stream(name=name, source_id=name)
        recorded_s = len(raw.times) * args.speed / raw.info["sfreq"]
        try:
            yield stream, lambda: not player.running, recorded_s
        finally:
            stream.disconnect()


def played(path: str, number: int | None, speed: float) -> Any:
    """The EEG of a recording's part, announced at ``speed`` times its rate so that it plays faster.

    Raises
    ------
    ValueError
        It has several parts and none is chosen, or not so many.
    """
    import mne

    source = open_recording(path)
    parts = source.parts
    spans = spans_text([(p.onset_s, p.onset_s + p.samples / source.rate_hz) for p in parts])
    if len(parts) > 1 and number is None:
        raise ValueError(
            f"{path} has {len(parts)} parts, recorded at {spans}, and a stream has no gaps: play "
            f"one of them with --part 1 to --part {len(parts)}."
        )
    if not 1 <= (number or 1) <= len(parts):
        raise ValueError(f"--part: expected 1 to {len(parts)} ({spans}), found {number}.")
    for sentence in sentences(one for one in source.findings if one.code != "parts"):
        _ending.say_error(f"note: {sentence}")  # no file has it, so --quiet leaves it
    rows = {name: same[0] for name, same in rows_by_name(source).items()}
    part = parts[(number or 1) - 1]
    signal = source.read_span(list(rows.values()), part.start, part.stop)[0]  # volt
    info = mne.create_info(list(rows), source.rate_hz * speed, "eeg", verbose="error")
    return mne.io.RawArray(signal, info, verbose="error")


def build_parser() -> CommandParser:
    """The command line."""
    description, examples = text_and_examples(__doc__)
    parser = CommandParser(description=description, examples=examples)
    add = parser.add_argument
    add("recording", nargs="?", help="file to play (EDF, BDF, FIF ...), instead of --stream")
    add("--part", type=int, metavar="N", help="of a recording that has several: which to play")
    add("--stream", help="name of a stream to connect to")
    add_option(parser, "--base", required=True)
    add_option(parser, "--revision", "of the base", default="main")
    add_option(parser, "--token")
    add_option(parser, "--task", "beside the base, a folder, or owner/repo; several with commas or "
        "again, or all beside the base", required=True)  # fmt: skip
    add_option(parser, "--stride")
    add_option(parser, "--unit", "(default: what the stream announces)")
    add_option(parser, "--highpass", "instead of the tasks' own: less delay", type=float)
    add("--lookahead", type=float, help="seconds of future to wait for: less delay")
    add("--onnx", metavar="FOLDER", help="holds <task>.onnx of `mteeg export`: faster answers")
    add("--speed", type=float, default=1.0, help="play a recording so many times faster")
    add("--seconds", type=float, help="end after so much signal")
    add("--patience", type=float, default=10.0, help="end when nothing came for so many seconds")
    add_option(parser, "--quiet", "and the answers")
    return parser


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    args = parser.parse_args(argv)
    if (args.recording is None) == (args.stream is None):
        parser.error("expected either a recording to play or --stream NAME")
    if args.stream is not None and args.part is not None:
        parser.error("--part: expected a recording to play with it, found --stream")
    if args.stream is not None and args.speed != 1.0:
        parser.error("--speed: expected a recording to play with it, found --stream")
    if args.speed <= 0:
        parser.error(f"--speed: expected a number above 0, found {args.speed:g}")
    return args


if __name__ == "__main__":
    sys.exit(main())
