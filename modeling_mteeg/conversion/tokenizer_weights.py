"""A published neural tokenizer (VQ-NSP) as a MteegTokenizerModel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..model.channels import CHANNEL_NAMES
from ..model.configuration_tokenizer import MteegTokenizerConfig
from ..model.tokenizer_mteeg import MteegTokenizerModel
from .key_names import compiled, first_match, target_key
from .key_report import ConversionError, ConversionReport, listing
from .weights import KeyRule, fill_model, sort_keys, wrong_axes

HEAD_DIM = 20  # of the published tokenizer: width 200, ten heads

_MARK = "quantize.embedding.weight"
# Key of a published tokenizer -> key of MteegTokenizerModel, beside its two transformers.
_USED = compiled(
    (r"encode_task_layer\.([02]\.(?:weight|bias))", r"to_code.\1"),
    (r"decode_task_layer\.([02]\.(?:weight|bias))", r"amplitude_head.\1"),
    (r"decode_task_layer_angle\.([02]\.(?:weight|bias))", r"phase_head.\1"),
    (r"decoder\.patch_embed\.proj\.(weight|bias)", r"from_code.\1"),
    (r"quantize\.embedding\.weight", "codebook.codes"),
    (r"quantize\.cluster_size", "codebook.usage"),
    (r"quantize\.embedding\.initted", "codebook.started"),
)
_DROPPED = compiled(
    (r"quantize\.embedding\.embed_avg", "a copy of the start values; never read"),
    (r"quantize\.embedding\.cluster_size", "tokens by code at the start; never read again"),
    (r"(?:encoder|decoder)\.(?:head|lm_head)\..*", "a head that the tokenizer does not use"),
    (r"(?:loss|teacher|scaling).*", "of the training, not of the tokenizer"),
)
_FRESH = {
    "codebook.started": (True, "set: the codes are trained ones"),
    "codebook.usage": (0.0, "starts at 0: the checkpoint does not tell"),
    "codebook.updates": (0, "counts from here on"),
}


def is_tokenizer(state_dict: Mapping[str, Any]) -> bool:
    """Whether these are the weights of a neural tokenizer."""
    return bool(_prefixes(state_dict))


def _prefixes(state_dict: Mapping[str, Any]) -> list[str]:
    starts = [key[: -len(_MARK)] for key in state_dict if key.endswith(_MARK)]
    return sorted(start for start in starts if not start or start.endswith("."))


def convert_tokenizer(
    state_dict: Mapping[str, Any],
    prefix: str | None = None,
    drop: Sequence[str] = (),
    heads: int | None = None,
) -> tuple[MteegTokenizerModel, ConversionReport]:
    """Build a tokenizer; parameters, results and errors as in ``convert_state_dict``."""
    if prefix is None:
        prefixes = _prefixes(state_dict)
        if len(prefixes) != 1:
            raise ConversionError(
                f"Expected the keys of one neural tokenizer ({_MARK} ...), found "
                + (f"several, under {prefixes}. Choose one with --prefix." if prefixes else "none.")
            )
        prefix = prefixes[0]
    report = ConversionReport(source={"prefix": prefix}, kind="tokenizer")
    weights = sort_keys(state_dict, _rule(prefix), drop, report)
    config = infer_tokenizer_config(weights, report, heads)
    return fill_model(MteegTokenizerModel, config, weights, _FRESH, report), report


def _rule(prefix: str) -> KeyRule:
    def rule(key: str) -> tuple[str, str]:
        if not key.startswith(prefix):
            return "stops", f"outside of the tokenizer ({prefix}...); --drop leaves it out"
        inner = key[len(prefix) :]
        for status, patterns in (("used", _USED), ("dropped", _DROPPED)):
            text = first_match(patterns, inner)
            if text:
                return status, text
        side, _, rest = inner.partition(".")
        target = target_key(rest) if side in ("encoder", "decoder") else None
        if target and target.startswith("temporal_encoder."):
            target = target if side == "encoder" else None
        elif target:
            target = f"{side}.{target}"
        if target:
            return "used", target
        return "stops", "not a key of the neural tokenizer; --drop leaves it out"

    return rule


def infer_tokenizer_config(
    weights: Mapping[str, torch.Tensor], report: ConversionReport, heads: int | None = None
) -> MteegTokenizerConfig:
    """Sizes of the tokenizer, read off the shapes of its weights."""
    axes = {
        "encoder.spatial_embedding": 2,
        "encoder.temporal_embedding": 2,
        "temporal_encoder.conv1.weight": 4,
        "encoder.layers.0.mlp.fc1.weight": 2,
        "decoder.layers.0.mlp.fc1.weight": 2,
        "codebook.codes": 2,
    }
    problems = wrong_axes(weights, axes)
    if problems:
        raise ConversionError(
            listing("The sizes of the tokenizer cannot be read", problems), report
        )
    rows, width = weights["encoder.spatial_embedding"].shape
    if rows != 1 + len(CHANNEL_NAMES):
        raise ConversionError(
            f"Expected a spatial table of 1 + {len(CHANNEL_NAMES)} rows, found {rows}.", report
        )
    depth = {
        side: 1 + max(int(k.split(".")[2]) for k in weights if k.startswith(f"{side}.layers."))
        for side in ("encoder", "decoder")
    }
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": depth["encoder"],
        "num_decoder_layers": depth["decoder"],
        "num_attention_heads": heads or _heads(weights, width, report),
        "intermediate_size": len(weights["encoder.layers.0.mlp.fc1.weight"]),
        "temporal_channels": len(weights["temporal_encoder.conv1.weight"]),
        "num_temporal": len(weights["encoder.temporal_embedding"]),
        "num_codes": len(weights["codebook.codes"]),
        "code_size": weights["codebook.codes"].shape[1],
        "qkv_bias": any(key.endswith((".q_bias", ".v_bias")) for key in weights),
        "qk_norm": any(".q_norm." in key for key in weights),
        "layer_scale_init": 0.1 if any(".gamma_" in key for key in weights) else None,
    }
    try:
        config = MteegTokenizerConfig(**sizes)
    except ValueError as error:
        raise ConversionError(f"The sizes do not make a tokenizer: {error}", report) from error
    for name in MteegTokenizerConfig.presets():
        if MteegTokenizerConfig.from_preset(name).to_dict() == config.to_dict():
            report.size = name
    return config


def _heads(weights: Mapping[str, torch.Tensor], width: int, report: ConversionReport) -> int:
    """Attention heads, from the norm of the queries or by the published width of a head."""
    norm = weights.get("encoder.layers.0.attention.q_norm.weight")
    if norm is not None and norm.numel() and width % norm.numel() == 0:
        return width // norm.numel()
    if width % HEAD_DIM:
        raise ConversionError(
            f"The weights do not tell the number of attention heads, and the width {width} is no "
            f"multiple of the published {HEAD_DIM}. Give the number with --heads.",
            report,
        )
    report.notes.append(
        f"the weights do not tell the number of attention heads: taken as {width // HEAD_DIM}, "
        f"the published width of {HEAD_DIM} each (--heads gives another)"
    )
    return width // HEAD_DIM
