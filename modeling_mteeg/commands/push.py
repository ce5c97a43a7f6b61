"""``mteeg push``: a base with its tasks, one task, or a neural tokenizer, to the Hub."""

from __future__ import annotations

import argparse

SUMMARY = "push a base with its tasks, or one task, to the Hub as one commit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("folder", help="a base with adapters/<task>, as recipes/joint.py writes it, one task, or a "
        "neural tokenizer")  # fmt: skip
    add("--repo", required=True, metavar="OWNER/REPO", help="made if needed")
    add("--task", action="append", default=[], metavar="TASK",
        help="this task beside the base only; may be repeated (default: all)")  # fmt: skip
    add("--base", default="", metavar="OWNER/REPO",
        help="of one task: where its base is, to be named in its files")  # fmt: skip
    add("--private", action="store_true", help="the repository must be private")
    add("--revision", metavar="BRANCH", help="push to this branch, made if needed")
    add("--create-pr", action="store_true", help="make a pull request instead")
    add("--message", default="", metavar="TEXT", help="title of the commit")
    add("--prune", action="store_true",
        help="delete tasks in the repository that belong to another base")  # fmt: skip
    add("--check", action="store_true", help="say what would go, and send nothing")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from ..hub.publication import read_publication
    from ..hub.publishing import publish

    if args.create_pr and args.revision:
        raise ValueError("expected --revision or --create-pr, found both: a pull request is made "
                         "against the default branch.")  # fmt: skip
    publication = read_publication(args.folder, args.task)
    if publication.fingerprint:
        what = ", ".join([*(["base"] if publication.base else []), *publication.tasks])
        what += f", fingerprint of the base {publication.fingerprint[:12]}"
    else:
        what = "neural tokenizer"
    print(f"{publication.folder}: {what}: checked")
    for note in publication.notes:
        print(f"note: {note}")
    if publication.left_out:
        rest = f" and {len(publication.left_out) - 8} more" if len(publication.left_out) > 8 else ""
        print(f"stays here: {', '.join(publication.left_out[:8])}{rest}")
    if args.check:
        files = publication.files()
        size = sum(path.stat().st_size for path in files.values())
        print(f"would go: {len(files)} files, {size / 1e6:.1f} MB, and model cards that lack")
        for path, source in files.items():
            print(f"  {path} ({source.stat().st_size / 1e6:.2f} MB)")
        return
    address = publish(
        publication,
        args.repo,
        base=args.base,
        prune=args.prune,
        message=args.message,
        private=args.private or None,
        revision=args.revision,
        create_pr=args.create_pr,
    )
    print(f"pushed {address}")
