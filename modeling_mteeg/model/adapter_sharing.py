"""How the low-rank adapters of several tasks are shared.

A later version of the paper compares ways to share; their definition is not public. Those here are
this package's own (docs/adapter_sharing.md). A task's weight change in a layer is a sum of products
B A of low-rank pairs, some of which other tasks have, too:

====================  ==================================================
``own``               its own pair (the paper)
``shared``            one pair that all tasks have
``shared+own``        that one and its own
``pool``              n pairs that all tasks have, by weights of the task
====================  ==================================================

As such a sum is one product of the sum of the ranks, a task is always saved as one plain adapter.
"""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import TYPE_CHECKING

from .adapter_options import MAX_RANK, AdapterOptions

if TYPE_CHECKING:
    from peft import LoraConfig

WAYS = ("own", "shared", "shared+own", "pool")
EXPERTS = 4
_SHARED = "_shared"  # names of pairs that no task can have: these begin with a letter


def is_shared(pair: str) -> bool:
    """Whether a low-rank pair of this name may serve several tasks."""
    return pair.startswith("_")


@dataclasses.dataclass(frozen=True)
class AdapterSharing(AdapterOptions):
    """The options of a task's adapter, and what of it is shared with other tasks.

    Parameters
    ----------
    sharing : {"own", "shared", "shared+own", "pool"}
        See :mod:`modeling_mteeg.model.adapter_sharing`.
    shared_rank : int or dict of str to int, optional
        Rank of the shared pair of ``shared+own``, in the forms of ``rank``; by default ``rank``,
        which is that of all other pairs.
    experts : int, optional
        Pairs of a ``pool``; by default 4.

    Raises
    ------
    ValueError
        As of :class:`AdapterOptions`; or an option that ``sharing`` has no use for.
    """

    # All later: see AdapterOptions.kind.
    sharing: str = field(default="own", metadata={"check": "|".join(WAYS), "later": True})
    shared_rank: int | dict[str, int] | None = field(
        default=None, metadata={"check": "> 0", "later": True}
    )
    experts: int | None = field(default=None, metadata={"check": "> 0", "later": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sharing not in WAYS:
            raise ValueError(f"sharing: expected one of {list(WAYS)}, found {self.sharing!r}.")
        if self.sharing != "own" and not self.layers:
            raise ValueError(f"sharing: location 'none' has no adapter, found {self.sharing!r}.")
        for key, way in (("shared_rank", "shared+own"), ("experts", "pool")):
            value = getattr(self, key)
            if value is not None and self.sharing != way:
                raise ValueError(
                    f"{key}: an option of sharing {way!r}, found {value!r} with {self.sharing!r}. "
                    f"Leave it out{', or give rank' if key == 'shared_rank' else ''}."
                )
        if self.experts is not None and (type(self.experts) is not int or self.experts < 1):
            raise ValueError(f"experts: expected a whole number above 0, found {self.experts!r}.")
        if self.shared_rank is not None:
            try:
                shared = dataclasses.replace(self._one(), rank=self.shared_rank)
            except ValueError as error:  # its messages begin with rank
                raise ValueError(f"shared_{error}") from error
            object.__setattr__(self, "shared_rank", shared.rank)
        plain = self.plain()
        highest = max((plain.rank_in_file(layer) for layer in plain.layers), default=0)
        if highest > MAX_RANK:
            raise ValueError(
                f"rank: expected at most {MAX_RANK} in the saved adapter, where the ranks add up, "
                f"found {highest}."
            )

    @property
    def mixed(self) -> bool:
        """Whether a task weighs its pairs."""
        return self.sharing == "pool"

    def _one(self) -> AdapterOptions:
        """The options without sharing."""
        names = AdapterOptions.names()
        return AdapterOptions(**{name: getattr(self, name) for name in names})

    def pairs(self, task: str) -> dict[str, AdapterOptions]:
        """The low-rank pairs that a task's adapter is made of, by name, in their order."""
        one = self._one()
        if self.sharing == "pool":
            count = EXPERTS if self.experts is None else self.experts
            return {f"_expert_{number}": one for number in range(count)}
        shared = (
            one if self.shared_rank is None else dataclasses.replace(one, rank=self.shared_rank)
        )
        pairs = {_SHARED: shared} if self.sharing != "own" else {}
        return pairs | ({task: one} if self.sharing != "shared" else {})

    def plain(self) -> AdapterOptions:
        """The options of what is saved: one adapter, its rank the sum of those of its pairs."""
        pairs = self.pairs("own").values()
        ranks = {layer: sum(pair.rank_of(layer) for pair in pairs) for layer in self.layers}
        return dataclasses.replace(self._one(), rank=ranks or self.rank)

    def to_peft(self) -> LoraConfig:
        """peft's configuration of what is saved."""
        return self.plain().to_peft()

    def describe_sharing(self) -> str:
        """How tasks share, in words."""
        if self.sharing == "pool":
            count = len(self.pairs(""))
            return f"a pool of {count} low-rank experts in every layer, mixed by each task"
        return {
            "own": "a low-rank adapter a task",
            "shared": "one low-rank adapter for all tasks",
            "shared+own": "a low-rank adapter for all tasks and one a task, added",
        }[self.sharing]
