"""Any model of braindecode by its name, a network a task: ``braindecode:EEGNet``."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from ..model.task_card import TaskCard
from ..settings.schema import nearest, setting
from .method import Method
from .published_network import WindowError
from .single_network import SingleNetworkMethod, samples_of, scaled_by_quantile

EXTRA = "braindecode"
OF_THE_TASK = ("n_outputs", "n_chans", "chs_info", "n_times", "input_window_seconds", "sfreq")
"""What the task says; not to be chosen."""
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
OWN = "braindecode's own"
"""In place of a default that is no plain value, such as an activation."""


class BraindecodeMethod(SingleNetworkMethod):
    """A family of methods, one a model; the windows come in microvolt, unless scaled.

    ``method_options`` are the keyword arguments of the model, and ``scaling``: ``quantile`` scales
    windows as the single-task networks have it.

    Notes
    -----
    braindecode's examples hand its models microvolt. Most begin with a normalisation, to which the
    unit is nothing; those that have none were written for it.
    """

    prefix = "braindecode"
    model: ClassVar[type[nn.Module]]

    @classmethod
    def member(cls, name: str) -> type[Method]:
        models = _models()
        if name not in models:
            raise LookupError(f"braindecode has no model {name!r}{nearest(name, models)}")
        return _method_of(models[name])

    @classmethod
    def incomplete(cls) -> str:
        try:
            _models()
        except LookupError as error:
            return str(error)
        return ""

    @classmethod
    def network_of(cls, card: TaskCard, options: Any) -> nn.Module:
        """The model, made and tried on silence.

        Raises
        ------
        WindowError
            It cannot be made for the task's windows, or does not give its logits.
        """
        shape = len(card.channels), samples_of(card)
        given = {"n_outputs": card.num_outputs, "n_chans": shape[0], "n_times": shape[1],
                 "sfreq": float(card.rate_hz), "chs_info": _channel_info(card)}  # fmt: skip
        known = inspect.signature(cls.model).parameters
        given = {key: value for key, value in given.items() if key in known}
        chosen = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)
                  if f.name != "scaling" and getattr(options, f.name) != f.default}  # fmt: skip
        try:
            network = cls.model(**given, **chosen)
            with torch.no_grad():
                logits = network.eval()(torch.zeros(2, *shape))
        except Exception as error:  # whatever a model says of what it cannot take
            found = f"{type(error).__name__}: {error}"
        else:
            if not isinstance(logits, torch.Tensor) or logits.shape != (2, card.num_outputs):
                found = f"an output of {_shape_text(logits)}, not (windows, {card.num_outputs})"
            elif not logits.isfinite().all():  # as of places of channels that are not known
                found = "outputs that are no numbers"
            else:
                return network.train()
        nowhere = _channels_nowhere(card) if "chs_info" in given else []
        if nowhere:
            found += f" (channels without a place in the 10-05 system: {', '.join(nowhere)})"
        raise WindowError(
            f"braindecode's {cls.model.__name__} cannot take {shape[0]} channels x {shape[1]} "
            f"samples at {card.rate_hz:g} Hz with {card.num_outputs} outputs: {found}"
        )

    def scaled(self, task: str, signal: torch.Tensor) -> torch.Tensor:
        if self.options.scaling == "quantile":
            return scaled_by_quantile(signal)
        return signal * self.cards[task].scale_uv

    def settings(self) -> dict[str, str]:
        return {"network": f"{self.model.__name__} of braindecode {_version()}"}


@functools.cache
def _method_of(model: type[nn.Module]) -> type[BraindecodeMethod]:
    content = {
        "model": model,
        "title": f"{model.__name__} of braindecode, a network a task",
        "source": f"braindecode's {model.__name__}, from random weights",
        "Options": _options_of(model),
    }
    return type(f"Braindecode{model.__name__}", (BraindecodeMethod,), content)


def _options_of(model: type[nn.Module]) -> type:
    """A dataclass of a model's keyword arguments, its defaults where they are plain values."""
    fields = [("scaling", str, setting("microvolt", "microvolt|quantile"))]
    for name, parameter in inspect.signature(model).parameters.items():
        if name in OF_THE_TASK or parameter.kind in _VARIABLE:
            continue
        plain = isinstance(parameter.default, (bool, int, float, str, type(None)))
        fields.append((name, Any, setting(parameter.default if plain else OWN)))
    return dataclasses.make_dataclass(f"{model.__name__}Options", fields, frozen=True)


def _models() -> Mapping[str, type[nn.Module]]:
    """braindecode's models by name.

    Raises
    ------
    LookupError
        The package is not there, or cannot be imported.
    """
    try:
        from braindecode.models.util import models_dict
    except ModuleNotFoundError as error:
        raise LookupError(
            f"braindecode is not complete here ({error}); pip install 'modeling-mteeg[{EXTRA}]'"
        ) from error
    except (ImportError, OSError) as error:
        # torchaudio from PyPI wants CUDA's libraries, also beside a torch without
        raise LookupError(
            f"braindecode cannot be imported ({error}); where torch is a CPU build, torchaudio "
            "must be one, too: pip install torchaudio --index-url "
            "https://download.pytorch.org/whl/cpu"
        ) from error
    if not models_dict:  # its models could not be imported before, and Python tells that only once
        raise LookupError(
            f"braindecode is not complete here: it has no models; pip install "
            f"'modeling-mteeg[{EXTRA}]', and where torch is a CPU build, torchaudio for it, too"
        )
    return models_dict


def _version() -> str:
    return importlib.metadata.version("braindecode")


def _channel_info(card: TaskCard) -> list[dict[str, Any]]:
    """Names, kinds and, for electrodes of the 10-05 system, places of a task's channels (MNE)."""
    import mne

    info = mne.create_info(list(card.channels), card.rate_hz, "eeg")
    info.set_montage("standard_1005", match_case=False, on_missing="ignore", verbose="error")
    return info["chs"]


def _channels_nowhere(card: TaskCard) -> list[str]:
    places = {channel["ch_name"]: channel["loc"][:3] for channel in _channel_info(card)}
    return [name for name, place in places.items() if not np.isfinite(place).all()]


def _shape_text(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"shape {tuple(value.shape)}"
    return f"type {type(value).__name__}"
