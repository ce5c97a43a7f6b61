"""Saving the tasks that stand on a base, and their tensors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .adapter_files import HEAD, AdapterError, Shapes, split_state, write_task
from .base_saving import BaseSavingMixin, digest
from .hub_push import write_model_cards
from .task_card import TaskCard
from .transformers_calls import PEFT_PREFIX


class AdapterSavingMixin(BaseSavingMixin):
    """Files of the tasks of a :class:`modeling_mteeg.MteegModel`."""

    def adapter_state_dict(self, name: str) -> dict[str, torch.Tensor]:
        """Tensors of a task: the adapter under peft's names, and the head's: ``head.weight`` ..."""
        head = self.heads[self._known_task(name)].state_dict()
        head = {HEAD + key: value.cpu().contiguous() for key, value in head.items()}
        if not self.adapter_options[name].layers:
            return head
        from .lora_state import export_state

        return {**export_state(self, name), **head}

    def load_adapter_state_dict(self, name: str, state: dict[str, torch.Tensor]) -> None:
        """Fill a task that the model holds; all must fit.

        Parameters
        ----------
        name : str
        state : dict of str to torch.Tensor
            Of :meth:`adapter_state_dict`, or :meth:`get_adapter_state_dict`.
        """
        card = self.tasks[self._known_task(name)]
        if name in self.adapter_sharing:
            raise ValueError(
                f"Task {name!r} shares its adapter ({self.adapter_sharing[name].sharing}), so "
                f"tensors of one task cannot be put into it: delete_adapter({name!r}), and load "
                "the task again, which has an adapter of its own then."
            )
        lora, head = split_state(state)
        lora = {PEFT_PREFIX + key.removeprefix(PEFT_PREFIX): value for key, value in lora.items()}
        self._check_head(card, {HEAD + key: tuple(head[key].shape) for key in head})
        if self.adapter_options[name].layers:
            from .lora_state import import_state

            import_state(self, name, lora, self.adapter_options[name])
        elif lora:
            raise AdapterError(
                f"Task {name!r} has no adapter, but tensors {sorted(lora)[:3]} came."
            )
        self._fill_head(name, head)

    @torch.no_grad()
    def _fill_head(self, name: str, head: Mapping[str, torch.Tensor]) -> None:
        """Fill a task's head with checked tensors."""
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
        base = {
            "fingerprint": self.fingerprint(),
            "hidden_size": self.config.hidden_size,
            "name_or_path": str(self.config._name_or_path or ""),
        }
        return self.write_adapter(name, Path(folder), base, model_card, **card_changes)

    def write_adapter(
        self, name: str, folder: Path, base: dict, model_card: bool = True, **card_changes: Any
    ) -> Path:
        """:meth:`save_adapter` with what the task's card shall say of its base."""
        state = self.adapter_state_dict(name)
        lora, _ = split_state(state)
        if lora:  # peft's hotswapping pads ranks: what is saved must load
            from .lora_state import check_shapes

            shapes = {key: tuple(tensor.shape) for key, tensor in lora.items()}
            check_shapes(self, name, shapes, self.adapter_options[name])
        if "results" not in card_changes and self.results_are_stale(name, state, base):
            card_changes["results"] = None
            warnings.warn(
                f"Task {name!r} has changed since it was loaded: its results are left out, they "
                "are those of other weights. Give results=... of these.",
                stacklevel=3,
            )
        card = self.tasks[name].replace(base=base, **card_changes)
        if not self.heads[name].serves(card):
            raise ValueError(
                f"Task {name!r}: expected changes of the card that the head goes with, found "
                f"{sorted(card_changes)}: it was made for {self.heads[name].extra_repr()}."
            )
        place = write_task(folder, card, self.adapter_options[name], state)
        if model_card:
            write_model_cards(place)
        return place

    def results_are_stale(self, name: str, state: dict[str, torch.Tensor], base: dict) -> bool:
        """Whether a loaded task's results are those of other weights than its present ones."""
        card, loaded = self.tasks[name], self._loaded_digests.get(name)
        if loaded is None or not card.results:
            return False
        same_base = (card.base or {}).get("fingerprint") == base["fingerprint"]
        return not same_base or loaded != digest(state)

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
