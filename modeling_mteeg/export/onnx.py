"""One task of a model as one ONNX file, checked against PyTorch before it is kept.

The adapter is merged into the weights of a copy; the graph is traced from the model's own layers,
so there is no second LaBraM that could differ from the first. Batch, channels and patches are free.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .._version import __version__
from ..model.channels import channel_ids
from ..model.modeling_mteeg import MteegModel
from ..model.task_card import TaskCard
from ..settings.disk_faults import writing

OPSETS = range(18, 24)
"""ONNX operator sets that can be asked for."""
DEFAULT_OPSET = 18
TOLERANCE = 1e-4
"""Largest difference from PyTorch, on logits and probabilities, that an export may have.

PyTorch computes in double precision for this, so that the difference is the file's own: in single
precision PyTorch's GroupNorm rounds more than ONNX Runtime's (measured: logits of the demo's tasks
off by up to 2e-4 in PyTorch, 3e-5 in ONNX Runtime)."""
INPUTS = ("input_values", "channel_ids")
OUTPUTS = ("logits", "probabilities")
_MOST_BYTES = 2_000_000_000  # an ONNX file is one protobuf message, which ends at 2 GiB
_ANY_MONTAGE = 19  # channels to check with where the card leaves the montage open
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


class ExportError(ValueError):
    """A model that cannot be exported, or whose export does not agree with PyTorch."""


class MissingOnnxError(ImportError, ExportError):
    """The packages of the extra ``onnx`` are not installed."""


@dataclasses.dataclass(frozen=True)
class OnnxExport:
    """What an export wrote.

    Parameters
    ----------
    path : Path
        The ONNX file.
    sidecar : Path
        JSON beside it, with the same facts as the file's metadata and the result of the check.
    opset : int
    max_difference : float
        Largest absolute difference from PyTorch in double precision over all shapes checked.
    float32_difference : float
        The same from PyTorch in single precision, whose own rounding counts too.
    shapes : tuple of tuple of int
        These shapes of ``input_values``.
    """

    path: Path
    sidecar: Path
    opset: int
    max_difference: float
    float32_difference: float
    shapes: tuple[tuple[int, ...], ...]


class _TaskModule(nn.Module):
    """The model with one task, from inputs by place to the outputs of the graph."""

    def __init__(self, model: MteegModel, card: TaskCard):
        super().__init__()
        self.model, self.card = model, card

    def forward(self, input_values, channel_ids):
        """Logits (batch, outputs) and probabilities (batch, classes)."""
        output = self.model(
            input_values=input_values,
            channel_ids=channel_ids,
            task=self.card.name,
            return_dict=True,
        )
        return output.logits, self.card.probabilities(output.logits)


def export_onnx(
    model: MteegModel,
    task: str,
    out: str | Path,
    *,
    opset: int = DEFAULT_OPSET,
    overwrite: bool = False,
) -> OnnxExport:
    """Write one task of a model as an ONNX file.

    Parameters
    ----------
    model : MteegModel
        Holds the task; stays as it is. The export is in float32, whatever its dtype.
    task : str
        A task of the model.
    out : str or Path
        A file that ends in ``.onnx``, or a folder, where it becomes ``<task>.onnx``. A sidecar of
        the same name with the ending ``.json`` is written beside it.
    opset : int
        ONNX operator set, 18 to 23.
    overwrite : bool
        Replace files that are there.

    Returns
    -------
    OnnxExport

    Raises
    ------
    MissingOnnxError
        onnx, onnxscript or onnxruntime is not installed.
    ExportError
        The file is there, the opset is not one of ``OPSETS``, the weights are too large for one
        ONNX file, or the graph differs from PyTorch by more than 1e-4. Nothing is written then.

    Notes
    -----
    The graph has the inputs ``input_values`` float32 (batch, channels, patches, patch_size) and
    ``channel_ids`` int64 (channels, 2), as the feature extractor gives them, and the outputs
    ``logits`` (batch, outputs) and ``probabilities`` (batch, classes), both float32. Unlike the
    model it does not check that ``channel_ids`` are rows of the spatial table.
    """
    _need_packages()
    if opset not in OPSETS:
        raise ExportError(f"opset: expected {OPSETS[0]} to {OPSETS[-1]}, found {opset!r}.")
    model._known_task(task)
    path, sidecar = _paths(out, task, overwrite)
    facts = _facts(model, task, opset)
    single = copy.deepcopy(model).to(device="cpu", dtype=torch.float32).eval()
    size = sum(parameter.nbytes for parameter in single.parameters())
    if size > _MOST_BYTES:
        raise ExportError(
            f"Expected at most {_MOST_BYTES / 1e9:g} GB of float32 weights, the most that one ONNX "
            f"file can hold; this model has {size / 1e9:.1f} GB."
        )
    # The model twice as it is used, in single and in double precision, then merged and traced.
    samples = check_samples(model.tasks[task], model.config.patch_size)
    rounded = _reference(single, task, samples)
    expected = _reference(single.double(), task, samples)
    single.float().merge_and_unload(task)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        part = Path(folder) / path.name
        _trace(single, task, part, opset, facts)
        outputs = _run(part, samples)
        difference = _largest_difference(outputs, expected)
        single_difference = _largest_difference(outputs, rounded)
        if not difference <= TOLERANCE:  # NaN, too
            raise ExportError(
                f"Task {task!r}: expected outputs within {TOLERANCE:g} of PyTorch, found a "
                f"difference of {difference:.3g}. Nothing was written; another opset may help."
            )
        shapes = tuple(tuple(values.shape) for values, _ in samples)
        checked = {
            "max_difference": difference,
            "float32_difference": single_difference,
            "tolerance": TOLERANCE,
            "shapes": shapes,
        }
        _write_sidecar(part.with_suffix(".json"), part, facts, checked)
        os.replace(part, path)
        os.replace(part.with_suffix(".json"), sidecar)
    return OnnxExport(path, sidecar, opset, difference, single_difference, shapes)


def _need_packages() -> None:
    """Raise where a package of the extra is missing."""
    missing = []
    for name in _NEEDED:
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise MissingOnnxError(
            f"Exporting needs {', '.join(missing)}, which is not installed: "
            "pip install 'modeling-mteeg[onnx]'."
        )


def _paths(out: str | Path, task: str, overwrite: bool) -> tuple[Path, Path]:
    """The ONNX file and its sidecar, both free."""
    path = Path(out)
    if path.suffix != ".onnx":
        if path.is_file():
            raise ExportError(f"Expected a folder or a name that ends in .onnx, found {path}.")
        path = path / f"{task}.onnx"
    both = path, path.with_suffix(".json")
    taken = [str(file) for file in both if file.exists()]
    if taken and not overwrite:
        raise ExportError(
            f"{' and '.join(taken)} already there: choose another place, or say overwrite "
            "(--overwrite)."
        )
    return both


def _facts(model: MteegModel, task: str, opset: int) -> dict[str, Any]:
    """What the file says of itself: task, base, versions, inputs and outputs."""
    base = {
        "fingerprint": model.fingerprint(),
        "hidden_size": model.config.hidden_size,
        "name_or_path": str(model.config._name_or_path or ""),
    }
    card = model.tasks[task]
    card = card.replace(base={**(card.base or {}), **base})
    size = model.config.patch_size
    return {
        "task": card.to_dict(),
        "labels": list(card.labels),
        "base_fingerprint": base["fingerprint"],
        "package_version": __version__,
        "opset": opset,
        "inputs": {
            "input_values": f"float32 (batch, channels, patches, {size}), {card.scale_uv:g} "
            f"microvolt, {card.rate_hz:g} Hz",
            "channel_ids": "int64 (channels, 2), rows of the spatial table"
            + (", of the task's channels in any order" if card.head.kind == "channels" else ""),
        },
        "outputs": {
            "logits": f"float32 (batch, {card.num_outputs})",
            "probabilities": f"float32 (batch, {len(card.labels)}), rows sum to 1",
        },
    }


def check_samples(card: TaskCard, patch_size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Noise in the shapes that an export is checked with, and rows of the spatial table.

    The task's own shape, one of everything, either side of the 16 rows of the temporal table, and
    more tokens than plain attention is used for. A head that knows channels has no other montage
    than the task's: the same channels in another order, and other numbers of patches.
    """
    ids = torch.from_numpy(channel_ids(card.channels, card.bipolar))  # (channels, 2)
    if not card.channels:  # any montage: the first rows of the table, each channel one electrode
        ids = torch.arange(1, 1 + _ANY_MONTAGE)[:, None].expand(-1, 2).contiguous()
    if card.head.kind == "channels":
        of_the_task = [(2, len(ids), card.patches), (3, len(ids), card.patches)]
        shapes = [(batch, len(ids), patches) for batch, patches in ((1, 1), (2, 16), (1, 17))]
        tables = [ids, *[ids.flip(0)] * (1 + len(shapes))]
    else:
        other = torch.arange(1, 1 + 64)[:, None].expand(-1, 2)
        shapes = [(1, 1, 1), (3, 1, 2), (2, 2, 16), (2, 3, 17), (1, 2, 40), (1, 23, 10), (1, 64, 4)]
        of_the_task = [(2, len(ids), card.patches), (1, 1, card.patches)]
        tables = [ids, ids[:1], *(other[:channels].contiguous() for _, channels, _ in shapes)]
    random = torch.Generator().manual_seed(0)
    # 30 microvolt, about what EEG has
    values = [
        0.3 * torch.randn((*shape, patch_size), generator=random)
        for shape in (*of_the_task, *shapes)
    ]
    return list(zip(values, tables, strict=True))


