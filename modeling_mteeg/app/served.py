"""The base that a page serves: loaded once, shared by all visitors, changed by none of them."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HTTPError

from .._clone import as_typed
from ..model.adapter_files import ADAPTERS, AdapterError
from ..model.feature_extraction_mteeg import MteegFeatureExtractor
from ..model.hub_fetch import explain
from ..model.modeling_mteeg import MteegModel
from ..model.task_card import CARD_FILE, TaskCard, check_task_name
from ..prediction.task_loading import load_tasks

DEMO_BASE = Path("outputs", "joint_demo", "model")
"""Where ``recipes/joint.py`` leaves its base."""
BASE_VARIABLE = "MTEEG_BASE"
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


class NoBaseError(ValueError):
    """Nobody said which base to serve."""


def choose_base(base: str | None) -> str:
    """The base to serve: the one given, that of ``MTEEG_BASE``, or the demo's, if it is here.

    Raises
    ------
    NoBaseError
        None of the three; the message says what to do.
    """
    base = base or os.environ.get(BASE_VARIABLE, "").strip()
    if base:
        return base
    if (DEMO_BASE / "config.json").is_file():
        return str(DEMO_BASE)
    demo = as_typed("accelerate launch recipes/joint.py")
    raise NoBaseError(
        "No base to serve: give --base FOLDER or --base owner/repo (or set the environment "
        f"variable {BASE_VARIABLE}). `{demo}` trains a small one on "
        f"simulated recordings and leaves it in {DEMO_BASE}, where it is found without --base."
    )


def adapters_beside(base: str) -> list[str]:
    """Names of the tasks that lie beside a base, on disk or on the Hub.

    Parameters
    ----------
    base : str
        Folder or ``owner/repo``. From the Hub, ``adapters/`` is downloaded (about 1.3 MB a task).
    """
    folder = Path(base)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(base, allow_patterns=[f"{ADAPTERS}/*"]))
        except (OSError, HTTPError) as error:
            raise OSError(
                f"No base {base}: there is no such folder here, and from the Hub: "
                f"{explain(error, base)}"
            ) from error
    return sorted(card.parent.name for card in (folder / ADAPTERS).glob(f"*/{CARD_FILE}"))


class ServedModel:
    """A base with the tasks beside it, in evaluation mode.

    Parameters
    ----------
    base : str
        Folder or Hub repository.
    model : MteegModel
        Holds the tasks that the page offers.
    extractor : MteegFeatureExtractor
    public : bool
        Whether strangers use it: adapters that they name are then fetched without the server's
        own Hub token, so that nobody reads its private repositories.

    Attributes
    ----------
    tasks : dict of str to TaskCard
        Cards of the tasks that the page offers; never changed afterwards.
    """

    def __init__(self, base: str, model: MteegModel, extractor: Any, public: bool = False) -> None:
        self.base, self.model, self.extractor, self.public = base, model, extractor, public
        self.tasks: dict[str, TaskCard] = dict(model.tasks)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, base: str, public: bool = False) -> ServedModel:
        """Load a base and all tasks beside it.

        Raises
        ------
        ValueError, OSError
            The base or a task beside it cannot be loaded.
        """
        model, _ = load_tasks(base, adapters_beside(base))
        model.set_adapter(None)
        model.requires_grad_(False)
        return cls(base, model, MteegFeatureExtractor.from_pretrained(base), public)

    @property
    def simulated(self) -> bool:
        """Whether every task was trained on simulated recordings."""
        return bool(self.tasks) and all(card.simulated for card in self.tasks.values())

    @contextmanager
    def holding(self, repo: str | None = None) -> Iterator[str | None]:
        """Have the model to oneself, with a visitor's adapter in it for that long.

        Parameters
        ----------
        repo : str, optional
            ``owner/repo`` or ``owner/repo@revision`` on the Hub. It gets a name of its own in the
            model, so that it never takes the place of a task beside the base, and leaves the
            model at the end.

        Yields
        ------
        str or None
            Name of the visitor's task in the model.
        """
        with self._lock:
            if not repo:
                yield None
                return
            name = self._free_name(repo)
            try:
                yield self._load(repo, name)
            finally:
                if name in self.model.tasks:
                    self.model.delete_adapter(name)
                self.model.set_adapter(None)

    def _free_name(self, repo: str) -> str:
        """A task name made of the repository's, not taken by another task."""
        repo = repo.partition("@")[0].rpartition("/")[2].lower()
        name = re.sub(r"[^a-z0-9]+", "-", repo).strip("-") or "adapter"
        name = name if name[0].isalpha() else f"adapter-{name}"
        try:
            taken = check_task_name(name) in self.model.tasks
        except ValueError:  # the name of a part of the model
            taken = True
        return f"{name}-from-hub" if taken else name

    def _load(self, repo: str, name: str) -> str:
        if not _REPO.fullmatch(repo):
            raise AdapterError(
                f"Adapter from the Hub: expected owner/repo or owner/repo@revision, found {repo!r}."
            )
        place, _, revision = repo.partition("@")
        if Path(place).exists():  # load_adapter() would prefer it
            raise AdapterError(f"{place} is a folder of the server; name a repository on the Hub.")
        token = False if self.public else None
        self.model.load_adapter(place, name, revision=revision or None, token=token)
        self.model.requires_grad_(False)
        return name
