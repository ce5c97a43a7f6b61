"""A published backbone, or braindecode's, as a MteegModel; with its prediction layer, as a student.

Both sources keep LaBraM's layout and differ in names only; braindecode's spatial table has the
published order of channels, so no row moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..model.channels import CHANNEL_NAMES
from ..model.configuration_mteeg import PRESETS, MteegConfig
from ..model.modeling_mteeg import MteegModel
from ..model.pretraining_mteeg import MteegForPreTraining
from .key_names import encoder_prefixes, target_key, why_left_out
from .key_report import ConversionError, ConversionReport, listing
from .weights import KeyRule, fill_model, sort_keys, together, wrong_axes

_FRESH = {
    f"fc_norm.{name}": (
        value, f"starts fresh at {value:g}, as in LaBraM's fine-tuning: the checkpoint has none"
    )
    for name, value in (("weight", 1.0), ("bias", 0.0))
}  # fmt: skip
_BACKBONE = "mteeg."


def convert_base(
    state_dict: Mapping[str, Any], prefix: str | None = None, drop: Sequence[str] = ()
) -> tuple[MteegModel, ConversionReport]:
    """Build a base; parameters, results and errors as in ``convert_state_dict``."""
    prefix = _find_prefix(state_dict) if prefix is None else prefix
    report = ConversionReport(source={"prefix": prefix})
    weights = sort_keys(state_dict, _base_rule(prefix), drop, report)
    config = infer_config(weights, report)
    return fill_model(MteegModel, config, weights, together(weights, _FRESH), report), report


def convert_student(
    state_dict: Mapping[str, Any], prefix: str | None = None, drop: Sequence[str] = ()
) -> tuple[MteegForPreTraining, ConversionReport]:
    """Build a pre-training model; parameters, results and errors as in ``convert_state_dict``."""
    prefix = _find_prefix(state_dict) if prefix is None else prefix
    report = ConversionReport(source={"prefix": prefix}, kind="pretraining")
    head = _prediction_layer(state_dict, prefix)
    weights = sort_keys(state_dict, _student_rule(prefix, head), drop, report)
    inner = {
        key.removeprefix(_BACKBONE): value
        for key, value in weights.items()
        if key.startswith(_BACKBONE)
    }
    sizes = infer_config(inner, report)
    if "lm_head.weight" in weights:
        problems = wrong_axes(weights, {"lm_head.weight": 2})
        if problems:
            raise ConversionError(listing("The number of codes cannot be read", problems), report)
        sizes.num_codes = len(weights["lm_head.weight"])
    fresh = {_BACKBONE + key: value for key, value in _FRESH.items()}
    fresh = together(weights, fresh)
    return fill_model(MteegForPreTraining, sizes, weights, fresh, report), report


def _base_rule(prefix: str) -> KeyRule:
    def rule(key: str) -> tuple[str, str]:
        inside = key.startswith(prefix)
        inner = key[len(prefix) :] if inside else key
        target = target_key(inner) if inside else None
        return ("used", target) if target else why_left_out(inner)

    return rule


def _student_rule(prefix: str, head: str) -> KeyRule:
    """Rule of a student under ``prefix`` whose prediction layer's keys begin with ``head``."""
    base = _base_rule(prefix)
    beside = {f"{prefix}{key}": key for key in ("mask_token", "norm.weight", "norm.bias")}
    beside |= {f"{head}lm_head.{key}": f"lm_head.{key}" for key in ("weight", "bias")}

    def rule(key: str) -> tuple[str, str]:
        if key in beside:
            return "used", beside[key]
        status, text = base(key)
        if status == "used":
            return status, _BACKBONE + text
        if key.endswith(("lm_head.weight", "lm_head.bias")):
            return "dropped", f"a second prediction layer, never read beside {head}lm_head"
        if "projection_head." in key:
            return "dropped", "a layer that the published pre-training makes and never uses"
        return status, text

    return rule


