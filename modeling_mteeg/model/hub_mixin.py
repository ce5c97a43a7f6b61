"""A model from the Hub, and its base and tasks to the Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HTTPError

from .hub_fetch import HubError, commit_of, explain
from .hub_push import push_task, replace_blank_card


class HubMixin:
    """Loading from and pushing to the Hub, of a :class:`modeling_mteeg.MteegModel`.

    Attributes
    ----------
    base_commit : str or None
        Commit of the Hub repository that the base was loaded from.
    """

    base_commit: str | None = None

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

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Upload the base alone, as one commit; as in ``transformers.PreTrainedModel``.

        Tasks are pushed by :meth:`push_adapter`; ``mteeg push`` takes a base with its tasks.

        Raises
        ------
        HubError
            The push failed; the message says why and what to do.
        """
        try:
            return super().push_to_hub(repo_id, **kwargs)
        except (OSError, RuntimeError, HTTPError) as error:
            raise HubError(
                f"{repo_id}: {explain(error, repo_id)} A push is one commit: all of it or nothing."
            ) from error

    def _upload_modified_files(self, working_dir: str | Path, *args: Any, **kwargs: Any) -> Any:
        """Lay a model card made of facts where transformers laid one of blanks, then upload."""
        replace_blank_card(Path(working_dir), self.config.fingerprint)
        return super()._upload_modified_files(working_dir, *args, **kwargs)

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
