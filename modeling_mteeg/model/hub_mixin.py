"""A model from the Hub, and its base and tasks to the Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HTTPError

from .adapter_files import ADAPTERS
from .adapter_places import tasks_beside
from .hub_fetch import HubError, commit_of, explain
from .hub_push import commit_files, push_task, replace_blank_card, stage_task


class HubMixin:
    """Loading from and pushing to the Hub, of a :class:`modeling_mteeg.MteegModel`.

    Attributes
    ----------
    base_commit : str or None
        Commit of the Hub repository that the base was loaded from.
    """

    base_commit: str | None = None
    _pushed_tasks: list[str] | None = None  # while push_to_hub() saves

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *args: Any, **kwargs: Any
    ) -> Any:
        """Load a base from a folder or the Hub; as in ``transformers.PreTrainedModel``.

        The commit of a base on the Hub is kept, so that :meth:`load_adapter` takes the tasks beside
        it from the same commit.
        """
        name = str(pretrained_model_name_or_path)
        options = {
            key: kwargs[key] for key in ("token", "cache_dir", "local_files_only") if key in kwargs
        }
        pinned = commit_of(name, kwargs.get("revision"), **options)
        if pinned is not None:
            kwargs["revision"] = pinned
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if pinned is not None and model.config._name_or_path == name:
            model.base_commit = pinned.resolved
        return loaded

    def push_to_hub(
        self, repo_id: str, *, tasks: Iterable[str] | None = None, **kwargs: Any
    ) -> Any:
        """Upload the base and the tasks that the model holds, as one commit.

        As in ``transformers.PreTrainedModel``, every task in ``adapters/<task>``. A task alone is
        pushed by :meth:`push_adapter`; ``mteeg push`` takes a folder, and looks whether what the
        repository has still fits.

        Parameters
        ----------
        repo_id : str
            ``owner/repo``, made if needed.
        tasks : iterable of str, optional
            Tasks that go, of those the model holds; default: all. ``()``: the base alone.
        **kwargs
            Those of transformers.

        Raises
        ------
        HubError
            The push failed; the message says why and what to do.
        """
        self._pushed_tasks = self._tasks_to_save(tasks)
        try:
            return super().push_to_hub(repo_id, **kwargs)
        except (OSError, RuntimeError, HTTPError) as error:
            raise HubError(
                f"{repo_id}: {explain(error, repo_id, sending=True)} A push is one commit: all of "
                "it or nothing."
            ) from error
        finally:
            self._pushed_tasks = None

    def _get_files_timestamps(self, working_dir: str | Path) -> dict[str, float]:
        """When the files of a folder were changed, before anything of this save was written."""
        if self._timestamps is not None:
            return self._timestamps
        return super()._get_files_timestamps(working_dir)

    def _upload_modified_files(
        self,
        working_dir: str | Path,
        repo_id: str,
        files_timestamps: dict[str, float],
        commit_message: str | None = None,
        token: str | bool | None = None,
        create_pr: bool = False,
        revision: str | None = None,
        commit_description: str | None = None,
    ) -> Any:
        """Upload what was saved as one commit, the tasks too: transformers takes no folder in one.

        A model card made of facts takes the place of one of blanks.
        """
        place, new = Path(working_dir), {}
        for path in sorted(place.iterdir()):
            before = files_timestamps.get(path.name)
            if path.is_file() and (before is None or path.stat().st_mtime > before):
                new[path.name] = path
        written = self._written_tasks  # none: the folder was made for this push
        tasks = tasks_beside(place) if written is None else written
        if "README.md" in new or not (place / "README.md").exists():
            replace_blank_card(place, self.config.fingerprint, repo_id)
            new["README.md"] = place / "README.md"
        with tempfile.TemporaryDirectory() as scratch:
            for task in tasks:
                staged = stage_task(place / ADAPTERS / task, Path(scratch) / task, repo_id, repo_id)
                new |= {f"{ADAPTERS}/{task}/{name}": path for name, path in staged.items()}
            return commit_files(
                {name: path for name, path in new.items() if path.is_file()},
                repo_id,
                message=commit_message or "Upload model",
                description=commit_description,
                revision=revision,
                create_pr=create_pr,
                token=token,
            )

    def push_adapter(
        self,
        name: str,
        repo_id: str,
        *,
        path_in_repo: str = "",
        base: str = "",
        private: bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        token: str | bool | None = None,
        commit_message: str | None = None,
    ) -> str:
        """Upload a task to the Hub as one commit and return the commit's address.

        Parameters
        ----------
        name : str
            A task the model holds.
        repo_id : str
            ``owner/repo``, made if needed. To lay a task beside its base, give the base's
            repository and ``path_in_repo="adapters/<name>"``.
        path_in_repo : str
            Folder in the repository.
        base : str
            Repository of the base, to be named in the files; by default that which this model came
            from, and beside a base that one.
        private : bool, optional
            True: the repository must be private.
        revision : str, optional
            Branch, made from the default one if needed.
        create_pr : bool
            Make a pull request instead of a commit on the branch.
        token : str or bool, optional
            As everywhere in ``huggingface_hub``.
        commit_message : str, optional
            Title of the commit.

        Raises
        ------
        PushRefusedError
            The repository's base is another one, or it is public and should be private.
        HubError
            The push failed. The repository is as it was, and what had arrived is not sent again.
        """
        with tempfile.TemporaryDirectory() as folder:
            return push_task(
                self.save_adapter(name, folder),
                repo_id,
                path_in_repo,
                base,
                message=commit_message or f"Upload the adapter and head of task {name}",
                private=private,
                revision=revision,
                create_pr=create_pr,
                token=token,
            )
