"""``mteeg embed``: from recordings to features of a base or its tasks."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

from .._ending import until_end
from ..settings.command_line import CommandParser, Place
from ..settings.vocabulary import add_option
from .shared_arguments import (
    add_base,
    add_num_proc,
    add_reading,
    add_windows,
    make_in_processes,
    reading_options,
    shows_progress,
    split_list,
    tasks_of,
)

SUMMARY = "embed recordings: features per window, channel or recording, as Parquet or NumPy"
EXAMPLES = ("mteeg embed recordings/*.edf --base BASE --per recording --out features",)
KEPT = "results that were finished are there, and the same command makes the others"


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("recording", nargs="+", help="one or several files of any format that MNE-Python reads; or "
        "a BIDS dataset, or its folder of a subject: all EEG recordings in it")  # fmt: skip
    add_base(parser)
    add_option(
        parser,
        "--task",
        "whose adapter gives the features, on its channels and windows: beside the base, a folder, "
        "or owner/repo; several with commas or again, or all beside the base (default: the base "
        "alone)",
        default=[],
    )
    add_option(
        parser,
        "--out",
        "x.parquet or x.npz, for one recording and one task; or a folder: "
        "<recording>_desc-<task>_embeddings.parquet. The .json beside it says how it came about",
        required=True,
        type=Place(".parquet", ".npz", folder=True),
    )
    add("--per", choices=("window", "channel", "recording"), default="window",
        help="a vector for each window, each channel of each window, or the recording: the mean "
        "over its windows (window)")  # fmt: skip
    add("--format", choices=("parquet", "npz"), help="of files in a folder (parquet)")
    add_option(parser, "--window", "of the base alone, in whole seconds (default: 10)")
    add_option(parser, "--channels", "of the base alone (default: all)")
    add_option(parser, "--notch", "of the base alone (default: its feature extractor's)")
    add_windows(parser)
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

    from ..embedding.embed_recording import check_of_base
    from ..embedding.embedding_files import embed_files, plan_embeddings
    from ..embedding.window_features import extractor_of
    from ..hub.reaching import reach_hub
    from ..prediction.cues import check_one_table
    from ..prediction.held_targets import alone_at
    from ..prediction.recordings_at_once import check_num_proc, without_notes
    from ..prediction.task_loading import load_tasks
    from ..recordings.recording_folders import files_of

    options = reading_options(args)
    notch = _notch(args.notch)
    own = {"window_s": args.window, "channels": split_list(args.channels)}
    if args.task:
        check_of_base({"--window": args.window, "--channels": args.channels, "--notch": args.notch})
    check_num_proc(args.num_proc)
    recordings, sentences = files_of(args.recording)
    for sentence in sentences:
        print(sentence)
    check_one_table(args.at, len(recordings))
    wanted = tasks_of(args)
    plan_embeddings(recordings, wanted, args.out, args.format or "")  # before loading
    reach_hub(args.base, wanted)
    model, tasks = load_tasks(
        args.base, wanted, revision=args.revision, token=args.token, device=args.device
    )
    if not tasks:
        commit = model.base_commit or args.revision
        extractor = extractor_of(args.base, model.config.patch_size, commit, args.token)
        if notch is not None:
            extractor.notch_hz = notch
        own["extractor"] = extractor
    targets = plan_embeddings(recordings, tasks, args.out, args.format or "")
    until_end(alone_at(targets))
    own |= {"per": args.per}
    if args.num_proc > 1 and len(recordings) > 1:
        commit = model.base_commit
        del model  # every process has its own
        outcome = make_in_processes(args, commit, wanted, targets, _begin, options, own)
    else:
        progress = shows_progress(args)
        with warnings.catch_warnings():
            without_notes()
            outcome = embed_files(targets, model, options, own, progress=progress, tell=tqdm.write)
    outcome.check()


def _begin(loading: dict[str, Any], options: Any, own: dict[str, Any]) -> Any:
    """What embeds the targets of a recording in a process of its own."""
    from ..embedding.embedding_files import file_embedder
    from ..prediction.task_loading import load_tasks

    model, _ = load_tasks(**loading)
    return file_embedder(model, options, own, alone=not loading["tasks"])


def _notch(text: str | None) -> Any:
    """Mains frequencies from ``50,60``; None: not given."""
    from ..model.mains_notch import checked_notch

    parts = split_list(text)
    if parts is None:
        return None
    try:
        return checked_notch([float(part) for part in parts])
    except ValueError as error:
        raise ValueError(f"--notch: expected such as 60 or 50,60, found {text!r}.") from error
