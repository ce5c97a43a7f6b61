"""``mteeg explain``: which channels an answer rests on, as a table and on a scalp map."""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._ending import say_error
from ..model.findings import sentences
from ..settings.command_line import CommandParser, Place
from ..settings.plain_json import write_text
from ..settings.vocabulary import add_option
from .shared_arguments import (
    PICTURES,
    add_base,
    add_reading,
    parse_rename,
    shows_progress,
    task_of,
)

if TYPE_CHECKING:
    from ..explanation.attribution import ChannelAttribution

SUMMARY = "show on a scalp map which channels a task's answer on a recording rests on"
EXAMPLES = (
    "mteeg explain seizure.edf --base BASE --task chb-mit --out channels.png --table channels.tsv",
)
PRINTS = True
NO_WINDOW = 3
"""Exit code where no window is the label."""
_METHODS = ("integrated-gradients", "attention-rollout")


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("recording", help="file of any format that MNE-Python reads")
    add_base(parser)
    add_option(parser, "--task", "beside the base, a folder, or owner/repo[@revision]; one",
        one=True, required=True)  # fmt: skip
    add_option(parser, "--out", "the scalp map (.png, .pdf, .svg)",
        type=Place(*PICTURES, any_case=True))  # fmt: skip
    add("--table", metavar="FILE", help="values as a table (.tsv)", type=Place(".tsv"))
    add("--onset", type=float, action="append", metavar="SECONDS",
        help="start of a window to explain; may be repeated (default: windows that are the label)"
    )  # fmt: skip
    add_option(parser, "--windows", "without --onset: those that are the label most surely, whose "
        "mean is taken (default: 8)", default=8)  # fmt: skip
    add("--label", help="class to explain (default: the second of two, else what most windows are)")
    add("--min-probability", type=float, metavar="P", help="windows are the label from this "
        "probability on (default: as the task decides)")  # fmt: skip
    add("--attribution", dest="method", choices=_METHODS, default=_METHODS[0],
        help="how channels get their values (default: integrated-gradients)")  # fmt: skip
    parser.old_spelling("--method", "--attribution")
    add("--steps", type=int, help="points on the path of integrated gradients (default: enough)")
    add_reading(parser, "and the values")


def run(args: argparse.Namespace) -> int:
    """Run the command; :data:`NO_WINDOW` where no window is the label, and nothing is written."""
    from ..explanation.attribution import AttributionWarning
    from ..explanation.explaining import NoSuchWindowError, explain
    from ..hub.reaching import reach_hub
    from ..model.recording_headers import RecordingWarning
    from ..pictures.scalp import save_scalp
    from ..pictures.style import figure_class
    from ..prediction.task_loading import load_tasks

    rename = parse_rename(args.rename)
    if args.out:
        figure_class("Without --out the table is printed.")
    taken = [path for path in (args.out, args.table) if path and Path(path).exists()]
    if taken and not args.overwrite:
        raise FileExistsError(
            f"{' and '.join(taken)} already there: choose another name, or say --overwrite."
        )
    reach_hub(args.base, args.task)
    model, (task,) = load_tasks(
        args.base, [task_of(args)], revision=args.revision, token=args.token, device=args.device
    )
    with doubts_of(AttributionWarning) as doubts:
        warnings.filterwarnings("ignore", message="A recording is shorter")
        warnings.filterwarnings("ignore", category=RecordingWarning)  # printed below the values
        try:
            attribution = explain(
                args.recording, model, task, onsets_s=args.onset, windows=args.windows,
                label=args.label, min_probability=args.min_probability, method=args.method,
                steps=args.steps, allow_missing=args.allow_missing, rename=rename, unit=args.unit,
                interpolate=args.interpolate, progress=shows_progress(args),
            )  # fmt: skip
        except NoSuchWindowError as error:
            say_error(f"mteeg explain: {task}: {error}")
            return NO_WINDOW
    print("\n".join([text_of(attribution), *(f"note: {doubt}" for doubt in doubts)]))
    saved = {"table": save_table(attribution, args.table) if args.table else None}
    saved["scalp map"] = save_scalp(attribution, args.out) if args.out else None
    for what, path in saved.items():
        if path and not args.quiet:
            print(f"{what}: {path}")
    return 0


@contextlib.contextmanager
def doubts_of(category: type[Warning]) -> Iterator[list[str]]:
    """Gather warnings of a category, which belong to the values; others are shown as they come."""
    doubts: list[str] = []
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Any, kind: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(kind, category):
                doubts.append(str(message))
            else:
                shown(message, kind, *where, **more)

        warnings.showwarning = show
        warnings.simplefilter("always", category)
        yield doubts


def text_of(attribution: ChannelAttribution) -> str:
    """The values as printed, the largest first, and what was found about the recording."""
    simulated = " (trained on SIMULATED data)" if attribution.simulated else ""
    what = f" for {attribution.label}" if attribution.label else ""
    lines = [f"{attribution.task}{simulated}: {attribution.method}{what}, {attribution.where()}"]
    if attribution.labelled is not None:
        lines.append(f"{attribution.labelled}")
    width = max(len(name) for name in attribution.channels)
    sign = "+" if attribution.signed else ""
    for index in attribution.order():
        value = f"{attribution.values[index]:{sign}.4f}"
        lines.append(f"  {attribution.channels[index]:<{width}}  {value:>9}")
    lines += [f"note: {sentence}" for sentence in sentences(attribution.findings)]
    return "\n".join(lines)


def save_table(attribution: ChannelAttribution, path: str | Path) -> Path:
    """Write ``channel`` and ``value``, in the model's order, as tab-separated text."""
    pairs = zip(attribution.channels, attribution.values, strict=True)
    rows = [f"{' '.join(name.split())}\t{value:.6g}" for name, value in pairs]
    return write_text(path, "\n".join(["channel\tvalue", *rows]) + "\n")
