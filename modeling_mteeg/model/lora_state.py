"""An adapter in its layers to and from the tensors of peft's files."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from .adapter_options import AdapterOptions
from .lora import Factors, adapter_layers, linear_layers
from .weight_names import uncompiled


def _name_in_file(layer: str, part: str) -> str:
    """Name of ``lora_A`` or ``lora_B`` of a layer in peft's files."""
    return f"base_model.model.{uncompiled(layer)}.{part}.weight"


def export_state(model: nn.Module, adapter: str) -> dict[str, torch.Tensor]:
    """Tensors of an adapter under the names of peft's file format, contiguous, on the CPU."""
    state = {}
    for name, layer in adapter_layers(model, adapter).items():
        a, b = layer.one_pair(adapter)
        for part, tensor in (("lora_A", a), ("lora_B", b)):
            state[_name_in_file(name, part)] = tensor.detach().cpu().contiguous()
    return state


def check_shapes(
    model: nn.Module,
    adapter: str,
    shapes: Mapping[str, tuple[int, ...]],
    options: AdapterOptions,
) -> None:
    """Whether tensors of these shapes are an adapter of ``options`` for a model; nothing is made.

    Raises
    ------
    ValueError
        Tensors are missing, left over or of another shape; the first ones are named.
    """
    expected = {}
    for name, _, layer in linear_layers(model):
        target = uncompiled(name).rpartition(".")[2]
        if target in options.layers:
            rank = options.rank_in_file(target)
            expected[_name_in_file(name, "lora_A")] = (rank, layer.in_features)
            expected[_name_in_file(name, "lora_B")] = (layer.out_features, rank)
    faults = [f"missing {key}" for key in expected if key not in shapes]
    faults += [f"unexpected {key}" for key in shapes if key not in expected]
    faults += [
        f"{key}: expected {shape}, found {shapes[key]}"
        for key, shape in expected.items()
        if key in shapes and shapes[key] != shape
    ]
    _raise_faults(adapter, faults)


def _raise_faults(adapter: str, faults: list[str]) -> None:
    """Raise ``ValueError`` with the first of the faults, if there are any."""
    if faults:
        shown = "; ".join(faults[:6]) + (f"; and {len(faults) - 6} more" if len(faults) > 6 else "")
        raise ValueError(f"Adapter {adapter!r} does not fit this model: {shown}.")


def unpack(
    model: nn.Module, adapter: str, state: Mapping[str, torch.Tensor], options: AdapterOptions
) -> dict[str, Factors]:
    """A and B of every layer from :func:`export_state`'s tensors; all must be there and fit.

    Returns
    -------
    dict of str to tuple of torch.Tensor
        By the layer's name in the model, as the layer holds them: of separate q, k, v the blocks
        of B below each other.

    Raises
    ------
    ValueError
        Tensors are missing, left over or of another shape; the first ones are named.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    check_shapes(model, adapter, shapes, options)
    unpacked, faults = {}, []
    for name, _, _ in linear_layers(model):
        target = uncompiled(name).rpartition(".")[2]
        if target not in options.layers:
            continue
        a, key = state[_name_in_file(name, "lora_A")], _name_in_file(name, "lora_B")
        b, blocks = state[key], options.blocks_of(target)
        unpacked[name] = a, b if blocks == 1 else _diagonal_blocks(key, b, blocks, faults)
    _raise_faults(adapter, faults)
    return unpacked


def import_state(
    model: nn.Module, adapter: str, state: Mapping[str, torch.Tensor], options: AdapterOptions
) -> None:
    """Fill an adapter that is in its layers from :func:`export_state`'s tensors.

    Raises
    ------
    ValueError
        As of :func:`unpack`; nothing is filled then.
    """
    unpacked = unpack(model, adapter, state, options)
    with torch.no_grad():
        for name, layer in adapter_layers(model, adapter).items():
            for part, values in zip((layer.lora_A, layer.lora_B), unpacked[name], strict=True):
                part[adapter].weight.copy_(values)


def _diagonal_blocks(key: str, b: torch.Tensor, blocks: int, faults: list[str]) -> torch.Tensor:
    """(out, rank) from a block-diagonal (out, blocks * rank)."""
    rank = b.shape[1] // blocks
    rows = [part.split(rank, dim=1) for part in b.chunk(blocks)]  # blocks of (out / blocks, rank)
    compact = torch.cat([row[j] for j, row in enumerate(rows)])  # those on the diagonal
    if not torch.equal(torch.block_diag(*compact.chunk(blocks)), b):
        faults.append(f"{key}: expected a block-diagonal matrix of {blocks} blocks")
    return compact
