"""What is read of the model as features of a window, and the windows of a base without a task."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..model.feature_extraction_mteeg import MteegFeatureExtractor
from ..model.modeling_mteeg import MteegModel, MteegOutput
from ..model.task_card import TaskCard

PER = ("window", "channel", "recording")
"""What a vector of features is of."""
BASE = "base"
"""What the base without a task is called, in names of files and in messages."""
_WINDOW_S = 10.0


def check_per(per: Any) -> None:
    """Raise ``ValueError`` for anything but one of :data:`PER`."""
    if per not in PER:
        raise ValueError(f"per: expected one of {', '.join(PER)}, found {per!r}.")


def features_per(per: str, alone: bool = False) -> Callable[..., dict[str, np.ndarray]]:
    """What is asked of a model for features, an :data:`~modeling_mteeg.prediction.recording_pass\
.Answer`.

    Parameters
    ----------
    per : {"window", "channel", "recording"}
        Of recordings the windows are answered; their mean comes afterwards.
    alone : bool
        Whether it is the base that is asked, and no task.
    """
    return functools.partial(_features, per, alone)


def _features(
    per: str, alone: bool, model: MteegModel, tasks: Mapping[str, Mapping[str, torch.Tensor]]
) -> dict[str, np.ndarray]:
    # Of tasks: the same tensors for several of them are embedded once.
    outputs = model.encode(tasks) if alone else model(tasks=tasks)
    return {
        name: pooled(model, output, per, tasks[name]["channel_ids"].shape[-2]).float().cpu().numpy()
        for name, output in outputs.items()
    }


def pooled(model: MteegModel, output: MteegOutput, per: str, channels: int) -> torch.Tensor:
    """Features of windows, (windows, width), or by channel (windows, channels, width).

    The normalised mean over all patch tokens (``pooler_output``), or over those of every channel:
    what linear heads of the kinds ``mean`` and ``channels`` read.
    """
    if per != "channel":
        return output.pooler_output
    tokens = output.last_hidden_state[:, 1:]  # without cls: (windows, channels * patches, width)
    return model.fc_norm(tokens.unflatten(1, (channels, -1)).mean(2))


def base_card(
    extractor: MteegFeatureExtractor,
    window_s: float | None = None,
    channels: Sequence[str] | None = None,
) -> TaskCard:
    """Channels, filters and windows of the base without a task, as a card.

    Parameters
    ----------
    extractor : MteegFeatureExtractor
        Filters, rate, unit; and its window, where it names one.
    window_s : float, optional
        Whole seconds. Default: the extractor's, else 10.
    channels : sequence of str, optional
        Default: all that a recording has.

    Raises
    ------
    UnknownChannelError
        Channels that the spatial table does not know.
    ValueError
        A window of no whole seconds, or one string instead of a list of names.
    """
    if isinstance(channels, str):
        raise ValueError(f"channels: expected a list of names, found {channels!r}.")
    if window_s is None:
        window_s = _WINDOW_S if extractor.window_s is None else extractor.window_s
    return TaskCard(
        BASE,
        ("no", "classes"),
        tuple(channels or ()),
        window_s=window_s,
        rate_hz=extractor.rate_hz,
        scale_uv=extractor.scale_uv,
        highpass_hz=extractor.highpass_hz,
        lowpass_hz=extractor.lowpass_hz,
        notch_hz=extractor.notch_hz,
        bipolar=extractor.bipolar,
    )


def extractor_of(
    base: str | None, patch_size: int, revision: str | None = None, token: Any = None
) -> MteegFeatureExtractor:
    """The feature extractor beside a base; where there is none, that with the paper's settings.

    Parameters
    ----------
    base : str or None
        Folder or Hub id.
    patch_size : int
        Of the model.
    revision, token
        For the Hub.

    Raises
    ------
    OSError, ValueError
        The Hub cannot be asked; the file is damaged.
    """
    from transformers.utils import FEATURE_EXTRACTOR_NAME, cached_file

    plain = MteegFeatureExtractor(rate_hz=float(patch_size), patch_size=patch_size)
    if not base:
        return plain
    options = {"revision": revision, "token": token}
    found = cached_file(
        base, FEATURE_EXTRACTOR_NAME, _raise_exceptions_for_missing_entries=False, **options
    )
    return plain if found is None else MteegFeatureExtractor.from_pretrained(base, **options)
