"""The options of a task's adapter: what they are, checked, in peft's file format, and in words.

The one place that knows them. A new option is a field of :class:`AdapterOptions`, a line each in
``to_peft`` and ``from_peft``, and what it does in ``lora.py``; ``add_adapter``, the YAML files of a
training, saved adapters and model cards take it from here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from .checked_files import shortened

if TYPE_CHECKING:
    from peft import LoraConfig

LOCATIONS: dict[str, tuple[str, ...]] = {
    "both": ("qkv", "proj", "fc1", "fc2"),
    "attention": ("qkv", "proj"),
    "feed-forward": ("fc1", "fc2"),
    "none": (),
}
"""Where adapters go, by the linear layers that get one (paper, section 4.4: MHSA, FFN, both)."""

KINDS = ("lora", "rslora")
MAX_RANK = 4096
"""Largest rank that a file may claim."""

_GROUPS = ("attention", "feed-forward")
_OTHER_OPTIONS = tuple(
    (
        "alora_invocation_tokens arrow_config exclude_modules fan_in_fan_out kasa_config "
        "layer_replication layers_to_transform lora_bias modules_to_save monteclora_config "
        "target_parameters trainable_token_indices use_bdlora use_dora use_qalora"
    ).split()
)
"""Options of peft that change what an adapter computes, and that this model does not have."""

_CODE = ("auto_mapping", "auto_map", "custom_pipelines")
"""Keys by which a configuration names code; an adapter has none."""


@dataclasses.dataclass(frozen=True)
class AdapterOptions:
    """The low-rank adapter of a task (paper, section 3; figures in section 4.4).

    Parameters
    ----------
    rank : int or dict of str to int
        Rank r of A and B (paper, section 4.4: 8). By kind of layer: ``{"attention": 4,
        "feed-forward": 16}``; by layer: the same with ``qkv``, ``proj``, ``fc1`` or ``fc2``, which
        win over their kind. Every layer at ``location`` needs one, others have none.
    scaling : float
        Factor of B A in every layer, whatever its rank. The paper shows none, hence 1.
    dropout : float
        Dropout on the adapter's input in training.
    location : {"both", "attention", "feed-forward", "none"}
        Which linear layers get an adapter; ``none``: the task is a head alone.
    separate_qkv : bool
        One pair A, B for each of query, key and value instead of one for the three together.
    kind : {"lora", "rslora"}
        ``rslora``: the factor of B A is ``scaling`` times the root of the layer's rank
        (rank-stabilised LoRA, Kalajdzievski 2023; peft's ``use_rslora``).

    Raises
    ------
    ValueError
        An option has the wrong type or value, or ranks and location do not fit each other.

    Notes
    -----
    The paper writes separate adapters for query, key and value, but its counts of trainable
    parameters (1.8 M and 7.4 M) hold only with one adapter on the fused projection.

    Ranks that are equal become one number, so that equal adapters have equal options.
    """

    # "check" is the rule of modeling_mteeg.settings.schema.setting, for YAML files.
    rank: int | dict[str, int] = field(default=8, metadata={"check": "> 0"})
    scaling: float = field(default=1.0, metadata={"check": "> 0"})
    dropout: float = field(default=0.0, metadata={"check": ">= 0, < 1"})
    location: str = field(default="both", metadata={"check": "both|attention|feed-forward"})
    separate_qkv: bool = False
    # Later: left out of to_dict at its default, so that trainings and checkpoints of versions that
    # did not know the option stay what they were.
    kind: str = field(default="lora", metadata={"check": "|".join(KINDS), "later": True})

    def __post_init__(self) -> None:
        for key, rank in self._given_ranks().items():
            if type(rank) is not int or rank < 1:
                raise ValueError(f"{key}: expected a whole number above 0, found {rank!r}.")
        for key, expected in (("scaling", "a number above 0"), ("dropout", "a number in [0, 1)")):
            value = getattr(self, key)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            fits = number and (0 < value < math.inf if key == "scaling" else 0 <= value < 1)
            if not fits:
                raise ValueError(f"{key}: expected {expected}, found {value!r}.")
        if self.location not in tuple(LOCATIONS):
            raise ValueError(
                f"location: expected one of {list(LOCATIONS)}, found {self.location!r}."
            )
        if not isinstance(self.separate_qkv, bool):
            raise ValueError(f"separate_qkv: expected True or False, found {self.separate_qkv!r}.")
        if self.kind not in KINDS:
            dora = " DoRA needs a magnitude for every output, which the routed layer does not have."
            raise ValueError(
                f"kind: expected one of {list(KINDS)}, found {self.kind!r}."
                f"{dora if self.kind == 'dora' else ''}"
            )
        if isinstance(self.rank, Mapping):
            object.__setattr__(self, "rank", self._shortest_rank())

    def _given_ranks(self) -> dict[str, Any]:
        """The rank, or ranks, by what messages call them."""
        if not isinstance(self.rank, Mapping):
            return {"rank": self.rank}
        known = (*_GROUPS, *LOCATIONS["both"])
        unknown = [key for key in self.rank if key not in known]
        if unknown:
            raise ValueError(
                f"rank: expected a number, or numbers by {', '.join(known)}, found {unknown}."
            )
        return {f"rank of {key}": rank for key, rank in self.rank.items()}

    def _shortest_rank(self) -> int | dict[str, int]:
        """Ranks by layer as one number, or by kind, where they are equal."""
        ranks: dict[str, int] = {}
        for group in _GROUPS:
            if group in self.rank:
                ranks |= dict.fromkeys(LOCATIONS[group], self.rank[group])
        ranks |= {key: rank for key, rank in self.rank.items() if key not in _GROUPS}
        if not ranks or set(ranks) != set(self.layers):
            raise ValueError(
                f"rank: expected one for each layer at location {self.location!r} "
                f"({', '.join(self.layers) or 'no layer'}), found ranks for "
                f"{', '.join(ranks) or 'none'}. Give a rank to these layers alone, or another "
                "location."
            )
        if len(set(ranks.values())) == 1:
            return ranks[self.layers[0]]
        shortest = {}
        for group in _GROUPS:
            of_group = {key: ranks[key] for key in LOCATIONS[group] if key in ranks}
            one_rank = len(set(of_group.values())) == 1
            shortest |= {group: next(iter(of_group.values()))} if one_rank else of_group
        return shortest

    @property
    def layers(self) -> tuple[str, ...]:
        """Linear layers with an adapter, by the last part of their name; empty: a head alone."""
        return LOCATIONS[self.location]

    def rank_of(self, layer: str) -> int:
        """Rank of a pair A, B in ``layer``, one of :attr:`layers`."""
        if not isinstance(self.rank, dict):
            return self.rank
        group = next(group for group in _GROUPS if layer in LOCATIONS[group])
        return self.rank[layer] if layer in self.rank else self.rank[group]

    def blocks_of(self, layer: str) -> int:
        """Pairs A, B in ``layer``, each with a part of the output."""
        return 3 if self.separate_qkv and layer == "qkv" else 1

    def rank_in_file(self, layer: str) -> int:
        """Rank of ``layer`` in peft's files: separate pairs are one with a block-diagonal B."""
        return self.blocks_of(layer) * self.rank_of(layer)

    def _alpha(self, layer: str, blocks: int) -> int | float:
        """peft's alpha, by which ``blocks`` pairs of ``layer`` seen as one have their scaling.

        peft divides alpha by the rank, for rsLoRA by its root.
        """
        factor = blocks if self.kind == "lora" else blocks**0.5
        alpha = factor * self.rank_of(layer) * self.scaling
        # An int where the number is whole: the files then hold what peft itself writes.
        return int(alpha) if float(alpha).is_integer() else alpha

    def factor_of(self, layer: str) -> float:
        """What the product B A of ``layer`` is multiplied by, in the figures of peft."""
        rank = self.rank_of(layer)
        return self._alpha(layer, 1) / (rank if self.kind == "lora" else math.sqrt(rank))

    def to_peft(self) -> LoraConfig:
        """peft's configuration, in the form that is saved beside the adapter.

        Rank and alpha of the first layer stand for all; layers with others are in the patterns.
        """
        from peft import LoraConfig

        first, ranks = self.layers[0], {layer: self.rank_in_file(layer) for layer in self.layers}
        others = [layer for layer, rank in ranks.items() if rank != self.rank_of(first)]
        config = LoraConfig(
            r=self.rank_of(first),
            lora_alpha=self._alpha(first, 1),
            lora_dropout=self.dropout,
            target_modules=sorted(self.layers),
            bias="none",
            use_rslora=self.kind == "rslora",
            rank_pattern={layer: ranks[layer] for layer in others},
            alpha_pattern={layer: self._alpha(layer, self.blocks_of(layer)) for layer in others},
        )
        config.target_modules = sorted(config.target_modules)  # a set's order is random
        return config

    @classmethod
    def from_peft(cls, config: Any, source: str) -> AdapterOptions:
        """The options in the content of ``adapter_config.json``.

        Parameters
        ----------
        config : mapping
            Anything that JSON may hold is looked at.
        source : str
            What messages begin with.

        Raises
        ------
        ValueError
            Damaged, or an adapter that this model cannot hold.
        """
        try:
            targets = sorted(config["target_modules"])
            rank, alpha = config["r"], config["lora_alpha"]
            dropout, stable = config.get("lora_dropout") or 0.0, config.get("use_rslora")
            numbers = _is_rank(rank) and type(alpha) in (int, float) and 0 < alpha < 1e9
        except (LookupError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"{source} is damaged: {shortened(repr(error))}.") from error
        # No layer at all is no LoRA adapter: such a task is its head, without this file.
        location = next((key for key, value in LOCATIONS.items() if sorted(value) == targets), "")
        location = location if targets else ""
        unknown = [key for key in (*_OTHER_OPTIONS, *_CODE) if config.get(key)]
        if config.get("bias", "none") != "none":
            unknown.append(f"bias={shortened(config['bias'])}")
        if type(stable) not in (bool, type(None)):  # any text would be true
            unknown.append(f"use_rslora={shortened(stable)}, expected true or false")
        if config.get("peft_type") != "LORA" or not location or unknown or not numbers:
            raise ValueError(
                f"{source}: expected a LORA adapter on one of {list(LOCATIONS.values())} without "
                f"further options, found type {shortened(config.get('peft_type'))!r} on "
                f"{shortened(targets)}, rank {shortened(repr(rank))}, alpha "
                f"{shortened(repr(alpha))}, "
                f"{unknown or 'no'} further options."
            )
        ranks, separate = _ranks_by_layer(config, location)
        kind = "rslora" if stable else "lora"
        try:
            options = cls(ranks or rank, alpha / rank, dropout, location, separate, kind)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        patterns, alphas = config.get("rank_pattern"), config.get("alpha_pattern") or {}
        if ranks is None or not options._has_alphas(alphas, alpha):
            raise ValueError(
                f"{source}: expected one rank and one alpha for all layers, or patterns that give "
                f"some of {list(LOCATIONS[location])} other ranks at the same scaling, found the "
                f"patterns {shortened(repr(patterns))} and {shortened(repr(alphas))}."
            )
        return options

    def _has_alphas(self, pattern: Any, alpha: float) -> bool:
        """Whether peft's alpha, or that of the pattern, gives every layer the same scaling."""
        return _is_pattern(pattern, self.layers) and all(
            math.isclose(
                pattern.get(layer, alpha), self._alpha(layer, self.blocks_of(layer)), rel_tol=1e-9
            )
            for layer in self.layers
        )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the options."""
        return tuple(option.name for option in dataclasses.fields(cls))

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as in YAML: the keywords that make equal options."""
        values = {option.name: getattr(self, option.name) for option in dataclasses.fields(self)}
        for option in dataclasses.fields(self):
            if option.metadata.get("later") and values[option.name] == option.default:
                del values[option.name]
        return values

    def describe(self) -> str:
        """The options in words, as a model card has them."""
        if not self.layers:
            return "none (a head alone)"
        if isinstance(self.rank, dict):
            text = "rank " + ", ".join(f"{rank} in {key}" for key, rank in self.rank.items())
        else:
            place = {"both": "attention and feed-forward"}.get(self.location, self.location)
            text = f"rank {self.rank}, {place}"
        text += ", separate q, k, v" if self.separate_qkv else ""
        return text + (", rank-stabilised" if self.kind == "rslora" else "")


HEAD_ALONE = AdapterOptions(location="none")
"""Options of a task that is a head alone."""


def _is_rank(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_RANK


def _is_pattern(pattern: Any, layers: Iterable[str]) -> bool:
    """Whether a pattern of peft gives numbers to these layers, and to nothing else."""
    return isinstance(pattern, dict) and all(
        layer in layers and type(number) in (int, float) for layer, number in pattern.items()
    )


def _ranks_by_layer(config: Mapping[str, Any], location: str) -> tuple[dict[str, int] | None, bool]:
    """Rank of every layer in peft's configuration, None for a pattern of something else.

    And whether query, key and value are separate: three times the rank of the others, which the
    tensors must bear out.
    """
    rank, pattern, layers = config["r"], config.get("rank_pattern") or {}, LOCATIONS[location]
    if not _is_pattern(pattern, layers):
        return None, False
    separate = pattern.get("qkv") == 3 * rank
    ranks = {layer: pattern.get(layer, rank) for layer in layers}
    ranks |= {"qkv": rank} if separate else {}
    return (ranks if all(map(_is_rank, ranks.values())) else None), separate
