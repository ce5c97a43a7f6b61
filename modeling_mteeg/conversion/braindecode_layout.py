"""A base, or one task merged into it, as braindecode's ``Labram``: names, shapes, configuration.

The inverse of reading that layout (:mod:`~modeling_mteeg.conversion.backbone_weights`). braindecode
itself is not needed. Source of names and options: braindecode 1.8's ``Labram``.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import torch

from ..model.channels import CHANNEL_NAMES, ELECTRODES, channel_ids
from ..model.configuration_mteeg import PRESETS
from ..model.embedding import spatial_rows, temporal_rows
from ..model.modeling_mteeg import MteegModel
from ..model.task_card import MAX_WINDOW_S, PATCH_S, TaskCard
from .key_names import braindecode_key
from .key_report import ConversionError, ConversionReport, KeyRecord

RATE_HZ = 200.0
_EEG = 2  # MNE's number of the channel kind
_EPS = 1e-6  # fixed in braindecode's layers


@dataclasses.dataclass(frozen=True)
class BraindecodeModel:
    """What a folder for ``braindecode.models.Labram.from_pretrained`` is made of.

    Parameters
    ----------
    config : dict
        Keyword arguments of ``Labram``, plain types.
    state_dict : dict of str to torch.Tensor
        float32 on the CPU, every key of a ``Labram`` of that configuration.
    channels : dict of str to str
        Of a task: its channels in order, and the name of braindecode's table to pass for each
        (``ch_names``). Empty for a base alone, which takes any of the 128.
    report : ConversionReport
        Every key of the model and where it went.
    """

    config: dict[str, Any]
    state_dict: dict[str, torch.Tensor]
    channels: dict[str, str]
    report: ConversionReport


def to_braindecode(
    model: MteegModel,
    task: str | None = None,
    *,
    window_s: float | None = None,
    stand_ins: bool = False,
) -> BraindecodeModel:
    """A base, or one task merged into it, in the layout of braindecode's ``Labram``.

    Parameters
    ----------
    model : MteegModel
        Stays as it is.
    task : str, optional
        A task that the model holds: its adapter is added to the weights, its head is the final
        layer. Default: the base alone, whose final layer passes the features on.
    window_s : float, optional
        Length of the windows in seconds, whole; a ``Labram`` is made for one. Default: the task's,
        of a base that which needs the whole temporal table (15 s, as the published one on the Hub).
    stand_ins : bool
        Put the rows of derivations that the table has no name for under electrodes' names that
        the task does not use, see Notes.

    Returns
    -------
    BraindecodeModel

    Raises
    ------
    ConversionError
        The head is not the paper's linear one, the window is no whole number of seconds, the model
        is not LaBraM's, or channels have no name in braindecode's table.

    Notes
    -----
    A derivation such as F7-T7 takes the mean of two rows here (``TaskCard.bipolar``); where the
    table has its name, that row gets the mean, so that features stay equal. F3-C3 has no name.
    Beyond the temporal table's length its interpolated rows are written. braindecode's last
    temporal row is never read.
    """
    _check_kind(model)
    single = copy.deepcopy(model).to(device="cpu", dtype=torch.float32).eval()
    card, head = None, None
    if task is not None:
        card = single.tasks[single._known_task(task)]
        _check_head(card)
        single.merge_and_unload(task)
        head = single.heads[task]
    patches = _patches(window_s, card, single.config.num_temporal)
    report = ConversionReport(kind="braindecode", size=_size(single))
    weights = {key: value.clone() for key, value in single.base_state_dict().items()}
    channels: dict[str, str] = {}
    if card is not None and card.channels:
        channels = _names(card, stand_ins)
        weights["spatial_embedding"] = _spatial(weights["spatial_embedding"], card, channels)
        _note_channels(card, channels, report)
    if card is not None and card.threshold is not None:
        report.notes.append(
            f"the task decides for {card.labels[1]!r} from a probability of {card.threshold:.6g} "
            "on, which braindecode's Labram does not know: compare with it yourself"
        )
    weights["temporal_embedding"] = _temporal(weights["temporal_embedding"], patches, report)
    state = {}
    for key, value in weights.items():
        name = braindecode_key(key)
        state[name] = value[None] if key.endswith("l_embedding") else value.contiguous()
        report.keys.append(KeyRecord(key, "used", name, tuple(value.shape)))
    if head is not None:
        for part in ("weight", "bias"):
            state[f"final_layer.{part}"] = getattr(head, part).detach().clone()
            record = KeyRecord(f"heads.{task}.{part}", "used", f"final_layer.{part}",
                               tuple(getattr(head, part).shape))  # fmt: skip
            report.keys.append(record)
    return BraindecodeModel(_config(single, card, patches, channels), state, channels, report)


def _check_kind(model: MteegModel) -> None:
    """Raise where braindecode's ``Labram`` computes something else."""
    config = model.config
    expected = {"patch_size": 200, "num_spatial": len(CHANNEL_NAMES), "qk_norm": True,
                "layer_norm_eps": _EPS}  # fmt: skip
    other = [f"{key} {getattr(config, key)} (expected {value})" for key, value in expected.items()
             if getattr(config, key) != value]  # fmt: skip
    if other:
        raise ConversionError(f"braindecode's Labram does not have: {', '.join(other)}.")


def _check_head(card: TaskCard) -> None:
    if card.head.kind == "mean" and card.head.hidden is None:
        return
    raise ConversionError(
        f"Task {card.name!r}: expected a linear head on the mean of all patch tokens, which is "
        f"what braindecode's Labram has, found: {card.head.describe()}. Export the task as ONNX "
        "instead (mteeg export), or the base alone (without --task)."
    )


