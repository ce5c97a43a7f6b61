"""Adding, switching, training and removing the tasks of a model.

The model owns its heads and its routing (peft cannot hold heads of different sizes); the low-rank
adapters are peft's. Saving and loading stand in ``adapter_saving``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .adapter_options import HEAD_ALONE, AdapterOptions
from .adapter_sharing import AdapterSharing, is_shared
from .task_card import TaskCard, check_task_name
from .task_head import TaskHead


def _owner_of(name: str) -> str | None:
    """The task, or the pair of several tasks, that a parameter is of; None: the base."""
    parts = name.split(".")
    if parts[0] == "heads":  # heads.TASK.weight, heads.TASK.hidden.weight
        return parts[1]
    return parts[-2] if ".lora_" in name else None  # layers.0.mlp.fc1.lora_A.TASK.weight


def task_of(name: str) -> str | None:
    """The only task that a parameter serves, by its name; None: the base, or a shared adapter."""
    owner = _owner_of(name)
    return None if owner is None or is_shared(owner) else owner


class AdapterMixin:
    """The tasks of a :class:`modeling_mteeg.MteegModel`.

    Attributes
    ----------
    tasks : dict of str to TaskCard
        Cards of the tasks the model holds, in the order they came.
    adapter_options : dict of str to AdapterOptions
        Of every task, as it is saved: one adapter, whatever it is made of.
    adapter_sharing : dict of str to AdapterSharing
        Of the tasks whose adapters are not theirs alone.
    active_adapter : str or None
        Task whose adapter and head a plain call uses; None: the base alone.
    adapter_sources : dict of str to str
        Folders that loaded tasks were read from (of a Hub repository: in the cache).
    """

    def init_adapters(self) -> None:
        """Prepare an empty model; called once by the model's ``__init__``."""
        self.heads = nn.ModuleDict()
        self.tasks: dict[str, TaskCard] = {}
        self.active_adapter: str | None = None
        self.adapter_options: dict[str, AdapterOptions] = {}
        self.adapter_sharing: dict[str, AdapterSharing] = {}
        self.adapter_sources: dict[str, str] = {}
        self._loaded_digests: dict[str, str] = {}  # of the tensors of tasks loaded from disk

    @property
    def has_adapters(self) -> bool:
        """Whether any task has low-rank adapters (a task may be a head alone)."""
        return any(options.layers for options in self.adapter_options.values())

    def _known_task(self, name: str) -> str:
        if not isinstance(name, str) or name not in self.tasks:
            raise ValueError(
                f"Unknown task {name!r}; this model holds {sorted(self.tasks) or 'no tasks'}. "
                "Use load_adapter() or add_adapter() first."
            )
        return name

    def add_adapter(
        self,
        name: str,
        labels: Sequence[str] | None = None,
        *,
        card: TaskCard | None = None,
        options: AdapterOptions | None = None,
        **fields: Any,
    ) -> TaskCard:
        """Add a new task: a fresh adapter in the transformer and a fresh head.

        The new task becomes the active one. The model then trains the shared temporal encoder, all
        adapters and all heads, unless it holds tasks loaded from disk, whose results a changed
        temporal encoder would spoil: then it trains the new task alone. Use
        :meth:`set_trainable` to say otherwise.

        Parameters
        ----------
        name : str
            ``[a-z][a-z0-9-]*``, not yet taken.
        labels : sequence of str
            Class names; two make a binary task with one logit.
        card : TaskCard, optional
            Instead of ``labels`` and fields of the card: a whole card.
        options : AdapterOptions, optional
            Instead of single options in ``fields``.
        **fields
            Options of the adapter, by the names of :class:`AdapterOptions`: ``rank`` (8; by kind
            of layer ``{"attention": 4, "feed-forward": 16}``), ``scaling``, ``dropout``,
            ``location``, ``separate_qkv``, ``kind``; and of :class:`AdapterSharing`: ``sharing``
            (``"own"``), ``shared_rank``, ``experts``. Further fields of :class:`TaskCard`:
            ``channels``, ``window_s``, ``head`` (``"channels"``, or a mapping of options) ...

        Returns
        -------
        TaskCard

        Raises
        ------
        ValueError
            A bad or taken name, unknown options, a card that contradicts itself, or an adapter
            that is shared in another way than those of the model's other tasks.
        """
        check_task_name(name)
        if name in self.tasks:
            raise ValueError(
                f"Task {name!r} is already there; choose another name or delete_adapter({name!r})."
            )
        single = {key: fields.pop(key) for key in AdapterSharing.names() if key in fields}
        card = self._make_card(name, labels, card, fields)
        if options is not None and single:
            raise ValueError(f"Give options or single ones, not both; found {sorted(single)}.")
        options = AdapterSharing(**single) if options is None else options
        if not isinstance(options, AdapterOptions):
            raise ValueError(f"options: expected AdapterOptions, found {type(options).__name__}.")
        if not isinstance(options, AdapterSharing):
            options = AdapterSharing(**options.to_dict())
        self._check_sharing(options)
        card = card.replace(adapter="lora" if options.layers else "none", base=None)
        self._insert(card, options)
        self.active_adapter = name
        self.set_trainable([name] if self._loaded_digests else None)
        return card

    @staticmethod
    def _make_card(name, labels, card, card_fields) -> TaskCard:
        if (card is None) == (labels is None):
            raise ValueError("Give either labels (and other fields of the card) or a whole card.")
        if card is None:
            return TaskCard.from_dict({**card_fields, "name": name, "labels": labels})
        if not isinstance(card, TaskCard):
            raise ValueError(f"card: expected a TaskCard, found {type(card).__name__}.")
        if card_fields:
            raise ValueError(f"Give a card or its fields, not both; found {sorted(card_fields)}.")
        return card if card.name == name else card.replace(name=name)

    def _check_sharing(self, options: AdapterSharing) -> None:
        """Raise where the pairs that a new task wants are here with other options."""
        for task, held in self.adapter_sharing.items():
            same = options.sharing == held.sharing and options.pairs("") == held.pairs("")
            if options.sharing != "own" and not same:
                raise ValueError(
                    f"sharing: expected the options of task {task!r}, since a model has one shared "
                    f"adapter or pool ({held.to_dict()}), found {options.to_dict()}. Give these, "
                    "or sharing='own'."
                )

    def _insert(self, card: TaskCard, options: AdapterSharing | AdapterOptions) -> None:
        """Put head and adapter of a checked card into the model; requires_grad stays as it is."""
        name, plain = card.name, options
        if isinstance(options, AdapterSharing):
            plain = options.plain()
            if options.sharing != "own":
                self.adapter_sharing[name] = options
        self.insert_adapter(name, plain)
        head = TaskHead(card, self.config.hidden_size, self.config.initializer_range)
        self.heads[name] = head.to(device=self.device).train(self.training)
        self.tasks[name] = card

    def insert_adapter(self, name: str, options: AdapterOptions) -> None:
        """Put a fresh adapter into the transformer's layers, without a task: no card and no head.

        What it is for is :meth:`MteegModel.encode`. ``requires_grad`` of all else stays as it is.
        """
        if options.layers:
            self._insert_pairs(name, options)
        self.adapter_options[name] = options

    def _insert_pairs(self, name: str, plain: AdapterOptions) -> None:
        """Put the low-rank pairs of a task's adapter into the layers, those that are not there."""
        from .lora import adapter_layers, compose, inject

        shared = self.adapter_sharing.get(name)
        pairs = {name: plain} if shared is None else shared.pairs(name)
        new = [pair for pair in pairs if not adapter_layers(self, pair)]
        with self._keeping_trainable():  # peft freezes all but the newest adapter
            for pair in new:
                inject(self, pair, pairs[pair])
        for pair in new:
            for layer in adapter_layers(self, pair).values():
                for part in (layer.lora_A, layer.lora_B):
                    weight = part[pair].weight.requires_grad_(True)
                    # A base in half precision has adapters in full precision, as its heads.
                    wide = torch.promote_types(weight.dtype, torch.float32)
                    part[pair].to(device=self.device, dtype=wide)
        if shared is not None:
            compose(self, name, shared)
        for layer in adapter_layers(self, name).values():
            layer.train(self.training)  # new modules start in training mode, dropout on

    @contextmanager
    def _keeping_trainable(self) -> Iterator[None]:
        """Undo what peft does meanwhile to ``requires_grad`` of parameters that are there now."""
        wanted = [(parameter, parameter.requires_grad) for parameter in self.parameters()]
        try:
            yield
        finally:
            for parameter, trained in wanted:
                parameter.requires_grad_(trained)

    def set_adapter(self, name: str | None) -> None:
        """Make a task the active one, or None for the base alone. Nothing else changes."""
        self.active_adapter = None if name is None else self._known_task(name)

    def active_adapters(self) -> list[str]:
        """The active task, in a list as transformers has it; empty for the base alone."""
        return [] if self.active_adapter is None else [self.active_adapter]

    def disable_adapters(self) -> None:
        """Use the base alone; the same as ``set_adapter(None)``."""
        self.set_adapter(None)

    def enable_adapters(self) -> None:
        """Refused: transformers means all adapters at once, here one task is active."""
        raise ValueError(
            f"One task is active at a time: set_adapter(name) with one of {sorted(self.tasks)}."
        )

    def delete_adapter(self, name: str) -> None:
        """Take a task's adapter and head out of the model; the others stay bit for bit."""
        self._drop(self._known_task(name), merge=False)

    def _drop(self, name: str, merge: bool) -> None:
        if self.adapter_options[name].layers:
            from .lora import remove

            others = [task for task in self.tasks if task != name]
            gone = self._pairs_of(name).difference(*map(self._pairs_of, others))
            with self._keeping_trainable():  # peft makes another adapter its active one
                remove(self, name, gone, merge)
            for pair in gone:
                self.peft_config.pop(pair, None)
        self.adapter_sharing.pop(name, None)
        del self.heads[name], self.tasks[name], self.adapter_options[name]
        self.adapter_sources.pop(name, None)
        self._loaded_digests.pop(name, None)
        if self.active_adapter == name:
            self.active_adapter = None

    def _pairs_of(self, name: str) -> set[str]:
        """The low-rank pairs that a task's adapter is made of."""
        shared = self.adapter_sharing.get(name)
        return {name} if shared is None else set(shared.pairs(name))

    def merge_and_unload(self, name: str) -> AdapterMixin:
        """Add one task's adapter to the weights and drop all others, in place.

        What is left is a plain network with one head, for deployment; as a base it is another one
        (its fingerprint differs).

        Returns
        -------
        MteegModel
            This model, with ``name`` active.
        """
        card, head = self.tasks[self._known_task(name)], self.heads[name]
        for other in [task for task in self.tasks if task != name]:
            self._drop(other, merge=False)
        self._drop(name, merge=True)
        self._insert(card.replace(adapter="none", base=None), HEAD_ALONE)
        self.heads[name] = head
        self.active_adapter = name
        return self

    def set_trainable(
        self,
        tasks: Iterable[str] | None = None,
        temporal_encoder: bool | None = None,
        everything: bool = False,
    ) -> list[str]:
        """Say exactly which parameters are trained; all others are frozen.

        Parameters
        ----------
        tasks : iterable of str, optional
            Tasks whose adapter and head are trained; default: all. What they share with others is
            trained, too, and moves these.
        temporal_encoder : bool, optional
            Whether the shared temporal encoder is trained (paper, section 3.3: yes). Default: yes,
            unless the model holds tasks that were loaded from disk.
        everything : bool
            Train every parameter of backbone, adapters and heads (full fine-tuning).

        Returns
        -------
        list of str
            Names of the trainable parameters.

        Raises
        ------
        ValueError
            An unknown task, or training what tasks loaded from disk rely on while they are not
            trained along.
        """
        tasks = list(self.tasks) if tasks is None else [self._known_task(name) for name in tasks]
        left = sorted(self._loaded_digests.keys() - set(tasks))
        if (temporal_encoder or everything) and left:
            raise ValueError(
                f"Training the shared weights would change the results of {left}, which were "
                "loaded from disk. Train them along (tasks=...), delete_adapter() them, or leave "
                "the temporal encoder as it is."
            )
        if temporal_encoder is None:
            temporal_encoder = not self._loaded_digests
        owners = set(tasks).union(*map(self._pairs_of, tasks))
        trained = []
        for name, parameter in self.named_parameters():
            owner = _owner_of(name)
            if owner is not None:
                wanted = owner in owners
            else:
                wanted = temporal_encoder and name.startswith("temporal_encoder.")
            parameter.requires_grad_(wanted or everything)
            if wanted or everything:
                trained.append(name)
        return trained
