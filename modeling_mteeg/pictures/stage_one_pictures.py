"""Pictures of stage one: decoded spectra, the use of codes, hidden patches that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .style import COLOURS, GREY, LIGHT, figure_class, name_channels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATE_HZ = 200
_SHOWN_HZ = 75
_PATCHES = 4


def rebuild_signal(
    values: torch.Tensor, amplitude: torch.Tensor, phase: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Amplitude, phase and signal from a decoder's standardised spectra.

    Parameters
    ----------
    values : torch.Tensor
        (channels, patches, 200), one recorded window.
    amplitude, phase : torch.Tensor
        (channels * patches, 200), decoded.

    Returns
    -------
    tuple of torch.Tensor
        Three of (channels, patches, 200): amplitude in the unit of ``values``, phase in radians,
        and the signal of both.

    Notes
    -----
    The decoder tells spectra of zero mean and unit standard deviation over the window. Mean and
    deviation are those of the recorded window: they are lost in the codes.
    """
    spectrum = torch.fft.fft(values.float())
    rescaled = []
    for part, decoded in ((spectrum.abs(), amplitude), (spectrum.angle(), phase)):
        deviation, mean = torch.std_mean(part)
        rescaled.append(decoded.float().view(values.shape) * deviation + mean)
    magnitude, angle = rescaled
    signal = torch.fft.ifft(torch.polar(magnitude.clamp(min=0), angle)).real
    return magnitude, angle, signal


def draw_reconstruction(
    values: torch.Tensor,
    amplitude: torch.Tensor,
    phase: torch.Tensor,
    channels: Sequence[str],
    title: str = "",
) -> Figure:
    """Recorded and decoded patches: amplitude, phase and signal, a column each, a row a channel.

    Parameters
    ----------
    values : torch.Tensor
        (channels, patches, 200), one window in units of 0.1 mV.
    amplitude, phase : torch.Tensor
        (channels * patches, 200), as :class:`~modeling_mteeg.MteegTokenizerModel` decodes them.
    channels : sequence of str
        The first four are shown, and of each its first patch (signal: its first four).
    title : str
    """
    shown = min(len(channels), _PATCHES)
    figure = figure_class()(figsize=(11, 1.3 + 1.35 * shown), layout="constrained")
    figure.suptitle(title or "Recorded and decoded", fontsize=10)
    axes = figure.subplots(shown, 3, squeeze=False, width_ratios=[1, 1, 1.6], sharex="col")
    values = values.detach().cpu()
    decoded = rebuild_signal(values, amplitude.detach().cpu(), phase.detach().cpu())
    spectrum = torch.fft.fft(values.float())
    recorded = spectrum.abs(), spectrum.angle(), values.float()
    patches = min(_PATCHES, values.shape[1])
    bins = np.arange(1, _SHOWN_HZ)
    seconds = np.arange(patches * RATE_HZ) / RATE_HZ
    for row in range(shown):
        for column, (real, made) in enumerate(zip(recorded, decoded, strict=True)):
            axis = axes[row, column]
            signal = column == 2
            x = seconds if signal else bins
            for tensor, name, colour in ((real, "recorded", GREY), (made, "decoded", COLOURS[1])):
                y = tensor[row, :patches].reshape(-1) * 100 if signal else tensor[row, 0, bins]
                if column == 0:
                    y = y * 100
                axis.plot(x, y.numpy(), color=colour, lw=1.1, label=name)
            axis.tick_params(labelsize=7)
        axes[row, 0].set_ylabel(channels[row], fontsize=8)
    heads = ("amplitude of the first patch (µV)", "phase (rad)", "signal (µV)")
    for column, text in enumerate(heads):
        axes[0, column].set_title(text, fontsize=8)
        axes[-1, column].set_xlabel("s" if column == 2 else "Hz", fontsize=8)
    handles = axes[0, 2].get_lines()
    figure.legend(handles=handles, loc="outside lower right", ncols=2, fontsize=8, frameon=False)
    return figure


def draw_code_usage(usage: Mapping[str, torch.Tensor], note: str = "") -> Figure:
    """How often every code is taken, from the most to the least used one.

    Parameters
    ----------
    usage : mapping of str to torch.Tensor
        Curves by name, each (codes,), counts or averages of them.
    note : str
        Under the title.
    """
    figure = figure_class()(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, (name, counts) in enumerate(usage.items()):
        share = counts.detach().cpu().double().sort(descending=True).values
        share = share / share.sum().clamp(min=1e-12)
        axes.plot(np.arange(1, len(share) + 1), share.numpy(), lw=1.5, label=name,
                  color=COLOURS[number])  # fmt: skip
        axes.axhline(1 / len(share), color=LIGHT, lw=1, zorder=0)
    axes.set_xlabel("codes, the most used one first")
    axes.set_ylabel("share of the patches")
    axes.set_yscale("symlog", linthresh=1e-5)
    axes.set_ylim(0, 1)
    axes.set_title(f"Use of the codes{': ' if note else ''}{note}", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    return figure


def draw_masked(
    mask: torch.Tensor, found: torch.Tensor, channels: Sequence[str], title: str = ""
) -> Figure:
    """Which patches of a window were hidden, and whose code was found.

    Parameters
    ----------
    mask, found : torch.Tensor
        bool, (channels * patches,): hidden in the first pass; code found when it was hidden.
    channels : sequence of str
    title : str
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    rows = len(channels)
    mask = mask.detach().cpu().view(rows, -1).numpy()
    found = found.detach().cpu().view(rows, -1).numpy()
    kinds = (2 * mask + found).astype(int)
    names = ("other pass: missed", "other pass: found", "first pass: missed", "first pass: found")
    colours = ("#f4d6c2", "#bfe3d5", COLOURS[1], COLOURS[2])
    figure = figure_class()(figsize=(6.5, min(9.0, 1.6 + 0.22 * rows)), layout="constrained")
    axes = figure.subplots()
    height, width = kinds.shape
    axes.imshow(kinds, cmap=ListedColormap(colours), vmin=0, vmax=3, aspect="auto",
                extent=(0, width, -height + 0.5, 0.5), interpolation="nearest")  # fmt: skip
    name_channels(axes, channels)
    axes.set_xlabel("s")
    axes.set_title(title or "Hidden patches", fontsize=9)
    handles = [Patch(color=c, label=n) for c, n in zip(colours, names, strict=True)]
    figure.legend(handles=handles, loc="outside right upper", fontsize=7, frameon=False)
    return figure
