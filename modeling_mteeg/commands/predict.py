"""``mteeg predict``: from recordings to events, annotations and pictures."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

from .shared_arguments import add_base, add_reading, parse_rename, shows_progress

SUMMARY = "predict recordings: events with the probability of every class, annotations, pictures"
_FORMATS = "EDF, BDF, BrainVision, FIF, CNT, EEGLAB set ...: what MNE reads"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("recording", nargs="+", help=f"one or several files ({_FORMATS}); or a BIDS dataset, or "
        "its folder of a subject: all EEG recordings in it")  # fmt: skip
    add_base(parser)
    add(
        "--task",
        action="append",
        required=True,
        metavar="TASK",
        help="a task beside the base, a folder, or owner/repo, also owner/repo@revision and "
        "name=owner/repo; may be repeated: all tasks share one pass over a recording",
    )
    add(
        "--out",
        required=True,
        metavar="PATH",
        help="events.tsv, for one recording and one task; or a folder: "
        "<recording>_desc-<task>_events.tsv. The .json beside it says how it came about",
    )
    add("--stride", type=float, metavar="SECONDS", help="between windows (default: no overlap)")
    add("--last-window", action="store_true", help="where the end fills no window, add one that "
        "ends with it")  # fmt: skip
    add("--at", metavar="EVENTS", help="a window at every cue instead of sliding ones: a BIDS "
        "events.tsv, or 'annotations' for the recording's own")  # fmt: skip
    add("--at-offset", type=float, default=0.0, metavar="SECONDS", help="from a cue to its window")
    add("--at-labels", metavar="A,B", help="cues with these texts (trial_type) only")
    add("--bad", choices=("mark", "leave-out"), default="mark", help="windows under annotations "
        "of bad stretches (BAD_*), or with constant channels (mark)")  # fmt: skip
    add("--merge", action="store_true", help="one event for a run of windows of the same class")
    add("--annotations", action="store_true", help="write *_annot.fif for MNE, too")
    add("--plot", metavar="PATH", help="a picture (.png, .pdf, .svg), or a folder of pictures")
    add("--batch-size", type=int, default=16, metavar="N", help="windows at a time (16)")
    add_reading(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Raises
    ------
    ValueError
        Any result could not be made; the others were.
    """
    from tqdm import tqdm

    from ..model.recording_headers import RecordingWarning
    from ..prediction.cues import ANNOTATIONS
    from ..prediction.result_files import Options, plan_targets, predict_files
    from ..prediction.task_loading import load_tasks
    from ..recordings.recording_folders import files_of

    options = Options(
        stride_s=args.stride,
        last_window=args.last_window,
        at=args.at,
        at_offset_s=args.at_offset,
        at_labels=_labels(args.at_labels),
        bad=args.bad,
        batch_size=args.batch_size,
        allow_missing=args.allow_missing,
        rename=parse_rename(args.rename),
        unit=args.unit,
        interpolate=args.interpolate,
        merge=args.merge,
        annotations=args.annotations,
        overwrite=args.overwrite,
    )
    draw = _picture_maker(args.plot)
    recordings, sentences = files_of(args.recording)
    for sentence in sentences if not args.quiet else ():
        print(sentence)
    if args.at not in (None, ANNOTATIONS) and len(recordings) > 1:
        raise ValueError(
            f"--at: {args.at} belongs to one recording, found {len(recordings)}. Predict them one "
            f"by one, or at their own {ANNOTATIONS}."
        )
    plan_targets(recordings, args.task, args.out, args.plot, args.annotations)  # before loading
    model, tasks = load_tasks(
        args.base, args.task, revision=args.revision, token=args.token, device=args.device
    )
    targets = plan_targets(recordings, tasks, args.out, args.plot, args.annotations)
    with warnings.catch_warnings():
        # Notes of the result say so, too.
        warnings.filterwarnings("ignore", message="A recording is shorter")
        warnings.filterwarnings("ignore", category=RecordingWarning)
        warnings.filterwarnings("default", "no sample: ", RecordingWarning)  # of a table of cues
        outcome = predict_files(
            targets,
            model,
            options,
            progress=shows_progress(args),
            tell=(lambda text: None) if args.quiet else tqdm.write,
            draw=draw,
        )
    if outcome.failed and len(targets) == 1:
        raise outcome.failed[0][1]
    if outcome.failed:
        lines = [f"{target.recording} ({target.task}): {error}" for target, error in outcome.failed]
        made = len(outcome.done) + len(outcome.skipped)
        raise ValueError(
            f"{len(lines)} of {len(targets)} results could not be made; the other {made} are "
            "there.\n" + "\n".join(lines)
        )


def _labels(text: str | None) -> list[str] | None:
    """Labels between commas."""
    if text is None:
        return None
    return [label.strip() for label in text.split(",") if label.strip()]


def _picture_maker(plot: str | None) -> Any:
    """The function that draws, or None; where matplotlib lacks, an error before the work."""
    if plot is None:
        return None
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ValueError("--plot needs matplotlib: pip install 'modeling-mteeg[plot]'.") from error
    from ..pictures import save_prediction

    return save_prediction
