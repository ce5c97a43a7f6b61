"""``mteeg explain``: which channels an answer rests on, as a table and on a scalp map."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..model.findings import sentences
from .shared_arguments import add_base, add_reading, parse_rename, shows_progress

if TYPE_CHECKING:
    from ..explanation.attribution import ChannelAttribution

SUMMARY = "show on a scalp map which channels a task's answer on a recording rests on"
_METHODS = ("integrated-gradients", "attention-rollout")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("recording", help="file of any format that MNE-Python reads")
    add_base(parser)
    parser.add_argument(
        "--task", required=True, help="task beside the base, folder, or owner/repo[@revision]"
    )
    parser.add_argument("--out", metavar="FILE", help="scalp map (.png, .pdf, .svg)")
    parser.add_argument("--table", metavar="FILE", help="values as a table (.tsv)")
    parser.add_argument(
        "--onset", type=float, action="append", metavar="SECONDS",
        help="start of a window to explain; may be repeated (default: where the label is surest)",
    )  # fmt: skip
    parser.add_argument(
        "--windows", type=int, default=8, metavar="N",
        help="without --onset: the mean over the N windows where the label is surest (default 8)",
    )  # fmt: skip
    parser.add_argument(
        "--label", help="class to explain (default: the second of two, else the most probable)"
    )
    parser.add_argument("--method", choices=_METHODS, default=_METHODS[0])
    parser.add_argument(
        "--steps", type=int, help="points on the path of integrated gradients (default: enough)"
    )
    add_reading(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from ..explanation.explaining import explain
    from ..model.recording_headers import RecordingWarning
    from ..pictures.scalp import save_scalp
    from ..pictures.style import check_picture_name, figure_class
    from ..prediction.task_loading import load_tasks

    rename = parse_rename(args.rename)
    if args.out:
        check_picture_name(args.out)
        figure_class("Without --out the table is printed.")
    if args.table and not args.table.endswith(".tsv"):
        raise ValueError(f"{args.table}: expected a name that ends in .tsv.")
    taken = [path for path in (args.out, args.table) if path and Path(path).exists()]
    if taken and not args.overwrite:
        raise FileExistsError(
            f"{' and '.join(taken)} already there: choose another name, or say --overwrite."
        )
    model, (task,) = load_tasks(
        args.base, [args.task], revision=args.revision, token=args.token, device=args.device
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A recording is shorter")
        warnings.filterwarnings("ignore", category=RecordingWarning)  # printed below the values
        attribution = explain(
            args.recording, model, task, onsets_s=args.onset, windows=args.windows,
            label=args.label, method=args.method, steps=args.steps,
            allow_missing=args.allow_missing, rename=rename, unit=args.unit,
            interpolate=args.interpolate,
            progress=shows_progress(args),
        )  # fmt: skip
    print(text_of(attribution))
    if args.table:
        print(f"table: {save_table(attribution, args.table)}")
    if args.out:
        print(f"scalp map: {save_scalp(attribution, args.out)}")


def text_of(attribution: ChannelAttribution) -> str:
    """The values as printed, the largest first, and what was found about the recording."""
    simulated = " (trained on SIMULATED data)" if attribution.simulated else ""
    what = f" for {attribution.label}" if attribution.label else ""
    lines = [f"{attribution.task}{simulated}: {attribution.method}{what}, {attribution.where()}"]
    width = max(len(name) for name in attribution.channels)
    sign = "+" if attribution.signed else ""
    for index in attribution.order():
        value = f"{attribution.values[index]:{sign}.4f}"
        lines.append(f"  {attribution.channels[index]:<{width}}  {value:>9}")
    lines += [f"note: {sentence}" for sentence in sentences(attribution.findings)]
    return "\n".join(lines)


def save_table(attribution: ChannelAttribution, path: str | Path) -> Path:
    """Write ``channel`` and ``value``, in the model's order, as tab-separated text."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = zip(attribution.channels, attribution.values, strict=True)
    rows = [f"{name}\t{value:.6g}" for name, value in pairs]
    path.write_text("\n".join(["channel\tvalue", *rows]) + "\n", "utf-8")
    return path
