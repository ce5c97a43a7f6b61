"""From a checkpoint file to a folder that the Auto classes load."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ..model.feature_extraction_mteeg import MteegFeatureExtractor
from .backbone_weights import convert_base, convert_student
from .checkpoint_reader import read_checkpoint
from .key_report import ConversionReport, KeyRecord
from .tokenizer_weights import convert_tokenizer, is_tokenizer

KINDS = ("auto", "base", "pretraining", "tokenizer")


def convert_checkpoint(
    path: str | Path,
    out: str | Path,
    overwrite: bool = False,
    prefix: str | None = None,
    drop: Sequence[str] = (),
    kind: str = "auto",
    heads: int | None = None,
) -> ConversionReport:
    """Convert a checkpoint file into a folder that ``AutoModel.from_pretrained`` loads.

    Parameters
    ----------
    path : str or Path
        Published ``.pth``, bare state dict or safetensors file; see
        :func:`modeling_mteeg.conversion.checkpoint_reader.read_checkpoint`.
    out : str or Path
        Folder to make; gets the weights, both configurations and ``conversion.json``. It is
        loadable once it is complete, not before.
    overwrite : bool
        Allow ``out`` to hold files; the ones of an older model are replaced.
    prefix, drop, kind, heads
        See :func:`convert_state_dict`; by default a tokenizer is recognised and the rest is a base.

    Returns
    -------
    ConversionReport
        Also saved in the folder as ``conversion.json``.

    Raises
    ------
    CheckpointError
        The file cannot be read, or is refused.
    ConversionError
        Its content does not make the model.
    FileExistsError
        ``out`` is a file, or holds files and ``overwrite`` is off.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; expected a folder, or a name to make one.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise FileExistsError(f"{out} is not empty. Choose another folder, or pass --overwrite.")
    checkpoint = read_checkpoint(path)
    model, report = convert_state_dict(checkpoint.state_dict, prefix, drop, kind, heads)
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
    state_dict: Mapping[str, Any],
    prefix: str | None = None,
    drop: Sequence[str] = (),
    kind: str = "base",
    heads: int | None = None,
) -> tuple[PreTrainedModel, ConversionReport]:
    """Build a model from a state dict with published or braindecode's key names.

    Parameters
    ----------
    state_dict : mapping of str to torch.Tensor
        Pre-training or fine-tuning weights, or a tokenizer's, under any common prefix such as
        ``student.``.
    prefix : str, optional
        Where the model's keys begin, for a state dict that holds more than one.
    drop : sequence of str
        Shell patterns of keys to leave out that would otherwise stop the conversion.
    kind : {"base", "pretraining", "tokenizer", "auto"}
        ``base``: :class:`MteegModel`, from a fine-tuned or a pre-trained backbone. ``pretraining``:
        :class:`MteegForPreTraining`, from a student with its prediction layer. ``tokenizer``:
        :class:`MteegTokenizerModel`. ``auto``: a tokenizer where it is one, else a base.
    heads : int, optional
        Attention heads of a tokenizer, whose weights do not tell; by default as many as give the
        published width of 20. For a tokenizer only.

    Returns
    -------
    PreTrainedModel
        float32, sizes read off the shapes of the tensors.
    ConversionReport
        What became of every key.

    Raises
    ------
    ConversionError
        No such model or several; keys of another architecture or unknown; weights missing, of wrong
        shapes, or not finite. All problems of a kind are named together.
    ValueError
        Another kind, or ``heads`` for anything but a tokenizer.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {KINDS}, found {kind!r}.")
    if kind == "auto":
        kind = "tokenizer" if is_tokenizer(state_dict) else "base"
    if kind == "tokenizer":
        return convert_tokenizer(state_dict, prefix, drop, heads)
    if heads is not None:
        raise ValueError("heads: only a tokenizer needs it; a backbone's weights tell the number.")
    convert = convert_student if kind == "pretraining" else convert_base
    return convert(state_dict, prefix, drop)
