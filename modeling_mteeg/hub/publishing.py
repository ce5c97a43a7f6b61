"""A checked folder to the Hub as one commit. Behind ``mteeg push``."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HTTPError, RepositoryNotFoundError, RevisionNotFoundError

from ..model.adapter_files import ADAPTERS, FILES
from ..model.hub_fetch import HubError, explain
from ..model.hub_push import (
    PushRefusedError,
    base_fingerprint,
    paths_of,
    push_files,
    push_task,
    read_remote_json,
    stage_task,
    write_model_cards,
)
from ..model.task_card import CARD_FILE
from .publication import KINDS, WEIGHTS, Publication, read_settings


def publish(
    publication: Publication,
    repo: str,
    *,
    base: str = "",
    prune: bool = False,
    message: str = "",
    token: str | bool | None = None,
    **options: Any,
) -> str:
    """Upload a folder's base and tasks, or one task, as one commit; return its address.

    Parameters
    ----------
    publication : Publication
        Of :func:`publication.read_publication`.
    repo : str
        ``owner/repo``, made if needed. One task is laid beside the base where the repository has
        that base, else at the top of the repository.
    base : str
        Of one task: repository of its base, to be named in the files.
    prune : bool
        Delete tasks in the repository that belong to another base than the one that is pushed.
    message, token, **options
        As in :func:`modeling_mteeg.model.hub_push.push_files`.

    Raises
    ------
    PushRefusedError
        The repository has tasks of another base, or is public and should be private.
    HubError
        The push failed; the repository is as it was.
    """
    options |= {"message": message or publication.title, "token": token}
    if publication.base:
        with tempfile.TemporaryDirectory() as place:
            files = _stage(publication, Path(place), repo)
            review = _review(publication, repo, files, prune)
            return push_files(files, repo, review=review, **options)
    ((name, folder),) = publication.tasks.items()
    if base and _base_of(base, None, token, needed=True) != publication.fingerprint:
        raise PushRefusedError(
            f"{folder}: the task belongs to the base with fingerprint "
            f"{publication.fingerprint[:12]}; the base of {base} is another one."
        )
    beside = _base_of(repo, options.get("revision"), token)
    if beside not in (None, publication.fingerprint):
        raise PushRefusedError(
            f"{repo}: holds the base with fingerprint {beside[:12]}; the task {name} belongs to "
            f"that with {publication.fingerprint[:12]}. Choose another repository."
        )
    return push_task(folder, repo, f"{ADAPTERS}/{name}" if beside else "", base, **options)


def _base_of(
    repo: str, revision: str | None, token: str | bool | None, needed: bool = False
) -> str | None:
    """Fingerprint of the base in a repository; None where there is none (yet)."""
    api, fingerprint = HfApi(token=token), None
    try:
        fingerprint = base_fingerprint(api, repo, api.repo_info(repo, revision=revision))
    except (OSError, HTTPError) as error:
        if needed or not isinstance(error, (RepositoryNotFoundError, RevisionNotFoundError)):
            raise HubError(
                f"{repo}: {explain(error, repo, sending=True)} Nothing was sent."
            ) from error
    if needed and fingerprint is None:
        raise PushRefusedError(f"{repo}: holds no base with a fingerprint in its config.json.")
    return fingerprint


def _stage(publication: Publication, place: Path, repo: str) -> dict[str, Path]:
    """Copies of all files as they go to the repository, by path in it."""
    for name, path in publication.base.items():
        shutil.copy(path, place / name)
    for name, folder in publication.tasks.items():
        stage_task(folder, place / ADAPTERS / name, repo, repo)
    write_model_cards(place, repo)
    return {path.relative_to(place).as_posix(): path for path in sorted(place.rglob("*"))
            if path.is_file()}  # fmt: skip


def _review(publication: Publication, repo: str, files: dict[str, Path], prune: bool) -> Any:
    """What in the repository goes with this commit: what it replaces, and tasks of another base."""

    def review(api: Any, known: Any) -> list[str]:
        old = paths_of(known)
        _check_kind(api, repo, known, publication)
        replaced = {f"{ADAPTERS}/{name}/{file}" for name in publication.tasks for file in FILES}
        gone = {path for path in old - set(files) if WEIGHTS.fullmatch(path) or path in replaced}
        stale = []
        for card in sorted(path for path in old - set(files) if _is_card(path)):
            base = read_remote_json(api, repo, card, known.sha).get("base")
            if not isinstance(base, dict) or base.get("fingerprint") != publication.fingerprint:
                stale.append(card.rpartition("/")[0])
        if stale and not prune:
            raise PushRefusedError(
                f"{repo}: holds tasks of another base: {', '.join(stale)}. They would not load on "
                "this one. Push to another branch or repository, or delete them in the same "
                "commit (--prune)."
            )
        gone |= {path for path in old for task in stale if path.startswith(f"{task}/")}
        return sorted(gone)

    return review


def _check_kind(api: Any, repo: str, known: Any, publication: Publication) -> None:
    """Refuse to put a tokenizer in the place of a base, or the other way round."""
    if "config.json" not in paths_of(known):
        return
    kinds = [
        read_remote_json(api, repo, "config.json", known.sha).get("model_type"),
        read_settings(publication.base["config.json"]).get("model_type"),
    ]
    if kinds[0] in KINDS and kinds[0] != kinds[1]:
        raise PushRefusedError(
            f"{repo}: holds a model of type {kinds[0]!r}, {publication.folder} is one of type "
            f"{kinds[1]!r}. Choose another repository."
        )


def _is_card(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 3 and parts[0] == ADAPTERS and parts[2] == CARD_FILE