def _patches(window_s: float | None, card: TaskCard | None, rows: int) -> int:
    if window_s is None:
        return card.patches if card is not None else max(1, rows - 1)
    patches = window_s / PATCH_S
    if not (1 <= patches <= MAX_WINDOW_S and patches == round(patches)):
        raise ConversionError(
            f"Window: expected a whole number of seconds from 1 to {MAX_WINDOW_S:g}, found "
            f"{window_s:g}."
        )
    return round(patches)


def _names(card: TaskCard, stand_ins: bool) -> dict[str, str]:
    """For every channel of a task the name in braindecode's table that serves for it."""
    pairs = channel_ids(card.channels, card.bipolar)
    found = {
        name: CHANNEL_NAMES[first - 1] if first == second else name
        for name, (first, second) in zip(card.channels, pairs, strict=True)
    }
    nameless = [name for name in found.values() if name not in CHANNEL_NAMES]
    if nameless and not stand_ins:
        raise ConversionError(
            f"Task {card.name!r}: {', '.join(nameless)} {'is' if len(nameless) == 1 else 'are'} "
            f"none of the {len(CHANNEL_NAMES)} channels that braindecode's Labram knows by name. "
            "With --stand-ins each is written under the name of an electrode that the task does "
            "not use, and the folder says which; or export the task as ONNX (mteeg export)."
        )
    free = [name for name in reversed(ELECTRODES) if name not in found.values()]
    if len(nameless) > len(free):
        raise ConversionError(
            f"Task {card.name!r}: expected at most {len(free)} channels without a name of their "
            f"own, found {len(nameless)}."
        )
    stand_in = dict(zip(nameless, free, strict=False))
    return {name: stand_in.get(given, given) for name, given in found.items()}


def _spatial(table: torch.Tensor, card: TaskCard, channels: dict[str, str]) -> torch.Tensor:
    """The table (1 + 128, width) with what the task's channels take in the rows of their names."""
    rows = spatial_rows(table, torch.from_numpy(channel_ids(card.channels, card.bipolar)))
    place = [1 + CHANNEL_NAMES.index(name) for name in channels.values()]
    table[place] = rows
    return table


def _note_channels(card: TaskCard, channels: dict[str, str], report: ConversionReport) -> None:
    pairs = channel_ids(card.channels, card.bipolar)
    means = [name for name, (first, second) in zip(card.channels, pairs, strict=True)
             if first != second and channels[name] == name]  # fmt: skip
    if means:
        report.notes.append(f"{', '.join(means)}: the row of that name holds the mean of its two "
                            "electrodes' rows, as the task takes it")  # fmt: skip
    others = [f"{name} as {given}" for name, given in channels.items() if given != name]
    if others:
        report.notes.append(
            f"stand-ins, pass them in ch_names: {', '.join(others)}. These rows are no longer "
            "those of the electrodes, and InterpolatedLaBraM must not be used with them"
        )


def _temporal(table: torch.Tensor, patches: int, report: ConversionReport) -> torch.Tensor:
    """(patches + 1, width): the rows of a window, and one behind them that is never read."""
    rows = temporal_rows(table, patches)
    if patches > len(table):
        report.notes.append(f"the temporal table of {len(table)} rows is interpolated to "
                            f"{patches}, as for such windows here")  # fmt: skip
    return torch.cat([rows, table[patches : patches + 1] if patches < len(table) else rows[-1:]])


def _size(model: MteegModel) -> str:
    fits = (name for name, preset in PRESETS.items()
            if all(getattr(model.config, key) == preset[key] for key in preset
                   if key not in ("layer_scale_init", "num_codes")))  # fmt: skip
    return next(fits, "own")


def _config(
    model: MteegModel, card: TaskCard | None, patches: int, channels: dict[str, str]
) -> dict[str, Any]:
    """Keyword arguments of ``Labram``; types as braindecode writes them, by their place."""
    own = model.config
    config: dict[str, Any] = {
        "n_times": patches * own.patch_size,
        "n_outputs": card.num_outputs if card is not None else 0,
        "n_chans": len(channels) or len(CHANNEL_NAMES),
        "sfreq": RATE_HZ,
        "patch_size": own.patch_size,
        "learned_patcher": False,
        "embed_dim": own.hidden_size,
        "conv_in_channels": 1,
        "conv_out_channels": own.temporal_channels,
        "num_layers": own.num_hidden_layers,
        "num_heads": own.num_attention_heads,
        "mlp_ratio": _ratio(own.intermediate_size, own.hidden_size),
        "qkv_bias": own.qkv_bias,
        "qk_norm": "torch.nn.modules.normalization.LayerNorm",
        "norm_layer": "torch.nn.modules.normalization.LayerNorm",
        # A start value, of which only matters whether there are layer scales at all.
        "init_values": 0.1 if own.layer_scale_init is not None else None,
        "use_abs_pos_emb": True,
        "use_mean_pooling": True,
        "neural_tokenizer": True,
        "activation": "torch.nn.modules.activation.GELU",
    }
    if channels:
        config["chs_info"] = [{"ch_name": name, "kind": _EEG} for name in channels.values()]
    return config


def _ratio(inner: int, width: int) -> float:
    """braindecode makes ``int(width * ratio)`` of it, which must not round to one less."""
    ratio = inner / width
    return ratio if int(width * ratio) == inner else math.nextafter(ratio, math.inf)