def _prediction_layer(state_dict: Mapping[str, Any], prefix: str) -> str:
    """What stands before ``lm_head.weight``.

    The published model holds two of them, and predicts with the one outside of the student.
    """
    starts = [
        key.removesuffix("lm_head.weight") for key in state_dict if key.endswith("lm_head.weight")
    ]
    outside = [start for start in starts if not prefix or not start.startswith(prefix)]
    if len(outside) > 1:
        raise ConversionError(
            f"Expected one prediction layer (lm_head) beside the student, found {len(outside)}, "
            f"under the prefixes {', '.join(map(repr, outside))}. Leave one out with --drop."
        )
    return outside[0] if outside else prefix


def _find_prefix(state_dict: Mapping[str, Any]) -> str:
    """The common start of the encoder's keys, or an error."""
    prefixes = encoder_prefixes(state_dict)
    if not prefixes:
        if any(key.endswith("temporal_encoder.conv1.weight") for key in state_dict):
            raise ConversionError(
                "These are weights of this package already: the folder or repository that they lie "
                "in is what from_pretrained takes, with its config.json."
            )
        first = ", ".join(list(state_dict)[:5])
        raise ConversionError(
            "Expected the keys of a LaBraM encoder (cls_token, patch_embed.conv1.weight, "
            f"blocks.0. ...) under some prefix; found {len(state_dict)} keys such as: {first}."
        )
    if len(prefixes) > 1:
        raise ConversionError(
            f"Expected one encoder, found {len(prefixes)}, under the prefixes "
            f"{', '.join(map(repr, prefixes))}. Choose one with --prefix."
        )
    return prefixes[0]


def infer_config(weights: Mapping[str, torch.Tensor], report: ConversionReport) -> MteegConfig:
    """Sizes of the model, read off the shapes of its weights."""
    axes = {
        "cls_token": 3,
        "spatial_embedding": 2,
        "temporal_embedding": 2,
        "temporal_encoder.conv1.weight": 4,
        "layers.0.mlp.fc1.weight": 2,
        "layers.0.attention.q_norm.weight": 1,
    }
    problems = wrong_axes(weights, axes)
    if problems:
        text = listing("The sizes of the model cannot be read", problems)
        if "layers.0.attention.q_norm.weight" not in weights:
            text += (
                "\nAttention without LayerNorm on queries and keys is not LaBraM's, and MteegModel "
                "does not compute it."
            )
        raise ConversionError(text, report)
    rows, width = weights["spatial_embedding"].shape
    head_dim = len(weights["layers.0.attention.q_norm.weight"])
    layers = {int(key.split(".")[1]) for key in weights if key.startswith("layers.")}
    if rows != 1 + len(CHANNEL_NAMES) or width % head_dim:
        raise ConversionError(
            f"Expected a spatial table of 1 + {len(CHANNEL_NAMES)} rows, one for each published "
            f"channel name, and a width that the head width divides; found {rows} rows, width "
            f"{width} and head width {head_dim}.",
            report,
        )
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": 1 + max(layers),
        "num_attention_heads": width // head_dim,
        "intermediate_size": len(weights["layers.0.mlp.fc1.weight"]),
        "temporal_channels": len(weights["temporal_encoder.conv1.weight"]),
    }
    same = (p for p, preset in PRESETS.items() if all(preset[k] == v for k, v in sizes.items()))
    report.size = next(same, "own")
    extra = {k: v for k, v in PRESETS.get(report.size, {}).items() if k not in sizes}
    bias = any(key.endswith((".q_bias", ".v_bias")) for key in weights)
    num_temporal = len(weights["temporal_embedding"])
    _note_braindecode(num_temporal, report)
    try:
        return MteegConfig(**sizes, **extra, qkv_bias=bias, num_temporal=num_temporal)
    except ValueError as error:
        raise ConversionError(f"The sizes found do not make a LaBraM: {error}", report) from error


def _note_braindecode(num_temporal: int, report: ConversionReport) -> None:
    """What a reader of a braindecode model should know of its two tables and its pooling."""
    if any(record.key.endswith("temporal_embedding") for record in report.with_status("used")):
        report.notes.append(
            "braindecode's Labram: the spatial table has the published order, row by row; its "
            f"temporal table has {num_temporal} rows, of which braindecode itself never reads the "
            "last; features are pooled over the patch tokens and normalised by fc_norm, where "
            "braindecode by default takes the cls token after norm. Input in units of 0.1 mV."
        )
