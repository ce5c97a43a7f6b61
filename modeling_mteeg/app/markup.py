"""The page's own HTML: small pieces, every text in them escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape as escape_html

from .._shown_text import shown
from ..model.findings import Finding
from ..model.task_card import TaskCard
from ..pictures.page_picture import PagePicture
from .examine import Fit
from .summary import Summary, question

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


def escape(text: str) -> str:
    """``text`` without HTML, and with control characters and turns of direction as text."""
    return escape_html(shown(text))


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


def heading(text: str) -> str:
    """What the next picture shows."""
    return f'<h3 class="mteeg-heading">{escape(text)}</h3>'


def task_label(card: TaskCard, fit: Fit | None = None) -> str:
    """A task in the list: the question it answers; what it takes and answers; how it fits."""
    channels = f"{len(card.channels)} channels" if card.channels else "any montage"
    origin = card.corpus or "a corpus without a name"
    simulated = " (simulated)" if card.simulated and "simulated" not in origin else ""
    about = (
        f"{card.name}: {', '.join(card.labels)}; {channels}, windows of {card.window_s:g} s; "
        f"trained on {origin}{simulated}"
    )
    lines = [question(card), about]
    if fit is not None:
        lines.append(f"{'✓' if fit.fits else '✗'} {fit.words}")
    return "\n".join(" ".join(shown(line).split()) for line in lines)


def summary(said: Summary) -> str:
    """A task's answer on the recording, its figures, and what they mean."""
    return (
        f'<div class="mteeg-answer"><p class="mteeg-headline">{escape(said.headline)}</p>'
        f"{facts(said.figures)}<p>{escape(said.meaning)}</p></div>"
    )


def figure(title: str, picture: PagePicture, light: str, dark: str) -> str:
    """A picture in the colours of the page, its words below it.

    ``light`` and ``dark`` are the addresses of its two versions.
    """
    images = "".join(
        f'<a class="mteeg-{kind}" href="{escape(address)}" target="_blank">'
        f'<img src="{escape(address)}" alt="{escape(title)}" loading="lazy" '
        f'width="{picture.width}" height="{picture.height}"></a>'
        for kind, address in (("light", light), ("dark", dark))
    )
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    return (
        f'<figure class="mteeg-figure">{heading(title)}<div class="mteeg-picture" tabindex="0">'
        f"{images}</div>{caption}</figure>"
    )


def downloads(addresses: Mapping[str, str]) -> str:
    """Links to files, by what they are called."""
    links = "".join(
        f'<a class="download" href="{escape(address)}" download>{escape(label)}</a>'
        for label, address in addresses.items()
    )
    return f'<div class="mteeg-files">{links}</div>'


def _paragraphs(message: str) -> str:
    return "".join(f"<div>{escape(line)}</div>" for line in message.splitlines())
