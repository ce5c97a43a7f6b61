"""Arguments that several commands have: the base, and how a recording is read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..settings.command_line import ALL
from ..settings.vocabulary import add_option

if TYPE_CHECKING:
    from ..prediction.finished_results import Options
    from ..prediction.many_recordings import Outcome

PICTURES = (".png", ".pdf", ".svg")
"""Endings of pictures, as :mod:`modeling_mteeg.pictures` writes them."""
MONTAGES = (
    "by the positions in its file, or those of a standard montage of MNE, such as GSN-HydroCel-128"
)


def add_base(parser: argparse.ArgumentParser, **changes: Any) -> None:
    """Declare ``--base`` and how it is fetched, and ``--overwrite``."""
    add_option(parser, "--base", **{"required": True, **changes})
    add_option(parser, "--revision", "of the base")
    add_option(parser, "--token")
    add_option(parser, "--overwrite")


def add_rename(parser: argparse.ArgumentParser) -> None:
    """Declare ``--rename OLD=NEW``."""
    add_option(parser, "--rename")


def add_interpolate(parser: argparse.ArgumentParser) -> None:
    """Declare ``--interpolate [MONTAGE]``."""
    add_option(parser, "--interpolate", MONTAGES, nargs="?", const=True, default=False)


def add_reading(parser: argparse.ArgumentParser, printed: str = "") -> None:
    """Declare how a recording is read, where it is computed, and ``--quiet``."""
    parser.add_argument("--allow-missing", type=int, metavar="N", help="go on where up to N of a "
        "task's channels are missing (default: what its card allows)")  # fmt: skip
    add_rename(parser)
    add_option(parser, "--unit")
    add_interpolate(parser)
    add_option(parser, "--device")
    add_option(parser, "--quiet", printed)


def add_windows(parser: argparse.ArgumentParser) -> None:
    """Declare where the windows of a recording lie, and how many are computed at a time."""
    add = parser.add_argument
    add_option(parser, "--stride")
    add("--last-window", action="store_true", help="where the end fills no window, add one that "
        "ends with it")  # fmt: skip
    add("--at", metavar="EVENTS", help="a window at every cue instead of sliding ones: "
        "an events.tsv, or each recording's own 'annotations' or 'events' (BIDS)")  # fmt: skip
    add_option(parser, "--offset", default=0.0)
    add("--at-labels", metavar="A,B", help="cues with these texts (trial_type) only")
    add("--bad", choices=("mark", "leave-out"), default="mark", help="windows under annotations "
        "of bad stretches (BAD_*), or with constant channels (mark)")  # fmt: skip
    add_option(parser, "--batch-size", "(default: 16)", default=16)


def tasks_of(args: argparse.Namespace) -> list[str]:
    """The tasks that ``--task`` chose; ``all`` are those beside the base, in alphabetical order.

    Raises
    ------
    ValueError, FileNotFoundError
        ``all``, and there are none, or no such base.
    """
    from ..hub.reaching import reach_hub
    from ..model.adapter_places import tasks_beside
    from ..prediction.task_loading import check_base_name

    chosen = [args.task] if isinstance(args.task, str) else list(args.task or ())
    if chosen != [ALL]:
        return chosen
    check_base_name(args.base)
    reach_hub(args.base)
    beside = tasks_beside(args.base, args.revision, args.token)
    if not beside:
        raise ValueError(f"--task all: expected tasks beside the base {args.base}, found none.")
    return beside


def task_of(args: argparse.Namespace) -> str:
    """The one task that ``--task`` chose; ``all`` where there is one only.

    Raises
    ------
    ValueError
        ``all``, and there are none or several.
    """
    tasks = tasks_of(args)
    if len(tasks) > 1:
        raise ValueError(f"--task all: expected one task, found {', '.join(tasks)}: name one.")
    return tasks[0]


def add_num_proc(parser: argparse.ArgumentParser) -> None:
    """Declare ``--num-proc``."""
    add_option(
        parser,
        "--num-proc",
        "a recording each, that hold the base and share the threads (default: 1)",
        default=1,
    )


def make_in_processes(
    args: argparse.Namespace,
    commit: str | None,
    tasks: Sequence[str],
    targets: Sequence[Any],
    begin: Callable[..., Any],
    *arguments: Any,
) -> Outcome:
    """Make results in the processes of ``--num-proc``, which each load base and tasks.

    Parameters
    ----------
    args : argparse.Namespace
    commit : str or None
        Of the base as it was loaded here: the very one, whatever is pushed meanwhile.
    tasks : sequence of str
        As they were asked for.
    targets : sequence of Wanted
        Those of one recording stand together.
    begin : callable
        Of a module: ``begin(loading, *arguments)`` gives what does the work, see
        :func:`~modeling_mteeg.prediction.recordings_at_once.make_at_once`; ``loading`` are the
        keywords of :func:`~modeling_mteeg.prediction.task_loading.load_tasks`.
    """
    from tqdm import tqdm

    from ..prediction.recordings_at_once import make_at_once

    loading = {"revision": commit or args.revision, "token": args.token}
    loading |= {"base": args.base, "tasks": tasks, "device": args.device}
    given, progress = (loading, *arguments), shows_progress(args)
    return make_at_once(targets, begin, given, args.num_proc, progress, tqdm.write)


def split_list(text: str | None) -> list[str] | None:
    """What stands between commas."""
    if text is None:
        return None
    return [part.strip() for part in text.split(",") if part.strip()]


def shows_progress(args: argparse.Namespace) -> bool:
    """Whether a bar is shown: in a terminal, unless ``--quiet`` was given."""
    return not args.quiet and sys.stderr.isatty()


def parse_rename(pairs: Sequence[str]) -> dict[str, str]:
    """``OLD=NEW`` pairs as a mapping.

    Raises
    ------
    ValueError
        Something else than a pair, or a name that is renamed twice.
    """
    renamed: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (equals and old.strip() and new.strip()):
            raise ValueError(f"--rename: expected OLD=NEW, such as T7=T3, found {pair!r}.")
        if old.strip() in renamed:
            raise ValueError(f"--rename: expected {old.strip()} once, found it twice.")
        renamed[old.strip()] = new.strip()
    return renamed


def reading_options(args: argparse.Namespace, **more: Any) -> Options:
    """What :func:`add_windows` and :func:`add_reading` asked for, and a command's own options."""
    from ..prediction.finished_results import Options

    return Options(
        stride_s=args.stride,
        last_window=args.last_window,
        at=args.at,
        at_offset_s=args.offset,
        at_labels=split_list(args.at_labels),
        bad=args.bad,
        batch_size=args.batch_size,
        allow_missing=args.allow_missing,
        rename=parse_rename(args.rename),
        unit=args.unit,
        interpolate=args.interpolate,
        overwrite=args.overwrite,
        **more,
    )
