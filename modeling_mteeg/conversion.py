"""Turns published LaBraM weights, and those of braindecode's ``Labram``, into an MteegModel folder.

Both keep LaBraM's layout and differ in names only; braindecode's spatial table has the published
order of channels, so no row moves. Nothing is taken or left silently: the report lists every key.
"""

from __future__ import annotations

import fnmatch
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from .channels import CHANNEL_NAMES
from .checkpoint_reader import read_checkpoint
from .configuration_mteeg import PRESETS, MteegConfig
from .key_names import encoder_prefixes, target_key, why_left_out
from .modeling_mteeg import MteegModel

_FRESH = {
    "fc_norm.weight": (
        1.0,
        "starts fresh at 1, as in LaBraM's fine-tuning: the checkpoint has none",
    ),
    "fc_norm.bias": (0.0, "starts fresh at 0, as in LaBraM's fine-tuning: the checkpoint has none"),
}


class ConversionError(ValueError):
    """Weights that do not make an MteegModel. ``report`` lists what was found."""

    def __init__(self, message: str, report: ConversionReport | None = None):
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class KeyRecord:
    """What became of one key.

    Parameters
    ----------
    key : str
        Key in the checkpoint; for ``missing`` the key of MteegModel.
    status : {"used", "dropped", "missing"}
        What became of it.
    reason : str
        Key of MteegModel it went to, or why it was dropped, or what stands in for it.
    shape : tuple of int
        Shape in the checkpoint; for ``missing`` that of MteegModel. Empty where not a tensor.
    """

    key: str
    status: str
    reason: str
    shape: tuple[int, ...] = ()


