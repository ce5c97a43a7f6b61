"""``mteeg train``: from recordings with labels to a task's adapter, by ``recipes/train.py``."""

from __future__ import annotations

import argparse

SUMMARY = "train a task on a folder of recordings with labels: prepare, train, test, save"
EXAMPLES = (
    "mteeg train recordings --task presses --labels rest,press --base BASE --out outputs/presses",
)
KEPT = "what is prepared and trained stays, and the same command goes on from there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from modeling_mteeg.recipes import train

    train.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from modeling_mteeg.recipes import train

    train.run(args)
