"""Bases, tasks and published checkpoints of tiny models; torch is imported to write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .originals import Original

BASE_SEED = 3
TASK_FILES = ("adapter_model.safetensors", "adapter_config.json", "head.safetensors", "task.json")


def _base(folder: Path, **options: Any) -> None:
    from tiny_models import tiny_model

    from modeling_mteeg import MteegFeatureExtractor

    tiny_model(BASE_SEED).save_pretrained(folder, **options)
    MteegFeatureExtractor().save_pretrained(folder)


def _parts(folder: Path) -> None:
    _base(folder, max_shard_size="300KB")


def _adapter(folder: Path, **options: Any) -> None:
    from tiny_models import model_with_tasks

    model_with_tasks("tuab", seed=BASE_SEED, options=options).save_adapter("tuab", folder)


def _head_alone(folder: Path) -> None:
    _adapter(folder, location="none")


def published() -> dict[str, Any]:
    """Tensors of a small fine-tuned model under the published names, float32."""
    from plain_labram import random_weights

    return {name: value.float() for name, value in random_weights().items()}


def _saved(folder: Path, content: dict[str, Any], archive: bool = True) -> None:
    import torch

    torch.save(content, folder / "labram.pth", _use_new_zipfile_serialization=archive)


def _archive(folder: Path) -> None:
    _saved(folder, {"model": published(), "epoch": 3})


def _legacy(folder: Path) -> None:
    _saved(folder, {"model": published()}, archive=False)


def _bare(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(published(), folder / "labram.safetensors")


def _weights(name: str, write, targets: tuple[str, ...], way: str) -> Original:
    return Original(name, "weights", write, targets, (way,))


_CONFIGS = ("config.json", "config.json", "preprocessor_config.json")
ORIGINALS = (
    _weights("adapter", _adapter, TASK_FILES, "adapter"),
    _weights("head-alone", _head_alone, TASK_FILES[2:], "adapter"),
    _weights("base", _base, (*_CONFIGS, "model.safetensors"), "base"),
    _weights(
        "base-in-parts", _parts,
        ("model.safetensors.index.json", "model.safetensors.index.json", "model-00001-of-*",
         "config.json"), "base",
    ),
    _weights("checkpoint", _archive, ("labram.pth",), "convert"),
    _weights("checkpoint-legacy", _legacy, ("labram.pth",), "convert"),
    _weights("checkpoint-safetensors", _bare, ("labram.safetensors",), "convert"),
)  # fmt: skip
