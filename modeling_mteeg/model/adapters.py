"""Adding, switching, training and removing the tasks of a model.

The model owns its heads and its routing (peft cannot hold heads of different sizes); the low-rank
adapters are peft's. Saving and loading stand in ``adapter_saving``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from .adapter_options import HEAD_ALONE, AdapterOptions
from .adapter_sharing import AdapterSharing
from .task_card import TaskCard, check_task_name
from .task_head import TaskHead
from .transformers_calls import TransformersCallsMixin, takes_peft_config
from .weight_names import owner_of, uncompiled


class AdapterMixin(TransformersCallsMixin):
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
        self._kept_frozen: set[str] = set()  # tasks that were loaded not to be trained

    @property
    def heads(self) -> nn.ModuleDict:
        """Heads by task. Regional compilation wraps them, though there is no one forward pass."""
        heads = self._modules.get("heads")
        if heads is None:
            raise AttributeError("heads")
        return getattr(heads, "_orig_mod", heads)

    @property
    def has_adapters(self) -> bool:
        """Whether any task has low-rank adapters (a task may be a head alone)."""
        return any(options.layers for options in self.adapter_options.values())

    def _known_task(self, name: str) -> str:
        if not isinstance(name, str) or name not in self.tasks:
            raise ValueError(
                f"Unknown task {name!r}; this model holds {sorted(self.tasks) or 'no tasks'}. "
                f"Use load_adapter() or add_adapter() first.{self._beside_base()}"
            )
        return name

    @takes_peft_config
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
        options : AdapterOptions or peft.LoraConfig, optional
            Instead of single options in ``fields``. Of a ``LoraConfig`` rank, alpha, dropout,
            target modules, patterns of ranks and ``use_rslora`` are taken; anything else is
            refused. It may also stand where transformers has it: ``add_adapter(config,
            adapter_name=name, labels=...)``.
        **fields
            Options of the adapter, by the names of :class:`AdapterOptions`: ``rank`` (8; by kind
            of layer ``{"attention": 4, "feed-forward": 16}``), ``scaling``, ``dropout``,
            ``location``, ``separate_qkv``, ``kind``; and of ``AdapterSharing``: ``sharing``
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

    def _insert(
        self,
        card: TaskCard,
        options: AdapterSharing | AdapterOptions,
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        """Put head and adapter of a checked card into the model; requires_grad stays as it is.

        ``weights`` are those of ``lora.inject``; the head is fresh.
        """
        name, plain = card.name, options
        if isinstance(options, AdapterSharing):
            plain = options.plain()
            if options.sharing != "own":
                self.adapter_sharing[name] = options
        try:
            self.insert_adapter(name, plain, weights)
        except ValueError:  # a layer that takes none
            self.adapter_sharing.pop(name, None)
            raise
        head = TaskHead(card, self.config.hidden_size, self.config.initializer_range)
        self.heads[name] = head.to(device=self.device).train(self.training)
        self.tasks[name] = card

    def insert_adapter(
        self, name: str, options: AdapterOptions, weights: Mapping[str, Any] | None = None
    ) -> None:
        """Put an adapter into the transformer's layers, without a task: no card and no head.

        What it is for is :meth:`MteegModel.encode`. It is fresh, or has the ``weights`` of
        ``lora.inject``. ``requires_grad`` of all else stays as it is.
        """
        if options.layers:
            self._insert_pairs(name, options, weights)
        self.adapter_options[name] = options

    def _insert_pairs(self, name: str, plain: AdapterOptions, weights: Any) -> None:
        """Put the low-rank pairs of a task's adapter into the layers, those that are not there."""
        from .lora import compose, inject

        shared = self.adapter_sharing.get(name)
        pairs = {name: plain} if shared is None else shared.pairs(name)
        held = getattr(self, "peft_config", {})
        new = [pair for pair in pairs if pair not in held]
        for pair in new:
            inject(self, pair, pairs[pair], weights)
        if shared is not None:
            compose(self, name, shared)

    @contextmanager
    def _keeping_trainable(self) -> Iterator[None]:
        """Undo what peft does meanwhile to ``requires_grad`` of parameters that are there now."""
        wanted = [(parameter, parameter.requires_grad) for parameter in self.parameters()]
        try:
            yield
        finally:
            for parameter, trained in wanted:
                parameter.requires_grad_(trained)

    def _drop(self, name: str, merge: bool) -> None:
        if self.adapter_options[name].layers:
            from .lora import remove

            others = [task for task in self.tasks if task != name]
            gone = self._pairs_of(name).difference(*map(self._pairs_of, others))
            with self._keeping_trainable():  # peft makes another adapter its active one
                remove(self, name, gone, merge)
            for pair in gone:
                self.peft_config.pop(pair, None)
            if not self.peft_config:  # a plain model again, for peft too
                del self.peft_config
        self.adapter_sharing.pop(name, None)
        del self.heads[name], self.tasks[name], self.adapter_options[name]
        self.adapter_sources.pop(name, None)
        self._loaded_digests.pop(name, None)
        self._kept_frozen.discard(name)
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
        self._kept_frozen.difference_update(tasks)
        owners = set(tasks).union(*map(self._pairs_of, tasks))
        trained = []
        for name, parameter in self.named_parameters():
            owner = owner_of(name)
            if owner is not None:
                wanted = owner in owners
            else:
                wanted = temporal_encoder and uncompiled(name).startswith("temporal_encoder.")
            parameter.requires_grad_(wanted or everything)
            if wanted or everything:
                trained.append(name)
        return trained
