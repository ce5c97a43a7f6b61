"""Saving, loading and publishing a base and the tasks that stand on it.

In a folder a task is four files: ``adapter_config.json`` and ``adapter_model.safetensors`` in
peft's format, ``head.safetensors``, and the task card ``task.json``.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import torch

from .adapter_files import (
    FILES,
    HEAD_FILE,
    LORA_FILE,
    AdapterError,
    find_adapter_folder,
    read_adapter_config,
    read_tensors,
    replace_files,
)
from .adapters import options_of_head
from .task_card import TaskCard, TaskCardError, check_task_name

_HEAD = ("head.weight", "head.bias")


def _digest(state: dict[str, torch.Tensor], rounded: torch.dtype = torch.float32) -> str:
    """SHA-256 of names, shapes and values, the values rounded to a dtype and taken in float32."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().to("cpu", torch.float32).to(rounded).float().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(memoryview(tensor.numpy()).cast("B"))
    return digest.hexdigest()


def _plain_name(name: str) -> str:
    """Name of a weight as in a model without adapters."""
    return name.replace(".base_layer.", ".")


class AdapterSavingMixin:
    """Files and fingerprints of a :class:`modeling_mteeg.MteegModel` and its tasks."""

    # A checkpoint of transformers' Trainer holds tasks too; the base in it is loaded without them.
    _keys_to_ignore_on_load_unexpected = (r"\.lora_[AB]\.", r"^heads\.")

    def base_state_dict(self) -> dict[str, torch.Tensor]:
        """Weights of the base alone, under their plain names (no adapters, no heads)."""
        return {
            _plain_name(name): tensor
            for name, tensor in self.state_dict().items()
            if ".lora_" not in name and not name.startswith("heads.")
        }

    def _load_from_state_dict(self, state_dict, prefix, *args: Any) -> None:
        """Take the base's weights under their plain names too, where a layer carries adapters."""
        for name, _ in self.named_parameters():
            plain, full = prefix + _plain_name(name), prefix + name
            if full not in state_dict and plain in state_dict:
                state_dict[full] = state_dict.pop(plain)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def fingerprint(self) -> str:
        """SHA-256 of the base's weights, the shared temporal encoder included.

        Adapters carry it and refuse any other base. It is taken from the weights in float32. The
        saved base rounded to bf16 or fp16 counts as that base: it answers with the same value.
        """
        digest = _digest(self.base_state_dict())
        if digest in (self.config.rounded_fingerprints or ()) and self.config.fingerprint:
            return self.config.fingerprint
        return digest

    def _note_fingerprint(self) -> None:
        """Write the fingerprint, and those of the rounded weights, into the configuration."""
        state, fingerprint = self.base_state_dict(), self.fingerprint()
        if fingerprint != self.config.fingerprint or not self.config.rounded_fingerprints:
            halves = (torch.bfloat16, torch.float16)
            self.config.rounded_fingerprints = [_digest(state, dtype) for dtype in halves]
        self.config.fingerprint = fingerprint

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Save the base, shared temporal encoder included, without any task.

        Tasks are saved by :meth:`save_adapter`; beside their base they go to
        ``<save_directory>/adapters/<task>``. Keywords are those of
        ``transformers.PreTrainedModel.save_pretrained``.

        Notes
        -----
        ``transformers.Trainer`` gives a ``state_dict``, be it None, for its checkpoints. These hold
        the tasks' tensors too, so that it can go on from them; loaded as a base they are a base.
        """
        if "state_dict" in kwargs:
            state = kwargs["state_dict"] or self.state_dict()
            kwargs["state_dict"] = {_plain_name(name): value for name, value in state.items()}
        else:
            kwargs["state_dict"] = self.base_state_dict()
        self._note_fingerprint()
        super().save_pretrained(save_directory, **kwargs)

    def adapter_state_dict(self, name: str) -> dict[str, torch.Tensor]:
        """Tensors of a task: the adapter under peft's names, and ``head.weight``, ``head.bias``."""
        from .lora import export_state

        head = self.heads[self._known_task(name)].state_dict()
        head = {f"head.{key}": value.cpu().contiguous() for key, value in head.items()}
        lora = self.adapter_options[name]["location"] != "none"
        return {**(export_state(self, name) if lora else {}), **head}

    def load_adapter_state_dict(self, name: str, state: dict[str, torch.Tensor]) -> None:
        """Fill a task that the model holds from :meth:`adapter_state_dict`; all must fit."""
        head = self.heads[self._known_task(name)]
        for key, target in zip(_HEAD, (head.weight, head.bias), strict=True):
            if key not in state or state[key].shape != target.shape:
                found = tuple(state[key].shape) if key in state else "nothing"
                raise AdapterError(
                    f"Task {name!r}: {key}: expected shape {tuple(target.shape)}, found {found}."
                )
        extra = [key for key in state if key.startswith("head.") and key not in _HEAD]
        if extra:
            raise AdapterError(f"Task {name!r}: expected {list(_HEAD)} of the head, found {extra}.")
        lora = {key: value for key, value in state.items() if not key.startswith("head.")}
        if self.adapter_options[name]["location"] != "none":
            from .lora import import_state

            import_state(self, name, lora)
        elif lora:
            raise AdapterError(
                f"Task {name!r} has no adapter, but tensors {sorted(lora)[:3]} came."
            )
        with torch.no_grad():
            head.weight.copy_(state["head.weight"])
            head.bias.copy_(state["head.bias"])

    def save_adapter(self, name: str, folder: str | Path, **card_changes: Any) -> Path:
        """Write a task's adapter, head and card into ``folder``.

        Parameters
        ----------
        name : str
            A task the model holds.
        folder : str or Path
            Made if needed. Files of an earlier save are replaced one by one, the card last.
        **card_changes
            Fields of the card to set, such as ``results``.

        Returns
        -------
        Path
            The folder.
        """
        from .lora import lora_config

        state = self.adapter_state_dict(name)
        options = self.adapter_options[name]
        base = {
            "fingerprint": self.fingerprint(),
            "hidden_size": self.config.hidden_size,
            "name_or_path": str(self.config._name_or_path or ""),
        }
        card = self.tasks[name].replace(base=base, **card_changes)
        lora = {key: value for key, value in state.items() if not key.startswith("head.")}
        head = {key[5:]: value for key, value in state.items() if key.startswith("head.")}
        config = None
        if lora:
            config = lora_config(**options)
            config.base_model_name_or_path = base["name_or_path"] or None
            config.inference_mode = True
            config.target_modules = sorted(config.target_modules)  # a set's order is random
        return replace_files(Path(folder), lora, head, config, card)

    def load_adapter(
        self,
        name_or_path: str | Path,
        adapter_name: str | None = None,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        load_config: Any = None,
        adapter_kwargs: dict[str, Any] | None = None,
    ) -> TaskCard:
        """Load a task and make it the active one.

        Parameters
        ----------
        name_or_path : str or Path
            Looked up in this order: ``adapters/<name>`` of the base's own folder or Hub repository,
            a folder, a Hub repository ``owner/repo``.
        adapter_name : str, optional
            Name in this model; default: the card's.
        revision, token
            For the Hub.
        load_config, adapter_kwargs
            What transformers passes when ``from_pretrained`` is given a task's own folder or
            repository instead of a base: it loads the base named there, then the task. Revision and
            token are taken from it; leave both out.

        Returns
        -------
        TaskCard

        Raises
        ------
        AdapterError
            Nothing found, files missing or damaged, or an adapter of another base or width.
        ValueError
            The name is taken or cannot name a task.
        """
        if load_config is not None:
            given = dict(adapter_kwargs or {})
            adapter_name = None if adapter_name == "default" else adapter_name
            revision, token = given.pop("revision", revision), given.pop("token", token)
            if given.get("subfolder"):
                name_or_path = f"{name_or_path}/{given['subfolder']}"
        folder, card = self._find_card(name_or_path, revision, token)
        card = card if adapter_name is None else card.replace(name=check_task_name(adapter_name))
        if card.name in self.tasks:
            raise ValueError(
                f"Task {card.name!r} is already there; pass another adapter_name, or "
                f"delete_adapter({card.name!r}) first."
            )
        self._check_base(card, folder)
        options, state = self._read_task(card, folder)
        self._insert(card, options)
        try:
            self.load_adapter_state_dict(card.name, state)
        except ValueError as error:
            self._drop(card.name, merge=False)
            raise AdapterError(f"{folder}: {error}") from error
        self.active_adapter = card.name
        self.adapter_sources[card.name] = str(folder)
        self._published.add(card.name)
        self.set_trainable()
        return card

    def _find_card(
        self, name_or_path: str | Path, revision: str | None, token: str | bool | None
    ) -> tuple[Path, TaskCard]:
        """Folder of a task and its card."""
        try:
            folder = find_adapter_folder(
                str(name_or_path), self.config._name_or_path, revision, token
            )
            return folder, TaskCard.load(folder)
        except (FileNotFoundError, TaskCardError) as error:
            raise AdapterError(
                f"{error} A task is made of {', '.join(FILES)}: save or download it again."
            ) from error

    def _read_task(
        self, card: TaskCard, folder: Path
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Checked options and tensors of a task, as they lie in its folder."""
        state = {f"head.{key}": value for key, value in read_tensors(folder / HEAD_FILE).items()}
        options = options_of_head()
        if card.adapter == "lora":
            options = read_adapter_config(folder)
            state.update(read_tensors(folder / LORA_FILE))
        try:
            self._check_options(options)
        except ValueError as error:
            raise AdapterError(f"{folder}: {error}") from error
        return options, state

    def _check_base(self, card: TaskCard, folder: Path) -> None:
        """Refuse an adapter that was made for another base."""
        base = card.base or {}
        if not base:
            raise AdapterError(
                f"{folder}: expected the task card to name its base, as save_adapter() writes it; "
                "this one names none (a prepared corpus has such a card)."
            )
        if base.get("hidden_size") != self.config.hidden_size:
            raise AdapterError(
                f"{folder}: the adapter is for a base of width {base.get('hidden_size')} "
                f"({base.get('name_or_path') or 'unnamed'}); this model has width "
                f"{self.config.hidden_size}. Load that base."
            )
        mine = self.fingerprint()
        if base.get("fingerprint") != mine:
            raise AdapterError(
                f"{folder}: the adapter belongs to the base with fingerprint "
                f"{str(base.get('fingerprint'))[:12]} ({base.get('name_or_path') or 'unnamed'}); "
                f"this model's is {mine[:12]}. An adapter is right only on the base it was trained "
                "with, its temporal encoder included: load that base."
            )

    def push_adapter(
        self,
        name: str,
        repo_id: str,
        *,
        path_in_repo: str = "",
        private: bool | None = None,
        token: str | bool | None = None,
        commit_message: str | None = None,
    ) -> str:
        """Upload a task to the Hub and return the commit's address.

        Parameters
        ----------
        name : str
            A task the model holds.
        repo_id : str
            ``owner/repo``, made if needed. To lay a task beside its base, give the base's
            repository and ``path_in_repo="adapters/<name>"``.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        with tempfile.TemporaryDirectory() as folder:
            self.save_adapter(name, folder)
            api.create_repo(repo_id, private=private, exist_ok=True)
            info = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                path_in_repo=path_in_repo or None,
                commit_message=commit_message or f"Upload the adapter and head of task {name}",
            )
        return str(getattr(info, "commit_url", info))
