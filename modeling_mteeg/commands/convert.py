"""``mteeg convert``: published weights to a base folder."""

from __future__ import annotations

import argparse

SUMMARY = "turn published LaBraM weights, or braindecode's, into a folder for from_pretrained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from ..conversion import KINDS

    parser.add_argument("checkpoint", help="published .pth, bare state dict or safetensors file")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder to make")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the model in FOLDER, where it has one"
    )
    parser.add_argument(
        "--prefix", help="start of the encoder's keys, where the checkpoint holds several encoders"
    )
    parser.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out keys that match this shell pattern; may be repeated",
    )
    parser.add_argument(
        "--kind",
        default="auto",
        choices=KINDS,
        help="what to make: a base for tuning, the whole model of masked pre-training, or a neural "
        "tokenizer (default: a tokenizer where the file holds one, else a base)",
    )
    parser.add_argument(
        "--heads", type=int, help="attention heads of a tokenizer, whose weights do not tell"
    )
    parser.add_argument("--quiet", action="store_true", help="print counts and notes only")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from ..conversion import ConversionError, convert_checkpoint

    try:
        report = convert_checkpoint(
            args.checkpoint,
            args.out,
            args.overwrite,
            prefix=args.prefix,
            drop=args.drop,
            kind=args.kind,
            heads=args.heads,
        )
    except ConversionError as error:
        if error.report is not None and not args.quiet:
            print(error.report.table())
        raise
    if not args.quiet:
        print(report.table())
    print(report.summary())
    print(f"saved {args.out}")
