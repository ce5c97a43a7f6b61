"""The four files of a task: their names, one reader, one writer.

``adapter_config.json`` and ``adapter_model.safetensors`` are in peft's format; the other two are
``head.safetensors`` and the task card ``task.json``. A task that is a head alone has only these.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .adapter_options import HEAD_ALONE, AdapterOptions
from .checked_files import (
    UnsafeFileError,
    check_no_scripts,
    check_place,
    pickled_beside,
    read_json,
    tensor_shapes,
)
from .finite_weights import check_finite
from .task_card import CARD_FILE, TaskCard, TaskCardError
from .visible_text import PlainError

LORA_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
HEAD_FILE = "head.safetensors"
ADAPTERS = "adapters"
FILES = (LORA_FILE, CONFIG_FILE, HEAD_FILE, CARD_FILE)
HEAD = "head."
"""What names of the head's tensors begin with, beside those of the adapter."""
Shapes = dict[str, tuple[int, ...]]
"""Shapes of tensors by name."""


class AdapterError(PlainError):
    """An adapter that cannot be found, is damaged, or belongs to another base."""


def read_card(folder: Path) -> TaskCard:
    """The card of a task; a missing or damaged one is an AdapterError."""
    ours = any((folder / name).exists() for name in (CARD_FILE, HEAD_FILE))
    if not ours and (folder / CONFIG_FILE).is_file():
        raise AdapterError(
            f"{folder} holds an adapter of peft alone, which has no head and no {CARD_FILE}, so "
            "that nothing says its classes. For features: PeftModel.from_pretrained(model, "
            "folder). For a task: model.add_adapter(name, labels=[...], "
            "options=PeftConfig.from_pretrained(folder)), then model.load_adapter_state_dict(name, "
            "model.adapter_state_dict(name) | peft.load_peft_weights(folder)), and train the head."
        )
    try:
        check_place(folder / CARD_FILE)
        return TaskCard.load(folder)
    except (FileNotFoundError, TaskCardError, UnsafeFileError) as error:
        raise AdapterError(
            f"{error} A task is made of {', '.join(FILES)}: save or download it again."
        ) from error


def read_claims(folder: Path, card: TaskCard) -> tuple[AdapterOptions, Shapes, Shapes]:
    """What a task's files say of it, to be checked before any tensor is read.

    Returns
    -------
    tuple
        Options of the adapter, shapes of the head's tensors (``head.weight``, ``head.bias`` ...),
        and those of the adapter's, none for a head alone.

    Raises
    ------
    AdapterError
        A file is missing or damaged, describes an adapter this model cannot hold, or a script
        lies beside it.
    """
    head = {HEAD + key: shape for key, shape in read_shapes(folder / HEAD_FILE).items()}
    try:
        check_no_scripts(folder)
    except UnsafeFileError as error:
        raise AdapterError(f"{folder}: {error}") from error
    if card.adapter != "lora":
        return HEAD_ALONE, head, {}
    return read_adapter_config(folder), head, read_shapes(folder / LORA_FILE)


def read_state(folder: Path, card: TaskCard) -> dict[str, torch.Tensor]:
    """Tensors of a task: the adapter's under peft's names, and the head's: ``head.weight`` ..."""
    state = {HEAD + key: value for key, value in read_tensors(folder / HEAD_FILE).items()}
    return state | (read_tensors(folder / LORA_FILE) if card.adapter == "lora" else {})


def split_state(
    state: dict[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The adapter's tensors and the head's, the latter as ``weight``, ``bias`` ..."""
    lora = {key: value for key, value in state.items() if not key.startswith(HEAD)}
    head = {key.removeprefix(HEAD): state[key] for key in state if key.startswith(HEAD)}
    return lora, head


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file, on the CPU.

    Raises
    ------
    AdapterError
        Missing, damaged, or with numbers that are not finite.
    """
    read_shapes(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise AdapterError(f"{path} is damaged ({error}). Save or download it again.") from error
    try:
        check_finite(tensors, path)
    except UnsafeFileError as error:
        raise AdapterError(str(error)) from error
    return tensors


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes in a safetensors file, from its header; errors as of :func:`read_tensors`."""
    if not path.is_file():
        raise AdapterError(
            f"{path} is missing; a task is made of {', '.join(FILES)}. Save or download it again."
            f"{pickled_beside(path.parent)}"
        )
    try:
        return tensor_shapes(path)
    except (UnsafeFileError, OSError) as error:
        raise AdapterError(f"{error} Save or download it again.") from error


def read_adapter_config(folder: Path) -> AdapterOptions:
    """Options of an adapter, from peft's file.

    Raises
    ------
    AdapterError
        The file is missing, damaged, or describes an adapter this model cannot hold.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise AdapterError(f"{path} is missing; a task is made of {', '.join(FILES)}.")
    try:
        return AdapterOptions.from_peft(read_json(check_place(path)), str(path))
    except ValueError as error:
        raise AdapterError(str(error)) from error


def write_task(
    folder: Path, card: TaskCard, options: AdapterOptions, state: dict[str, torch.Tensor]
) -> Path:
    """Write a task's files, each whole or not at all, the card last; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / ".part"
    if part.exists():  # left by a save that was interrupted
        shutil.rmtree(part)
    part.mkdir()
    lora, head = split_state(state)
    save_file(head, part / HEAD_FILE, metadata={"format": "pt"})
    if lora:
        save_file(lora, part / LORA_FILE, metadata={"format": "pt"})
        config = options.to_peft()
        config.base_model_name_or_path = (card.base or {}).get("name_or_path") or None
        config.inference_mode = True
        config.save_pretrained(str(part))
    card.save(part)
    (folder / CARD_FILE).unlink(missing_ok=True)
    for file in (HEAD_FILE, LORA_FILE, CONFIG_FILE, CARD_FILE):
        if (part / file).is_file():
            os.replace(part / file, folder / file)
        else:
            (folder / file).unlink(missing_ok=True)
    part.rmdir()
    return folder
