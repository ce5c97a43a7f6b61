"""Transformer layers through ``torch.compile``, as an option of every training of a LaBraM."""

from __future__ import annotations

import torch
from torch import nn

from ..methods.method import TrainingError
from ..model.layers import MteegAttention, MteegLayer, TemporalEncoder

_KINDS = 64
"""So many versions of a part are made before torch goes on without: training and validation,
student and tokenizer, with and without dropped paths, few rows and many."""


def compile_layers(*models: nn.Module, temporal_encoder: bool = False) -> None:
    """Let the layers of models run through ``torch.compile``, all but their attention.

    Of layers with adapters all but the products, too
    (:mod:`modeling_mteeg.model.compiled_parts`). It joins the element-wise operations around the
    matrix products. On a CPU under Linux attention runs through a kernel of its own
    (:mod:`modeling_mteeg.model.attention_kernel`). Steps of other shapes use the same code; the
    first few steps, which make it, take up to a minute longer. Values agree with those of
    uncompiled layers to rounding. With dropout beside stochastic depth, and without adapters, they
    do not on a CPU, where uncompiled layers draw it for kept samples alone.

    Parameters
    ----------
    *models : torch.nn.Module
        On the device where they will run.
    temporal_encoder : bool
        Whether what follows its convolutions is compiled, too; never on a CPU, where it would be
        several times slower.

    Raises
    ------
    TrainingError
        There is nothing here to compile with.
    """
    devices = {p.device for model in models for p in model.parameters()}
    for device in devices:
        try:
            torch.compile(lambda x: x + 1)(torch.zeros(8, device=device))
        except Exception as error:  # torch's own, many kinds, of several private modules
            reason = str(error).strip().partition("\n")[0]
            raise TrainingError(
                f"compile: torch.compile does not work for {device.type} here ({reason}). It needs "
                "a C++ compiler (g++ or clang) for a CPU, and Triton for a GPU; install it, or set "
                "compile: false."
            ) from error
    torch._dynamo.config.recompile_limit = max(_KINDS, torch._dynamo.config.recompile_limit)
    for model in models:
        for module in model.modules():
            encodes = temporal_encoder and isinstance(module, TemporalEncoder)
            if isinstance(module, (MteegLayer, MteegAttention)) or (
                encodes and module.conv1.weight.device.type != "cpu"
            ):
                module.compiled = True
