"""Names of LaBraM's weights in the published code and in braindecode, and MteegModel's for them.

Source: the names in the published checkpoints and in braindecode 1.8's ``Labram.state_dict()``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Patterns = tuple[tuple[re.Pattern[str], str], ...]
"""Patterns of whole keys, each with the model's key or a reason; the first that fits counts."""


def compiled(*patterns: tuple[str, str]) -> Patterns:
    """Patterns in the form that :func:`first_match` takes."""
    return tuple((re.compile(pattern), text) for pattern, text in patterns)


def first_match(patterns: Patterns, key: str) -> str | None:
    """What stands beside the first pattern that is the whole key, its groups filled in."""
    matches = ((pattern.fullmatch(key), text) for pattern, text in patterns)
    return next((match.expand(text) for match, text in matches if match), None)


# Key inside the encoder -> key of MteegModel. The published name comes first, braindecode's second.
_USED = compiled(
    (r"cls_token", "cls_token"),
    (r"pos_embed|position_embedding", "spatial_embedding"),
    (r"time_embed|temporal_embedding", "temporal_embedding"),
    (
        r"patch_embed\.(?:temporal_conv\.)?((?:conv|norm)[123]\.(?:weight|bias))",
        r"temporal_encoder.\1",
    ),
    (r"blocks\.([0-9]{1,4})\.(norm[12]\.(?:weight|bias)|gamma_[12])", r"layers.\1.\2"),
    (
        r"blocks\.([0-9]{1,4})\.attn\.(qkv\.weight|[qv]_bias|(?:[qk]_norm|proj)\.(?:weight|bias))",
        r"layers.\1.attention.\2",
    ),
    (r"blocks\.([0-9]{1,4})\.mlp\.(?:fc1|0)\.(weight|bias)", r"layers.\1.mlp.fc1.\2"),
    (r"blocks\.([0-9]{1,4})\.mlp\.(?:fc2|2)\.(weight|bias)", r"layers.\1.mlp.fc2.\2"),
    (r"fc_norm\.(weight|bias)", r"fc_norm.\1"),
)
# Key inside or outside the encoder -> why the fine-tuning model has no use for it.
_DROPPED = compiled(
    (r"(?:.*\.)?mask_token", "stands in for masked patches; masked pre-training only"),
    (r"(?:.*\.)?lm_head\..*", "predicts the codes; masked pre-training only"),
    (r"(?:.*\.)?projection_head\..*", "masked pre-training only"),
    (r"norm\.(weight|bias)", "last norm of pre-training; fine-tuning has fc_norm instead"),
    (r"(?:head|final_layer)\.(weight|bias)", "another task's head; add_adapter makes new ones"),
)
# Key inside or outside the encoder -> why a model that needs it computes something else.
_FOREIGN = compiled(
    (
        r".*\.relative_position_(bias_table|index)|(?:.*\.)?rel_pos_bias\..*",
        "attention with relative positions, which MteegModel does not compute",
    ),
    (
        r"patch_embed\.segment_patch\.patcher\..*",
        "braindecode's learned patches, which MteegModel does not compute",
    ),
    (r"patch_embed\.(segment_patch\.)?proj\..*", "patches by projection: a decoder's input"),
    (
        r"(quantize|decoder|encode_task_layer|decode_task_layer\w*)\..*",
        "part of a neural tokenizer (VQ-NSP), whose encoder is not the pre-trained LaBraM",
    ),
)
_FIRST_CONV = ("patch_embed.conv1.weight", "patch_embed.temporal_conv.conv1.weight")


def target_key(key: str) -> str | None:
    """MteegModel's name for a key of the encoder (without its prefix), or None."""
    return first_match(_USED, key)


def why_left_out(key: str) -> tuple[str, str]:
    """``dropped`` or ``stops``, and the reason, for a key that MteegModel has no place for."""
    for patterns, status in ((_DROPPED, "dropped"), (_FOREIGN, "stops")):
        reason = first_match(patterns, key)
        if reason:
            return status, reason
    return "stops", "not a key of LaBraM; leave it out with --drop if it is not needed"


def encoder_prefixes(keys: Iterable[str]) -> list[str]:
    """What stands before the keys of each LaBraM encoder, such as ``["student."]``."""
    keys = set(keys)
    starts = sorted(key[: -len("cls_token")] for key in keys if key.endswith("cls_token"))
    return [
        start
        for start in starts
        if (not start or start.endswith(".")) and any(start + conv in keys for conv in _FIRST_CONV)
    ]


_PUBLISHED = compiled(
    (r"spatial_embedding", "pos_embed"),
    (r"temporal_embedding", "time_embed"),
    (r"temporal_encoder\.(.*)", r"patch_embed.\1"),
    (r"layers\.(\d+)\.attention\.(.*)", r"blocks.\1.attn.\2"),
    (r"layers\.(\d+)\.(.*)", r"blocks.\1.\2"),
)


def published_key(key: str) -> str:
    """The published name, within the encoder, of a weight of MteegModel's base."""
    return first_match(_PUBLISHED, key) or key


_BRAINDECODE = compiled(
    (r"spatial_embedding", "position_embedding"),
    (r"temporal_encoder\.(.*)", r"patch_embed.temporal_conv.\1"),
    (r"layers\.(\d+)\.attention\.(.*)", r"blocks.\1.attn.\2"),
    (r"layers\.(\d+)\.mlp\.fc1\.(.*)", r"blocks.\1.mlp.0.\2"),
    (r"layers\.(\d+)\.mlp\.fc2\.(.*)", r"blocks.\1.mlp.2.\2"),
    (r"layers\.(\d+)\.(.*)", r"blocks.\1.\2"),
)


def braindecode_key(key: str) -> str:
    """The name in braindecode's ``Labram`` of a weight of MteegModel's base."""
    return first_match(_BRAINDECODE, key) or key
