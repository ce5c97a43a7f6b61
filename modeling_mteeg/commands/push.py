"""``mteeg push``: a base with its tasks, one task, or a neural tokenizer, to the Hub."""

from __future__ import annotations

import argparse

from ..settings.command_line import ALL, CommandParser
from ..settings.vocabulary import add_option

SUMMARY = "push a base with its tasks, or one task, to the Hub as one commit"
EXAMPLES = ("mteeg push outputs/joint_demo/model --repo OWNER/NAME --dry-run",)
KEPT = "a commit is made whole or not at all"


def PRINTS(args: argparse.Namespace) -> bool:
    """Whether what is printed is what was asked for: the list of a dry run."""
    return args.dry_run


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("folder", help="a base with adapters/<task>, as a joint training writes it, one task, or a "
        "neural tokenizer")  # fmt: skip
    add_option(parser, "--repo", required=True)
    add_option(parser, "--task", "beside the base only; several with commas or again (default: "
        "all)", default=[])  # fmt: skip
    add_option(parser, "--base", "of one task: where its base is, to be named in its files",
        default="", metavar="OWNER/REPO")  # fmt: skip
    add_option(parser, "--private")
    add_option(parser, "--revision", "push to this branch, made if needed", metavar="BRANCH")
    add("--create-pr", action="store_true", help="make a pull request instead")
    add("--message", default="", metavar="TEXT", help="title of the commit")
    add("--prune", action="store_true",
        help="delete tasks in the repository that belong to another base")  # fmt: skip
    add_option(parser, "--dry-run", "check the folder, list what would go, send nothing")
    parser.old_spelling("--check", "--dry-run")
    add_option(parser, "--quiet")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from ..hub.publication import read_publication
    from ..hub.publishing import publish
    from ..hub.reaching import reach_hub

    if args.create_pr and args.revision:
        raise ValueError("expected --revision or --create-pr, found both: a pull request is made "
                         "against the default branch.")  # fmt: skip
    publication = read_publication(args.folder, [] if args.task == [ALL] else args.task)
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
    if args.dry_run:
        files = publication.files()
        size = sum(path.stat().st_size for path in files.values())
        print(f"would go: {len(files)} files, {size / 1e6:.1f} MB, and model cards that lack")
        for path, source in files.items():
            print(f"  {path} ({source.stat().st_size / 1e6:.2f} MB)")
        return
    reach_hub(args.repo, write=True)
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
