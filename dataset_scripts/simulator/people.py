"""What differs between people and electrodes beyond ``Subject``, at size ``people``.

In the size ``demo`` a class looks nearly the same in everybody, and electrodes are perfect, as in
no recording. Here what marks a class is weak in some people and strong in others, electrodes differ
in gain, some are noisy, drift or pop, and muscles are tense at times.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from modeling_mteeg.dataset_scripts.simulator.head import FloatArray
from modeling_mteeg.dataset_scripts.simulator.signals import coloured_noise, generator, muscle_burst

EFFECT = (-0.25, 0.45)
"""Mean and deviation of the logarithm of a person's effect: median 0.78, mostly 0.37 to 1.6."""
NOISY = 0.06
"""Share of electrodes with bad contact."""


@dataclasses.dataclass(frozen=True)
class Person:
    """What a person's recordings have in common.

    Parameters
    ----------
    effect : float
        Factor on what marks a class: on its microvolt, or on the logarithm of a change of power.
    rough : bool
        Whether electrodes are imperfect and muscles tense.
    """

    effect: float = 1.0
    rough: bool = False

    @classmethod
    def of(cls, size: str, seed: int, *name: str | int) -> Person:
        """The person of that name; in sizes other than ``people`` everybody is the same."""
        if size != "people":
            return cls()
        return cls(float(np.exp(generator(seed, "person", *name).normal(*EFFECT))), True)

    def recorded(self, uv: FloatArray, rate_hz: float, seed: int, *name: str | int) -> FloatArray:
        """A signal (channels, samples) in microvolt as the electrodes of a recording give it.

        ``name`` is the recording's; equal names give equal electrodes.
        """
        if not self.rough:
            return uv
        rng = generator(seed, "electrodes", *name)
        channels, samples = uv.shape
        uv = uv * np.exp(rng.normal(0.0, 0.15, (channels, 1))).astype(np.float32)  # gains
        uv += 4.0 * coloured_noise(rng, channels, samples, rate_hz, 2.0)  # sweat and cables
        for row in np.flatnonzero(rng.random(channels) < NOISY):
            uv[row] += rng.uniform(5.0, 15.0) * rng.standard_normal(samples, dtype=np.float32)
        for _ in range(rng.poisson(samples / rate_hz / 15.0)):  # pops: a step that fades
            row, at = int(rng.integers(channels)), int(rng.integers(samples))
            fading = np.exp(-np.arange(samples - at) / (0.3 * rate_hz))
            uv[row, at:] += (rng.choice((-1.0, 1.0)) * rng.uniform(30.0, 90.0) * fading).astype(
                "f4"
            )
        for _ in range(rng.poisson(samples / rate_hz / 10.0)):  # muscles of one place
            burst = muscle_burst(rng, rate_hz, rng.uniform(0.5, 1.5), rng.uniform(8.0, 25.0))
            row, at = int(rng.integers(channels)), int(rng.integers(samples))
            uv[row, at : at + len(burst)] += burst[: samples - at]
        return uv
