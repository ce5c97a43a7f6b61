"""The page's layout and what its buttons call. Needs Gradio, from the ``app`` extra."""

# Gradio reads the annotations of what it calls, which name a module imported late: none are texts.

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from . import markup
from .answer import Answer
from .calls import look_at_upload, predict_upload
from .file_door import FileDoor
from .input_column import lay_out_inputs, task_choices
from .page_style import CSS
from .served import ServedModel
from .server_paths import public_base, without_paths
from .session import KEPT_S, Visitors
from .shown_answer import show_answer

SWEPT_S = 10.0
"""How often what belongs to nobody any more is deleted."""
WAITING = 20
"""Visitors that may wait in line; one recording is worked on at a time."""
START = (
    "1. Drop a recording: EDF, BDF, FIF, Neuroscan CNT, EEGLAB (.set, with its .fdt), or "
    "BrainVision (.vhdr, .vmrk and .eeg together).\n"
    "2. Choose tasks. Those that suit the recording's channels are marked once it is here.\n"
    "3. Press Predict. Pictures, a table of events and files to download appear here."
)


class MissingGradioError(ImportError, ValueError):
    """Gradio is not installed."""


def import_gradio() -> Any:
    """Gradio, without its telemetry.

    Raises
    ------
    MissingGradioError
        It is not installed; the message says how to get it.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ImportError as error:
        raise MissingGradioError(
            "The page needs Gradio, which is not installed: pip install 'modeling-mteeg[app]'."
        ) from error
    return gradio


def build_page(served: ServedModel | None, reason: str = "") -> Any:
    """The page over a base.

    Parameters
    ----------
    served : ServedModel or None
        None: the page only says ``reason``.
    reason : str
        Why there is no base, and what to do.

    Returns
    -------
    gradio.Blocks
        To be started with :func:`launch`.
    """
    gr = import_gradio()
    blocks = gr.Blocks(title="mteeg", analytics_enabled=False)
    blocks.visitors = visitors = Visitors()
    with blocks:
        base = public_base(served.base) if served else None
        gr.HTML(markup.header(base), elem_id="header")
        if served is None:
            why = markup.error("This page has no base to predict with", without_paths(reason))
            gr.HTML(why, elem_id="error")
        else:
            if served.simulated:
                gr.HTML(markup.warning(markup.SIMULATED), elem_id="simulated")
            _lay_out(gr, served, visitors)
        gr.HTML(markup.small(markup.NO_DEVICE), elem_id="no-device")

        def close(request: gr.Request) -> None:
            visitors.close(request.session_hash)

        blocks.unload(close)
    blocks.queue(default_concurrency_limit=1, max_size=WAITING)
    return blocks


def launch(blocks: Any, wait: bool = True, **options: Any) -> None:
    """Serve a page with its own look, and without anything that leaves this machine.

    Parameters
    ----------
    blocks : gradio.Blocks
    wait : bool
        Serve until a signal ends it; else return, and ``blocks.close()`` ends it.
    **options
        Of ``gradio.Blocks.launch``: ``server_port``, ``share``, ``max_file_size`` ...

    Raises
    ------
    OSError
        The port is taken.
    """
    gr = import_gradio()
    from starlette.middleware import Middleware  # comes with Gradio

    local = gr.themes.utils.fonts.LocalFont  # Gradio's wheel has them, nothing is fetched
    theme = gr.themes.Default(
        primary_hue="blue",
        secondary_hue="blue",
        font=[local("Source Sans Pro", (400, 700)), "system-ui", "sans-serif"],
        font_mono=[local("IBM Plex Mono", (400, 700)), "ui-monospace", "monospace"],
    )
    own = [Path(tempfile.gettempdir()), Path.cwd(), Path.home()]
    hidden = [str(folder) for folder in own if len(folder.parts) > 2]  # "/" is in every answer
    door = Middleware(FileDoor, visitors=blocks.visitors, hidden=hidden)
    fixed = {"ssr_mode": False, "run_history": False, "footer_links": [], "mcp_server": False}
    _, here, public = blocks.launch(
        theme=theme, css=CSS, prevent_thread_lock=True, quiet=True,
        app_kwargs={"middleware": [door]}, **fixed, **options,
    )  # fmt: skip
    running = lambda: blocks.is_running  # noqa: E731
    sweeping = threading.Thread(
        target=blocks.visitors.sweep_while, args=(running, SWEPT_S), daemon=True
    )
    sweeping.start()
    print(f"the page is at {here}" + (f" and at {public}" if public else ""), flush=True)
    if not wait:
        return
    try:
        while blocks.is_running:
            time.sleep(0.1)
    finally:
        blocks.close(verbose=False)


def _lay_out(gr: Any, served: ServedModel, visitors: Visitors) -> None:
    """Inputs at the left, answers at the right; below each other in a narrow window."""
    result = gr.State(None, time_to_live=KEPT_S)
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            files, about_file, tasks, options, go, stop = lay_out_inputs(gr, served)
        with gr.Column(scale=5, min_width=320):
            status = gr.HTML(markup.note("How it works", START), elem_id="status")

            @gr.render(inputs=result)
            def show(given: Answer | None) -> None:
                if given is not None:
                    show_answer(gr, served, given)

    def look(request: gr.Request, given, chosen, names):
        session = visitors.session(request.session_hash)
        html, fits, marked = look_at_upload(served, session, given, chosen, names)
        return html, gr.CheckboxGroup(task_choices(served, fits), value=marked)

    def run(request: gr.Request, given, chosen, *set_, progress=gr.Progress()):  # noqa: B008
        session = visitors.session(request.session_hash)
        return predict_upload(served, session, given, chosen, set_, progress)

    def end(request: gr.Request) -> None:
        visitors.session(request.session_hash).stop()

    rename = options[3]
    gr.on(
        [files.change, rename.submit, rename.blur], look, [files, tasks, rename],
        [about_file, tasks], concurrency_limit=4, api_visibility="private",
        show_progress="minimal", trigger_mode="always_last",
    )  # fmt: skip
    quick = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    buttons = lambda working: [gr.Button(interactive=not working), gr.Button(interactive=working)]  # noqa: E731
    # What an earlier run found goes away first: it must not stand beside a new file's name.
    go.click(lambda: [None, markup.WORKING, *buttons(True)], None, [result, status, go, stop],
             **quick).then(
        run, [files, tasks, *options], [result, status], api_visibility="private",
        show_progress_on=status,
    ).then(lambda: buttons(False), None, [go, stop], **quick)  # fmt: skip
    stop.click(end, None, None, **quick)
