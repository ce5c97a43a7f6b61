"""``mteeg app``: the page."""

from __future__ import annotations

import argparse

from .._ending import until_end
from ..settings.command_line import CommandParser
from ..settings.vocabulary import add_option

SUMMARY = "serve a page: drop a recording, choose tasks, see and download the answers"
EXAMPLES = ("mteeg app --base BASE",)

KEPT = "uploads and results are removed"


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_option(
        parser,
        "--base",
        "with its tasks in adapters/ (default: $MTEEG_BASE, else the demo's base in "
        "outputs/joint_demo/model where it is there)",
    )
    parser.add_argument(
        "--port",
        type=int,
        help="port (default: $GRADIO_SERVER_PORT, else the first free from 7860)",
    )
    parser.add_argument(
        "--share",
        choices=("no", "yes"),
        default="no",
        help="yes: a public address through Gradio's servers, so that recordings leave this "
        "machine (default: no, this machine alone)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from ..app.page import build_page, import_gradio, launch
    from ..app.page_folder import page_folder
    from ..app.served import ServedModel, choose_base
    from ..hub.reaching import reach_hub

    shared = args.share == "yes"
    base = choose_base(args.base)
    import_gradio()  # before a base is loaded in vain
    until_end(page_folder())
    reach_hub(base)
    print(f"loading {base}")
    served = ServedModel.load(base, public=shared)
    print(f"tasks: {', '.join(served.tasks) or 'none beside the base'}")
    if shared:
        print("shared: whoever has the public address can use this page, and what they drop on it")
        print("travels through Gradio's servers; do not drop recordings that must stay here")
    launch(build_page(served), server_port=args.port, share=shared)
