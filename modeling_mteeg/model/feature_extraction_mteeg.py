"""From a recording to the model's input: channels, unit, filters, rate and windows."""

from __future__ import annotations

import dataclasses
import logging
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin

from .channel_choice import read_channels, without_unfit
from .channels import channel_ids
from .mains_notch import NotchHz, checked_notch
from .preprocessing import preprocess, preprocessing_info
from .recording_headers import RecordingWarning
from .recording_sources import Source, open_source
from .signal_checks import (
    OtherUnitError,
    SignalError,
    amplitude_uv,
    check_channels,
    check_finite,
    flat_channels,
    flat_note,
    unit_factor,
)
from .task_card import MAX_RATE_HZ, TaskCard

logger = logging.getLogger(__name__)

MOST_PATCHES = 16
"""Rows of the published temporal table: the longest window the base was trained on."""

_MOST_OFFSET = 10.0  # times the amplitude: more is an electrode's offset, not EEG


@dataclasses.dataclass(frozen=True)
class _Settings:
    """What applies to one call: the extractor's own settings, or those of a task."""

    rate_hz: float
    scale_uv: float
    filters: tuple[float | None, float | None, NotchHz]
    """High-pass, low-pass and notch in Hz."""
    bipolar: str
    window_s: float | None
    channels: tuple[str, ...] | None
    task: str = ""
    max_missing: int = 0


