"""Tasks on the Hub: found at one revision, fetched whole, and errors that say what to do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from .adapter_files import (
    ADAPTERS,
    CONFIG_FILE,
    FILES,
    HEAD_FILE,
    LORA_FILE,
    AdapterError,
    read_card,
)
from .task_card import CARD_FILE

COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
no_answer = ""
"""Why the Hub did not answer when a command asked (:mod:`modeling_mteeg.hub.reaching`)."""
_LOGIN = "log in (hf auth login), set HF_TOKEN, or pass token="


class HubError(OSError):
    """The Hub did not take what was pushed; the message says why and what to do."""


class TaskNotThereError(LookupError):
    """A repository, a revision or a folder in it that does not exist; the message says which."""


def commit_of(repo: str, revision: str | None, **options: Any) -> str | None:
    """Revision that names the commit a branch or tag stands at, or None where none can be found.

    Parameters
    ----------
    repo : str
        ``owner/repo``; a folder or anything else gives None.
    revision : str or None
        Branch, tag or commit; None: the default branch.
    **options
        ``token``, ``cache_dir``, ``local_files_only`` of ``huggingface_hub.resolve_revision``.

    Returns
    -------
    huggingface_hub.ResolvedRevision or None
        With the commit as ``resolved``. Errors are left to whatever loads next, which has its own
        words for them.
    """
    if Path(repo).exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        return None
    try:
        return huggingface_hub.HfApi().resolve_revision(repo, revision=revision, **options)
    except (OSError, ValueError, HTTPError, RevisionResolutionError):
        return None


def fetch_task(
    repo: str,
    prefix: str,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """Folder in the cache with all files of a task, of one commit, whole and undamaged.

    Parameters
    ----------
    repo : str
        ``owner/repo``.
    prefix : str
        Folder in the repository with a slash at its end, or nothing.
    revision : str, optional
        Branch, tag or commit; a commit that is in the cache needs no connection.
    token : str or bool, optional
        As everywhere in ``huggingface_hub``.
    local_files_only : bool
        Take it from the cache, ask nobody.

    Raises
    ------
    TaskNotThereError
        No such repository or revision (or a private one), or no task in that folder.
    AdapterError
        The Hub cannot be reached and the task is not in the cache, files are missing, or what
        arrived is not what was sent.
    """
    if local_files_only or (revision is not None and COMMIT.fullmatch(revision)):
        folder = _cached_task(repo, prefix, revision, token)
        if folder is not None:
            return folder
    if local_files_only:
        raise TaskNotThereError(
            f"it is not in the cache, whole, at revision {(revision or 'main')[:12]}; leave "
            "local_files_only out to ask the Hub"
        )
    try:
        info = huggingface_hub.HfApi().repo_info(repo, revision=revision, token=token)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise TaskNotThereError(explain(error, repo)) from error
    except (OSError, HTTPError) as error:
        folder = _cached_task(repo, prefix, revision, token) if _is_away(error) else None
        if folder is None:
            raise AdapterError(
                f"{prefix or 'the task'} of {repo} could not be fetched: {explain(error, repo)}"
            ) from error
        return folder
    files_on_hub = {sibling.rfilename for sibling in info.siblings or ()}
    if f"{prefix}{CARD_FILE}" not in files_on_hub:
        raise TaskNotThereError(
            f"{repo} has no {prefix}{CARD_FILE} at revision {(revision or 'main')[:12]}"
        )
    where = {"repo_id": repo, "revision": info.sha, "token": token}
    card = _download(prefix, CARD_FILE, where)
    for file in _files_of(card):
        if f"{prefix}{file}" not in files_on_hub:
            raise AdapterError(
                f"{prefix}{file} of {repo} is missing; a task is made of {', '.join(FILES)}. Push "
                "it again."
            )
        _download(prefix, file, where)
    return card.parent


def tasks_in_repo(
    repo: str, revision: str | None = None, token: str | bool | None = None
) -> list[str]:
    """Names of the tasks in ``adapters/`` of a Hub repository, sorted.

    Raises
    ------
    AdapterError
        The Hub cannot be asked; what is in the cache need not be all.
    """
    try:
        files = huggingface_hub.HfApi().list_repo_files(repo, revision=revision, token=token)
    except (OSError, HTTPError) as error:
        raise AdapterError(f"The tasks of {repo}: {explain(error, repo)}") from error
    found = (re.fullmatch(rf"{ADAPTERS}/([^/]+)/{CARD_FILE}", file) for file in files)
    return sorted(match[1] for match in found if match)


def _files_of(card: Path) -> list[str]:
    """Files of a task beside its card."""
    lora = read_card(card.parent).adapter == "lora"
    return [HEAD_FILE, *([LORA_FILE, CONFIG_FILE] if lora else [])]


def _cached_task(
    repo: str, prefix: str, revision: str | None, token: str | bool | None
) -> Path | None:
    """The task as it lies in the cache, without asking the Hub; None where it is not all whole."""
    where = {"repo_id": repo, "revision": revision, "token": token, "local_files_only": True}
    try:
        card = _from_hub(f"{prefix}{CARD_FILE}", where)
        others = [_from_hub(f"{prefix}{file}", where) for file in _files_of(card)]
    except LocalEntryNotFoundError:
        return None
    return card.parent if all(map(_is_whole, others)) else None


def _download(prefix: str, file: str, where: dict[str, Any]) -> Path:
    """One file in the cache; a damaged one is fetched again, once.

    The client compares sizes. Large files lie in the cache under the SHA-256 of their content, so
    here that is compared, too.
    """
    repo = where["repo_id"]
    try:
        path = _from_hub(f"{prefix}{file}", where)
        if not _is_whole(path):
            path = _from_hub(f"{prefix}{file}", where | {"force_download": True})
    except (OSError, ValueError, HTTPError) as error:
        raise AdapterError(
            f"{prefix}{file} of {repo} could not be fetched whole: {explain(error, repo)}"
        ) from error
    if not _is_whole(path):
        raise AdapterError(
            f"{path} is damaged: its SHA-256 is not that of the file on the Hub. Delete it and "
            "load it again."
        )
    return path


def _from_hub(file: str, where: dict[str, Any]) -> Path:
    return Path(huggingface_hub.hf_hub_download(filename=file, **where))


def _is_whole(path: Path) -> bool:
    """Whether the content is that by whose hash the cache names it, where it does so."""
    name = path.resolve().name
    if not _SHA256.fullmatch(name):
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == name


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_away(error: Exception) -> bool:
    """Whether the Hub did not answer, or has no answer now: the cache may do instead."""
    statuses = [e.response.status_code for e in _chain(error) if isinstance(e, HfHubHTTPError)]
    return all(status >= 500 or status == 429 for status in statuses[:1])


def explain(error: BaseException, repo: str, sending: bool = False) -> str:
    """What went wrong between here and the Hub, and what to do about it.

    Parameters
    ----------
    error : Exception
        Of ``huggingface_hub`` or of the HTTP client below it; its causes are looked at, too.
    repo : str
        ``owner/repo`` it was about.
    sending : bool
        Whether something was to go there, rather than to come from there.
    """
    for cause in _chain(error):
        uncached = isinstance(cause, LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE
        if uncached or isinstance(cause, OfflineModeIsEnabled):
            return explain_offline(no_answer, "" if sending else repo)
        if isinstance(cause, HfHubHTTPError):
            return _explain_answer(cause, repo)
    for cause in _chain(error):
        if isinstance(cause, OSError) and "Consistency check failed" in str(cause):
            return "the download broke off. Nothing of it was kept; run the same again."
    return (
        f"the connection failed or broke off ({cause_of(error)}). Check the network and run the "
        "same again."
    )


def explain_offline(fault: str, repo: str = "") -> str:
    """What to do where the Hub is not asked, or did not answer by ``fault``.

    With the repository that is not in the cache, where something was to come from it.
    """
    text = "offline mode is on. Unset HF_HUB_OFFLINE."
    if fault:
        text = f"{constants.ENDPOINT} does not answer ({fault}). Check the network (a proxy is "
        text += "taken from HTTPS_PROXY, another server from HF_ENDPOINT)."
    if not repo:
        return text
    return (
        f"{text} What was loaded once with a connection is in the cache and needs none; this is "
        f"not there. Or fetch it elsewhere, hf download {repo} --local-dir FOLDER, and give the "
        "folder."
    )


def cause_of(error: BaseException) -> str:
    """What an error of the connection began with, in a few words."""
    innermost = list(_chain(error))[-1]
    return f"{type(innermost).__name__}: {_first_line(innermost)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")


def _explain_answer(error: Any, repo: str) -> str:
    """The same for an answer of the Hub, by its status and kind."""
    status, wait = error.response.status_code, error.response.headers.get("Retry-After")
    if isinstance(error, RevisionNotFoundError):
        return (
            f"{repo} has no such revision. Give a branch, a tag or a commit that it has: "
            f"hf repos tag list {repo}."
        )
    if isinstance(error, GatedRepoError):
        return f"{repo} is gated: ask for access on its page, then {_LOGIN}."
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{repo} does not exist, or it is private. Check the name; of a private repository, "
            f"{_LOGIN}."
        )
    return {
        401: f"the Hub does not accept the token, or there is none (401): {_LOGIN}.",
        403: f"the token may not do that with {repo} (403). Take one with write access "
        "(https://huggingface.co/settings/tokens), or a repository of your own.",
        409: f"{repo} was changed by somebody else at the same time. Look at the new revision, "
        "then run the same again.",
        412: f"{repo} was changed by somebody else at the same time. Look at the new revision, "
        "then run the same again.",
        429: f"too many requests (429). Wait {f'{wait} s' if wait else 'some minutes'}, then run "
        "the same again.",
    }.get(status) or (
        f"the Hub has a fault of its own ({status}). Run the same again in some minutes; "
        "https://status.huggingface.co says how it is."
        if status >= 500
        else f"the Hub refused it ({status}): {error.server_message or _first_line(error)}."
    )
