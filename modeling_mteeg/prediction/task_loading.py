"""Load a base and tasks from what a user writes: folders, Hub repositories, revisions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub.errors import HTTPError
from transformers import AutoModel

from ..model.adapter_files import ADAPTERS
from ..model.adapter_places import find_adapter_folder, split_repo
from ..model.base_settings import check_base_files
from ..model.hub_fetch import explain
from ..model.modeling_mteeg import MteegModel
from ..model.task_card import TASK_NAME, TaskCard

_SPECIFIED = re.compile(r"(?:(?P<name>[a-z][a-z0-9-]*)=)?(?P<source>.+?)(?:@(?P<revision>[^@/]+))?")


def split_task(text: str) -> tuple[str | None, str, str | None]:
    """Name in the model, source and revision of ``[name=]source[@revision]``.

    A folder that exists is a source as it stands, whatever its name holds.
    """
    if Path(text).exists():
        return None, text, None
    match = _SPECIFIED.fullmatch(text)
    if match is None:
        raise ValueError(
            f"Task: expected a task's name, a folder, owner/repo, or name=owner/repo@revision, "
            f"found {text!r}."
        )
    return match["name"], match["source"], match["revision"]


def base_of_task(text: str, token: str | bool | None = None) -> str:
    """The base that a task belongs to, where nobody names it.

    Parameters
    ----------
    text : str
        A task's folder or repository, as of :func:`split_task`.
    token
        For the Hub.

    Returns
    -------
    str
        The folder or repository whose ``adapters`` the task lies in; else what its card names.

    Raises
    ------
    AdapterError
        There is no such task.
    ValueError
        Neither is known.
    """
    _, source, revision = split_task(text)
    repo, inner = split_repo(source)
    if Path(source).is_dir():
        above = Path(source).absolute().parent
        if above.name == ADAPTERS and (above.parent / "config.json").is_file():
            return str(above.parent)
    elif repo and inner.startswith(f"{ADAPTERS}/"):
        return repo
    elif TASK_NAME.fullmatch(source):
        raise ValueError(f"Task {source!r} lies beside a base: expected its --base, found none.")
    card = TaskCard.load(find_adapter_folder(source, None, revision, token))
    named = (card.base or {}).get("name_or_path")
    if not named:
        raise ValueError(f"{text}: its card names no base. Say --base.")
    return str(named)


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
    model = _load_base(str(base), revision, token)
    if not isinstance(model, MteegModel):
        raise ValueError(f"{base}: expected an MTEEG base, found a {type(model).__name__}.")
    commit = getattr(model.config, "_commit_hash", None) or revision
    names = []
    with model.loading_together():
        for text in tasks:
            name, source, asked = split_task(str(text))
            beside = TASK_NAME.fullmatch(source) and not path.is_dir()
            card = model.load_adapter(
                source, name, revision=asked or (commit if beside else None), token=token
            )
            names.append(card.name)
    return model.to(device).eval(), names


def check_base_name(base: str) -> None:
    """Raise ``FileNotFoundError`` where a base is neither a path that is there nor a Hub id."""
    if not Path(base).exists() and split_repo(base)[0] != base:
        raise FileNotFoundError(
            f"No base {base}: there is no such folder, and on the Hub it would be owner/repo. Give "
            "the folder that a recipe, save_pretrained() or `mteeg convert` wrote."
        )


def _load_base(base: str, revision: str | None, token: str | bool | None) -> MteegModel:
    """The base alone; where it is neither a folder nor to be had from the Hub, both are said."""
    check_base_name(base)
    here = Path(base).exists()
    check_base_files(base, {"revision": revision})  # before transformers reads them
    try:
        # False, not None: transformers would ask on the terminal whether to run a stranger's code.
        return AutoModel.from_pretrained(
            base, revision=revision or "main", token=token, trust_remote_code=False
        )
    except (OSError, HTTPError) as error:
        if here:
            raise
        raise OSError(
            f"No base {base}: there is no such folder here, and from the Hub: "
            f"{explain(error, base)}"
        ) from error


def cards_of(model: MteegModel, tasks: str | Sequence[str] | None) -> list[TaskCard]:
    """Cards of the tasks that were asked for; None: all that the model holds.

    Raises
    ------
    ValueError
        A model in training mode, unknown or repeated tasks, or another rate than the model's.
    """
    if model.training:
        raise ValueError("Expected a model in evaluation mode: call model.eval() first.")
    names = list(model.tasks) if tasks is None else [tasks] if isinstance(tasks, str) else tasks
    if not names or len(set(names)) != len(list(names)):
        raise ValueError(f"tasks: expected one or more different tasks, found {list(names)}.")
    unknown = [name for name in names if name not in model.tasks]
    if unknown:
        raise ValueError(
            f"tasks: {', '.join(map(repr, unknown))} not among those that the model holds, "
            f"{sorted(model.tasks)}. Use load_adapter() first."
        )
    cards = [model.tasks[name] for name in names]
    size = model.config.patch_size
    wrong = [f"{card.name} at {card.rate_hz:g} Hz" for card in cards if card.rate_hz != size]
    if wrong:
        raise ValueError(f"Expected tasks at {size} Hz, found {', '.join(wrong)}.")
    return cards


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        usable = torch.device(device)
        torch.empty(0, device=usable)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: {device!r} cannot be used here ({error}).") from error
    return usable
