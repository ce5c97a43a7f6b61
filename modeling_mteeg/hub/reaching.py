"""Whether the Hub answers, asked once before a command needs it.

``huggingface_hub`` tries every file five times over half a minute before it takes the cache's. A
command asks once instead, and where nothing answers goes by the cache alone, which it says.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import HTTPError

from ..model import hub_fetch
from ..model.adapter_places import split_repo

PATIENCE_S = 3.0
"""After so long it is said that an answer is waited for."""
_DATASETS = "hf://datasets/"


def reach_hub(*given: str | Sequence[str] | None, write: bool = False) -> None:
    """Ask the Hub whether it answers, if one of these names is on it; else use the cache alone.

    For a command's process: where the Hub does not answer, ``huggingface_hub`` is in its offline
    mode from then on. Where all names are folders or files, nobody is asked.

    Parameters
    ----------
    *given : str, sequence of str or None
        What a user gave for bases, tasks and repositories: ``owner/repo``, with ``@revision`` or
        ``name=`` where tasks have them, several with commas between them; for data also
        ``hf://datasets/owner/repo/...``.
    write : bool
        Whether something is to be sent there.

    Raises
    ------
    HubError
        It does not answer, or offline mode is on, and something was to be sent.
    """
    texts = [text for one in given for text in ([one] if isinstance(one, str) else one or ())]
    parts = [
        part for text in texts for part in ([text] if Path(text).exists() else text.split(","))
    ]
    repos = [repo for repo in map(_repo_of, parts) if repo]
    if not repos:
        return
    offline = constants.HF_HUB_OFFLINE
    fault = "" if offline else _ask(repos[0])
    if write and (offline or fault):
        words = hub_fetch.explain_offline(fault)
        raise hub_fetch.HubError(f"{repos[0]}: {words} Nothing was sent.")
    if fault:
        hub_fetch.no_answer, constants.HF_HUB_OFFLINE = fault, True
        print(
            f"{constants.ENDPOINT} does not answer ({fault}): only what is in the cache is used",
            file=sys.stderr,
        )


def _repo_of(name: str) -> str | None:
    """The repository that a name is of; None where it is none, or a folder or file here."""
    source = name.rpartition("=")[2].partition("@")[0]
    if source.startswith(_DATASETS):
        named = source.removeprefix(_DATASETS).replace("{task}", "task")
        return split_repo("/".join(named.split("/")[:2]))[0]
    return None if Path(source).exists() else split_repo(source)[0]


def _ask(repo: str) -> str:
    """Why the Hub does not answer; "" where it does, whatever it says."""
    limit_s = constants.HF_HUB_ETAG_TIMEOUT
    words = f"waiting for {constants.ENDPOINT}, up to {limit_s:g} s (HF_HUB_ETAG_TIMEOUT) ..."
    notice = threading.Timer(PATIENCE_S, print, [words], {"file": sys.stderr})
    notice.daemon = True
    notice.start()
    try:
        # Without a token: 401 is an answer, too.
        huggingface_hub.get_session().head(
            f"{constants.ENDPOINT}/api/models/{repo}", timeout=limit_s
        )
    except (HTTPError, OSError) as error:
        return hub_fetch.cause_of(error)
    finally:
        notice.cancel()
    return ""
