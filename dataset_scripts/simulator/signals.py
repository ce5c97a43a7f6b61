"""Ingredients of simulated EEG: subjects, background activity, rhythms and events.

All signals are float32 in microvolt.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import fft, signal

from modeling_mteeg.dataset_scripts.simulator.head import FloatArray, Head


def generator(seed: int, *parts: str | int) -> np.random.Generator:
    """Random generator of one recording: a function of the seed and the recording's name.

    Parameters
    ----------
    seed : int
        Seed of the whole simulation.
    *parts : str or int
        Name of the corpus, the subject, the recording.

    Returns
    -------
    numpy.random.Generator
    """
    return np.random.default_rng([seed, *(zlib.crc32(str(part).encode()) for part in parts)])


@dataclass(frozen=True)
class Subject:
    """What differs from head to head.

    Parameters
    ----------
    amplitude : float
        Factor on everything (skull, electrodes).
    alpha_hz, alpha_uv : float
        Peak frequency and root mean square of the posterior rhythm.
    slope : float
        Exponent of the background's power spectrum, 1/f**slope.
    background_uv, noise_uv : float
        Root mean square of the background and of each electrode's own noise.
    line_uv : float
        Amplitude of the mains hum.
    """

    amplitude: float
    alpha_hz: float
    alpha_uv: float
    slope: float
    background_uv: float
    noise_uv: float
    line_uv: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Subject:
        """A healthy adult at rest."""
        return cls(
            amplitude=float(np.exp(rng.normal(0.0, 0.15))),
            alpha_hz=float(rng.uniform(9.0, 11.2)),
            alpha_uv=float(rng.uniform(9.0, 16.0)),
            slope=float(rng.uniform(1.4, 1.9)),
            background_uv=float(rng.uniform(10.0, 15.0)),
            noise_uv=float(rng.uniform(1.5, 3.0)),
            line_uv=float(rng.uniform(0.5, 3.0)),
        )


def coloured_noise(
    rng: np.random.Generator, rows: int, samples: int, rate_hz: float, slope: float
) -> FloatArray:
    """Noise whose power falls as 1/f**slope above 1 Hz and is flat below.

    Returns
    -------
    numpy.ndarray
        float32 (rows, samples) with unit variance in expectation.
    """
    # The power falls with the exponent, so the amplitude falls with half of it.
    return _shaped(rng, rows, samples, rate_hz, lambda hz: np.maximum(hz, 1.0) ** (-slope / 2.0))


def band_noise(
    rng: np.random.Generator,
    rows: int,
    samples: int,
    rate_hz: float,
    centre_hz: float,
    width_hz: float,
) -> FloatArray:
    """A rhythm that waxes and wanes: noise with a Gaussian spectrum around ``centre_hz``.

    Returns
    -------
    numpy.ndarray
        float32 (rows, samples) with unit variance in expectation.
    """
    bell = lambda hz: np.exp(-0.5 * ((hz - centre_hz) / width_hz) ** 2)  # noqa: E731
    return _shaped(rng, rows, samples, rate_hz, bell)


def _shaped(
    rng: np.random.Generator,
    rows: int,
    samples: int,
    rate_hz: float,
    response: Callable[[FloatArray], FloatArray],
) -> FloatArray:
    """White noise through an amplitude response to Hz, (rows, samples), unit variance."""
    length = fft.next_fast_len(samples, real=True)  # a quick length; what is too much is cut
    hz = fft.rfftfreq(length, 1.0 / rate_hz)  # (length // 2 + 1,)
    gain = response(hz)
    gain[hz < 0.3] = 0.0  # no offset, no drift
    white = fft.rfft(rng.standard_normal((rows, length), dtype=np.float32), axis=1)
    # Mean of gain**2 over all frequencies, negative ones included: the variance that comes out.
    power = float(np.sum(gain**2)) * 2.0 / length
    shaped = fft.irfft(white * (gain / np.sqrt(power)).astype(np.float32), length, axis=1)
    return shaped[:, :samples]


def background(
    rng: np.random.Generator,
    head: Head,
    subject: Subject,
    samples: int,
    rate_hz: float,
    line_hz: float = 60.0,
    sources: int = 24,
) -> FloatArray:
    """Ongoing activity at rest: 1/f background, posterior alpha, electrode noise, mains hum.

    Returns
    -------
    numpy.ndarray
        float32 (channels, samples) in microvolt, before the subject's overall ``amplitude``.
    """
    places = rng.standard_normal((sources, 3))
    places[:, 2] = np.abs(places[:, 2]) - 0.3  # in the upper part of the head, where electrodes are
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    mixing = head.weights(places, 0.55)  # (channels, sources)
    # A channel's variance is the sum of its squared weights: their mean becomes background_uv**2.
    mixing *= subject.background_uv / np.sqrt(np.mean(np.sum(mixing**2, axis=1)))
    uv = mixing @ coloured_noise(rng, sources, samples, rate_hz, subject.slope)
    noise = rng.standard_normal(uv.shape, dtype=np.float32)
    noise *= subject.noise_uv
    uv += noise
    # (3, samples): three sources whose fields overlap, hence 0.7 of each.
    alpha = band_noise(rng, 3, samples, rate_hz, subject.alpha_hz, 0.6) * subject.alpha_uv
    for site, wave in zip(("O1", "O2", "POz"), alpha, strict=True):
        head.place(uv, site, wave * 0.7, 0.5)
    hum = np.sin(2.0 * np.pi * line_hz * np.arange(samples) / rate_hz)
    # One phase everywhere, another strength at each electrode (its impedance).
    uv += rng.uniform(0.3, 1.0, (len(uv), 1)).astype(np.float32) * hum * subject.line_uv
    return uv.astype(np.float32)


def smooth_steps(levels: FloatArray, rate_hz: float, ramp_s: float) -> FloatArray:
    """A piecewise constant course (samples,) with its steps softened over about ``ramp_s``."""
    length = max(3, round(ramp_s * rate_hz))
    window = np.hanning(length + 2)[1:-1]  # without its zeros
    padded = np.pad(np.asarray(levels, np.float64), length, mode="edge")
    # As much was added on either side as the window is long, so no end is pulled towards 0.
    soft = signal.fftconvolve(padded, window / window.sum(), mode="same")
    return soft[length:-length].astype(np.float32)


def spike_and_wave(rate_hz: float, uv: float, rng: np.random.Generator) -> FloatArray:
    """A spike of about 60 ms followed by a slow wave of about 300 ms, (samples,)."""
    time = np.arange(round(0.6 * rate_hz)) / rate_hz
    sharpness = rng.uniform(0.012, 0.018)
    spike = -uv * np.exp(-0.5 * ((time - 0.08) / sharpness) ** 2)
    wave = 0.55 * uv * np.exp(-0.5 * ((time - 0.30) / 0.08) ** 2)
    return (spike + wave).astype(np.float32)


def periodic_discharge(rate_hz: float, uv: float, rng: np.random.Generator) -> FloatArray:
    """One complex of a periodic pattern: three phases within about 400 ms, (samples,)."""
    time = np.arange(round(0.5 * rate_hz)) / rate_hz
    stretch = rng.uniform(0.9, 1.1)
    phases = ((0.08, 0.02, 0.5), (0.16, 0.035, -1.0), (0.30, 0.06, 0.45))
    return sum(
        uv * size * np.exp(-0.5 * ((time - at * stretch) / (width * stretch)) ** 2)
        for at, width, size in phases
    ).astype(np.float32)


def blink(rate_hz: float, uv: float, length_s: float = 0.35) -> FloatArray:
    """The deflection of a blink, (samples,)."""
    return (uv * np.hanning(round(length_s * rate_hz))).astype(np.float32)


def muscle_burst(
    rng: np.random.Generator, rate_hz: float, length_s: float, uv: float
) -> FloatArray:
    """Muscle activity, mostly 25 to 70 Hz, (samples,)."""
    samples = round(length_s * rate_hz)
    burst = band_noise(rng, 1, samples, rate_hz, 45.0, 14.0)[0]
    return burst * uv * signal.windows.tukey(samples, 0.3).astype(np.float32)


def spindle(rng: np.random.Generator, rate_hz: float, uv: float) -> FloatArray:
    """A sleep spindle: 12 to 14 Hz for 0.6 to 1.4 s, waxing and waning, (samples,)."""
    samples = round(rng.uniform(0.6, 1.4) * rate_hz)
    phase = 2.0 * np.pi * rng.uniform(12.2, 14.2) * np.arange(samples) / rate_hz
    return (uv * np.hanning(samples) * np.sin(phase)).astype(np.float32)


def k_complex(rate_hz: float, uv: float) -> FloatArray:
    """A sharp negative wave and a slower positive one, about a second, (samples,)."""
    time = np.arange(round(1.2 * rate_hz)) / rate_hz
    sharp = -uv * np.exp(-0.5 * ((time - 0.3) / 0.09) ** 2)
    slow = 0.7 * uv * np.exp(-0.5 * ((time - 0.7) / 0.18) ** 2)
    return (sharp + slow).astype(np.float32)
