"""What the tokenizer's decoder has to tell of every patch: amplitude and phase of its spectrum."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

# Of a patch's transform in units of 0.1 mV, where 1 microvolt of white noise has 0.14: what is
# below is rounding of the recorder, and a logarithm would make it large.
_LEAST_AMPLITUDE = 1e-2
_LEAST_DEVIATION = 1e-8


def spectra(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Amplitude and phase of every patch's spectrum, standardised, as published.

    Parameters
    ----------
    values : torch.Tensor
        (batch, channels, patches, 200).

    Returns
    -------
    tuple of torch.Tensor
        Two of (batch, channels * patches, 200), float32: all 200 bins of the discrete Fourier
        transform, each of zero mean and unit standard deviation over a whole sample. A sample that
        is flat throughout has zeros.
    """
    spectrum = torch.fft.fft(values.float())  # complex, over the 200 samples of each patch
    # A negative zero, where the transform is real, would turn the phase pi into -pi.
    phase = torch.atan2(spectrum.imag + 0.0, spectrum.real)
    return standardised(spectrum.abs()), standardised(phase)


def standardised(x: torch.Tensor) -> torch.Tensor:
    """(batch, channels, patches, bins) to (batch, channels * patches, bins)."""
    deviation, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
    return ((x - mean) / deviation.clamp(min=_LEAST_DEVIATION)).flatten(1, 2)


class LogAmplitudes(nn.Module):
    """Logarithm of the amplitudes, every bin standardised over the corpus, then over the sample.

    Amplitudes of EEG fall steeply with frequency and have heavy tails: standardised as they are,
    the slowest bins of the loudest patches make up nearly all of the loss. In the logarithm, less
    the window's loudness and the corpus's mean spectrum, every bin counts alike, and a patch's
    rhythms are what is left.

    Attributes
    ----------
    mean, deviation : torch.Tensor
        float32, (bins,), of the corpus; see :meth:`fit`.
    """

    def __init__(self, bins: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(bins))
        self.register_buffer("deviation", torch.ones(bins))

    @property
    def fitted(self) -> bool:
        """Whether the corpus's mean is known."""
        return bool(self.mean.any())

    @torch.no_grad()
    def fit(self, windows: Iterable[torch.Tensor]) -> None:
        """Take mean and deviation from windows, each part (n, channels, patches, bins)."""
        logs = torch.cat([self._centred(part)[0].flatten(0, -2).cpu() for part in windows])
        deviation, mean = torch.std_mean(logs.double(), dim=0)  # float64 is not on every device
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp(min=_LEAST_DEVIATION))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(batch, channels, patches, bins) to (batch, channels * patches, bins), float32."""
        return standardised(self._whitened(self._centred(values)[0]))

    def amplitudes(self, decoded: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Decoded logarithms as amplitudes standardised like :func:`spectra`, for pictures.

        Parameters
        ----------
        decoded : torch.Tensor
            (batch, channels * patches, bins), as the decoder tells them.
        values : torch.Tensor
            (batch, channels, patches, bins), the windows: mean and deviation of each are lost in
            the codes, and are the recorded ones here.
        """
        centred, middle = self._centred(values)
        deviation, mean = torch.std_mean(self._whitened(centred), dim=(1, 2, 3), keepdim=True)
        whitened = decoded.float().view(values.shape) * deviation + mean
        logs = whitened * self.deviation + self.mean + middle
        amplitudes = logs.exp() - _LEAST_AMPLITUDE
        recorded = torch.fft.fft(values.float()).abs()
        deviation, mean = torch.std_mean(recorded, dim=(1, 2, 3), keepdim=True)
        return ((amplitudes - mean) / deviation.clamp(min=_LEAST_DEVIATION)).flatten(1, 2)

    @staticmethod
    def _centred(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logarithms of zero mean over every window, and that mean: its loudness."""
        logs = (torch.fft.fft(values.float()).abs() + _LEAST_AMPLITUDE).log()
        middle = logs.mean((1, 2, 3), keepdim=True)
        return logs - middle, middle

    def _whitened(self, centred: torch.Tensor) -> torch.Tensor:
        return (centred - self.mean) / self.deviation
