"""Loading the tasks that stand on a base, each checked against it."""

from __future__ import annotations

import dataclasses
import gc
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .adapter_files import ADAPTERS, AdapterError, read_card, read_claims, read_state, split_state
from .adapter_options import AdapterOptions
from .adapter_places import find_adapter_folder, tasks_beside
from .base_saving import digest
from .task_card import CARD_FILE, TaskCard, check_task_name
from .tasks_in_weights import write_task_of_weights
from .transformers_calls import loading_of
from .weight_names import owner_of

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class _Together:
    """What loading several tasks keeps until its end."""

    fingerprint: str | None = None


class AdapterLoadingMixin:
    """Tasks of a :class:`modeling_mteeg.MteegModel` from their files."""

    _said = False  # that tasks lie beside the base
    _together: _Together | None = None

    def load_adapter(
        self,
        name_or_path: str | Path | None = None,
        adapter_name: str | None = None,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        is_trainable: bool | None = None,
        local_files_only: bool = False,
        load_config: Any = None,
        adapter_kwargs: dict[str, Any] | None = None,
        **stock: Any,
    ) -> TaskCard:
        """Load a task and make it the active one.

        Parameters
        ----------
        name_or_path : str or Path
            Looked up in this order: ``adapters/<name>`` of the base's own folder or Hub repository
            (at the commit the base was loaded from), a folder, a Hub repository ``owner/repo`` or a
            folder in one. Of a Trainer's checkpoint the tasks lie among the weights. transformers
            calls it ``peft_model_id``.
        adapter_name : str, optional
            Name in this model; default: the card's.
        revision, token
            For the Hub.
        is_trainable : bool, optional
            False freezes the task, until :meth:`set_trainable` names it; transformers does so by
            default. Without it, see :meth:`add_adapter`.
        local_files_only : bool
            Take it from this machine, the Hub's cache included.
        load_config, adapter_kwargs
            What transformers passes when ``from_pretrained`` is given a task's own folder or
            repository instead of a base: it loads the base named there, then the task. Revision,
            token and subfolder are taken from it.
        **stock
            Further arguments of transformers' call: what has no meaning here is refused, with what
            to write instead (docs/stock_calls.md).

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
        by_transformers = load_config is not None
        if by_transformers and adapter_name == "default":
            adapter_name = None
        given = {"revision": revision, "token": token, "local_files_only": local_files_only}
        source, options = loading_of(name_or_path, stock, adapter_kwargs, given, by_transformers)
        with tempfile.TemporaryDirectory() as scratch:
            folder = self._task_folder(source, Path(scratch), options)
            card = self._load_task(folder, adapter_name)
            if folder.is_relative_to(scratch):  # read from the base's weights
                folder = self.weight_files[0].parent
        self.adapter_sources[card.name] = str(folder)
        if is_trainable is False:
            self._freeze(card.name)
            self._kept_frozen.add(card.name)
        return card

    def _freeze(self, task: str) -> None:
        """Train nothing of a task."""
        owners = self._pairs_of(task) | {task}
        for name, parameter in self.named_parameters():
            if owner_of(name) in owners:
                parameter.requires_grad_(False)

    def _train_what_is_held(self) -> None:
        """What is trained after loading: all that may be, but tasks that were loaded frozen."""
        kept = set(self._kept_frozen)
        self.set_trainable()
        self._kept_frozen = kept
        for task in kept:
            self._freeze(task)

    @contextmanager
    def loading_together(self) -> Iterator[None]:
        """Load several tasks in this context, in less time than one by one, to the same end.

        The base, which nothing may change meanwhile, gets its fingerprint once, and what is
        trained is said once, at the end.
        """
        if self._together is not None:
            yield
            return
        self._together, held = _Together(), set(self.tasks)
        collecting = gc.isenabled()
        gc.disable()  # all that is made stays; looking through it again and again takes a fifth
        try:
            yield
        finally:
            if collecting:
                gc.enable()
            self._together = None
            if self._loaded_digests.keys() - held:
                self._train_what_is_held()

    def load_adapters(
        self, names: Iterable[str] | None = None, *, token: str | bool | None = None
    ) -> dict[str, TaskCard]:
        """Load tasks beside the base, by default all that the model does not hold yet.

        The active task stays active; where there is none, the first one becomes it.

        Parameters
        ----------
        names : iterable of str, optional
            As for :meth:`load_adapter`.
        token : str or bool, optional
            For the Hub.

        Returns
        -------
        dict of str to TaskCard
            The tasks that were loaded.

        Raises
        ------
        AdapterError
            As of :meth:`load_adapter`; tasks before the faulty one are held.
        """
        if names is None:
            names = [name for name in self.tasks_beside(token) if name not in self.tasks]
        active, loaded = self.active_adapter, {}
        try:
            with self.loading_together():
                for name in names:
                    card = self.load_adapter(name, token=token)
                    loaded[card.name] = card
        finally:
            self.active_adapter = active or next(iter(loaded), None)
        return loaded

    def tasks_beside(self, token: str | bool | None = None) -> list[str]:
        """Names of the tasks that lie beside the base this model came from, sorted.

        Of a base from the Hub these are the tasks at the base's commit.

        Parameters
        ----------
        token : str or bool, optional
            For the Hub.

        Raises
        ------
        AdapterError
            The Hub cannot be asked.
        """
        origin = str(self.config._name_or_path or "")
        inside = self.config.tasks_in_weights or ()
        beside = tasks_beside(origin, self.base_commit, token) if origin else ()
        return sorted({*inside, *beside})

    def say_once_what_lies_beside(self) -> None:
        """Log that features come from the base alone, where its tasks lie beside it, unloaded."""
        if self._said or torch.compiler.is_compiling():
            return
        self._said = True
        if beside := self._beside_base():
            logger.warning(
                "Features of the base alone, without logits: the model holds no task.%s "
                "load_adapter(name) loads one, load_adapters() all.", beside,
            )  # fmt: skip

    def _beside_base(self) -> str:
        """Sentence on tasks beside a base in a folder that could be loaded; empty: none."""
        origin = Path(str(self.config._name_or_path or ""))
        if not origin.name or not origin.is_dir():
            return ""
        names = [name for name in self.tasks_beside() if name not in self.tasks]
        return f" Beside the base there are: {', '.join(names)}." if names else ""

    def _task_folder(self, source: str, scratch: Path, options: dict[str, Any]) -> Path:
        """Folder with a task's files; of one among the base's weights, made in ``scratch``."""
        where = (self.config._name_or_path, options["revision"], options["token"])
        inside = source in (self.config.tasks_in_weights or ()) and self.weight_files
        if not inside or options["revision"] not in (None, self.base_commit):
            return find_adapter_folder(
                source, *where, self.base_commit, options["local_files_only"]
            )
        inside = write_task_of_weights(self, self.weight_files, source, scratch / source)
        folder = self.weight_files[0].parent / ADAPTERS / source
        if (folder / CARD_FILE).is_file():
            cards = [read_card(place) for place in (inside, folder)]
            found = [
                (digest(read_state(place, card)), (card.base or {}).get("fingerprint"))
                for place, card in zip((inside, folder), cards, strict=True)
            ]
            if found[0] != found[1]:
                raise AdapterError(
                    f"{source}: lies twice beside the base, among its weights (of a training that "
                    f"went on) and as {folder}, and the two differ. load_adapter({str(folder)!r}) "
                    "takes the latter; move that folder away for the former."
                )
        return inside

    def _load_task(self, folder: Path, adapter_name: str | None) -> TaskCard:
        """Put the task of a folder into the model, checked, and make it the active one."""
        card = read_card(folder)
        card = card if adapter_name is None else card.replace(name=check_task_name(adapter_name))
        if card.name in self.tasks:
            raise ValueError(
                f"Task {card.name!r} is already there; pass another adapter_name, or "
                f"delete_adapter({card.name!r}) first."
            )
        self._check_base(card, folder)
        options, state = self._read_task(card, folder)
        lora, head = split_state(state)
        weights = None
        if options.layers:
            from .lora_state import unpack

            try:
                weights = unpack(self, card.name, lora, options)
            except ValueError as error:
                raise AdapterError(f"{folder}: {error}") from error
        self._insert(card, options, weights)
        self._fill_head(card.name, head)
        self.set_adapter(card.name)
        self._loaded_digests[card.name] = digest(state)  # the very numbers that it has now
        if self._together is None:
            self._train_what_is_held()
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
        fingerprint = self._fingerprint_to_check()
        if base.get("fingerprint") != fingerprint:
            raise AdapterError(
                f"{folder}: the adapter belongs to the base with fingerprint "
                f"{str(base.get('fingerprint'))[:12]} ({base.get('name_or_path') or 'unnamed'}); "
                f"this model's is {fingerprint[:12]}. An adapter is right only on the base it "
                "was trained with, its temporal encoder included: load that base."
            )

    def _fingerprint_to_check(self) -> str:
        """Fingerprint of the base; found once while several tasks are loaded together."""
        if self._together is None:
            return self.fingerprint()
        if self._together.fingerprint is None:
            self._together.fingerprint = self.fingerprint()
        return self._together.fingerprint
