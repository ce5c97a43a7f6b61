"""``mteeg export``: one task as an ONNX file."""

from __future__ import annotations

import argparse
import sys

from .shared_arguments import add_base

SUMMARY = "merge one adapter into its base and write an ONNX file, checked against PyTorch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_base(parser)
    parser.add_argument(
        "--task", required=True, metavar="T", help="task beside the base, a folder, or owner/repo"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="PATH",
        help="file that ends in .onnx, or a folder, where it becomes <task>.onnx",
    )
    parser.add_argument("--opset", type=int, default=18, metavar="N", help="18 (default) to 23")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from ..export.onnx import TOLERANCE, export_onnx
    from ..prediction.task_loading import load_tasks

    model, (task,) = load_tasks(
        args.base, [args.task], revision=args.revision, token=args.token, device="cpu"
    )
    print(f"exporting {task} (seconds; minutes for the largest models) ...", file=sys.stderr)
    made = export_onnx(model, task, args.out, opset=args.opset, overwrite=args.overwrite)
    print(
        f"{task}: {len(made.shapes)} shapes, largest difference from PyTorch "
        f"{made.max_difference:.1e} (limit {TOLERANCE:g}; from its float32 result "
        f"{made.float32_difference:.1e})"
    )
    size = made.path.stat().st_size / 1e6
    print(f"saved {made.path} ({size:.1f} MB, opset {made.opset}) and {made.sidecar}")
