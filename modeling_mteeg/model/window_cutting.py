"""Windows of a recording that has parts: where they lie, and what is left over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .filter_chain import PreprocessingInfo
from .findings import Finding
from .record_parts import Part, spans_text


class PartWindows:
    """Windows of one length in the parts of a recording; none spans a joint.

    Parameters
    ----------
    parts : sequence of Part
        In samples as recorded.
    info : PreprocessingInfo
        From the recorded rate to that of the windows.
    length, stride : int
        Of a window, and from one window's start to the next within a part, in samples at the
        windows' rate. Every part begins with a window.

    Attributes
    ----------
    parts : tuple of Part
        Those that hold a window.
    short : tuple of Part
        The others.
    """

    def __init__(
        self, parts: Sequence[Part], info: PreprocessingInfo, length: int, stride: int
    ) -> None:
        self.info, self.length, self.stride = info, length, stride
        fits = [info.samples_out(part.samples) >= length for part in parts]
        self.parts = tuple(part for part, fit in zip(parts, fits, strict=True) if fit)
        self.short = tuple(part for part, fit in zip(parts, fits, strict=True) if not fit)
        self._samples = [info.samples_out(part.samples) for part in self.parts]
        self._counts = [(samples - length) // stride + 1 for samples in self._samples]

    @property
    def onset_s(self) -> np.ndarray:
        """float64, (windows,), seconds from the recording's start."""
        step_s = self.stride / self.info.target_hz
        return np.concatenate(
            [part.onset_s + np.arange(count) * step_s
             for part, count in zip(self.parts, self._counts, strict=True)]
        )  # fmt: skip

    def cut(self, signal: np.ndarray) -> np.ndarray:
        """(channels, samples) at the windows' rate, one part behind the other, to windows.

        Returns
        -------
        numpy.ndarray
            (windows, channels, length), of one part a view.
        """
        pieces, start = [], 0
        for samples in self._samples:
            piece = signal[:, start : start + samples]
            view = np.lib.stride_tricks.sliding_window_view(piece, self.length, axis=1)
            pieces.append(view[:, :: self.stride].transpose(1, 0, 2))
            start += samples
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    @property
    def left_over_s(self) -> list[tuple[float, float]]:
        """Spans at the ends of parts that no window reaches, in seconds from the start."""
        spans, rate_hz = [], self.info.target_hz
        for part, samples, count in zip(self.parts, self._samples, self._counts, strict=True):
            used = (count - 1) * self.stride + self.length
            if used < samples:
                spans.append((part.onset_s + used / rate_hz, part.onset_s + samples / rate_hz))
        return spans

    def findings(self) -> list[Finding]:
        """Parts that are too short, and ends that fill no window."""
        found, window_s = [], self.length / self.info.target_hz
        if self.short:
            rate_hz = self.info.rate_hz
            spans = [(part.onset_s, part.onset_s + part.samples / rate_hz) for part in self.short]
            what = f"{len(spans)} parts are" if len(spans) > 1 else "A part is"
            found.append(
                Finding(
                    "parts",
                    f"{what} shorter than a window of {window_s:g} s and left out: "
                    f"{spans_text(spans)}.",
                    spans_s=tuple(spans),
                )
            )
        spans = self.left_over_s
        if spans:
            seconds = sum(stop - start for start, stop in spans)
            ends = "" if len(self.parts) == 1 else f" of {len(spans)} of its parts"
            found.append(
                Finding(
                    "end-left-out",
                    f"The last {seconds:.4g} s{ends} do not fill a window of {window_s:g} s and "
                    f"are left out: {spans_text(spans)}.",
                    spans_s=tuple(spans),
                )
            )
        return found
