"""``mteeg predict``: from recordings to events, annotations and pictures."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

from .._ending import until_end
from ..settings.command_line import CommandParser, Place
from ..settings.vocabulary import add_option
from .shared_arguments import (
    PICTURES,
    add_base,
    add_num_proc,
    add_reading,
    add_windows,
    make_in_processes,
    reading_options,
    shows_progress,
    tasks_of,
)

SUMMARY = "predict recordings: events with the probability of every class, annotations, pictures"
KEPT = "results that were finished are there, and the same command makes the others"
EXAMPLES = (
    "mteeg predict night.edf --base BASE --task sleep-edf --out events.tsv --plot night.png",
    "mteeg predict recordings/*.edf --base BASE --task all --out results --quiet",
)
_FORMATS = "EDF, BDF, BrainVision, FIF, CNT, EEGLAB set ...: what MNE reads"


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("recording", nargs="+", help=f"one or several files ({_FORMATS}); or a BIDS dataset, or "
        "its folder of a subject: all EEG recordings in it")  # fmt: skip
    add_base(parser)
    add_option(
        parser,
        "--task",
        "beside the base, a folder, or owner/repo, also owner/repo@revision and name=owner/repo; "
        "several with commas or again, or all beside the base: one pass over a recording for all",
        required=True,
    )
    add_option(
        parser,
        "--out",
        "events.tsv, for one recording and one task; or a folder: "
        "<recording>_desc-<task>_events.tsv. The .json beside it says how it came about",
        required=True,
        type=Place(".tsv", folder=True),
    )
    add_windows(parser)
    add("--merge-events", dest="merge", action="store_true",
        help="one event for a run of windows of the same class")  # fmt: skip
    parser.old_spelling("--merge", "--merge-events")
    add("--annotations", action="store_true", help="write *_annot.fif for MNE, too")
    add("--plot", metavar="PATH", help="a picture (.png, .pdf, .svg), or a folder of pictures",
        type=Place(*PICTURES, folder=True))  # fmt: skip
    add_reading(parser)
    add_num_proc(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Raises
    ------
    ValueError
        Any result could not be made; the others were.
    """
    from tqdm import tqdm

    from ..hub.reaching import reach_hub
    from ..prediction.cues import check_one_table
    from ..prediction.held_targets import alone_at
    from ..prediction.recordings_at_once import check_num_proc, without_notes
    from ..prediction.result_files import plan_targets, predict_files
    from ..prediction.task_loading import load_tasks
    from ..recordings.recording_folders import files_of

    options = reading_options(args, merge=args.merge, annotations=args.annotations)
    draw = _picture_maker(args.plot)
    check_num_proc(args.num_proc)
    recordings, sentences = files_of(args.recording)
    for sentence in sentences:
        print(sentence)
    check_one_table(args.at, len(recordings))
    wanted = tasks_of(args)
    plan_targets(recordings, wanted, args.out, args.plot, args.annotations)  # before loading
    reach_hub(args.base, wanted)
    model, tasks = load_tasks(
        args.base, wanted, revision=args.revision, token=args.token, device=args.device
    )
    targets = plan_targets(recordings, tasks, args.out, args.plot, args.annotations)
    until_end(alone_at(targets))
    if args.num_proc > 1 and len(recordings) > 1:
        commit = model.base_commit
        del model  # every process has its own
        outcome = make_in_processes(args, commit, wanted, targets, _begin, options, args.plot)
    else:
        progress = shows_progress(args)
        with warnings.catch_warnings():
            without_notes()
            outcome = predict_files(
                targets, model, options, progress=progress, tell=tqdm.write, draw=draw
            )
    outcome.check()


def _begin(loading: dict[str, Any], options: Any, plot: str | None) -> Any:
    """What predicts the targets of a recording in a process of its own."""
    from ..prediction.result_files import file_predictor
    from ..prediction.task_loading import load_tasks

    (model, _), draw = load_tasks(**loading), _picture_maker(plot)
    return file_predictor(model, options, draw=draw)


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
