"""Where a checkpoint comes from: a file, a Hub repository by its name, or a web address."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import huggingface_hub
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..model.hub_fetch import explain
from .checkpoint_reader import CheckpointError, sha256_of
from .url_download import download_url

KINDS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
"""Endings of files that hold weights."""
_WEB = ("http://", "https://")
_FIRST = ("model.safetensors", "pytorch_model.bin")
"""Names of a repository's weights, the better one first."""
_REPO = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@]+))?")
_ON_HUB = re.compile(
    r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<repo>[\w.-]+/[\w.-]+)"
    r"(?:/(?:blob|resolve|raw|tree)/(?P<revision>[^/?]+)(?:/(?P<file>[^?]+))?)?/?(?:\?.*)?"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FINAL = (RepositoryNotFoundError, RevisionNotFoundError)


@dataclasses.dataclass(frozen=True)
class FoundCheckpoint:
    """A checkpoint file, and where it comes from.

    Parameters
    ----------
    path : Path
        On this machine, whole.
    origin : dict of str to str
        ``repo``, ``commit`` and ``path_in_repo``, or ``url`` (without its query, which may be
        signed); empty for a file given as such.
    """

    path: Path
    origin: dict[str, str]


def is_remote(place: str | Path) -> bool:
    """Whether a name is taken for a repository on the Hub or a web address."""
    return _on_hub(place) is not None or str(place).startswith(_WEB)


def _on_hub(place: str | Path) -> re.Match[str] | None:
    text = str(place)
    if Path(text).exists():
        return None
    if text.startswith(_WEB):
        return _ON_HUB.fullmatch(text)
    return _REPO.fullmatch(text) if Path(text).suffix not in KINDS else None


def find_checkpoint(
    place: str | Path,
    *,
    revision: str | None = None,
    file: str | None = None,
    token: str | bool | None = None,
) -> FoundCheckpoint:
    """The checkpoint file that a name means, fetched where it is not here.

    Parameters
    ----------
    place : str or Path
        A file or folder that is here; ``owner/repo`` or ``owner/repo@revision`` on the Hub; an
        ``http(s)`` address, of which those of the Hub count as repositories.
    revision, file : str, optional
        Of the Hub: branch, tag or commit; path in the repository. By default the main branch, and
        ``model.safetensors``, ``pytorch_model.bin``, or the one file of weights that there is.
    token : str or bool, optional
        As everywhere in ``huggingface_hub``.

    Raises
    ------
    CheckpointError
        No such repository, revision or file; several files; no rights; offline mode and nothing in
        the cache; or ``revision`` and ``file`` for something else than the Hub.
    DownloadError
        See :func:`modeling_mteeg.conversion.url_download.download_url`.
    """
    text, on_hub = str(place), _on_hub(place)
    if on_hub is None:
        if revision is not None or file is not None:
            raise CheckpointError(
                f"--revision and --file are for a repository on the Hub (owner/repo), found "
                f"{text}. A file is given by its path or address alone."
            )
        if is_remote(text):
            return FoundCheckpoint(download_url(text), {"url": _public(text)})
        return FoundCheckpoint(Path(text), {})
    found = {key: unquote(value) for key, value in on_hub.groupdict().items() if value}
    for key, given in (("revision", revision), ("file", file)):
        if given is not None and found.setdefault(key, given) != given:
            raise CheckpointError(f"{text} names {key} {found[key]}, --{key} another: {given}.")
    return _from_hub(found["repo"], found.get("revision"), found.get("file"), token)


def check_sha256(path: Path, expected: str) -> None:
    """Compare a file with the SHA-256 that it must have.

    Raises
    ------
    CheckpointError
        ``expected`` is none, or the file has another one.
    """
    if not _SHA256.fullmatch(expected.lower()):
        raise CheckpointError(f"SHA-256: expected 64 hexadecimal digits, found {expected!r}.")
    if path.is_file() and (found := sha256_of(path)) != expected.lower():
        raise CheckpointError(
            f"{path}: expected the SHA-256 {expected.lower()}, found {found}. It is another file, "
            "or a damaged one; if it was fetched, delete it and run the same again."
        )


