"""Small random changes of training windows, which stretch a small data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch

from ..settings.schema import setting

_STREAM = 1
"""Sets these random numbers apart from those of drop path, which have the same four numbers."""
Batches = Mapping[str, Mapping[str, torch.Tensor]]


@dataclasses.dataclass(frozen=True)
class AugmentationOptions:
    """How training windows are changed, every window anew in every epoch; all off at 0.

    Parameters
    ----------
    time_shift_s : float
        Up to so many seconds to either side, evenly drawn, the same for all channels. What leaves
        the window at one end comes in at the other (a circular shift), so that there is a step
        where the two meet.
    channel_dropout : float
        Probability with which a channel's signal is set to 0. At least one channel stays.
    amplitude : float
        A window is multiplied by ``exp(x)``, ``x`` normal with this deviation.
    noise : float
        White noise, as a share of every channel's own deviation in the window.
    """

    time_shift_s: float = setting(0.0, ">= 0", later=True)
    channel_dropout: float = setting(0.0, ">= 0, < 1", later=True)
    amplitude: float = setting(0.0, ">= 0", later=True)
    noise: float = setting(0.0, ">= 0", later=True)

    def __bool__(self) -> bool:
        return any(dataclasses.astuple(self))

    def describe(self) -> str:
        """Those that are on, in words."""
        words = {
            "time_shift_s": "time shift up to {:g} s (circular)",
            "channel_dropout": "channels dropped with probability {:g}",
            "amplitude": "amplitude exp(N(0, {:g}))",
            "noise": "noise {:g} of every channel's deviation",
        }
        return ", ".join(words[key].format(v) for key, v in vars(self).items() if v) or "none"


def augmented(
    batches: Batches, options: AugmentationOptions, rate_hz: Mapping[str, float], where: tuple
) -> dict[str, dict[str, torch.Tensor]]:
    """Batches of a part of a step with changed signals; the given ones stay as they are.

    Parameters
    ----------
    batches : mapping of str to mapping
        Task to ``input_values`` (n, channels, patches, samples) float32 and the rest of a batch.
    options : AugmentationOptions
    rate_hz : mapping of str to float
        Sampling rate of every task.
    where : tuple of int
        (seed, step, part, process): the random values are a function of these, and of the tasks and
        shapes of the part. They are drawn before a part is cut into passes.
    """
    changed = {}
    for number, (task, batch) in enumerate(batches.items()):
        values = batch["input_values"]
        key = np.random.SeedSequence([*where, number, _STREAM]).generate_state(1, np.uint64)[0]
        generator = torch.Generator(values.device).manual_seed(int(key) >> 1)
        shift = round(options.time_shift_s * rate_hz[task])
        changed[task] = {**batch, "input_values": _change(values, options, shift, generator)}
    return changed


def _change(
    values: torch.Tensor, options: AugmentationOptions, shift: int, generator: torch.Generator
) -> torch.Tensor:
    """``values`` (n, channels, patches, samples), shifted, scaled, with noise, channels dropped."""
    x = values.flatten(2)  # (n, channels, time)
    count, channels, time = x.shape
    on = {"device": x.device, "generator": generator}
    if shift:
        by = torch.randint(-shift, shift + 1, (count, 1), **on)
        places = (torch.arange(time, device=x.device) - by) % time  # (n, time)
        x = x.gather(2, places[:, None].expand(-1, channels, -1))
    if options.amplitude:
        x = x * (options.amplitude * torch.randn((count, 1, 1), **on)).exp()
    if options.noise:
        spread = x.std(2, correction=0, keepdim=True)  # (n, channels, 1)
        x = x + options.noise * spread * torch.randn(x.shape, **on)
    if options.channel_dropout:
        draws = torch.rand((count, channels, 1), **on)
        stays = (draws >= options.channel_dropout) | (draws == draws.amax(1, keepdim=True))
        x = x * stays
    return x.view_as(values)
