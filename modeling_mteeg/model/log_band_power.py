"""Log band power of every channel of a window, as a module: what a head may read beside tokens."""

from __future__ import annotations

import torch
from torch import nn

BANDS_HZ = {"delta": (1, 4), "theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 45)}
_LEAST_POWER = 1e-3  # microvolt^2 / Hz, added: a flat channel has a logarithm and a gradient


class LogBandPower(nn.Module):
    """Natural logarithm of the mean power density in every band of :data:`BANDS_HZ`.

    Welch's estimate over the patches of a window, one Hann-windowed segment a patch, each without
    its mean, none over another (``scipy.signal.welch`` with ``nperseg=200, noverlap=0``). It is one
    matrix product, so that it has gradients and can be exported.

    Parameters
    ----------
    patch_size : int
        Samples in a patch.
    rate_hz : float
        Of the samples.
    scale_uv : float
        Microvolt in a unit of the input.
    """

    def __init__(self, patch_size: int, rate_hz: float, scale_uv: float) -> None:
        super().__init__()
        self.scale_uv = scale_uv
        window = torch.hann_window(patch_size, dtype=torch.float64)  # periodic
        hz = torch.arange(patch_size // 2 + 1, dtype=torch.float64) * rate_hz / patch_size
        time = torch.arange(patch_size, dtype=torch.float64) / rate_hz  # seconds
        angle = 2 * torch.pi * time[:, None] * hz  # (time, frequencies)
        waves = window[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)
        waves = waves - waves.mean(0)  # takes the patch's mean away as well: (time, frequencies, 2)
        self.register_buffer("waves", waves.flatten(1).float(), persistent=False)
        inside = [(hz >= low) & (hz < high) for low, high in BANDS_HZ.values()]
        shares = torch.stack([band / band.sum() for band in inside], 1)  # (frequencies, bands)
        density = 2 / (rate_hz * window.square().sum())  # one-sided; no band holds 0 Hz or Nyquist
        self.register_buffer("shares", (shares * density).float(), persistent=False)

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        """Log power in microvolt^2 / Hz, in full precision also where autocast is on.

        Parameters
        ----------
        input_values : torch.Tensor
            (batch, channels, patches, patch size) or (batch, channels, samples).

        Returns
        -------
        torch.Tensor
            (batch, channels, bands), in the dtype of the module: float32.
        """
        batch, channels = input_values.shape[:2]
        with torch.autocast(input_values.device.type, enabled=False):
            patches = input_values.to(self.waves.dtype).reshape(
                batch, channels, -1, len(self.waves)
            )
            parts = (patches * self.scale_uv) @ self.waves  # (batch, channels, patches, 2 per Hz)
            power = parts.unflatten(-1, (-1, 2)).square().sum(-1).mean(2)  # over patches
            return (power @ self.shares + _LEAST_POWER).log()
