"""The filter chain of :mod:`modeling_mteeg.model.preprocessing` for signals of any length.

A recording goes in piece by piece and comes out filtered and resampled, in bounded memory: the same
numbers that ``preprocess`` gives for the whole of it. The filters are symmetric, so an output
sample needs the future as far as they reach (20 s with the 0.1 Hz high-pass); that is the delay.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from ..model.preprocessing import PreprocessingInfo, preprocess
from .stream_transform import BlockTransform, output_grid

_HOP_REACHES = 6  # a block moves on by so many times the filters' reach unless told otherwise


class StreamFilter:
    """Filter and resample a recording that comes in blocks of any size.

    Parameters
    ----------
    info : PreprocessingInfo
        What to do: :func:`modeling_mteeg.model.preprocessing.preprocessing_info`.
    channels : int
    samples : int or None
        Length of the recording, where it is known: the output samples then lie where
        ``preprocess`` (as MNE) puts them. None, for live signals: on the nominal grid, output
        sample k at k / target rate. MNE's grid depends on the length of the whole recording and
        lies a fraction of an output sample beside that: :func:`stream_transform.grid_shift`.
    hop_s : float or None
        Seconds by which a block moves on: less gives a shorter delay and takes more time. None:
        several times the reach of the filters.

    Attributes
    ----------
    reach : int
        Input samples of future that an output sample needs.
    samples_in, samples_out : int
        Samples taken and given so far.

    Raises
    ------
    ValueError
        Sizes that are not possible.

    Notes
    -----
    - Where the low-pass is applied, the output is that of ``preprocess`` to 0.003 microvolt
      (mostly 0.0005). Where it cannot be (100 and 128 Hz to 200), ``preprocess`` resamples by the
      spectrum of the whole recording, which needs all of it; here a sinc ends where the block ends.
      What lies closer to Nyquist than about 0.1 Hz differs: 0.005 microvolt RMS in noise with the
      spectrum of EEG (30 microvolt), 0.1 in white noise of 20 microvolt.
    - The numbers do not depend on the sizes of the blocks that are pushed, to the bit.
    - Recordings between one and two times :attr:`reach`, of unknown length, differ by up to 0.02
      microvolt at their two ends: ``preprocess`` takes the filters one by one there.
    - A recording no longer than the filters reach, or one of known length that one block could
      hold, is collected and handed to ``preprocess``.
    """

    def __init__(
        self,
        info: PreprocessingInfo,
        channels: int,
        samples: int | None = None,
        hop_s: float | None = None,
    ) -> None:
        if channels < 1 or (samples is not None and samples < 1):
            raise ValueError(
                f"Expected at least one channel and one sample, found {channels} channels and "
                f"samples={samples}."
            )
        if hop_s is not None and not 0 < hop_s < math.inf:
            raise ValueError(f"hop_s: expected a number above 0, found {hop_s!r}.")
        self.info, self.channels, self.samples = info, channels, samples
        self.samples_in = self.samples_out = self.reach = 0
        self._finished = False
        self._passes = not info.kernels and not info.resampled
        if self._passes:
            return
        self._first, self._step = output_grid(info, samples)
        self._transform = BlockTransform(info, self._step, self._hop(hop_s))
        self.reach, length = self._transform.reach, self._transform.length
        self._collects = samples is not None and samples <= max(length, self.reach)
        length = samples if self._collects else length
        self._buffer = np.zeros((channels, length), dtype=np.float32)
        self._level = np.zeros((channels, 1))  # first sample, which the buffer leaves out
        # The buffer begins at this place of the recording: first with the reflection before it.
        self._start = 0 if self._collects else -self.reach
        self._filled = -self._start
        self._reflected = False

    def _hop(self, hop_s: float | None) -> int:
        if hop_s is None:
            return _HOP_REACHES * max(self.info.reach, round(self.info.rate_hz))
        return max(1, round(hop_s * self.info.rate_hz))

    @property
    def delay_s(self) -> float:
        """Seconds from a sample's arrival until :meth:`drain` can give the output at its time."""
        return self.reach / self.info.rate_hz

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take the next samples and return what is ready.

        Parameters
        ----------
        block : numpy.ndarray
            (channels, n), any real dtype, n from 0 on; the unit is kept.

        Returns
        -------
        numpy.ndarray
            float32, (channels, m) at the target rate; m is often 0, since whole blocks are
            transformed at a time (:meth:`drain` does not wait for them).

        Raises
        ------
        ValueError
            Another shape, values that are not finite (with rows and time), more samples than were
            announced, or a stream that is finished. Nothing of the block is taken then.
        """
        block = self._checked(block)
        if self._passes:
            self.samples_in += block.shape[1]
            self.samples_out = self.samples_in
            return block.astype(np.float32)
        if self.samples_in == 0 and block.shape[1]:
            self._level = block[:, :1].astype(np.float64)
        parts, place = [], 0
        while place < block.shape[1]:
            room = self._buffer.shape[1] - self._filled
            piece = block[:, place : place + room]  # no more than the buffer holds
            place += piece.shape[1]
            self._append(piece)
            if self._filled == self._buffer.shape[1] and not self._collects:
                self._reflect_start()
                parts.append(self._emit(self._buffer, self._start, self._ready()))
                self._drop()
        return self._joined(parts)

    def drain(self, lookahead_s: float | None = None) -> np.ndarray:
        """Return at once what can be given, instead of when a block is full.

        Parameters
        ----------
        lookahead_s : float or None
            None: the outputs whose whole future has arrived, which are exact. A number from 0 on,
            below :attr:`delay_s`: those up to so long before the newest sample; the future that
            they lack is continued by odd reflection, as at the end of a recording. These are
            approximate, and final.

        Returns
        -------
        numpy.ndarray
            float32, (channels, m).

        Notes
        -----
        Nothing is given until the filters' reach has arrived once. Costs a transform.
        """
        self._check_open()
        if self._passes or self._collects or self.samples_in <= self.reach:
            return self._joined([])
        self._reflect_start()
        if lookahead_s is None:
            # The rest of the block is filled up with the newest sample. No output that is given
            # reaches so far; a constant only keeps the transform from ringing.
            self._buffer[:, self._filled :] = self._buffer[:, self._filled - 1 : self._filled]
            out = self._emit(self._buffer, self._start, self._ready())
        else:
            stop = Fraction(self.samples_in - self._lookahead(lookahead_s))
            out = self._joined(self._continued(stop))
        self._drop()
        return out

    def samples_needed(self, samples_out: int, lookahead_s: float | None = None) -> int | None:
        """Input samples after which :meth:`drain` has given so many output samples in all.

        None: only :meth:`finish` will, since the recording is collected.
        """
        if self._passes:
            return samples_out
        if self._collects:
            return None
        future = self.reach if lookahead_s is None else self._lookahead(lookahead_s)
        # Input sample at or before the last output sample, and what it waits for behind it.
        last = math.floor(self._first + (samples_out - 1) * self._step)
        return max(last + future, self.reach) + 1

    def _lookahead(self, lookahead_s: float) -> int:
        lookahead = math.ceil(lookahead_s * self.info.rate_hz)
        if not 0 <= lookahead <= self.reach:
            raise ValueError(
                f"lookahead_s: expected 0 to {self.delay_s:.4g} s, found {lookahead_s!r}."
            )
        return lookahead

    def finish(self) -> np.ndarray:
        """End the recording and return what is left of it.

        Returns
        -------
        numpy.ndarray
            float32, (channels, m); together ``round(samples * target / rate)`` samples were given.

        Raises
        ------
        ValueError
            No sample was pushed, or not as many as were announced.

        Warns
        -----
        UserWarning
            The recording is shorter than the longest filter, as ``preprocess`` warns.
        """
        self._check_open()
        if self.samples_in == 0 or self.samples not in (None, self.samples_in):
            expected = "at least one sample" if self.samples is None else f"{self.samples} samples"
            raise ValueError(f"Expected {expected} before the end, found {self.samples_in}.")
        self._finished = True
        if self._passes:
            return self._joined([])
        total = self.info.samples_out(self.samples_in)
        if self._collects or self.samples_in <= self.reach:
            first = self._filled - self.samples_in
            signal = self._buffer[:, first : self._filled] + self._level
            out = self._whole(signal)
            self.samples_out = total
        else:
            self._reflect_start()
            out = self._joined(self._continued(self._first + total * self._step))
        del self._buffer
        return out

    def _whole(self, signal: np.ndarray) -> np.ndarray:
        info = self.info
        edges = (info.highpass_hz, info.lowpass_hz, info.notch_hz)
        return preprocess(signal, info.rate_hz, info.target_hz, *edges)

    def _append(self, piece: np.ndarray) -> None:
        """Copy samples to the end of the buffer, less the first sample of the recording."""
        filled = self._filled + piece.shape[1]
        target = self._buffer[:, self._filled : filled]
        np.subtract(piece, self._level, out=target, dtype=np.float64, casting="same_kind")
        self._filled = filled
        self.samples_in += piece.shape[1]

    def _reflect_start(self) -> None:
        """Continue the recording before its first sample (which is 0 here) by odd reflection."""
        if not self._reflected:
            reach = self.reach  # the first sample lies at this place of the buffer, as a 0
            np.negative(self._buffer[:, 2 * reach : reach : -1], out=self._buffer[:, :reach])
            self._reflected = True

    def _ready(self) -> Fraction:
        """Place in the recording before which outputs have all of their future."""
        return Fraction(self.samples_in - self.reach)

    def _next(self) -> Fraction:
        """Place in the recording of the next output sample."""
        return self._first + self.samples_out * self._step

    def _emit(self, block: np.ndarray, start: int, stop: Fraction) -> np.ndarray:
        """Outputs before ``stop`` from a block that begins at ``start`` and covers their reach."""
        place = self._next()
        count = math.ceil((stop - place) / self._step)  # exact: fractions, not floats
        if count <= 0:
            return self._joined([])
        out = self._transform(block, place - start, self._step, count)
        self.samples_out += count
        if self._transform.gain_dc:
            out += (self._transform.gain_dc * self._level).astype(np.float32)
        return out

    def _continued(self, stop: Fraction) -> list[np.ndarray]:
        """Outputs before ``stop``, the recording continued beyond its newest sample."""
        inner, reach = self._buffer[:, : self._filled], self.reach
        # Odd reflection about the newest sample: (channels, reach), as far as the filters look.
        tail = 2 * inner[:, -1:] - inner[:, -2 : -2 - reach : -1]
        signal = np.concatenate([inner, tail], axis=1)
        parts, length = [], self._transform.length
        while self._next() < stop:
            begin = self._aligned(self._next())
            block = signal[:, begin : begin + length]
            if block.shape[1] < length:  # beyond the reflection nothing is looked at
                missing = ((0, 0), (0, length - block.shape[1]))
                block = np.pad(block, missing, mode="edge")
            start = self._start + begin
            parts.append(self._emit(block, start, min(stop, Fraction(start + length - reach))))
        return parts

    def _aligned(self, place: Fraction) -> int:
        """Where in the buffer a block for outputs from ``place`` on may begin."""
        begin = math.floor(place) - self.reach - 1 - self._start
        # Blocks whose starts differ by multiples of `unit` share their phases, so that the gain is
        # computed once.
        return max(0, begin - begin % self._transform.unit)

    def _drop(self) -> None:
        """Forget what no further output depends on."""
        begin = self._aligned(self._next())
        if begin:
            kept = self._filled - begin
            self._buffer[:, :kept] = self._buffer[:, begin : self._filled].copy()
            self._start += begin
            self._filled = kept

    def _joined(self, parts: list[np.ndarray]) -> np.ndarray:
        if len(parts) == 1:
            return parts[0]
        empty = np.empty((self.channels, 0), dtype=np.float32)
        return np.concatenate(parts, axis=1) if parts else empty

    def _check_open(self) -> None:
        if self._finished:
            raise ValueError("This stream is finished; make a new StreamFilter.")

    def _checked(self, block: np.ndarray) -> np.ndarray:
        """The block as an array that can be taken, or an error."""
        self._check_open()
        block = np.asarray(block)
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ValueError(
                f"Expected a block ({self.channels} channels, samples), found shape {block.shape}."
            )
        if not (np.issubdtype(block.dtype, np.floating) or np.issubdtype(block.dtype, np.integer)):
            raise ValueError(f"Expected real numbers, found dtype {block.dtype}.")
        if self.samples is not None and self.samples_in + block.shape[1] > self.samples:
            raise ValueError(
                f"Expected {self.samples} samples in all, as announced; found "
                f"{self.samples_in + block.shape[1]}."
            )
        with np.errstate(invalid="ignore", over="ignore"):
            broken = np.flatnonzero(~np.isfinite(block.sum(axis=1, dtype=np.float64)))
        broken = broken[~np.isfinite(block[broken]).all(axis=1)]  # not where the sum alone is
        if len(broken):
            first = int(np.flatnonzero(~np.isfinite(block[broken]).all(axis=0))[0])
            time_s = (self.samples_in + first) / self.info.rate_hz
            raise ValueError(
                f"Expected finite numbers; the channels at rows {broken.tolist()} hold NaN or "
                f"infinity, first at {time_s:.6g} s. Interpolate, cut or leave them out first: a "
                "filter would spread them."
            )
        return block
