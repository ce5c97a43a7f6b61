"""A base that has tasks, and keeps them: what a training on it must leave as it is.

Tasks stand on the very weights they were trained with, the temporal encoder included. A method that
leaves all of these alone gives one more task for the same base; any other makes a new base.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..model.adapter_files import ADAPTERS
from ..model.adapter_places import tasks_beside
from .method import Method

_OF_A_BASE = (".json", ".safetensors", ".py", ".md", ".png")


def trains_encoder(config: Any) -> bool:
    """Whether the shared temporal encoder is trained: as a configuration (``JointConfig``) says,
    and where it leaves it open, unless the base has tasks.

    Raises
    ------
    AdapterError
        The Hub cannot be asked.
    """
    if config.train_temporal_encoder is not None:
        return config.train_temporal_encoder
    return not (config.model.base and tasks_beside(config.model.base))


def kept_tasks(method: type[Method], config: Any) -> tuple[str, ...]:
    """Tasks beside the base of a configuration (``JointConfig``) that stay right on it.

    Empty where it starts from random weights, the base has none, or the method changes the base.

    Raises
    ------
    AdapterError
        The Hub cannot be asked.
    """
    if not (config.model.base and method.needs_model and method.keeps_base(config)):
        return ()
    return tuple(tasks_beside(config.model.base))


def copy_kept_base(base: str, folder: Path, commit: str | None, without: Collection[str]) -> None:
    """Copy a base and the tasks beside it, byte for byte.

    Parameters
    ----------
    base : str
        Folder, or Hub id.
    folder : Path
        Made here.
    commit : str or None
        Of the Hub repository.
    without : collection of str
        Tasks that are not copied, since others take their places.
    """
    place = Path(base)
    if not place.is_dir():
        import huggingface_hub

        patterns = [*(f"*{suffix}" for suffix in _OF_A_BASE)]  # in folders below, too
        place = Path(
            huggingface_hub.snapshot_download(base, revision=commit, allow_patterns=patterns)
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(place.iterdir()):
        if path.is_file() and path.suffix in _OF_A_BASE and not path.name.startswith("."):
            shutil.copyfile(path, folder / path.name)
    for path in sorted((place / ADAPTERS).glob("*")):
        if path.is_dir() and path.name not in without:
            shutil.copytree(path, folder / ADAPTERS / path.name)
