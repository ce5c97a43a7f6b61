"""From a checkpoint file to a folder that the Auto classes load."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ..model.feature_extraction_mteeg import MteegFeatureExtractor
from .backbone_weights import convert_base, convert_student
from .checkpoint_reader import read_checkpoint
from .checkpoint_source import check_sha256, find_checkpoint
from .key_report import ConversionReport, KeyRecord
from .made_folder import check_free, making
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
    *,
    revision: str | None = None,
    file: str | None = None,
    token: str | bool | None = None,
    sha256: str | None = None,
) -> ConversionReport:
    """Convert a checkpoint file into a folder that ``AutoModel.from_pretrained`` loads.

    Parameters
    ----------
    path : str or Path
        Published ``.pth``, bare state dict or safetensors file, see
        ``modeling_mteeg.conversion.checkpoint_reader.read_checkpoint``; or where to fetch one,
        ``owner/repo`` on the Hub or an ``http(s)`` address, see
        ``modeling_mteeg.conversion.checkpoint_source.find_checkpoint``.
    out : str or Path
        Folder to make; gets the weights, both configurations and ``conversion.json``. It is
        loadable once it is complete, not before.
    overwrite : bool
        Allow ``out`` to hold files; the ones of an older model are replaced.
    prefix, drop, kind, heads
        See :func:`convert_state_dict`; by default a tokenizer is recognised and the rest is a base.
    revision, file, token
        Of a repository on the Hub, see ``find_checkpoint``.
    sha256 : str, optional
        What the file's SHA-256 must be, 64 hexadecimal digits; compared before it is read.

    Returns
    -------
    ConversionReport
        Also saved in the folder as ``conversion.json``.

    Raises
    ------
    CheckpointError
        The file cannot be had or read, is refused, or has another SHA-256.
    ConversionError
        Its content does not make the model.
    FileExistsError
        ``out`` is a file, or holds files and ``overwrite`` is off.
    """
    out = check_free(out, overwrite)
    found = find_checkpoint(path, revision=revision, file=file, token=token)
    if sha256 is not None:
        check_sha256(found.path, sha256)
    checkpoint = read_checkpoint(found.path)
    model, report = convert_state_dict(checkpoint.state_dict, prefix, drop, kind, heads)
    report.source |= {"file": checkpoint.path.name, "layout": checkpoint.layout}
    report.source |= {"entry": checkpoint.entry, "sha256": checkpoint.sha256()}
    report.source |= {"bytes": checkpoint.path.stat().st_size, **found.origin}
    for name, words in checkpoint.others.items():
        reason = f"{words}; beside the weights, of no use to the model"
        report.keys.append(KeyRecord(name, "dropped", reason))

    with making(out) as scratch:
        model.save_pretrained(scratch)
        MteegFeatureExtractor().save_pretrained(scratch)
        text = json.dumps(report.to_dict(), indent=2)
        (scratch / "conversion.json").write_text(text + "\n")
    return report


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
        ``base``: :class:`~modeling_mteeg.MteegModel`, from a fine-tuned or a pre-trained backbone.
        ``pretraining``: :class:`~modeling_mteeg.MteegForPreTraining`, from a student with its
        prediction layer. ``tokenizer``: :class:`~modeling_mteeg.MteegTokenizerModel`. ``auto``: a
        tokenizer where it is one, else a base.
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
