"""The page's left column: recording, tasks, options, buttons."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import markup
from .examine import Fit
from .served import ServedModel
from .server_paths import public_base
from .uploads import TAKEN


def task_choices(served: ServedModel, fits: Iterable[Fit] = ()) -> list[tuple[str, str]]:
    """The list of tasks: question, what it takes and answers, and how it fits; and its name."""
    how = {fit.task: fit for fit in fits}
    return [(markup.task_label(card, how.get(name)), name) for name, card in served.tasks.items()]


def lay_out_inputs(gr: Any, served: ServedModel) -> tuple[Any, ...]:
    """The left column: file, tasks, options and buttons."""
    files = gr.File(
        label="Recording", file_count="multiple", file_types=list(TAKEN), elem_id="recording",
        height=150,
    )  # fmt: skip
    about_file = gr.HTML("", elem_id="about-file")
    choices = task_choices(served)
    if not choices:
        gr.HTML(
            markup.warning(
                f"No task lies beside {public_base(served.base)}. Name an adapter from the Hub "
                "below, or save one with model.save_adapter(task, BASE/adapters/task)."
            )
        )
    tasks = gr.CheckboxGroup(
        choices, label="What to ask", elem_id="tasks", visible=bool(choices)
    )  # fmt: skip
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
