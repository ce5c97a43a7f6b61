"""The page's own HTML: small pieces, every text in them escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from ..model.findings import Finding
from ..model.task_card import TaskCard
from .examine import Fit

NO_DEVICE = (
    "Research software and no medical device: nothing on this page is a diagnosis, and nobody "
    "should be treated or left untreated because of it."
)
SIMULATED = (
    "These tasks were trained on simulated recordings. Their answers show how the page works and "
    "say nothing about people."
)
WORKING = '<div id="working" class="mteeg-room"></div>'
"""Room for the progress bar."""
CSS = """
.gradio-container { max-width: 1560px !important; }
.gradio-container button { font-family: var(--font); }
#header h1 { margin: 0; font-size: 1.7rem; }
#header p { margin: 2px 0 0; opacity: 0.72; }
#tasks .wrap { flex-direction: column; gap: 4px; }
#tasks label { width: 100%; }
.mteeg-note, .mteeg-error, .mteeg-warning {
  border-left: 4px solid #0072B2; border-radius: 4px; padding: 10px 14px; line-height: 1.45;
  background: var(--background-fill-secondary); overflow-wrap: anywhere;
}
.mteeg-error { border-color: #D55E00; }
.mteeg-warning { border-color: #E69F00; }
.mteeg-error h3, .mteeg-note h3 { margin: 0 0 4px; font-size: 1rem; }
.mteeg-small { opacity: 0.8; font-size: 0.9rem; line-height: 1.45; }
.mteeg-found { padding: 6px 14px; font-size: 0.9rem; margin-top: 6px; }
.mteeg-found ul { margin: 0; padding-left: 1.2em; }
.mteeg-room { height: 64px; }
.mteeg-small ul, .mteeg-note ul { margin: 4px 0 0; padding-left: 1.2em; }
.mteeg-facts { display: flex; flex-wrap: wrap; gap: 6px 22px; margin: 0; }
.mteeg-facts div { display: flex; flex-direction: column; }
.mteeg-facts dt { opacity: 0.72; font-size: 0.82rem; }
.mteeg-facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.mteeg-fits { list-style: none; padding: 0 !important; margin-top: 10px !important; }
.mteeg-fits li { padding: 1px 0 1px 1.5em; text-indent: -1.5em; }
.mteeg-fits li::before { content: "–"; display: inline-block; width: 1.5em; text-indent: 0; }
.mteeg-fits li.fit::before { content: "✓"; color: #009E73; font-weight: 700; }
.mteeg-heading { margin: 6px 0 0; font-size: 1rem; }
.mteeg-tasks dt { font-weight: 600; margin-top: 8px; }
.mteeg-tasks dd { margin: 0; }
"""


def error(title: str, message: str) -> str:
    """A box that says what went wrong and what to do."""
    return (
        f'<div class="mteeg-error" role="alert"><h3>{escape(title)}</h3>'
        f"{_paragraphs(message)}</div>"
    )


def warning(message: str) -> str:
    """A box with something to keep in mind."""
    return f'<div class="mteeg-warning">{escape(message)}</div>'


def findings(found: Iterable[Finding]) -> str:
    """Boxes of what is odd about a recording: what is left out or marked, then what is noted."""
    boxes = {"error": "", "warning": "", "note": ""}
    for finding in found:
        remedy = f"<br>{escape(finding.remedy)}" if finding.remedy else ""
        boxes[finding.severity("predict")] += f"<li>{escape(finding.sentence)}{remedy}</li>"
    return "".join(
        f'<div class="mteeg-{kind} mteeg-found"><ul>{items}</ul></div>'
        for kind, items in boxes.items()
        if items
    )


def note(title: str, message: str) -> str:
    """A box with something good to know."""
    return f'<div class="mteeg-note"><h3>{escape(title)}</h3>{_paragraphs(message)}</div>'


def header(base: str | None) -> str:
    """Name of the page and what it serves."""
    served = f"Base: {escape(base)}" if base else "No base is loaded."
    return (
        "<h1>mteeg</h1><p>One EEG foundation model, one small adapter per task: from a recording "
        f"to class probabilities over time. {served}</p>"
    )


def facts(pairs: Mapping[str, str]) -> str:
    """Names and values in a row."""
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in pairs.items()
    )
    return f'<dl class="mteeg-facts">{cells}</dl>'


def bullets(lines: Iterable[str]) -> str:
    """Sentences, one below the other; nothing where there are none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="mteeg-small"><ul>{items}</ul></div>' if items else ""


def small(text: str) -> str:
    """A remark in small print."""
    return f'<div class="mteeg-small">{escape(text)}</div>'


def about_tasks(cards: Iterable[TaskCard]) -> str:
    """What every task asks, wants and answers."""
    parts = []
    for card in cards:
        channels = f"{len(card.channels)} channels" if card.channels else "any montage"
        origin = card.corpus or "corpus not named"
        parts.append(
            f"<dt>{escape(card.name)}</dt><dd>{escape(card.description)}</dd>"
            f"<dd>{escape(', '.join(card.labels))}; {channels}; windows of {card.window_s:g} s; "
            f"trained on {escape(origin)}{' (simulated)' if card.simulated else ''}.</dd>"
        )
    return f'<dl class="mteeg-small mteeg-tasks">{"".join(parts)}</dl>'


def fits(tasks: Iterable[Fit]) -> str:
    """Which tasks suit a recording."""
    items = "".join(
        f'<li class="{"fit" if fit.fits else "no-fit"}"><b>{escape(fit.task)}</b>: '
        f"{escape(fit.words)}</li>"
        for fit in tasks
    )
    return f'<div class="mteeg-small"><ul class="mteeg-fits">{items}</ul></div>'


def heading(text: str) -> str:
    """What the next picture shows."""
    return f'<h3 class="mteeg-heading">{escape(text)}</h3>'


def task_label(card: TaskCard) -> str:
    """A task's name with the question it answers, or its labels."""
    question, mark, _ = card.description.partition("?")
    asks = question + mark if mark and len(question) < 80 else ", ".join(card.labels)
    return f"{card.name}: {asks}"


def _paragraphs(message: str) -> str:
    return "".join(f"<div>{escape(line)}</div>" for line in message.splitlines())
