"""The options of a task's head: what it reads of the tokens, checked, and in words.

The one place that knows them. A kind of head is a name in :data:`KINDS`, its width in
``HeadOptions.width``, its tensors in ``HeadOptions.shapes``, and what it computes in
``task_head.py``; task cards, ``add_adapter``, the YAML files of a training, saved heads and model
cards take it from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar, Self

from .log_band_power import BANDS_HZ

KINDS = ("mean", "channels", "attention")
MAX_HIDDEN = 65_536
MAX_QUERIES = 1024
"""Largest numbers that a file may claim."""
CHANNELS_ADVICE = (
    "Interpolate missing channels with MNE-Python (raw.interpolate_to, or raw.interpolate_bads for "
    "bad ones), leave out other ones, or use a task whose head is of kind mean or attention."
)
"""What can be done about channels that do not fit a ``channels`` head."""
_READS = {
    "mean": "mean of all patch tokens",
    "channels": "mean token of every channel",
    "attention": "attention over all patch tokens",
}


@dataclasses.dataclass(frozen=True)
class HeadOptions:
    """What a task's head reads, and how many layers it has.

    Parameters
    ----------
    kind : {"mean", "channels", "attention"}
        ``mean``: the normalised mean of all patch tokens (paper, section 3.3). ``channels``: the
        normalised mean token of every channel, each with weights of its own, so that the head knows
        where something happened; channels are matched by name, and all must be there.
        ``attention``: a weighted mean of the normalised patch tokens, weighted by the softmax of
        their products with a learned query.
    hidden : int or None
        Width of a hidden layer (GELU) between these and the output layer; None: a linear head.
    dropout : float
        On the input of every linear layer of the head, in training.
    queries : int
        Queries of an ``attention`` head; their means are laid end to end.
    band_power : bool
        Whether a ``channels`` head reads, beside the tokens, the log band power of every channel
        (``log_band_power.LogBandPower``): what the backbone's normalisations take away.

    Raises
    ------
    ValueError
        An option has the wrong type or value, or does not belong to the kind.
    """

    KINDS: ClassVar[tuple[str, ...]] = KINDS

    # "check" and "later" are for YAML files: see modeling_mteeg.settings.schema.setting.
    kind: str = field(default="mean", metadata={"check": "|".join(KINDS), "later": True})
    hidden: int | None = field(default=None, metadata={"check": "> 0", "later": True})
    dropout: float = field(default=0.0, metadata={"check": ">= 0, < 1", "later": True})
    queries: int = field(default=1, metadata={"check": "> 0", "later": True})
    band_power: bool = field(default=False, metadata={"later": True})

    def __post_init__(self) -> None:
        if self.kind not in self.KINDS:
            raise ValueError(f"head: expected one of {list(self.KINDS)}, found {self.kind!r}.")
        hidden, queries = self.hidden, self.queries
        if hidden is not None and not (type(hidden) is int and 0 < hidden <= MAX_HIDDEN):
            raise ValueError(
                f"hidden: expected a whole number from 1 to {MAX_HIDDEN}, or None, "
                f"found {hidden!r}."
            )
        number = isinstance(self.dropout, (int, float)) and not isinstance(self.dropout, bool)
        if not number or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected a number in [0, 1), found {self.dropout!r}.")
        most = MAX_QUERIES if self.kind == "attention" else 1
        if type(queries) is not int or not 1 <= queries <= most:
            raise ValueError(
                f"queries: expected a whole number from 1 to {most} for a head of kind "
                f"{self.kind!r}, found {queries!r}."
            )
        self._check_band_power()

    def _check_band_power(self) -> None:
        if type(self.band_power) is not bool or (self.band_power and self.kind != "channels"):
            raise ValueError(
                "band_power: expected false, or true for a head of kind 'channels', found "
                f"{self.band_power!r} for {self.kind!r}."
            )

    @classmethod
    def read(cls, value: Any) -> Self:
        """The options in a kind's name, or in a mapping such as :meth:`to_dict` gives."""
        if type(value) is cls:
            return value
        if isinstance(value, str):
            return cls(value)
        known = [option.name for option in dataclasses.fields(cls)]
        if not isinstance(value, Mapping) or not set(value) <= set(known):
            raise ValueError(
                f"head: expected one of {list(cls.KINDS)}, or a mapping with {', '.join(known)}, "
                f"found {value!r}."
            )
        return cls(**value)

    def to_dict(self) -> dict[str, Any]:
        """Plain types: the kind, and what else is not as by default."""
        values = {option.name: getattr(self, option.name) for option in dataclasses.fields(self)}
        return {
            option.name: values[option.name]
            for option in dataclasses.fields(self)
            if option.name == "kind" or values[option.name] != option.default
        }

    def width(self, hidden_size: int, channels: int) -> int:
        """Numbers that the head reads of a window.

        Parameters
        ----------
        hidden_size : int
            Of the backbone.
        channels : int
            Of the task's card.
        """
        return sum(self.blocks(hidden_size, channels))

    def blocks(self, hidden_size: int, channels: int) -> tuple[int, ...]:
        """The same by source: numbers from tokens, and from band power where it is read."""
        times = {"mean": 1, "channels": channels, "attention": self.queries}[self.kind]
        power = (channels * len(BANDS_HZ),) if self.band_power else ()
        return hidden_size * times, *power

    def shapes(self, hidden_size: int, channels: int, outputs: int) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of the head; arguments as of :meth:`width`."""
        read, found = self.width(hidden_size, channels), {}
        last = read if self.hidden is None else self.hidden
        found |= {"weight": (outputs, last), "bias": (outputs,)}  # the output layer
        if self.hidden is not None:
            found |= {"hidden.weight": (self.hidden, read), "hidden.bias": (self.hidden,)}
        if self.kind == "attention":
            found["query"] = (self.queries, hidden_size)
        return found

    def describe(self) -> str:
        """The options in words, as a model card has them."""
        text = _READS[self.kind]
        text += " and its log band power" if self.band_power else ""
        text += f", {self.queries} queries" if self.queries > 1 else ""
        text += ", linear" if self.hidden is None else f", {self.hidden} hidden units"
        return text + (f", dropout {self.dropout:g}" if self.dropout else "")


PLAIN_HEAD = HeadOptions()
"""The paper's head, which cards that name none mean."""
