"""Start the page as a Hub Space does: open to strangers, the base named by a variable."""

from __future__ import annotations

from .._ending import command, until_end
from .page import build_page, launch
from .page_folder import page_folder
from .served import NoBaseError, ServedModel, choose_base

MAX_UPLOAD = "1gb"


@command("uploads and results are removed")
def serve() -> None:
    """Load the base of ``MTEEG_BASE`` and serve the page; without a base, a page that says why.

    Address and port are those of ``GRADIO_SERVER_NAME`` and ``GRADIO_SERVER_PORT``, which the Hub
    sets.
    """
    until_end(page_folder())
    served, reason = None, ""
    try:
        served = ServedModel.load(choose_base(None), public=True)
    except NoBaseError:
        reason = (
            "Whoever runs it: set the Space's variable MTEEG_BASE to owner/repo of a base "
            "(Settings, Variables and secrets), and restart it."
        )
    except (ValueError, OSError) as error:
        reason = f"The base named by MTEEG_BASE could not be loaded. {error}"
    launch(build_page(served, reason), max_file_size=MAX_UPLOAD)
