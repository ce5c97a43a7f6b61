"""The page's right column: one tab a task, whose parts follow threshold and clicks."""

# Gradio reads the annotations of what it calls, which name a module imported late: none are texts.

from typing import Any

from ..model.findings import sentences
from . import markup
from .answer import Answer
from .calls import decide_anew, show_traces
from .served import ServedModel
from .task_work import STEP, TaskAnswer, TaskWork

_CALL = {"api_visibility": "private", "concurrency_limit": 2, "concurrency_id": "drawing"}
"""Drawing does not wait for the predictions of others."""


def show_answer(gr: Any, served: ServedModel, given: Answer) -> None:
    """One tab a task."""
    with gr.Tabs(elem_id="answers"):
        for index, (task, work) in enumerate(zip(given.tasks, given.works, strict=True)):
            with gr.Tab(task.name, elem_id=f"answer-{index}"):
                _show_task(gr, served, task, work)


def _show_task(gr: Any, served: ServedModel, task: TaskAnswer, work: TaskWork) -> None:
    """Answer, threshold, pictures, events with their traces, files and remarks of one task."""
    problem = gr.HTML("")
    summary = gr.HTML(_summary(task), elem_classes="summary")
    if task.warning:
        gr.HTML(markup.warning(task.warning))
    if task.findings:
        gr.HTML(markup.findings(task.findings))
    if work.own_threshold is not None:
        slider = gr.Slider(
            STEP, 1 - STEP, work.own_threshold, step=STEP, interactive=True,
            label=f"Threshold: {work.prediction.card.labels[1]} from this probability on",
            info="Decides the same probabilities anew: answer, pictures, events and files.",
            elem_classes="threshold",
        )  # fmt: skip
    pictures = gr.HTML(_pictures(task, work), elem_classes="pictures")
    gr.HTML(markup.heading(f"Events of {task.name}") + markup.small(
        "Press a row to see its traces."
    ))  # fmt: skip
    table = gr.Dataframe(
        task.rows, headers=list(task.columns), show_label=False, interactive=False, wrap=False,
        max_height=360, buttons=["fullscreen", "copy"], elem_classes="events",
    )  # fmt: skip
    more = gr.HTML(_more(task))
    traces = gr.HTML("", elem_classes="traces")
    files = gr.HTML(_files(task, work), elem_classes="files")
    said = sentences(task.findings)  # above
    gr.HTML(markup.bullets(note for note in task.notes if note not in said))

    def choose(event: gr.SelectData):
        return show_traces(served, work, event.row_value)

    table.select(choose, None, traces, show_progress_on=traces, **_CALL)
    if work.own_threshold is None:
        return
    outputs = [problem, summary, pictures, table, more, traces, files]

    def decide(threshold: float):
        found, wrong = decide_anew(served, work, threshold)
        if found is None:
            return [wrong, *(gr.skip() for _ in outputs[1:])]
        return ["", _summary(found), _pictures(found, work), found.rows, _more(found), "",
                _files(found, work)]  # fmt: skip

    slider.release(decide, slider, outputs, show_progress_on=summary, trigger_mode="always_last",
                   **_CALL)  # fmt: skip


def _summary(task: TaskAnswer) -> str:
    return markup.summary(task.summary) + markup.facts(task.facts)


def _pictures(task: TaskAnswer, work: TaskWork) -> str:
    return "".join(
        markup.figure(
            picture.title, picture.shown, work.address(picture.shown.light),
            work.address(picture.shown.dark),
        )
        for picture in task.pictures
    )  # fmt: skip


def _more(task: TaskAnswer) -> str:
    return markup.small(f"{task.more_rows} more are in the file.") if task.more_rows else ""


def _files(task: TaskAnswer, work: TaskWork) -> str:
    return markup.downloads({label: work.address(path) for label, path in task.files.items()})
