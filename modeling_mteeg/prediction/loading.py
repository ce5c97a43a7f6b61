"""Load a base and tasks from what a user writes: folders, Hub repositories, revisions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModel

from ..modeling_mteeg import MteegModel
from ..task_card import TASK_NAME

_SPECIFIED = re.compile(r"(?:(?P<name>[a-z][a-z0-9-]*)=)?(?P<source>.+?)(?:@(?P<revision>[^@/]+))?")


def split_task(text: str) -> tuple[str | None, str, str | None]:
    """Name in the model, source and revision of ``[name=]source[@revision]``.

    A folder that exists is a source as it stands, whatever its name holds.
    """
    if Path(text).exists():
        return None, text, None
    found = _SPECIFIED.fullmatch(text)
    if found is None:
        raise ValueError(
            f"Task: expected a task's name, a folder, owner/repo, or name=owner/repo@revision, "
            f"found {text!r}."
        )
    return found["name"], found["source"], found["revision"]


def load_tasks(
    base: str | Path,
    tasks: Sequence[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    device: str | torch.device | None = None,
) -> tuple[MteegModel, list[str]]:
    """Load a base and tasks for prediction.

    Parameters
    ----------
    base : str or Path
        Folder or Hub id.
    tasks : sequence of str
        Each a task beside the base, a folder, or ``owner/repo``; with ``@revision`` behind it that
        revision, with ``name=`` before it under that name.
    revision, token
        Of the base, for the Hub. Tasks beside the base are taken from the same commit.
    device : str, torch.device or None
        Where to compute; None: a GPU if there is one.

    Returns
    -------
    model : MteegModel
        In evaluation mode.
    names : list of str
        The tasks in the order asked for.

    Raises
    ------
    AdapterError
        A task cannot be found, is damaged, or belongs to another base.
    OSError, ValueError
        The base cannot be loaded; the device is not there.
    """
    device = _device(device)
    path = Path(base)
    if path.exists() and not (path / "config.json").is_file():
        raise ValueError(
            f"{base}: expected the folder of a base, with its config.json, as save_pretrained(), "
            "`mteeg convert` or a recipe writes it."
        )
    model = AutoModel.from_pretrained(str(base), revision=revision or "main", token=token)
    if not isinstance(model, MteegModel):
        raise ValueError(f"{base}: expected an MTEEG base, found a {type(model).__name__}.")
    commit = getattr(model.config, "_commit_hash", None) or revision
    names = []
    for text in tasks:
        name, source, own = split_task(str(text))
        beside = TASK_NAME.fullmatch(source) and not path.is_dir()
        card = model.load_adapter(
            source, name, revision=own or (commit if beside else None), token=token
        )
        names.append(card.name)
    return model.to(device).eval(), names


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: {device!r} cannot be used here ({error}).") from error
    return found
