"""The frame of a picture of predictions: heading, panels over time, and what stands at the foot."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..prediction.result import Prediction
from .page_picture import CAPTION
from .spectrogram import draw_spectrogram, spectrogram
from .style import GREY, figure_class, plain_text, short_name
from .time_axis import set_time_axes
from .traces import Moment, draw_moments, traces_height_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from .drawn_recording import ShownRecording

WIDTH_IN = 11.0
_LINE_IN = 0.155
_FOOT_IN = 0.132
_LETTERS = 165
_BESIDE = 0.15
FOOT = "Research software; not a medical device."


def time_figure(
    prediction: Prediction,
    recording: ShownRecording,
    kind: str,
    panels_in: Sequence[float],
    around_in: float,
    *,
    remarks: Sequence[str] = (),
    most_channels: int | None = None,
    highest_hz: float | None = None,
    moments: Sequence[Moment] = (),
    extra_in: float = 0.0,
) -> tuple[Figure, list[Axes], list[Axes], SubFigure | None]:
    """A figure with heading, panels over the recording's time, traces of moments, and foot.

    Parameters
    ----------
    kind : str
        What the picture shows, first in the heading.
    panels_in : sequence of float
        Heights of the panels in inches, from top to bottom; the last holds the spectrogram.
    around_in : float
        Inches that time, clock and gaps take in all.
    remarks : sequence of str
        Sentences at the foot, before the prediction's own notes.
    most_channels : int, optional
        The spectrogram is of so many channels; of all by default.
    highest_hz : float, optional
        Of the spectrogram; 45 Hz by default, or the task's low-pass.
    moments : sequence of Moment
    extra_in : float
        Height of a part for more.

    Returns
    -------
    tuple
        The figure; the panels; room for a legend beside each of them; the part for more, None where
        ``extra_in`` is 0.
    """
    channels = prediction.channels or recording.names
    heights = [sum(panels_in) + around_in]
    if moments:
        heights.append(traces_height_in(len(moments), len(channels)))
    if extra_in:
        heights.append(extra_in)
    figure, parts = _open_figure(prediction, kind, heights, remarks)
    grid = parts[0].subplots(
        len(panels_in), 2, squeeze=False, height_ratios=panels_in, width_ratios=[1, _BESIDE]
    )
    panels, beside = grid.T.tolist()
    for panel, legend in grid:
        panel.spines[["top", "right"]].set_visible(False)
        legend.set_axis_off()
    highest = highest_hz or min(45.0, prediction.card.lowpass_hz or 45.0)
    drawn = spectrogram(recording, channels[:most_channels], highest)
    draw_spectrogram(panels[-1], drawn, beside[-1])
    set_time_axes(panels, recording.length_s, recording.started)
    if moments:
        draw_moments(parts[1], moments, recording, channels, prediction.card.notch_hz)
    return figure, panels, beside, parts[-1] if extra_in else None


def _open_figure(
    prediction: Prediction, kind: str, heights_in: Sequence[float], remarks: Sequence[str]
) -> tuple[Figure, list[SubFigure]]:
    """A figure with heading and foot, and between them parts of the given heights."""
    heading = _wrapped(_facts(prediction))
    caption = _wrapped([*remarks, *_montage(prediction), *_rest(prediction)])
    notes = [*_wrapped(prediction.notes), f"{FOOT} {_version(prediction)}".strip()]
    foot_in = 0.06 + _FOOT_IN * (len(caption) + len(notes))
    heights = [0.34 + _LINE_IN * len(heading), *heights_in, foot_in]
    figure = figure_class()(figsize=(WIDTH_IN, sum(heights)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.05, wspace=0.01, hspace=0.02)
    parts = list(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    top, foot = parts[0], parts[-1]
    x = 0.12 / WIDTH_IN
    top.text(x, 1 - 0.07 / heights[0], _title(prediction, kind), fontsize=11, fontweight="bold",
             va="top")  # fmt: skip
    top.text(x, 0.02, "\n".join(heading), fontsize=8, color=GREY, va="bottom")
    if caption:
        foot.text(x, 0.98, "\n".join(caption), fontsize=7, color=GREY, va="top", gid=CAPTION)
    below = 0.98 - _FOOT_IN * len(caption) / foot_in
    foot.text(x, below, "\n".join(notes), fontsize=7, color=GREY, va="top")
    return figure, parts[1:-1]


def write_legend(
    beside: Axes, names: Sequence[str], colours: Sequence[str], details: Sequence[str]
) -> None:
    """Coloured squares with names and, in grey, a detail, from the top down."""
    line = min(0.19, 1.0 / max(len(names), 1))
    rows = enumerate(zip(names, colours, details, strict=True))
    for row, (name, colour, detail) in rows:
        y = 1 - line * (row + 0.5)
        beside.plot([0.03], [y], "s", color=colour, ms=6, mec="#555555", mew=0.4, clip_on=False,
                    transform=beside.transAxes)  # fmt: skip
        text = beside.text(0.10, y, short_name(name, 16), fontsize=8, va="center",
                           transform=beside.transAxes)  # fmt: skip
        beside.annotate(detail, (1, 0.5), xycoords=text, xytext=(5, 0), va="center",
                        textcoords="offset points", fontsize=7, color=GREY)  # fmt: skip


def _title(prediction: Prediction, kind: str) -> str:
    card = prediction.card
    simulated = " (trained on SIMULATED data)" if card.simulated else ""
    name = short_name(Path(prediction.recording).name) or "recording without a name"
    return f"{kind}: {card.name}{simulated} on {name}"


def _facts(prediction: Prediction) -> list[str]:
    """Who predicted, and how."""
    known = prediction.provenance
    base, adapter = known.get("base", {}), known.get("adapter", {})
    count = len(prediction.onset_s)
    windows = f"{count:,} window{'s' if count != 1 else ''} of {prediction.window_s:g} s"
    if prediction.stride_s is None:
        windows += " at cues"
    elif count > 1:
        windows += f", one every {prediction.stride_s:g} s"
    parts = [f"adapter {_named(adapter) or prediction.card.name}", windows]
    if _named(base):
        parts.insert(1, f"base {_named(base)}")
    return [" · ".join(parts)]


def _named(part: Mapping[str, Any]) -> str:
    """Name of a base or an adapter with its revision on the Hub."""
    revision = f" at {part['revision'][:10]}" if part.get("revision") else ""
    return f"{short_name(part['name'])}{revision}" if part.get("name") else ""


def _montage(prediction: Prediction) -> list[str]:
    """What differs from the task's channels, where the prediction's notes do not say so."""
    said = " ".join(prediction.notes)
    sentences = []
    if prediction.derived and prediction.derived[0] not in said:
        every = len(prediction.derived) == len(prediction.channels)
        names = (
            f"all {len(prediction.derived)} channels" if every else ", ".join(prediction.derived)
        )
        sentences.append(f"Derived as differences of two electrodes: {names}.")
    if prediction.missing and prediction.missing[0] not in said:
        sentences.append(
            f"Channels of the task that the recording lacks: {', '.join(prediction.missing)}."
        )
    return sentences


def _rest(prediction: Prediction) -> list[str]:
    """How much at the end has no window, where the prediction's notes do not say so."""
    said = any(finding.code == "end-left-out" for finding in prediction.findings)
    if said or prediction.stride_s is None or not len(prediction.onset_s):
        return []
    rest = prediction.recording_s - float(prediction.onset_s[-1]) - prediction.window_s
    return [f"The last {rest:.3g} s do not fill a window."] if rest >= 0.5 else []


def _version(prediction: Prediction) -> str:
    version = prediction.provenance.get("package_versions", {}).get("modeling-mteeg")
    return f"modeling-mteeg {version}." if version else ""


def _wrapped(sentences: Sequence[str]) -> list[str]:
    return [
        line for sentence in sentences for line in textwrap.wrap(plain_text(sentence), _LETTERS)
    ]
