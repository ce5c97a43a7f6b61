"""Publishing as one commit: all of it or nothing, on the revision that was looked at."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from .adapter_files import ADAPTERS, CONFIG_FILE, FILES
from .adapter_places import split_repo
from .checked_files import read_json
from .hub_fetch import HubError, explain
from .task_card import CARD_FILE, TASK_NAME

CARD_WRITER: Callable[[Path], Any] | None = None
"""Set by ``import modeling_mteeg``; the copy of this file beside a base writes no cards."""


class PushRefusedError(ValueError):
    """What may not be pushed, or does not fit what is there; nothing was sent."""


def push_files(
    files: Mapping[str, Path],
    repo: str,
    *,
    message: str,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | bool | None = None,
    review: Callable[[Any, Any], list[str]] | None = None,
    repo_type: str = "model",
) -> str:
    """Upload files as one commit and return its address; every push of this package ends here.

    Parameters
    ----------
    files : mapping of str to Path
        Path in the repository to what goes there.
    repo : str
        ``owner/repo``, made if needed.
    message : str
        Title of the commit.
    private, revision, create_pr, token
        As for :meth:`modeling_mteeg.MteegModel.push_adapter`.
    review : callable, optional
        Called with the client and what it knows of the revision (``sha``, ``siblings``) before
        anything is sent; returns paths to delete in the same commit, or raises.
    repo_type : {"model", "dataset"}
        Kind of repository.

    Raises
    ------
    PushRefusedError
        The repository is public though a private one was asked for, or ``review`` refuses.
    HubError
        Anything between here and the Hub failed. Large files that had arrived are kept by the Hub
        and are not sent again by the next try.
    """
    api = huggingface_hub.HfApi(token=token)
    try:
        known = _open(api, repo, repo_type, private, None if create_pr else revision)
        deleted = review(api, known) if review else []
    except (OSError, HTTPError) as error:
        raise HubError(f"{repo}: {explain(error, repo, sending=True)} Nothing was sent.") from error
    # HfApi.upload_folder may make several commits of one folder; this is one, or none.
    operations: list[Any] = [
        CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)
        for path, content in files.items()
    ]
    operations += [CommitOperationDelete(path_in_repo=path) for path in deleted]
    try:
        commit = api.create_commit(
            repo,
            operations,
            commit_message=message,
            repo_type=repo_type,
            revision=revision,
            create_pr=create_pr,
            parent_commit=known.sha,
        )
    except (OSError, RuntimeError, HTTPError) as error:
        raise HubError(
            f"{repo}: {explain(error, repo, sending=True)} "
            f"{_state(api, repo, repo_type, revision, known.sha)}"
        ) from error
    return str(commit.pr_url or commit.commit_url)


def commit_files(
    files: Mapping[str, Path],
    repo: str,
    *,
    message: str,
    description: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | bool | None = None,
) -> Any:
    """Upload files to a repository that is there, as transformers does, and return its answer.

    The branch is made if needed; errors are those of the client.
    """
    api = huggingface_hub.HfApi(token=token)
    if revision is not None and not revision.startswith("refs/pr"):
        try:
            api.create_branch(repo, branch=revision, exist_ok=True)
        except HfHubHTTPError as error:  # who may only propose needs no branch of their own
            if not (create_pr and error.response.status_code == 403):
                raise
    return api.create_commit(
        repo,
        [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path)
         for name, path in files.items()],
        commit_message=message,
        commit_description=description,
        revision=revision,
        create_pr=create_pr,
    )  # fmt: skip


def _open(api: Any, repo: str, repo_type: str, private: bool | None, branch: str | None) -> Any:
    """Make the repository and the branch where they are missing; what is known of the branch."""
    api.create_repo(repo, repo_type=repo_type, private=private, exist_ok=True)
    if branch is not None:
        api.create_branch(repo, repo_type=repo_type, branch=branch, exist_ok=True)
    known = api.repo_info(repo, repo_type=repo_type, revision=branch)
    if private and not known.private:
        kind = "" if repo_type == "model" else f" --repo-type {repo_type}"
        raise PushRefusedError(
            f"{repo} exists and is public, though a private repository was asked for. Make it "
            f"private (hf repos settings {repo} --private{kind}), or choose another name."
        )
    return known


def _state(api: Any, repo: str, repo_type: str, revision: str | None, before: str) -> str:
    """What a push that failed has left."""
    branch = revision or "main"
    try:
        now = api.repo_info(repo, repo_type=repo_type, revision=revision).sha
    except (OSError, HTTPError):
        return (
            f"Before, {branch} was at {before[:12]}; a commit is all or nothing, so look whether "
            "it is there before you push again."
        )
    if now == before:
        return (
            f"Nothing has changed on the Hub: {branch} is still at {before[:12]}. What had arrived "
            "is not sent again."
        )
    return f"In the meantime {branch} went from {before[:12]} to {now[:12]}: look what came."


def push_task(folder: Path, repo: str, prefix: str = "", base: str = "", **options: Any) -> str:
    """Upload a saved task as one commit; see :func:`push_files` for the options.

    Parameters
    ----------
    folder : Path
        As ``save_adapter`` writes it.
    repo : str
        ``owner/repo``, made if needed.
    prefix : str
        Folder in the repository; ``adapters/<task>`` lays it beside the base of that repository.
    base : str
        Repository of the base, to be named in the files. Beside a base it is that base's.
    """
    prefix = prefix.strip("/")
    beside = prefix.startswith(f"{ADAPTERS}/") and TASK_NAME.fullmatch(prefix[len(ADAPTERS) + 1 :])
    inside = f"{prefix}/" if prefix else ""
    with tempfile.TemporaryDirectory() as place:
        files = stage_task(folder, Path(place), repo if beside else base, repo)
        sent = {inside + name: path for name, path in files.items()}
        fingerprint = read_json(files[CARD_FILE])["base"]["fingerprint"]

        def review(api: Any, known: Any) -> list[str]:
            if beside:
                _check_beside(api, repo, known, fingerprint, prefix)
            return sorted(paths_of(known) & {inside + file for file in FILES} - set(sent))

        return push_files(sent, repo, review=review, **options)


def _check_beside(api: Any, repo: str, known: Any, fingerprint: str, prefix: str) -> None:
    """Refuse to lay a task beside a base that it was not trained with."""
    base = base_fingerprint(api, repo, known)
    if base is not None and base != fingerprint:
        raise PushRefusedError(
            f"{repo}: the base there has fingerprint {base[:12]}; {prefix} belongs to the base "
            f"with {fingerprint[:12]}. Push that base first (model.push_to_hub or mteeg push), or "
            "choose another repository."
        )


def paths_of(known: Any) -> set[str]:
    """Paths of the files of a revision, from what the client knows of it."""
    return {sibling.rfilename for sibling in known.siblings or ()}


def base_fingerprint(api: Any, repo: str, known: Any) -> str | None:
    """Fingerprint of the base of a repository, or None where it has none."""
    if "config.json" not in paths_of(known):
        return None
    fingerprint = read_remote_json(api, repo, "config.json", known.sha).get("fingerprint")
    return fingerprint if isinstance(fingerprint, str) else None


def read_remote_json(api: Any, repo: str, path: str, commit: str) -> dict[str, Any]:
    """A JSON object of a repository; one that is none counts as empty."""
    try:
        content = read_json(Path(api.hf_hub_download(repo, path, revision=commit)))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def stage_task(folder: Path, place: Path, base: str, repo: str = "") -> dict[str, Path]:
    """Copy a task, the name of its base written anew: a folder's path means nothing elsewhere.

    Parameters
    ----------
    folder : Path
        As ``save_adapter`` writes it; of further files only the model card and pictures are taken.
    place : Path
        An empty folder.
    base : str
        ``owner/repo``; empty: what the files say, if it is such a name and no path.
    repo : str
        Where the task goes, for its model card; empty: not known.

    Returns
    -------
    dict of str to Path
        Name in the task's folder to the copy.
    """
    place.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and is_of_a_task(path.name):
            shutil.copy(path, place / path.name)
    card = read_json(folder / CARD_FILE)
    name = base or str((card.get("base") or {}).get("name_or_path") or "")
    if not base and (Path(name).exists() or split_repo(name) != (name, "")):
        name = ""
    card["base"] = {**(card.get("base") or {}), "name_or_path": name}
    _write_json(place / CARD_FILE, card)
    if (place / CONFIG_FILE).exists():
        config = read_json(folder / CONFIG_FILE)
        _write_json(place / CONFIG_FILE, {**config, "base_model_name_or_path": name or None})
    write_model_cards(place, repo)
    return {path.name: path for path in sorted(place.iterdir())}


def is_of_a_task(name: str) -> bool:
    """Whether a file belongs to a task on the Hub: its four files, model card and pictures."""
    return name in (*FILES, "README.md") or (name.endswith(".png") and not name.startswith("."))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def write_model_cards(folder: Path, repo: str = "") -> None:
    """Write the model cards of a base or task, where the package has the part that makes them.

    ``repo`` is where they go; empty: nowhere yet.
    """
    if CARD_WRITER is not None:
        CARD_WRITER(folder, repo)


def replace_blank_card(folder: Path, fingerprint: str | None, repo: str = "") -> None:
    """Make the model card anew where it says nothing, or is this package's for another base.

    The card that the repository has already, with results perhaps, stays otherwise.
    """
    path = folder / "README.md"
    text = path.read_text("utf-8") if path.is_file() else ""
    blank = "Model Card for Model ID" in text and "[More Information Needed]" in text
    other = "<!-- modeling_mteeg" in text and str(fingerprint) not in text
    if blank:
        path.unlink()
    if blank or other or not text:
        write_model_cards(folder, repo)