def _public(url: str) -> str:
    """An address without what may be secret in it: name and password, and the query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _from_hub(
    repo: str, revision: str | None, file: str | None, token: str | bool | None
) -> FoundCheckpoint:
    try:
        info = huggingface_hub.HfApi().repo_info(repo, revision=revision, token=token)
        name = _choose([one.rfilename for one in info.siblings or ()], file, repo)
        # By the revision's name, or the cache would not know it without a connection.
        where = {"repo_id": repo, "filename": name, "revision": revision, "token": token}
        path = Path(huggingface_hub.hf_hub_download(**where))
        if not _is_whole(path):
            path = Path(huggingface_hub.hf_hub_download(force_download=True, **where))
    except _FINAL as error:
        raise CheckpointError(_sentence(repo, error)) from error
    except (OSError, HTTPError) as error:
        cached = None if _refused(error) else _from_cache(repo, revision, file)
        if cached is None:
            raise CheckpointError(_sentence(repo, error)) from error
        return cached
    if not _is_whole(path):
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 is not that of the file on the Hub. Delete it and run "
            "the same again."
        )
    return _found(path, repo, name)


def _found(path: Path, repo: str, name: str) -> FoundCheckpoint:
    """A file in the cache, ``snapshots/<commit>/<name>``."""
    commit = path.parts[-1 - len(Path(name).parts)]
    return FoundCheckpoint(path, {"repo": repo, "commit": commit, "path_in_repo": name})


def _is_whole(path: Path) -> bool:
    """Whether the content is that by whose SHA-256 the cache names large files."""
    name = path.resolve().name
    return not _SHA256.fullmatch(name) or sha256_of(path) == name


def _from_cache(repo: str, revision: str | None, file: str | None) -> FoundCheckpoint | None:
    """What was fetched once, without asking the Hub."""
    try:
        folder = Path(
            huggingface_hub.snapshot_download(repo, revision=revision, local_files_only=True)
        )
    except (LocalEntryNotFoundError, OSError):
        return None
    here = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if file not in here if file is not None else not any(map(_holds_weights, here)):
        return None
    name = _choose(here, file, f"{repo} in the cache")
    return _found(folder / name, repo, name)


def _holds_weights(name: str) -> bool:
    return Path(name).suffix in KINDS


def _choose(files: list[str], wanted: str | None, where: str) -> str:
    """The file asked for, or the one that holds the weights."""
    weights = sorted(filter(_holds_weights, files))
    listing = ", ".join(weights[:12]) + (f" and {len(weights) - 12} more" * (len(weights) > 12))
    if wanted is not None:
        if wanted in files:
            return wanted
        raise CheckpointError(
            f"{where}: expected the file {wanted}, found {listing or 'no file of weights'}."
        )
    first = [name for name in _FIRST if name in weights] or weights
    if not first:
        raise CheckpointError(
            f"{where}: expected a file that ends in {', '.join(KINDS)}, found none among its "
            f"{len(files)} files."
        )
    if first[0] not in _FIRST and len(first) > 1:
        raise CheckpointError(f"{where}: several files hold weights. Choose one with --file: "
                              f"{listing}.")  # fmt: skip
    return first[0]


def _refused(error: Exception) -> bool:
    """Whether the Hub answered, and will not answer otherwise soon."""
    return (
        isinstance(error, HfHubHTTPError)
        and error.response is not None
        and error.response.status_code < 500
        and error.response.status_code != 429
    )


def _sentence(repo: str, error: Exception) -> str:
    if isinstance(error, HfHubHTTPError) and getattr(error.response, "status_code", 0) == 403:
        reason = (
            "the token may not read it (403). Ask its owner, or take a token that may "
            "(https://huggingface.co/settings/tokens)."
        )
    else:
        reason = explain(error, repo)
    return f"{repo}: there is no file or folder of this name here, and from the Hub: {reason}"