@torch.no_grad()
def _reference(model: MteegModel, task: str, samples: list) -> list[tuple[np.ndarray, ...]]:
    """Outputs of the model as it is used, adapter not merged, in the model's own precision."""
    module = _TaskModule(model, model.tasks[task])
    return [
        tuple(out.numpy() for out in module(values.to(model.dtype), ids)) for values, ids in samples
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about itself (optional packages, its own deprecations)."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _trace(model: MteegModel, task: str, path: Path, opset: int, facts: dict[str, Any]) -> None:
    """Write the graph of a merged model, with its metadata."""
    model.set_attn_implementation("eager")  # one way of attention, whatever the length
    module = _TaskModule(model, model.tasks[task]).eval()
    dim = torch.export.Dim
    batch, channels, patches = dim("batch"), dim("channels"), dim("patches")
    # No free size is 1 or equal to another one, or the exporter would take it for a constant.
    example = (
        torch.zeros(2, 3, 5, model.config.patch_size),
        torch.ones(3, 2, dtype=torch.int64),
    )
    with _quiet():
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            opset_version=opset,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: batch, 1: channels, 2: patches}, {0: channels}),
            external_data=False,
            verbose=False,
        )
    graph = program.model.graph
    for part in (*graph, *graph.inputs, *graph.initializers.values()):
        part.metadata_props.clear()  # paths and code lines of the machine that exported
    for node in graph:
        for value in node.outputs:
            value.metadata_props.clear()
    program.model.producer_name = "modeling_mteeg"
    program.model.producer_version = facts["package_version"]
    for key, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        program.model.metadata_props[key] = text
    program.save(path, external_data=False)


