"""Sorting a checkpoint's keys, and filling a model with the weights found."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from .key_report import ConversionError, ConversionReport, KeyRecord, by_reason, listing

KeyRule = Callable[[str], tuple[str, str]]
"""Key of a checkpoint to ``("used", the model's key)``, ``("dropped", reason)`` or ``("stops",
reason)``."""

Fresh = Mapping[str, tuple[float, str]]
"""Keys that a checkpoint may lack: the value they get, and the reason."""


def sort_keys(
    state_dict: Mapping[str, Any], rule: KeyRule, drop: Sequence[str], report: ConversionReport
) -> dict[str, torch.Tensor]:
    """Weights under the model's keys; every key goes into the report.

    Raises
    ------
    ConversionError
        Keys that stop the conversion, all named with their reasons.
    """
    weights: dict[str, torch.Tensor] = {}
    faults: dict[str, str] = {}
    dtypes: set[str] = set()
    for key, value in state_dict.items():
        status, reason = rule(key)
        if any(fnmatch.fnmatchcase(key, pattern) for pattern in drop):
            status, reason = "dropped", "left out on request"
        elif status == "stops":
            faults[key], status = reason, "dropped"
        elif status == "used" and reason in weights:
            status, reason = "dropped", f"a second source of {reason}"
            faults[key] = reason
        elif status == "used":
            fault = _fault(value, reason)
            if fault:
                faults[key] = fault
            else:
                weights[reason] = _as_stored(value, reason)
                dtypes.add(str(value.dtype))
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
        report.keys.append(KeyRecord(key, status, reason, shape))
    if faults:
        title = f"{len(faults)} of {len(state_dict)} keys stop the conversion"
        raise ConversionError(listing(title, by_reason(faults)), report)
    if dtypes - {"torch.float32"}:
        report.notes.append(f"weights of {', '.join(sorted(dtypes))} are kept as torch.float32")
    return weights


def _fault(value: Any, target: str) -> str | None:
    """Why a value cannot be a weight."""
    if not isinstance(value, torch.Tensor):
        return f"expected a tensor, found {type(value).__name__}"
    if target == _FLAG and value.numel() == 1:
        return None
    if value.layout != torch.strided or not value.dtype.is_floating_point:
        return f"expected a dense floating-point tensor, found {value.layout}, {value.dtype}"
    return None


_FLAG = "codebook.started"


def _as_stored(value: torch.Tensor, target: str) -> torch.Tensor:
    """float32; tables without their leading axis of one, 1 x 1 convolutions as matrices."""
    if target == _FLAG:
        return value.detach().reshape(()).bool()
    value = value.detach().to(torch.float32)
    if target.endswith(("spatial_embedding", "temporal_embedding")) and value.shape[:1] == (1,):
        value = value.squeeze(0) if value.ndim == 3 else value
    if target == "from_code.weight" and value.shape[2:] == (1, 1):
        value = value.flatten(1)
    return value.contiguous()


def fill_model(
    kind: type[PreTrainedModel],
    config: Any,
    weights: dict[str, torch.Tensor],
    fresh: Fresh,
    report: ConversionReport,
) -> PreTrainedModel:
    """The model with these weights, in evaluation mode.

    Raises
    ------
    ConversionError
        Weights missing, of wrong shapes, or not finite; all problems of a kind together.
    """
    with torch.device("meta"):
        expected = {key: tuple(value.shape) for key, value in kind(config).state_dict().items()}
    _fill_missing(weights, expected, fresh, report)
    problems = [
        f"{key}: expected {shape}, found {tuple(weights[key].shape)}"
        for key, shape in expected.items()
        if weights[key].shape != shape
    ]
    problems += [f"{key}: not finite" for key, v in weights.items() if not v.isfinite().all()]
    problems += [f"{key}: the model has no such weight" for key in weights.keys() - expected.keys()]
    if problems:
        raise ConversionError(listing("These weights do not fit", problems), report)
    model = kind(config)
    model.load_state_dict(weights)
    return model.eval()


def _fill_missing(
    weights: dict[str, torch.Tensor],
    expected: Mapping[str, tuple[int, ...]],
    fresh: Fresh,
    report: ConversionReport,
) -> None:
    """Add what may be absent, with its reason; anything else absent is an error."""
    missing = [key for key in expected if key not in weights]
    gammas = [key for key in expected if key.rpartition(".")[2].startswith("gamma_")]
    if gammas and set(gammas) <= set(missing):
        reason = "set to 1, which is exact: this model has no layer-scale"
        fresh = {**fresh, **dict.fromkeys(gammas, (1.0, reason))}
    for key in missing:
        value, reason = fresh.get(key, (None, "required"))
        report.keys.append(KeyRecord(key, "missing", reason, tuple(expected[key])))
        if value is not None:
            weights[key] = torch.full(expected[key], value)
    required = [f"{key} {tuple(expected[key])}" for key in missing if key not in fresh]
    if required:
        raise ConversionError(listing("These weights are missing", required), report)


def wrong_axes(weights: Mapping[str, torch.Tensor], axes: Mapping[str, int]) -> list[str]:
    """Weights that lack, are empty or have another number of axes than sizes are read off."""
    return [
        f"{key}: expected a tensor of {ndim} axes, none of them empty, found "
        + (f"shape {tuple(weights[key].shape)}" if key in weights else "none")
        for key, ndim in axes.items()
        if key not in weights or weights[key].ndim != ndim or not weights[key].numel()
    ]


def together(weights: Mapping[str, torch.Tensor], fresh: Fresh) -> Fresh:
    """``fresh`` if none of its keys is there: half of a norm is no norm."""
    return {} if set(fresh) & set(weights) else fresh