class MteegFeatureExtractor(FeatureExtractionMixin):
    """Turn recordings into windows of one-second patches in units of 0.1 mV.

    Parameters
    ----------
    rate_hz : float
        Rate of the model's input.
    patch_size : int
        Samples per patch; a patch is one second.
    scale_uv : float
        Microvolt per unit of the model's input (100: 0.1 mV; paper, section 4.2).
    window_s : float or None
        Length of windows where neither a task nor the call says so. None: the whole recording,
        in one window, up to 16 s; windows of 10 s from longer ones.
    highpass_hz, lowpass_hz : float or None
        Filters (paper, section 4.2); None leaves one out.
    notch_hz : float, sequence of float or None
        One mains frequency, or several such as ``[50, 60]``.
    bipolar : {"mean", "table"}
        See :func:`channels.channel_ids`.

    Raises
    ------
    ValueError
        A setting is not possible.

    Notes
    -----
    A task's card replaces all of these for one call. Saved as ``preprocessor_config.json``.
    """

    model_input_names = ["input_values", "channel_ids"]  # noqa: RUF012 (transformers' protocol)

    def __init__(
        self,
        rate_hz: float = 200.0,
        patch_size: int = 200,
        scale_uv: float = 100.0,
        window_s: float | None = None,
        highpass_hz: float | None = 0.1,
        lowpass_hz: float | None = 75.0,
        notch_hz: NotchHz = 50.0,
        bipolar: str = "mean",
        **kwargs: Any,
    ) -> None:
        preprocessing_info(1e9, rate_hz, highpass_hz, lowpass_hz, notch_hz)
        channel_ids((), bipolar)
        if rate_hz > MAX_RATE_HZ:  # recordings are resampled to it
            raise ValueError(f"rate_hz: expected at most {MAX_RATE_HZ:g}, found {rate_hz:g}.")
        if not (isinstance(scale_uv, (int, float)) and scale_uv > 0):
            raise ValueError(f"scale_uv: expected a number above 0, found {scale_uv!r}.")
        if rate_hz != patch_size:
            raise ValueError(
                f"A patch is one second: expected rate_hz equal to patch_size, "
                f"found {rate_hz:g} Hz and {patch_size} samples."
            )
        self.rate_hz = rate_hz
        self.patch_size = patch_size
        self.scale_uv = scale_uv
        self.window_s = window_s
        self.highpass_hz = highpass_hz
        self.lowpass_hz = lowpass_hz
        self.notch_hz = checked_notch(notch_hz)
        self.bipolar = bipolar
        if window_s is not None:
            self._whole_seconds(window_s)
        super().__init__(**kwargs)

    def __call__(
        self,
        recording: Any,
        channels: Sequence[str] | None = None,
        task: TaskCard | None = None,
        window_s: float | None = None,
        stride_s: float | None = None,
        unit: str | None = None,
        filter: bool | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Prepare one recording for the model.

        Parameters
        ----------
        recording : mne.io.BaseRaw, mne.BaseEpochs, (array, names, rate_hz), str or pathlib.Path
            Arrays are (channels, samples), or (windows, channels, samples) where already cut; a
            path is read with MNE. Of MNE's objects the channels of type eeg that are not marked
            bad are used; those left out are logged.
        channels : sequence of str or None
            Channels to take, in this order. None: the task's, else all in the recording's order.
        task : TaskCard or None
            ``model.tasks[name]``: its channels in its order, its window, filters, unit and rate.
        window_s : float or None
            Length of a window in whole seconds; not together with a task.
        stride_s : float or None
            From the start of one window to the next; None: windows touch and do not overlap.
            Window ``k`` starts at ``k * stride_s``. Only for continuous recordings.
        unit : {"uV", "mV", "V"} or None
            Unit of the numbers. None: microvolt for arrays, volt for MNE's objects and files.
        filter : bool or None
            Whether to apply the filters. None: yes for continuous recordings, no for windows that
            are already cut. Those are too short for a 0.1 Hz high-pass (33 s): filter the
            recording before cutting it.
        return_tensors : {"pt", "np"} or None
            PyTorch or NumPy.

        Returns
        -------
        BatchFeature
            ``input_values`` float32 (windows, channels, patches, patch_size) in units of
            ``scale_uv`` microvolt, ``channel_ids`` int64 (channels, 2).

        Raises
        ------
        SignalError
            Missing channels, NaN or infinity, a recording shorter than a window, or numbers that
            cannot be EEG in their unit. Channels in another unit than the others, or in none,
            count as missing. Flat channels, and those that are much too small, only warn.
        UnknownChannelError
            Channels that the spatial table does not know.
        TypeError, ValueError
            Wrong use; the message says what was expected.

        Notes
        -----
        Samples at the end that do not fill a window are not returned; how much is logged. With a
        task or ``channels``, a bipolar channel that the recording lacks is derived as the
        difference of its two electrodes where both are there. Channels that the recording lacks are
        an error, unless the task's card allows that many to be missing: then a warning names them.
        """
        settings = self._settings(task, channels, window_s)
        source = open_source(recording, unit)
        for sentence in source.notes:
            warnings.warn(sentence, RecordingWarning, stacklevel=2)
        factor = unit_factor(source.unit)
        if source.cut and stride_s is not None:
            raise ValueError(
                f"stride_s is for continuous recordings; {source.kind} are cut already."
            )
        try:
            ids, signal = self._conditioned(source, factor, settings, filter)
        except OtherUnitError as error:  # without them, where the task lets them be missing
            source = without_unfit(source, error)
            ids, signal = self._conditioned(source, factor, settings, filter)
        windows = self._cut(signal, source, settings, stride_s)
        windows = np.ascontiguousarray(windows / np.float32(settings.scale_uv), dtype=np.float32)
        return BatchFeature(
            {"input_values": windows, "channel_ids": ids}, tensor_type=return_tensors
        )

    def _conditioned(
        self, source: Source, factor: float, settings: _Settings, filter: bool | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids (channels, 2) and the checked, filtered signal in microvolt at the model's rate."""
        names, signal = read_channels(source, settings.channels, settings.max_missing)
        ids = channel_ids(names, settings.bipolar)
        self._check_length(signal.shape[2] / source.rate_hz, settings)
        check_finite(signal, names)
        flat = flat_channels(signal, names)
        note = flat_note(flat, len(names))
        signal = _condition(signal * factor, source, settings, filter)
        for sentence in (note, check_channels(signal, names, source.unit, flat)):
            if sentence:
                warnings.warn(sentence, stacklevel=3)
        return ids, signal

    def _settings(
        self, task: TaskCard | None, channels: Sequence[str] | None, window_s: float | None
    ) -> _Settings:
        """The settings of one call."""
        if task is None:
            if isinstance(channels, str):
                raise ValueError(f"channels: expected a list of names, found {channels!r}.")
            window_s = self.window_s if window_s is None else window_s
            if window_s is not None:
                self._whole_seconds(window_s)
            taken = None if channels is None else tuple(channels)
            filters = (self.highpass_hz, self.lowpass_hz, self.notch_hz)
            return _Settings(self.rate_hz, self.scale_uv, filters, self.bipolar, window_s, taken)
        if not hasattr(task, "window_s"):
            raise TypeError(
                f"task: expected a TaskCard such as model.tasks['seed-v'], found {task!r}."
            )
        if channels is not None and task.channels:
            raise ValueError(f"Task {task.name!r} has its own channels; leave channels out.")
        if window_s is not None and window_s != task.window_s:
            raise ValueError(
                f"Task {task.name!r} takes windows of {task.window_s:g} s, found "
                f"window_s={window_s:g}; leave it out."
            )
        if task.rate_hz != self.rate_hz:
            raise ValueError(
                f"Expected a task at {self.rate_hz:g} Hz, found {task.name!r} at "
                f"{task.rate_hz:g} Hz."
            )
        taken = tuple(task.channels or channels or ()) or None
        filters = (task.highpass_hz, task.lowpass_hz, task.notch_hz)
        place = (task.bipolar, task.window_s, taken, task.name, task.max_missing_channels)
        return _Settings(task.rate_hz, task.scale_uv, filters, *place)

    def _whole_seconds(self, window_s: float) -> None:
        number = isinstance(window_s, (int, float)) and not isinstance(window_s, bool)
        patches = window_s * self.rate_hz / self.patch_size if number else 0
        if not 1 <= patches < math.inf or patches != round(patches):
            raise ValueError(
                f"window_s: expected a whole number of {self.patch_size / self.rate_hz:g} s "
                f"patches, found {window_s!r}."
            )

    def _check_length(self, seconds: float, settings: _Settings) -> None:
        needed = settings.window_s or 1.0
        if round(seconds * self.rate_hz) < round(needed * self.rate_hz):
            what = f"task {settings.task!r}'s window" if settings.task else "a window"
            advice = "" if settings.task else " Pass a shorter window_s (whole seconds)."
            raise SignalError(
                f"Expected at least {needed:g} s, the length of {what}; found a recording of "
                f"{seconds:.4g} s.{advice}"
            )

    def _cut(
        self, signal: np.ndarray, source: Source, settings: _Settings, stride_s: float | None
    ) -> np.ndarray:
        """(1 or windows, channels, samples) to (windows, channels, patches, patch_size)."""
        samples = signal.shape[2]
        patches = samples // self.patch_size
        if settings.window_s is not None:
            patches = round(settings.window_s * self.rate_hz / self.patch_size)
        elif not source.cut and patches > MOST_PATCHES:
            patches = round(10 * self.rate_hz / self.patch_size)
        length = patches * self.patch_size
        rest = samples - length
        if source.cut:
            self._check_rest(rest, source, settings)
            kept = signal[:, :, :length]
        else:
            step = self._stride(stride_s, length)
            windows = rest // step + 1
            rest -= (windows - 1) * step
            view = np.lib.stride_tricks.sliding_window_view(signal[0], length, axis=1)
            kept = view[:, ::step].transpose(1, 0, 2)
        if rest:
            logger.info("The last %.4g s do not fill a window.", rest / self.rate_hz)
        return kept.reshape(len(kept), signal.shape[1], patches, self.patch_size)

    def _check_rest(self, rest: int, source: Source, settings: _Settings) -> None:
        """Windows that are cut already may be longer by one sample, which MNE's epochs are."""
        if rest <= math.ceil(self.rate_hz / source.rate_hz):
            return
        seconds = rest / self.rate_hz
        if settings.window_s is not None:
            raise SignalError(
                f"Expected windows of {settings.window_s:g} s, found {source.kind} that are "
                f"{seconds:.4g} s longer. Crop them to the part that is meant."
            )
        warnings.warn(
            f"The last {seconds:.4g} s of every window do not fill a patch of one second and are "
            "left out.",
            stacklevel=4,
        )

    def _stride(self, stride_s: float | None, length: int) -> int:
        if stride_s is None:
            return length
        step = round(stride_s * self.rate_hz)
        if step < 1 or not math.isclose(step, stride_s * self.rate_hz, rel_tol=1e-6):
            raise ValueError(
                f"stride_s: expected a whole number of samples at {self.rate_hz:g} Hz, at least "
                f"one, found {stride_s!r} s."
            )
        return step


def _condition(
    signal_uv: np.ndarray, source: Source, settings: _Settings, filter: bool | None
) -> np.ndarray:
    """Filter and resample (windows, channels, samples)."""
    filters = settings.filters
    if filter is False or (filter is None and source.cut):
        _warn_unfiltered(signal_uv, source, settings)
        filters = (None, None, None)
    info = preprocessing_info(source.rate_hz, settings.rate_hz, *filters)
    if info.left_out:
        warnings.warn(" ".join(info.left_out), stacklevel=4)
    windows, channels, samples = signal_uv.shape
    rows = signal_uv.reshape(windows * channels, samples)
    out = preprocess(rows, source.rate_hz, settings.rate_hz, *filters)
    return out.reshape(windows, channels, -1)


def _warn_unfiltered(signal_uv: np.ndarray, source: Source, settings: _Settings) -> None:
    """Say so where a signal that is not filtered here was not filtered before, as far as seen."""
    lacking = []
    highpass_hz, lowpass_hz, _ = settings.filters
    noted_high, noted_low = source.band_hz or (math.inf, 0.0)
    if highpass_hz is not None and noted_high < 0.99 * highpass_hz:
        lacking.append(f"a high-pass of {highpass_hz:g} Hz, noted is {noted_high:g} Hz")
    if lowpass_hz is not None and noted_low > 1.01 * min(lowpass_hz, source.rate_hz / 2):
        lacking.append(f"a low-pass of {lowpass_hz:g} Hz, noted is {noted_low:g} Hz")
    offset = np.median(np.abs(np.median(signal_uv, axis=2)))
    if highpass_hz is not None and offset > _MOST_OFFSET * amplitude_uv(signal_uv):
        lacking.append(f"no offset, found {offset:.3g} microvolt")
    if lacking:
        warnings.warn(
            f"The signal of {source.kind} is taken as filtered already, but expected was "
            f"{'; '.join(lacking)}. Filter the recording before cutting it, or pass filter=True.",
            stacklevel=5,
        )
