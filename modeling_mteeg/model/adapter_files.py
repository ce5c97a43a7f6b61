"""The files of a task on disk and on the Hub: found, checked, read and written."""

from __future__ import annotations

import math
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .checked_files import (
    UnsafeFileError,
    check_place,
    pickled_beside,
    read_json,
    shortened,
    tensor_shapes,
)
from .task_card import CARD_FILE, TASK_NAME, TaskCard

if TYPE_CHECKING:
    from peft import LoraConfig

LORA_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
HEAD_FILE = "head.safetensors"
ADAPTERS = "adapters"
FILES = (LORA_FILE, CONFIG_FILE, HEAD_FILE, CARD_FILE)
_REPO_PART = re.compile(r"\w[\w.-]*")
_OTHER_OPTIONS = (
    "alora_invocation_tokens",
    "arrow_config",
    "exclude_modules",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "layers_to_transform",
    "lora_bias",
    "modules_to_save",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "use_rslora",
)
"""Options of peft that change what an adapter computes, and that this model does not have."""

_CODE = ("auto_mapping", "auto_map", "custom_pipelines")
"""Keys by which a configuration names code; an adapter has none."""


class AdapterError(ValueError):
    """An adapter that cannot be found, is damaged, or belongs to another base."""


def find_adapter_folder(
    name: str,
    base: str | None,
    revision: str | None = None,
    token: str | bool | None = None,
    base_commit: str | None = None,
) -> Path:
    """Folder that holds a task's files.

    Parameters
    ----------
    name : str
        Task name, folder, ``owner/repo``, or a folder in one, such as ``owner/repo/adapters/tuab``.
    base : str or None
        Folder or Hub repository the base came from.
    revision, token
        For the Hub.
    base_commit : str or None
        Commit of the base's repository: tasks beside it are taken from there where ``revision``
        does not say otherwise.

    Raises
    ------
    AdapterError
        Nothing found; says where it looked and what is there.
    """
    from .hub_fetch import TaskNotThereError, fetch_task

    looked = []
    if TASK_NAME.fullmatch(name) and base:
        if Path(base).is_dir():
            folder = Path(base) / ADAPTERS / name
            looked.append(str(folder))
            if folder.is_dir():
                return folder
        elif split_repo(base) == (base, ""):
            try:
                return fetch_task(base, f"{ADAPTERS}/{name}/", revision or base_commit, token)
            except TaskNotThereError as error:
                looked.append(f"{ADAPTERS}/{name} of {base} on the Hub ({error})")
                if base_commit and not revision:
                    looked[-1] += " (the base's own; revision='main' looks at the newest)"
    if Path(name).is_dir():
        return Path(name)
    looked.append(f"the folder {name}")
    repo, inner = split_repo(name)
    if repo:
        try:
            return fetch_task(repo, inner, revision, token)
        except TaskNotThereError as error:
            looked.append(f"{name} on the Hub ({error})")
    raise AdapterError(
        f"No adapter {name!r}: looked at {', '.join(looked)}. {_beside(base)}"
        "Give a task beside the base, a folder, or owner/repo."
    )


def _beside(base: str | None) -> str:
    """Sentence about the tasks beside a local base."""
    folder = Path(base) / ADAPTERS if base else None
    if folder is None or not folder.is_dir():
        return ""
    names = sorted(path.name for path in folder.iterdir() if (path / CARD_FILE).is_file())
    return f"Beside the base there are: {', '.join(names) or 'none'}. "


def split_repo(name: str) -> tuple[str, str]:
    """Repository and folder in it of ``owner/repo[/folder]``; two empty strings for a path."""
    parts = name.split("/")
    if len(parts) < 2 or ".." in parts or not all(map(_REPO_PART.fullmatch, parts)):
        return "", ""
    return "/".join(parts[:2]), "".join(f"{part}/" for part in parts[2:])


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file, on the CPU; damaged or missing files are an AdapterError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    read_shapes(path)
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise AdapterError(f"{path} is damaged ({error}). Save or download it again.") from error


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


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Options of an adapter (rank, scaling, dropout, location, separate_qkv) from peft's file.

    Raises
    ------
    AdapterError
        The file is missing, damaged, or describes an adapter this model cannot hold.
    """
    from .lora import LOCATIONS

    path = folder / CONFIG_FILE
    if not path.is_file():
        raise AdapterError(f"{path} is missing; a task is made of {', '.join(FILES)}.")
    try:
        config = read_json(check_place(path))
        targets = tuple(sorted(config["target_modules"]))
        rank, alpha = config["r"], config["lora_alpha"]
        dropout = float(config.get("lora_dropout") or 0.0)
        numbers = type(rank) is int and type(alpha) in (int, float)
        numbers = numbers and 0 < rank <= 4096 and 0 < alpha < 1e9
    except UnsafeFileError as error:
        raise AdapterError(str(error)) from error
    except (LookupError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise AdapterError(f"{path} is damaged: {shortened(repr(error))}.") from error
    location = next((key for key, value in LOCATIONS.items() if sorted(value) == list(targets)), "")
    unknown = [key for key in (*_OTHER_OPTIONS, *_CODE) if config.get(key)]
    unknown += [f"bias={config['bias']!r}"] if config.get("bias", "none") != "none" else []
    if config.get("peft_type") != "LORA" or not location or unknown or not numbers:
        raise AdapterError(
            f"{path}: expected a LORA adapter on one of {list(LOCATIONS.values())} without further "
            f"options, found type {shortened(config.get('peft_type'))!r} on "
            f"{shortened(list(targets))}, rank {shortened(rank)}, alpha {shortened(alpha)}, "
            f"{unknown or 'no'} further options."
        )
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    separate = ranks == {"qkv": 3 * rank}
    if (ranks or alphas) and not (separate and _same_scaling(alphas, 3 * alpha)):
        raise AdapterError(
            f"{path}: expected one rank and one alpha for all layers, or three times both for qkv "
            f"alone, found the patterns {shortened(ranks)} and {shortened(alphas)}."
        )
    return {
        "rank": rank,
        "scaling": alpha / rank,
        "dropout": dropout,
        "location": location,
        "separate_qkv": separate,
    }


def _same_scaling(alphas: Any, alpha: float) -> bool:
    """Whether the pattern gives qkv, which has three times the rank, three times the alpha."""
    value = alphas.get("qkv") if isinstance(alphas, dict) and len(alphas) == 1 else None
    return type(value) in (int, float) and math.isclose(value, alpha, rel_tol=1e-9)


def replace_files(
    folder: Path,
    lora: dict[str, torch.Tensor],
    head: dict[str, torch.Tensor],
    config: LoraConfig | None,
    card: TaskCard,
) -> Path:
    """Write a task's files, each whole or not at all, the card last; return the folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    part = folder / ".part"
    if part.exists():  # left by a save that was interrupted
        shutil.rmtree(part)
    part.mkdir()
    save_file(head, part / HEAD_FILE, metadata={"format": "pt"})
    if config is not None:
        save_file(lora, part / LORA_FILE, metadata={"format": "pt"})
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
