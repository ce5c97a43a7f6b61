"""Saving and loading a base and the tasks that stand on it, and fingerprints of bases."""

from __future__ import annotations

import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers.utils import FEATURE_EXTRACTOR_NAME

from .adapter_files import (
    HEAD,
    AdapterError,
    Shapes,
    read_card,
    read_claims,
    read_state,
    split_state,
    write_task,
)
from .adapter_options import AdapterOptions
from .adapter_places import find_adapter_folder
from .feature_extraction_mteeg import MteegFeatureExtractor
from .hub_push import write_model_cards
from .task_card import TaskCard, check_task_name

logger = logging.getLogger(__name__)


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

    # A checkpoint of transformers' Trainer holds tasks too, a folder of masked pre-training the
    # layers that predict codes; the base in either is loaded without them.
    _keys_to_ignore_on_load_unexpected = (
        *(r"\.lora_(?:[AB]|mix)\.", r"^heads\."),
        *(r"^mask_token$", r"^norm\.", r"^lm_head\."),
    )

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

    def note_fingerprint(self) -> None:
        """Write the fingerprint, and those of the rounded weights, into the configuration."""
        state, fingerprint = self.base_state_dict(), self.fingerprint()
        if fingerprint != self.config.fingerprint or not self.config.rounded_fingerprints:
            halves = (torch.bfloat16, torch.float16)
            self.config.rounded_fingerprints = [_digest(state, dtype) for dtype in halves]
        self.config.fingerprint = fingerprint

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Save the base, shared temporal encoder included, without any task.

        Where the folder has no ``preprocessor_config.json``, the feature extractor's settings are
        written, too. Tasks are saved by :meth:`save_adapter`; beside their base they go to
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
            self._save_extractor(Path(save_directory))
        self.note_fingerprint()
        if getattr(self.config, "auto_map", None):  # as loaded from a folder of pre-training
            self.config.auto_map.pop("AutoModelForPreTraining", None)
        super().save_pretrained(save_directory, **kwargs)

    def _save_extractor(self, folder: Path) -> None:
        """Write the feature extractor's settings, those of the base that this model came from."""
        if folder.is_file() or (folder / FEATURE_EXTRACTOR_NAME).exists():
            return
        extractor, origin = MteegFeatureExtractor(), self.config._name_or_path
        if origin:
            try:
                extractor = MteegFeatureExtractor.from_pretrained(
                    origin, revision=self.base_commit, local_files_only=True
                )
            except (OSError, ValueError):
                logger.warning(
                    "%s: no %s written, since that of %s is not on this machine; save the feature "
                    "extractor there, too.", folder, FEATURE_EXTRACTOR_NAME, origin,
                )  # fmt: skip
                return
        type(extractor).register_for_auto_class("AutoFeatureExtractor")
        extractor.save_pretrained(folder)

    def adapter_state_dict(self, name: str) -> dict[str, torch.Tensor]:
        """Tensors of a task: the adapter under peft's names, and the head's: ``head.weight`` ..."""
        head = self.heads[self._known_task(name)].state_dict()
        head = {HEAD + key: value.cpu().contiguous() for key, value in head.items()}
        if not self.adapter_options[name].layers:
            return head
        from .lora_state import export_state

        return {**export_state(self, name), **head}

    def load_adapter_state_dict(self, name: str, state: dict[str, torch.Tensor]) -> None:
        """Fill a task that the model holds from :meth:`adapter_state_dict`; all must fit."""
        card = self.tasks[self._known_task(name)]
        if name in self.adapter_sharing:
            raise ValueError(
                f"Task {name!r} shares its adapter ({self.adapter_sharing[name].sharing}), so "
                f"tensors of one task cannot be put into it: delete_adapter({name!r}), and load "
                "the task again, which has an adapter of its own then."
            )
        lora, head = split_state(state)
        self._check_head(card, {HEAD + key: tuple(head[key].shape) for key in head})
        if self.adapter_options[name].layers:
            from .lora_state import import_state

            import_state(self, name, lora, self.adapter_options[name])
        elif lora:
            raise AdapterError(
                f"Task {name!r} has no adapter, but tensors {sorted(lora)[:3]} came."
            )
        with torch.no_grad():
            for key, target in self.heads[name].named_parameters():
                target.copy_(head[key])

    def save_adapter(
        self, name: str, folder: str | Path, *, model_card: bool = True, **card_changes: Any
    ) -> Path:
        """Write a task's adapter, head and card into ``folder``, and a model card.

        Parameters
        ----------
        name : str
            A task the model holds.
        folder : str or Path
            Made if needed. Files of an earlier save are replaced one by one, the card last.
        model_card : bool
            Whether to write ``README.md`` too (:func:`modeling_mteeg.cards.write_cards`; one that
            a person wrote or changed is kept). The code beside a base's weights cannot.
        **card_changes
            Fields of the card to set, such as ``results``.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        ValueError
            Changes of the card that the head does not go with (its kind, the number of labels, the
            channels that it has weights for).

        Notes
        -----
        Results of a task that was loaded and has been trained on since are left out, with a
        warning: they belong to other weights.
        """
        state = self.adapter_state_dict(name)
        base = {
            "fingerprint": self.fingerprint(),
            "hidden_size": self.config.hidden_size,
            "name_or_path": str(self.config._name_or_path or ""),
        }
        if "results" not in card_changes and self._results_are_stale(name, state, base):
            card_changes["results"] = None
            warnings.warn(
                f"Task {name!r} has changed since it was loaded: its results are left out, they "
                "are those of other weights. Give results=... of these.",
                stacklevel=2,
            )
        card = self.tasks[name].replace(base=base, **card_changes)
        if not self.heads[name].serves(card):
            raise ValueError(
                f"Task {name!r}: expected changes of the card that the head goes with, found "
                f"{sorted(card_changes)}: it was made for {self.heads[name].extra_repr()}."
            )
        place = write_task(Path(folder), card, self.adapter_options[name], state)
        if model_card:
            write_model_cards(place)
        return place

    def _results_are_stale(self, name: str, state: dict[str, torch.Tensor], base: dict) -> bool:
        """Whether a loaded task's results are those of other weights than its present ones."""
        card, digest = self.tasks[name], self._loaded_digests.get(name)
        if digest is None or not card.results:
            return False
        same_base = (card.base or {}).get("fingerprint") == base["fingerprint"]
        return not same_base or digest != _digest(state)

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
            Looked up in this order: ``adapters/<name>`` of the base's own folder or Hub repository
            (at the commit the base was loaded from), a folder, a Hub repository ``owner/repo`` or a
            folder in one.
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
        folder = find_adapter_folder(
            str(name_or_path), self.config._name_or_path, revision, token, self.base_commit
        )
        card = read_card(folder)
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
        self._loaded_digests[card.name] = _digest(self.adapter_state_dict(card.name))
        self.set_trainable()
        return card

    def _read_task(
        self, card: TaskCard, folder: Path
    ) -> tuple[AdapterOptions, dict[str, torch.Tensor]]:
        """Checked options and tensors of a task, as they lie in its folder.

        Shapes are compared first, by the headers alone: what the card and the options claim decides
        about memory only where the files bear it out.
        """
        options, head, lora = read_claims(folder, card)
        try:
            self._check_head(card, head)
            if options.layers:
                from .lora_state import check_shapes

                check_shapes(self, card.name, lora, options)
        except ValueError as error:
            raise AdapterError(f"{folder}: {error}") from error
        return options, read_state(folder, card)

    def _check_head(self, card: TaskCard, shapes: Shapes) -> None:
        """Raise where a head's tensors are not those that the card's labels and head say."""
        expected = card.head_shapes(self.config.hidden_size)
        expected = {HEAD + key: shape for key, shape in expected.items()}
        for key, shape in expected.items():
            if shapes.get(key) != shape:
                raise AdapterError(
                    f"Task {card.name!r}: {key}: expected shape {shape}, "
                    f"found {shapes.get(key, 'nothing')}."
                )
        extra = [key for key in shapes if key not in expected]
        if extra:
            raise AdapterError(
                f"Task {card.name!r}: expected {list(expected)} of the head, found {extra}."
            )

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
        fingerprint = self.fingerprint()
        if base.get("fingerprint") != fingerprint:
            raise AdapterError(
                f"{folder}: the adapter belongs to the base with fingerprint "
                f"{str(base.get('fingerprint'))[:12]} ({base.get('name_or_path') or 'unnamed'}); "
                f"this model's is {fingerprint[:12]}. An adapter is right only on the base it "
                "was trained with, its temporal encoder included: load that base."
            )
