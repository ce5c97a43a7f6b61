"""``mteeg export``: tasks as ONNX files."""

from __future__ import annotations

import argparse
import sys

from ..settings.command_line import CommandParser, Place
from ..settings.vocabulary import add_option
from .shared_arguments import add_base, tasks_of

SUMMARY = "merge one adapter into its base and write an ONNX file, checked against PyTorch"
EXAMPLES = ("mteeg export --base BASE --task sleep-edf --out sleep-edf.onnx",)


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_base(parser)
    add_option(parser, "--task", "beside the base, a folder, or owner/repo; several with commas or "
        "again, or all beside the base", required=True)  # fmt: skip
    add_option(parser, "--out", "a file that ends in .onnx, or a folder, where tasks become "
        "<task>.onnx", required=True, type=Place(".onnx", folder=True))  # fmt: skip
    parser.add_argument("--opset", type=int, default=18, metavar="N", help="18 (default) to 23")
    add_option(parser, "--quiet")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from ..export.onnx import TOLERANCE, export_onnx
    from ..hub.reaching import reach_hub
    from ..prediction.task_loading import load_tasks

    wanted = tasks_of(args)
    if len(wanted) > 1 and args.out.endswith(".onnx"):
        raise ValueError(f"{len(wanted)} tasks: expected a folder, found the file {args.out}.")
    reach_hub(args.base, wanted)
    model, tasks = load_tasks(
        args.base, wanted, revision=args.revision, token=args.token, device="cpu"
    )
    for task in tasks:
        print(f"exporting {task} (seconds; minutes for the largest models) ...", file=sys.stderr)
        made = export_onnx(model, task, args.out, opset=args.opset, overwrite=args.overwrite)
        print(
            f"{task}: {len(made.shapes)} shapes, largest difference from PyTorch "
            f"{made.max_difference:.1e} (limit {TOLERANCE:g}; from its float32 result "
            f"{made.float32_difference:.1e})"
        )
        size = made.path.stat().st_size / 1e6
        print(f"saved {made.path} ({size:.1f} MB, opset {made.opset}) and {made.sidecar}")
