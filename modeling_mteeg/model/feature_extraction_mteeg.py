"""From a recording to the model's input: channels, unit, filters, rate and windows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin
from transformers.utils import FEATURE_EXTRACTOR_NAME

from .base_settings import check_extractor, check_extractor_files
from .channel_choice import choose_channels, read_channels, without_unfit
from .channels import channel_ids
from .checked_files import UnsafeFileError, shortened
from .extraction_findings import (
    on_channels,
    on_filters,
    on_quality,
    on_unfiltered,
    on_windows,
)
from .filter_chain import PreprocessingInfo
from .finding_warnings import warn_of
from .findings import Finding
from .mains_notch import NotchHz, checked_notch
from .part_windows import PartWindows, cut_windows, sliding_places
from .preprocessing import apply_filters, preprocessing_info
from .recording_sources import Source, open_source
from .signal_checks import (
    MOST_UV,
    OtherUnitError,
    SignalError,
    check_finite,
    flat_by_span,
    flat_finding,
    quiet_finding,
    unit_factor,
)
from .task_card import LEAST_SCALE_UV, MAX_RATE_HZ, TaskCard

MOST_PATCHES = 16
"""Rows of the published temporal table: the longest window the base was trained on."""

_LONG_S = 10.0  # windows of recordings that are longer, or have several parts


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


@dataclasses.dataclass(frozen=True)
class _Windows:
    """Windows in microvolt (windows, channels, patches, patch_size), and what was found."""

    values: np.ndarray
    ids: np.ndarray
    onset_s: np.ndarray | None
    marked: tuple[str, ...]
    findings: list[Finding]
    remarks: list[str]


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
        in one window, up to 16 s; windows of 10 s from longer ones, and from those of several
        parts.
    highpass_hz, lowpass_hz : float or None
        Filters (paper, section 4.2); None leaves one out.
    notch_hz : float, sequence of float or None
        One mains frequency, or several such as ``[50, 60]``.
    bipolar : {"mean", "table"}
        See :func:`~modeling_mteeg.channel_ids`.

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
        if not (isinstance(scale_uv, (int, float)) and LEAST_SCALE_UV < scale_uv <= 1e9):
            raise ValueError(
                f"scale_uv: expected a number above {LEAST_SCALE_UV:g}, at most 1e9, found "
                f"{scale_uv!r}."
            )
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

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """As in transformers; an impossible setting is a ``ValueError`` that names the place."""
        try:
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        except UnsafeFileError:
            raise
        except ValueError as error:
            place = f"{FEATURE_EXTRACTOR_NAME} of {pretrained_model_name_or_path}"
            raise UnsafeFileError(f"{place}: {shortened(error, 1000)}") from error

    @classmethod
    def get_feature_extractor_dict(
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Settings of ``preprocessor_config.json``, checked; as in transformers.

        Raises
        ------
        UnsafeFileError
            A link out of the folder, no JSON or a value of another type; the message names the key.
        """
        place = pretrained_model_name_or_path
        check_extractor_files(place, kwargs)
        fields, rest = super().get_feature_extractor_dict(place, **kwargs)
        check_extractor(fields, cls, f"{FEATURE_EXTRACTOR_NAME} of {place}")
        return fields, rest

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
            Window ``k`` of a part starts ``k * stride_s`` after the part. Only for continuous
            recordings.
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
            ``scale_uv`` microvolt, ``channel_ids`` int64 (channels, 2). Besides these, which go to
            the model, it has three attributes: ``onset_s``, float64 (windows,), where every window
            starts, in seconds from the recording's start (None of windows that are cut already);
            ``marked``, a tuple with what is wrong with every window, empty where nothing is wrong
            with any; and ``findings``, a tuple of :class:`findings.Finding`. Pickling drops them.

        Warns
        -----
        RecordingWarning
            Every finding, once: channels that are missing, flat or much too small, parts and ends
            that hold no window, a file that was read in another way than its header says.

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
        A recording with gaps or joints has parts: each is read, filtered and cut as if it were a
        file of its own, and their windows follow one another. Samples at the end of a part that do
        not fill a window are not returned; of files and Raws that is a warning from 1 s on, else it
        is logged.

        With a task or ``channels``, a bipolar channel that the recording lacks is derived as the
        difference of its two electrodes where both are there. Channels that the recording lacks are
        an error, unless the task's card allows that many to be missing: then a warning names them.
        """
        settings = self._settings(task, channels, window_s)
        source = open_source(recording, unit, preload=False)
        if source.cut and stride_s is not None:
            raise ValueError(
                f"stride_s is for continuous recordings; {source.kind} are cut already."
            )
        try:
            cut = self._windows(source, settings, stride_s, filter)
        except OtherUnitError as error:  # without them, where the task lets them be missing
            cut = self._windows(without_unfit(source, error), settings, stride_s, filter)
        warn_of((*cut.remarks, *cut.findings))
        values = np.ascontiguousarray(cut.values / np.float32(settings.scale_uv), dtype=np.float32)
        features = BatchFeature(
            {"input_values": values, "channel_ids": cut.ids}, tensor_type=return_tensors
        )
        features.onset_s, features.marked = cut.onset_s, cut.marked  # no keys
        features.findings = tuple(cut.findings)
        return features

    def _windows(
        self, source: Source, settings: _Settings, stride_s: float | None, filter: bool | None
    ) -> _Windows:
        """Choose channels, read every part for itself, check, filter and cut."""
        factor = unit_factor(source.unit)
        choice = choose_channels(source, settings.channels, settings.max_missing)
        ids = channel_ids(choice.names, settings.bipolar)
        plain = filter is False or (filter is None and source.cut)
        filters = (None, None, None) if plain else settings.filters
        info = preprocessing_info(source.rate_hz, settings.rate_hz, *filters)
        length = self._window_length(source, settings, info)
        places: list[PartWindows] = []
        if not source.cut:
            stride = length if stride_s is None else self._stride(stride_s)
            places = sliding_places(source.parts, info, length, stride, last_window=False)
        parts = [place.part for place in places]
        signal = read_channels(source, choice, parts)  # (windows, electrodes, samples)
        quality = on_quality(source, choice, places, signal, length / self.rate_hz)
        signal = choice.derive(signal, choice.needed)  # (windows, channels, samples)
        names, ends = choice.names, np.cumsum([part.samples for part in parts])[:-1]
        check_finite(signal, names)
        pieces = np.split(signal, ends, axis=2)  # views
        spans = [(piece.max(axis=2) - piece.min(axis=2)).max(axis=0) for piece in pieces]
        flat = flat_by_span(np.max(spans, axis=0), names)
        flat_ones = flat_finding(flat, len(names))
        pieces = [piece * factor for piece in pieces]
        filtered = _filtered(pieces, info)
        check_finite(filtered, names, MOST_UV)  # numbers too large to compute with
        quiet_ones = quiet_finding(filtered, names, source.unit, flat)
        findings = [*source.findings, *on_channels(source, choice, settings.channels is None)]
        findings += on_filters(source, parts, info)
        findings += [finding for finding in (flat_ones, quiet_ones) if finding]
        remarks = list(on_unfiltered(pieces[0], source, *settings.filters[:2])) if plain else []
        if source.cut:
            remarks += self._rest(filtered.shape[2] - length, source, settings)
            windows, onset_s = filtered[:, :, :length], None
        else:
            findings += [*on_windows(source, places, length, self.rate_hz), *quality.findings]
            windows = cut_windows(filtered[0], places, length)
            onset_s = np.concatenate([place.onset_s for place in places])
        patches = windows.reshape(*windows.shape[:2], -1, self.patch_size)
        return _Windows(patches, ids, onset_s, quality.reasons, findings, remarks)

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

    def _window_length(self, source: Source, settings: _Settings, info: PreprocessingInfo) -> int:
        """Samples of a window at the model's rate; an error where nothing is as long."""
        spans = [source.samples] if source.cut else [part.samples for part in source.parts]
        longest = info.samples_out(max(spans)) if spans else 0
        patches = longest // self.patch_size
        if settings.window_s is not None:
            patches = round(settings.window_s * self.rate_hz / self.patch_size)
        elif not source.cut and (patches > MOST_PATCHES or len(spans) > 1):
            patches = round(_LONG_S * self.rate_hz / self.patch_size)
        length = max(1, patches) * self.patch_size
        if longest >= length:
            return length
        what = f"task {settings.task!r}'s window" if settings.task else "a window"
        advice = "" if settings.task else " Pass a shorter window_s (whole seconds)."
        parts = f"{len(spans)} parts, the longest of " if len(spans) != 1 else ""
        raise SignalError(
            f"Expected at least {length / self.rate_hz:g} s, the length of {what}; found a "
            f"recording of {parts}{max(spans, default=0) / source.rate_hz:.4g} s.{advice}"
        )

    def _rest(self, rest: int, source: Source, settings: _Settings) -> list[str]:
        """Windows that are cut already may be longer by one sample, which MNE's epochs are."""
        seconds = rest / self.rate_hz
        if rest <= math.ceil(self.rate_hz / source.rate_hz):
            return []
        if settings.window_s is not None:
            raise SignalError(
                f"Expected windows of {settings.window_s:g} s, found {source.kind} that are "
                f"{seconds:.4g} s longer. Crop them to the part that is meant."
            )
        return [
            f"The last {seconds:.4g} s of every window do not fill a patch of one second and are "
            "left out."
        ]

    def _stride(self, stride_s: float) -> int:
        step = round(stride_s * self.rate_hz)
        if step < 1 or not math.isclose(step, stride_s * self.rate_hz, rel_tol=1e-6):
            raise ValueError(
                f"stride_s: expected a whole number of samples at {self.rate_hz:g} Hz, at least "
                f"one, found {stride_s!r} s."
            )
        return step


def _filtered(pieces: Sequence[np.ndarray], info: PreprocessingInfo) -> np.ndarray:
    """Filter and resample pieces (windows, channels, samples) in microvolt, each for itself."""
    out = []
    for piece in pieces:
        windows, channels, samples = piece.shape
        rows = apply_filters(piece.reshape(windows * channels, samples), info)
        out.append(rows.reshape(windows, channels, -1))
    return out[0] if len(out) == 1 else np.concatenate(out, axis=2)
