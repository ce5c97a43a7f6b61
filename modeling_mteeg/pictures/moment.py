"""The raw traces of one stretch of a recording, as a picture of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model.mains_notch import notch_text
from ..prediction.result import Prediction
from .drawn_recording import ShownRecording, band_text
from .layout import FOOT, WIDTH_IN
from .page_picture import CAPTION
from .style import COLOURS, GREY, figure_class, plain_text, short_name
from .time_axis import elapsed
from .traces import Moment, draw_moments, excerpt, traces_height_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_moment(
    prediction: Prediction, recording: Any, start_s: float, stop_s: float, title: str
) -> Figure:
    """Traces of the channels of a prediction, 5 s before and after a moment, 30 s at most.

    Parameters
    ----------
    prediction : Prediction
        Whose channels are shown.
    recording : str, Path, mne.io.BaseRaw, (array, names, rate_hz) or Source
        The one that was predicted, its channels under the names that were predicted. Only the
        stretch that is shown, and 5 s for the filter at either side, are read.
    start_s, stop_s : float
        Shaded, from the recording's start.
    title : str
        What it is.

    Raises
    ------
    MissingMatplotlibError
        matplotlib is not installed.
    ValueError
        The recording ends before the moment begins.
    """
    card, settings = prediction.card, prediction.provenance.get("settings", {})
    shown = ShownRecording(recording, settings.get("unit"))
    if not 0 <= start_s < shown.length_s:
        raise ValueError(f"The recording is {shown.length_s:g} s long, there is no {start_s:g} s.")
    channels = prediction.channels or shown.names
    moment = Moment(start_s, stop_s, plain_text(title), COLOURS[1])
    heights = [0.34, 2 * traces_height_in(1, len(channels)), 0.35]
    figure = figure_class()(figsize=(WIDTH_IN, sum(heights)), layout="constrained")
    top, part, foot = figure.subfigures(3, 1, height_ratios=heights)
    top.text(0.01, 0.85, f"Traces: {short_name(prediction.recording)}", fontsize=11,
             fontweight="bold", va="top")  # fmt: skip
    spacing_uv = draw_moments(part, [moment], shown, channels, card.notch_hz)
    first_s, last_s = excerpt(moment, shown.length_s)
    notch = f" and {notch_text(card.notch_hz)}" if card.notch_hz is not None else ""
    caption = (
        f"{elapsed(first_s)} to {elapsed(last_s)} of {', '.join(channels)}. The bar at the right "
        f"is {spacing_uv:g} µV. For display: band-pass {band_text(shown.rate_hz)}{notch}; the "
        f"model sees the task's own filters ({card.filters})."
    )
    foot.text(0.01, 0.98, plain_text(caption), fontsize=7, color=GREY, va="top", gid=CAPTION,
              wrap=True)  # fmt: skip
    foot.text(0.01, 0.02, FOOT, fontsize=7, color=GREY)
    return figure
