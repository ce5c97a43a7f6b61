"""The page's layout and what its buttons call. Needs Gradio, from the ``app`` extra."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from ..model.findings import sentences
from . import markup
from .answer import Answer, Options, TaskAnswer, answer, parse_names
from .examine import examine
from .served import ServedModel
from .session import Session, Stopped
from .uploads import TAKEN, gather_recording

logger = logging.getLogger(__name__)

KEPT_S = 2 * 3600
"""Uploads and results are deleted from the server after this long, and when it stops."""
WAITING = 20
"""Visitors that may wait in line; one recording is worked on at a time."""
START = (
    "1. Drop a recording: EDF, BDF, FIF, Neuroscan CNT, EEGLAB (.set, with its .fdt), or "
    "BrainVision (.vhdr, .vmrk and .eeg together).\n"
    "2. Choose tasks. Those that suit the recording's channels are marked once it is here.\n"
    "3. Press Predict. Pictures, a table of events and files to download appear here."
)
_SERVER_FOLDER = re.compile(re.escape(tempfile.gettempdir()) + r"/mteeg-app-\w+/(recording/)?")


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
    blocks = gr.Blocks(title="mteeg", analytics_enabled=False, delete_cache=(600, KEPT_S))
    with blocks:
        gr.HTML(markup.header(served.base if served else None), elem_id="header")
        if served is None:
            gr.HTML(markup.error("This page has no base to predict with", reason), elem_id="error")
        else:
            if served.simulated:
                gr.HTML(markup.warning(markup.SIMULATED), elem_id="simulated")
            _lay_out(gr, served)
        gr.HTML(markup.small(markup.NO_DEVICE), elem_id="no-device")
    blocks.queue(default_concurrency_limit=1, max_size=WAITING)
    return blocks


def launch(blocks: Any, wait: bool = True, **options: Any) -> None:
    """Serve a page with its own look, and without anything that leaves this machine.

    Parameters
    ----------
    blocks : gradio.Blocks
    wait : bool
        Serve until interrupted; else return, and ``blocks.close()`` ends it.
    **options
        Of ``gradio.Blocks.launch``: ``server_port``, ``share``, ``max_file_size`` ...

    Raises
    ------
    OSError
        The port is taken.
    """
    gr = import_gradio()
    local = gr.themes.utils.fonts.LocalFont  # Gradio's wheel has them, nothing is fetched
    theme = gr.themes.Default(
        primary_hue="blue",
        secondary_hue="blue",
        font=[local("Source Sans Pro", (400, 700)), "system-ui", "sans-serif"],
        font_mono=[local("IBM Plex Mono", (400, 700)), "ui-monospace", "monospace"],
    )
    fixed = {"ssr_mode": False, "run_history": False, "footer_links": [], "mcp_server": False}
    _, here, public = blocks.launch(
        theme=theme, css=markup.CSS, prevent_thread_lock=True, quiet=True, **fixed, **options
    )
    print(f"the page is at {here}" + (f" and at {public}" if public else ""), flush=True)
    if wait:
        blocks.block_thread()


def _lay_out(gr: Any, served: ServedModel) -> None:
    """Inputs at the left, answers at the right; below each other in a narrow window."""
    session = gr.State(Session(), time_to_live=KEPT_S, delete_callback=Session.clear)
    result = gr.State(None, time_to_live=KEPT_S)
    with gr.Row():
        with gr.Column(scale=2, min_width=330):
            files, about_file, tasks, options, go, stop = _inputs(gr, served)
        with gr.Column(scale=5, min_width=330):
            status = gr.HTML(markup.note("How it works", START), elem_id="status")

            @gr.render(inputs=result)
            def show(given: Answer | None) -> None:
                if given is not None:
                    _show_answer(gr, given)

    rename = options[3]
    gr.on(
        [files.change, rename.submit, rename.blur],
        lambda given, chosen, names: look_at_upload(served, given, chosen, names),
        [files, tasks, rename], [about_file, tasks], concurrency_limit=4,
        api_visibility="private", show_progress="minimal",
    )  # fmt: skip

    def run(visitor, given, chosen, *set_, progress=gr.Progress()):  # noqa: B008
        return predict_upload(served, visitor, given, chosen, set_, progress)

    quick = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    buttons = lambda working: [gr.Button(interactive=not working), gr.Button(interactive=working)]  # noqa: E731
    # What an earlier run found goes away first: it must not stand beside a new file's name.
    go.click(lambda: [None, markup.WORKING, *buttons(True)], None, [result, status, go, stop],
             **quick).then(
        run, [session, files, tasks, *options], [result, status], api_visibility="private",
        show_progress_on=status,
    ).then(lambda: buttons(False), None, [go, stop], **quick)  # fmt: skip
    stop.click(Session.stop, session, **quick)


def _inputs(gr: Any, served: ServedModel) -> tuple[Any, ...]:
    """The left column: file, tasks, options and buttons."""
    files = gr.File(
        label="Recording", file_count="multiple", file_types=list(TAKEN), elem_id="recording",
        height=150,
    )  # fmt: skip
    about_file = gr.HTML("", elem_id="about-file")
    choices = [(markup.task_label(card), name) for name, card in served.tasks.items()]
    if not choices:
        gr.HTML(
            markup.warning(
                f"No task lies beside {served.base}. Name an adapter from the Hub below, or save "
                "one with model.save_adapter(task, BASE/adapters/task)."
            )
        )
    tasks = gr.CheckboxGroup(choices, label="Tasks", elem_id="tasks", visible=bool(choices))
    with gr.Accordion("About these tasks", open=False, visible=bool(choices)):
        gr.HTML(markup.about_tasks(served.tasks.values()))
    with gr.Accordion("Options", open=not choices):
        repo = gr.Textbox(
            label="Adapter from the Hub", placeholder="owner/repo or owner/repo@revision",
            info="One more task, trained on this base.", elem_id="adapter",
        )  # fmt: skip
        stride_s = gr.Number(
            label="Stride in seconds", value=None, minimum=0, elem_id="stride",
            info="From one window to the next. Empty: the window's length, without overlap.",
        )  # fmt: skip
        missing = gr.Number(
            label="Missing channels to allow", value=None, minimum=0, precision=0,
            elem_id="missing", info="Empty: as many as the task's card allows, mostly none.",
        )  # fmt: skip
        rename = gr.Textbox(
            label="Channel names", placeholder="T7=T3, T8=T4", elem_id="rename",
            info="What the recording calls a channel, and what the task calls it.",
        )  # fmt: skip
        merge = gr.Checkbox(
            label="Merge runs", value=False, elem_id="merge",
            info="One event for a run of windows of the same class.",
        )  # fmt: skip
        scalp = gr.Checkbox(
            label="Scalp map", value=True, elem_id="scalp",
            info="Which channels speak for the answer. Takes longer.",
        )  # fmt: skip
    with gr.Row():
        go = gr.Button("Predict", variant="primary", elem_id="predict", scale=3, min_width=120)
        stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80, interactive=False)
    return files, about_file, tasks, [repo, stride_s, missing, rename, merge, scalp], go, stop


def look_at_upload(
    served: ServedModel, files: list[str] | None, chosen: list[str], names: str = ""
) -> tuple[str, list[str]]:
    """What a dropped recording is, and the tasks that suit it.

    Returns
    -------
    tuple of str and list of str
        HTML below the file, and the tasks to mark: what the visitor chose already, else those
        that suit.
    """
    if not files:
        return "", chosen

    def work() -> tuple[str, list[str]]:
        examined = examine(served.tasks, files, parse_names(names or ""))
        html = markup.facts(examined.facts) + markup.fits(examined.fits)
        return html, chosen or examined.suggested

    return _shielded(work, "This recording cannot be read", lambda box: (box, chosen))


def predict_upload(
    served: ServedModel,
    session: Session,
    files: list[str] | None,
    tasks: list[str] | None,
    options: Sequence[Any],
    progress: Callable[..., Any],
) -> tuple[Answer | None, str]:
    """Answer of all tasks and the line above it, or no answer and what went wrong.

    Parameters
    ----------
    served : ServedModel
    session : Session
        Of this visitor.
    files : list of str
        The uploads.
    tasks : list of str
        Tasks that are marked.
    options : sequence
        The values of the fields: adapter on the Hub, stride, missing channels, channel names,
        merged runs, scalp map.
    progress : callable
        ``gradio.Progress``.
    """

    def report(share: float, doing: str) -> None:
        session.check()
        progress(share, desc=doing)

    def work() -> tuple[Answer, str]:
        repo, stride_s, missing, names, merge, scalp = options
        renamed = parse_names(names or "")
        wanted = Options(stride_s or None, missing, renamed, bool(scalp), bool(merge))
        folder = session.start()
        (folder / "recording").mkdir()
        report(0.0, "Reading the recording")
        recording = gather_recording(files, folder / "recording")
        with served.holding((repo or "").strip() or None) as guest:
            chosen = [*(tasks or ()), *([guest] if guest else ())]
            given = answer(served, recording, chosen, folder, wanted, report)
        return given, markup.facts(given.facts)

    try:
        return _shielded(work, "No answer", lambda box: (None, box))
    except Stopped:
        session.clear()
        return None, markup.note("Stopped", "Press Predict to start again.")


def _shielded(work: Callable[[], Any], title: str, failed: Callable[[str], Any]) -> Any:
    """Do something for a visitor; what goes wrong becomes a box that says what to do."""
    try:
        return work()
    except (ValueError, OSError, ImportError) as error:
        logger.info("%s: %s", title, error)
        return failed(markup.error(title, _SERVER_FOLDER.sub("", str(error))))
    except Stopped:
        raise
    except Exception as error:  # a fault of ours: the visitor gets a sentence, the log the rest
        logger.exception("The page failed")
        return failed(
            markup.error(
                title,
                f"Something failed inside ({type(error).__name__}). This is a fault of the "
                "program, not of your file; the server's log has the details.",
            )
        )


def _show_answer(gr: Any, given: Answer) -> None:
    """One tab a task."""
    with gr.Tabs(elem_id="answers"):
        for index, task in enumerate(given.tasks):
            with gr.Tab(task.name, elem_id=f"answer-{index}"):
                _show_task(gr, task)


def _show_task(gr: Any, task: TaskAnswer) -> None:
    """Facts, pictures, events, remarks and files of one task."""
    gr.HTML(markup.facts(task.facts))
    if task.warning:
        gr.HTML(markup.warning(task.warning))
    if task.findings:
        gr.HTML(markup.findings(task.findings))
    for picture in task.pictures:
        gr.HTML(markup.heading(picture.title))
        gr.Image(
            str(picture.path), label=picture.title, show_label=False, alt_text=picture.title,
            type="filepath", interactive=False, buttons=["fullscreen", "download"],
        )  # fmt: skip
    gr.Dataframe(
        task.rows, headers=list(task.columns), label=f"Events of {task.name}", interactive=False,
        wrap=False, max_height=360, buttons=["fullscreen", "copy"],
    )  # fmt: skip
    if task.more_rows:
        gr.HTML(markup.small(f"{task.more_rows} more are in the file."))
    with gr.Row():
        for label, path in task.files.items():
            gr.DownloadButton(label, str(path), size="sm", min_width=150, elem_classes="download")
    said = sentences(task.findings)  # above
    gr.HTML(markup.bullets(note for note in task.notes if note not in said))
