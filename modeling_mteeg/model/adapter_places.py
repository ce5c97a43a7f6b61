"""Where the files of a task lie: beside the base, in a folder, or on the Hub."""

from __future__ import annotations

import re
from pathlib import Path

from .adapter_files import ADAPTERS, AdapterError
from .hub_fetch import TaskNotThereError, fetch_task, tasks_in_repo
from .task_card import CARD_FILE, TASK_NAME

_REPO_PART = re.compile(r"\w[\w.-]*")


def find_adapter_folder(
    name: str,
    base: str | None,
    revision: str | None = None,
    token: str | bool | None = None,
    base_commit: str | None = None,
    local_files_only: bool = False,
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
    local_files_only : bool
        Look at this machine alone, the Hub's cache included.

    Raises
    ------
    AdapterError
        Nothing found; says where it looked and what is there.
    """
    looked = []
    if TASK_NAME.fullmatch(name) and base:
        if Path(base).is_dir():
            folder = Path(base) / ADAPTERS / name
            looked.append(str(folder))
            if folder.is_dir():
                return folder
        elif split_repo(base) == (base, ""):
            try:
                where = revision or base_commit, token, local_files_only
                return fetch_task(base, f"{ADAPTERS}/{name}/", *where)
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
            return fetch_task(repo, inner, revision, token, local_files_only)
        except TaskNotThereError as error:
            looked.append(f"{name} on the Hub ({error})")
    raise AdapterError(
        f"No adapter {name!r}: looked at {', '.join(looked)}. {_beside(base)}"
        "Give a task beside the base, a folder, or owner/repo."
    )


def tasks_beside(
    base: str | Path, revision: str | None = None, token: str | bool | None = None
) -> list[str]:
    """Names of the tasks in ``adapters/`` of a base's folder or Hub repository, sorted.

    Parameters
    ----------
    base : str or Path
    revision, token
        For the Hub; by default the newest revision.

    Raises
    ------
    AdapterError
        The Hub cannot be asked.
    """
    if Path(base).is_dir():
        return sorted(path.parent.name for path in Path(base).glob(f"{ADAPTERS}/*/{CARD_FILE}"))
    if split_repo(str(base)) != (str(base), ""):
        return []
    return tasks_in_repo(str(base), revision, token)


def _beside(base: str | None) -> str:
    """Sentence about the tasks beside a local base."""
    if not base or not (Path(base) / ADAPTERS).is_dir():
        return ""
    return f"Beside the base there are: {', '.join(tasks_beside(base)) or 'none'}. "


def split_repo(name: str) -> tuple[str, str]:
    """Repository and folder in it of ``owner/repo[/folder]``; two empty strings for a path."""
    parts = name.split("/")
    if len(parts) < 2 or ".." in parts or not all(map(_REPO_PART.fullmatch, parts)):
        return "", ""
    return "/".join(parts[:2]), "".join(f"{part}/" for part in parts[2:])