def _run(path: Path, samples: list) -> list[tuple[np.ndarray, ...]]:
    """Outputs of the file, after the checks that ONNX itself has."""
    import onnx
    import onnxruntime

    onnx.checker.check_model(str(path))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = [dict(zip(INPUTS, (v.numpy(), ids.numpy()), strict=True)) for v, ids in samples]
    return [tuple(session.run(list(OUTPUTS), feed)) for feed in feeds]


def _largest_difference(outputs: list, expected: list) -> float:
    """Largest absolute difference between two lists of outputs."""
    largest = 0.0
    for by_onnx, by_torch in zip(outputs, expected, strict=True):
        for name, a, b in zip(OUTPUTS, by_onnx, by_torch, strict=True):
            if a.shape != b.shape:
                raise ExportError(
                    f"{name}: expected shape {b.shape} as from PyTorch, found {a.shape}. Nothing "
                    "was written."
                )
            largest = np.maximum(largest, np.abs(a - b).max())  # keeps NaN
    return float(largest)


def _write_sidecar(path: Path, graph: Path, facts: dict[str, Any], checked: dict) -> None:
    """The file's metadata, its SHA-256 and the result of the check, as JSON."""
    with graph.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    text = json.dumps({**facts, "sha256": digest, "check": checked}, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", "utf-8")