@dataclass
class ConversionReport:
    """Every key of a checkpoint and what became of it.

    Parameters
    ----------
    source : dict
        Where the weights come from: file name, layout, entry, prefix, SHA-256.
    keys : list of KeyRecord
        In the checkpoint's order, the missing ones last.
    notes : list of str
        What else a reader should know.
    size : str
        Preset whose sizes these are, or ``"own"``.
    """

    source: dict[str, str | None] = field(default_factory=dict)
    keys: list[KeyRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    size: str = "own"

    def with_status(self, status: str) -> list[KeyRecord]:
        """The keys that were ``used``, ``dropped`` or are ``missing``."""
        return [record for record in self.keys if record.status == status]

    def table(self) -> str:
        """Every key in a row of its own: status, key, shape, reason."""
        order = ("used", "dropped", "missing")
        rows = [
            (r.status, r.key, "x".join(map(str, r.shape)), r.reason)
            for status in order
            for r in self.with_status(status)
        ]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
        return "\n".join(
            "  ".join([*(c.ljust(w) for c, w in zip(row[:3], widths, strict=True)), row[3]])
            for row in rows
        )

    def summary(self) -> str:
        """Counts and notes, a few lines."""
        counts = {s: len(self.with_status(s)) for s in ("used", "dropped", "missing")}
        lines = [f"size: {self.size}; keys " + ", ".join(f"{s} {n}" for s, n in counts.items())]
        return "\n".join(lines + [f"note: {note}" for note in self.notes])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as saved in ``conversion.json``."""
        return asdict(self)


def convert_checkpoint(
    path: str | Path,
    out: str | Path,
    overwrite: bool = False,
    prefix: str | None = None,
    drop: Sequence[str] = (),
) -> ConversionReport:
    """Convert a checkpoint file into a folder that ``AutoModel.from_pretrained`` loads.

    Parameters
    ----------
    path : str or Path
        Published ``.pth``, bare state dict or safetensors file; see
        :func:`modeling_mteeg.checkpoint_reader.read_checkpoint`.
    out : str or Path
        Folder to make; gets the weights, both configurations and ``conversion.json``. It is
        loadable once it is complete, not before.
    overwrite : bool
        Allow ``out`` to hold files; the ones of an older model are replaced.
    prefix, drop
        See :func:`convert_state_dict`.

    Returns
    -------
    ConversionReport
        Also saved in the folder as ``conversion.json``.

    Raises
    ------
    CheckpointError
        The file cannot be read, or is refused.
    ConversionError
        Its content does not make an MteegModel.
    FileExistsError
        ``out`` is a file, or holds files and ``overwrite`` is off.
    """
    from .feature_extraction_mteeg import MteegFeatureExtractor

    out = Path(out)
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; expected a folder, or a name to make one.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise FileExistsError(f"{out} is not empty. Choose another folder, or pass --overwrite.")
    checkpoint = read_checkpoint(path)
    model, report = convert_state_dict(checkpoint.state_dict, prefix=prefix, drop=drop)
    report.source |= {"file": checkpoint.path.name, "layout": checkpoint.layout}
    report.source |= {"entry": checkpoint.entry, "sha256": checkpoint.sha256()}
    for name, words in checkpoint.others.items():
        reason = f"{words}; beside the weights, of no use to the model"
        report.keys.append(KeyRecord(name, "dropped", reason))

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        model.save_pretrained(scratch)
        MteegFeatureExtractor().save_pretrained(scratch)
        text = json.dumps(report.to_dict(), indent=2)
        (Path(scratch) / "conversion.json").write_text(text + "\n")
        _move_into(Path(scratch), out)
    return report


def _move_into(scratch: Path, out: Path) -> None:
    """Move finished files to their folder, in place of an older model's; config.json last."""
    out.mkdir(exist_ok=True)
    for pattern in ("config.json", "model*.safetensors", "model*.index.json", "pytorch_model*"):
        for old in out.glob(pattern):
            old.unlink()
    for path in sorted(scratch.iterdir(), key=lambda path: path.name == "config.json"):
        os.replace(path, out / path.name)


def convert_state_dict(
    state_dict: Mapping[str, Any], prefix: str | None = None, drop: Sequence[str] = ()
) -> tuple[MteegModel, ConversionReport]:
    """Build a model from a state dict with published or braindecode's key names.

    Parameters
    ----------
    state_dict : mapping of str to torch.Tensor
        Pre-training or fine-tuning weights, under any common prefix such as ``student.``.
    prefix : str, optional
        Where the encoder's keys begin, for a state dict that holds more than one encoder.
    drop : sequence of str
        Shell patterns of keys to leave out that would otherwise stop the conversion.

    Returns
    -------
    MteegModel
        float32, sizes read off the shapes of the tensors.
    ConversionReport
        What became of every key.

    Raises
    ------
    ConversionError
        No encoder or several; keys of another architecture or unknown; weights missing, of wrong
        shapes, or not finite. All problems of a kind are named together.
    """
    prefix = _find_prefix(state_dict) if prefix is None else prefix
    report = ConversionReport(source={"prefix": prefix})
    weights, faults = _sort_keys(state_dict, prefix, drop, report)
    if faults:
        title = f"{len(faults)} of {len(state_dict)} keys stop the conversion"
        raise ConversionError(_listing(title, _by_reason(faults)), report)
    config = infer_config(weights, report)
    with torch.device("meta"):
        expected = {key: tuple(v.shape) for key, v in MteegModel(config).state_dict().items()}
    _fill_missing(weights, expected, report)
    problems = [
        f"{key}: expected {shape}, found {tuple(weights[key].shape)}"
        for key, shape in expected.items()
        if weights[key].shape != shape
    ]
    problems += [f"{key}: not finite" for key, v in weights.items() if not v.isfinite().all()]
    problems += [f"{key}: the model has no such weight" for key in weights.keys() - expected.keys()]
    if problems:
        raise ConversionError(_listing("These weights do not fit", problems), report)
    model = MteegModel(config)
    model.load_state_dict(weights)
    return model.eval(), report


def _listing(title: str, problems: Sequence[str], limit: int = 20) -> str:
    more = [f"... and {len(problems) - limit} more"] if len(problems) > limit else []
    return "\n  ".join([f"{title}:", *problems[:limit], *more])


def _by_reason(faults: Mapping[str, str]) -> list[str]:
    """Faults of keys in few lines: a reason, and the keys it holds for."""
    keys: dict[str, list[str]] = {}
    for key, reason in faults.items():
        keys.setdefault(reason, []).append(key)
    return [
        f"{', '.join(found[:3])}{f' and {len(found) - 3} more' if len(found) > 3 else ''}: {reason}"
        for reason, found in keys.items()
    ]


def _find_prefix(state_dict: Mapping[str, Any]) -> str:
    """The common start of the encoder's keys, or an error."""
    found = encoder_prefixes(state_dict)
    if not found:
        first = ", ".join(list(state_dict)[:5])
        raise ConversionError(
            "Expected the keys of a LaBraM encoder (cls_token, patch_embed.conv1.weight, "
            f"blocks.0. ...) under some prefix; found {len(state_dict)} keys such as: {first}."
        )
    if len(found) > 1:
        raise ConversionError(
            f"Expected one encoder, found {len(found)}, under the prefixes "
            f"{', '.join(map(repr, found))}. Choose one with --prefix."
        )
    return found[0]


def _sort_keys(
    state_dict: Mapping[str, Any], prefix: str, drop: Sequence[str], report: ConversionReport
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Weights under MteegModel's keys, and the keys that stop the conversion, with the reason."""
    weights: dict[str, torch.Tensor] = {}
    faults: dict[str, str] = {}
    dtypes: set[str] = set()
    for key, value in state_dict.items():
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
        inside = key.startswith(prefix)
        target = target_key(key[len(prefix) :]) if inside else None
        if any(fnmatch.fnmatchcase(key, pattern) for pattern in drop):
            status, reason = "dropped", "left out on request"
        elif target is None:
            status, reason = why_left_out(key[len(prefix) :] if inside else key)
            if status == "stops":
                faults[key] = reason
                status = "dropped"
        elif target in weights:
            status, reason = "dropped", f"a second source of {target}"
            faults[key] = reason
        else:
            status, reason = "used", target
            fault = _fault(value)
            if fault:
                faults[key] = fault
            else:
                weights[target] = _as_stored(value, target)
                dtypes.add(str(value.dtype))
        report.keys.append(KeyRecord(key, status, reason, shape))
    if dtypes - {"torch.float32"}:
        report.notes.append(f"weights of {', '.join(sorted(dtypes))} are kept as torch.float32")
    return weights, faults


def _fault(value: Any) -> str | None:
    """Why a value cannot be a weight."""
    if not isinstance(value, torch.Tensor):
        return f"expected a tensor, found {type(value).__name__}"
    if value.layout != torch.strided or not value.dtype.is_floating_point:
        return f"expected a dense floating-point tensor, found {value.layout}, {value.dtype}"
    return None


def _as_stored(value: torch.Tensor, target: str) -> torch.Tensor:
    """float32, and the two tables without their leading axis of one."""
    value = value.detach().to(torch.float32)
    if target in ("spatial_embedding", "temporal_embedding") and value.shape[:1] == (1,):
        value = value.squeeze(0) if value.ndim == 3 else value
    return value.contiguous()


def infer_config(weights: Mapping[str, torch.Tensor], report: ConversionReport) -> MteegConfig:
    """Sizes of the model, read off the shapes of its weights."""
    where = {
        "cls_token": 3,
        "spatial_embedding": 2,
        "temporal_embedding": 2,
        "temporal_encoder.conv1.weight": 4,
        "layers.0.mlp.fc1.weight": 2,
        "layers.0.attention.q_norm.weight": 1,
    }
    problems = [
        f"{key}: expected a tensor of {ndim} axes, found "
        + (f"shape {tuple(weights[key].shape)}" if key in weights else "none")
        for key, ndim in where.items()
        if key not in weights or weights[key].ndim != ndim
    ]
    if problems:
        hint = (
            ""
            if "layers.0.attention.q_norm.weight" in weights
            else (
                "\nAttention without LayerNorm on queries and keys is not LaBraM's, and MteegModel "
                "does not compute it."
            )
        )
        title = "The sizes of the model cannot be read"
        raise ConversionError(_listing(title, problems) + hint, report)
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


def _fill_missing(
    weights: dict[str, torch.Tensor],
    expected: Mapping[str, tuple[int, ...]],
    report: ConversionReport,
) -> None:
    """Add what may be absent, with its reason; anything else absent is an error."""
    missing = [key for key in expected if key not in weights]
    fresh = {}
    if set(_FRESH) <= set(missing):
        fresh |= _FRESH
    gammas = [key for key in expected if key.rpartition(".")[2].startswith("gamma_")]
    if set(gammas) <= set(missing):
        reason = "set to 1, which is exact: this model has no layer-scale"
        fresh |= dict.fromkeys(gammas, (1.0, reason))
    for key in missing:
        value, reason = fresh.get(key, (None, "required"))
        report.keys.append(KeyRecord(key, "missing", reason, tuple(expected[key])))
        if value is not None:
            weights[key] = torch.full(expected[key], value)
    required = [f"{key} {tuple(expected[key])}" for key in missing if key not in fresh]
    if required:
        raise ConversionError(_listing("These weights are missing", required), report)
