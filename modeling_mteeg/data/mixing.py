"""Which samples of which task stand in which step: a plan that is a pure function of few integers.

Every step of joint training holds a sub-batch of every task, in proportion to what is drawn of
each task in the epoch. The plan depends on (seed, epoch, tasks, batch size) only; a process takes
its part of a step. So a run is resumed from (seed, epoch, step) alone, and one process or several
see the same samples in the same steps.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from ..settings.schema import setting

PAPER_TASKS = ("tuab", "tuev", "seed-v", "chb-mit", "sleep-edf", "physionet-mi")
GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclasses.dataclass(frozen=True)
class SamplingRule:
    """How much of a task's training split an epoch draws, without replacement, anew each epoch.

    The ``sampling`` section of a configuration has these keys for each task, and
    :class:`TaskMix` has the same fields: what a rule does is written there (``drawn``, ``draw``).
    A new field is a ``later`` one (``modeling_mteeg.settings.schema.setting``).

    Parameters
    ----------
    fraction : float
        Part of all samples, in (0, 1].
    negative_fraction : float
        Part of the samples of class 0, in (0, 1]; all others are kept. Two-class tasks only.
        ``fraction`` then applies to what is left.
    """

    fraction: float = setting(1.0, "> 0, <= 1")
    negative_fraction: float = setting(1.0, "> 0, <= 1")

    def __post_init__(self) -> None:
        for name in ("fraction", "negative_fraction"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 < value <= 1:
                raise ValueError(f"{name}: expected a number above 0 and up to 1, found {value!r}.")


#: The paper draws 10 % of TUAB per epoch and 10 % of CHB-MIT's background (section 4.3).
PAPER_SAMPLING = {
    "tuab": SamplingRule(fraction=0.1),
    "chb-mit": SamplingRule(negative_fraction=0.1),
}


def sampling_rules(
    settings: Mapping[str, SamplingRule | Mapping[str, Any]],
    known: Collection[str] = PAPER_TASKS,
) -> dict[str, SamplingRule]:
    """Read the ``sampling`` part of a config.

    Parameters
    ----------
    settings : mapping
        Task name to a rule or to its fields, such as ``{"tuab": {"fraction": 0.1}}``.
    known : collection of str
        Tasks a rule may name.

    Returns
    -------
    dict of str to SamplingRule

    Raises
    ------
    ValueError
        Unknown tasks or fields, or values outside (0, 1]; all faults in one message.
    """
    rules, wrong = {}, []
    fields = {field.name for field in dataclasses.fields(SamplingRule)}
    for task, rule in settings.items():
        if task not in known:
            wrong.append(f"{task!r}: unknown task, expected one of {sorted(known)}")
        elif isinstance(rule, SamplingRule):
            rules[task] = rule
        elif not isinstance(rule, Mapping) or not set(rule) <= fields:
            wrong.append(f"{task!r}: expected {sorted(fields)}, found {rule!r}")
        else:
            try:
                rules[task] = SamplingRule(**rule)
            except ValueError as error:
                wrong.append(f"{task!r}: {error}")
    if wrong:
        raise ValueError("sampling: " + "; ".join(wrong))
    return rules


@dataclasses.dataclass(frozen=True, eq=False)
class TaskMix:
    """A task's training split as the plan sees it.

    Parameters
    ----------
    name : str
        Task name.
    size : int
        Samples in the training split, at least 1.
    fraction, negative_fraction : float
        See :class:`SamplingRule`.
    labels : np.ndarray, (size,), int, optional
        Classes of the samples; needed where ``negative_fraction`` is below 1.

    Raises
    ------
    ValueError
        A field is out of range, or labels are missing, of another length, or not of two classes.
    """

    name: str
    size: int
    fraction: float = 1.0
    negative_fraction: float = 1.0
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        try:
            SamplingRule(self.fraction, self.negative_fraction)
            self._check()
        except ValueError as error:
            raise ValueError(f"Task {self.name!r}: {error}") from error

    def _check(self) -> None:
        if self.size < 1:
            raise ValueError(f"expected 1 sample or more, found {self.size}.")
        if self.labels is not None and np.shape(self.labels) != (self.size,):
            raise ValueError(f"expected {self.size} labels, found shape {np.shape(self.labels)}.")
        if self.negative_fraction < 1:
            if self.labels is None:
                raise ValueError("negative_fraction needs the labels.")
            classes = np.unique(self.labels).tolist()
            if not set(classes) <= {0, 1}:
                raise ValueError(
                    "negative_fraction is for two classes (0 negative, 1 positive), found classes "
                    f"{classes}."
                )

    @property
    def drawn(self) -> int:
        """Samples drawn per epoch, the same in every epoch."""
        return _part(self.fraction, sum(self._pool_sizes()))

    def _pool_sizes(self) -> tuple[int, int]:
        """(samples always in the pool, samples drawn into it from class 0)."""
        if self.negative_fraction == 1:
            return self.size, 0
        negatives = int(np.count_nonzero(np.asarray(self.labels) == 0))
        return self.size - negatives, _part(self.negative_fraction, negatives)

    def draw(self, seed: int, epoch: int, number: int | None = None) -> np.ndarray:
        """Rows of the epoch in their order, (number,) int64.

        Depends on (seed, epoch, task, number) only, not on the other tasks, and a smaller number
        gives the beginning of what a larger one does.

        Parameters
        ----------
        seed, epoch : int
        number : int, optional
            How many, in place of :attr:`drawn`, which has none twice. Where the pool has fewer, it
            is gone through again in another order, so that no sample comes an (n + 1)-th time
            before all came n times; of the negatives of ``negative_fraction`` every pass has the
            next ones, so that the classes keep their ratio.
        """
        number = self.drawn if number is None else whole_number("number", number, 1)
        # The task enters by its name, not by its number: another task beside it changes nothing.
        task = zlib.crc32(self.name.encode("utf-8"))
        source = np.random.Philox(np.random.SeedSequence([seed, epoch, task]))
        kept, drawn = np.arange(self.size), self._pool_sizes()[1]
        if self.negative_fraction < 1:
            labels = np.asarray(self.labels)
            negatives = shuffled(np.flatnonzero(labels == 0), source)
            kept = np.flatnonzero(labels != 0)
        passes, left = [], number
        while left > 0:
            pool = kept
            if drawn:
                turn = (len(passes) * drawn + np.arange(drawn)) % len(negatives)
                pool = np.concatenate([kept, negatives[turn]])
            # The first of a random order are a draw without replacement, in random order.
            passes.append(shuffled(pool, source)[:left])
            left -= len(passes[-1])
        return np.concatenate(passes)


def _part(fraction: float, number: int) -> int:
    """``fraction`` of ``number``, rounded, at least 1 of what is there."""
    return min(number, max(1, int(fraction * number + 0.5)))


def shuffled(rows: np.ndarray, source: np.random.Philox) -> np.ndarray:
    """Rows in random order; raw Philox numbers, whose stream numpy keeps over versions."""
    return rows[np.argsort(source.random_raw(len(rows)), kind="stable")]


def _dealt(counts: np.ndarray, hands: int, start: int = 0) -> np.ndarray:
    """Deal ``counts[t]`` cards of every kind t to ``hands``, as evenly as can be.

    The remainders are dealt round in one go, a kind after the other, so a hand's cards of one
    kind and its cards in all both differ by at most 1 between hands.

    Returns
    -------
    np.ndarray, (hands, kinds), int64
    """
    share, rest = np.divmod(counts, hands)  # (kinds,) each: what every hand gets, what is left
    dealt = np.tile(share, (hands, 1))  # (hands, kinds)
    kinds = np.repeat(np.arange(len(counts)), rest)  # the kind of each card that is left
    # Card number i of them goes to hand start + i, so no hand gets a second before all have one.
    np.add.at(dealt, ((start + np.arange(len(kinds))) % hands, kinds), 1)
    return dealt


class EpochPlan:
    """Samples of every step of an epoch, for every process.

    Parameters
    ----------
    mixes : iterable of TaskMix
        The tasks; their order does not matter.
    batch_size : int
        Most samples of a step, all tasks and all processes together.
    seed, epoch : int
        0 or above.
    world_size : int
        Processes.
    slices : int
        Parts into which a process splits its share of a step, to bound memory; the parts of a step
        belong to one optimizer step.
    numbers : mapping of str to int, optional
        Samples of every task in the epoch, in place of the mixes' own ``drawn``; those above a
        task's samples come again (:meth:`TaskMix.draw`).

    Attributes
    ----------
    tasks : tuple of str
        Task names, sorted.
    num_steps : int
        Steps of the epoch, the same in every epoch that has as many samples in all.
    drawn : dict of str to int
        Samples of each task in the epoch.

    Raises
    ------
    ValueError
        No task, a task twice, numbers of other tasks, or a number out of range.

    Notes
    -----
    All samples drawn are used exactly once; the last step is as full as the others. In a step the
    number of samples of a task is its proportion rounded down or up, and so is the step's total.
    The steps that hold one more of a task are spread evenly over the epoch (golden-ratio order).
    """

    def __init__(
        self,
        mixes: Iterable[TaskMix],
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        world_size: int = 1,
        slices: int = 1,
        numbers: Mapping[str, int] | None = None,
    ) -> None:
        self.mixes = tuple(sorted(mixes, key=lambda mix: mix.name))
        self.tasks = tuple(mix.name for mix in self.mixes)
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"mixes: expected one or more different tasks, found {self.tasks}.")
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.seed, self.epoch = whole_number("seed", seed, 0), whole_number("epoch", epoch, 0)
        self.world_size = whole_number("world_size", world_size, 1)
        self.slices = whole_number("slices", slices, 1)
        if numbers is None:
            numbers = {mix.name: mix.drawn for mix in self.mixes}
        elif set(numbers) != set(self.tasks):
            raise ValueError(f"numbers: expected {self.tasks}, found {sorted(numbers)}.")
        drawn = np.array([whole_number(t, numbers[t], 1) for t in self.tasks], np.int64)
        self.drawn: dict[str, int] = dict(zip(self.tasks, drawn.tolist(), strict=True))
        self.num_steps = -(-int(drawn.sum()) // self.batch_size)  # rounded up
        # The steps are hands that the samples are dealt to: the same number of every task, give or
        # take one. The hands with one more of a task are neighbours; multiples of the golden ratio,
        # modulo 1, spread any run of neighbours evenly, so their order is that of the steps.
        dealt = _dealt(drawn, self.num_steps)
        spread = np.argsort(np.arange(self.num_steps) * GOLDEN_RATIO % 1.0, kind="stable")
        self._counts = dealt[spread]  # (steps, tasks): samples of each task in each step
        self._ends = np.cumsum(self._counts, axis=0)  # (steps, tasks): where a step's share ends
        # Rows, by task, in the order in which they are used.
        self._orders = [mix.draw(self.seed, self.epoch, numbers[mix.name]) for mix in self.mixes]

    def counts(self, step: int, steps: int = 1) -> dict[str, int]:
        """Samples of each task in ``steps`` steps from ``step`` on, over all processes and slices.

        With gradient accumulation over several steps this is what a task's loss is divided by; at
        the end of the epoch there may be fewer steps than asked for.
        """
        self._check_step(step)
        total = self._counts[step : step + whole_number("steps", steps, 1)].sum(axis=0)
        return dict(zip(self.tasks, total.tolist(), strict=True))

    def indices(self, step: int, rank: int = 0, slice: int = 0) -> dict[str, np.ndarray]:
        """Rows that process ``rank`` reads in part ``slice`` of ``step``.

        Returns
        -------
        dict of str to np.ndarray, (n,), int64
            Every task; an empty array where the process has none of it. Over the processes and
            slices of a step each row of :meth:`step_indices` occurs once.
        """
        self._check_step(step)
        if not (0 <= rank < self.world_size and 0 <= slice < self.slices):
            raise IndexError(
                f"expected rank below {self.world_size} and slice below {self.slices}, found rank "
                f"{rank}, slice {slice}."
            )
        # Hand h belongs to process h % world_size, so remainders alternate between processes; the
        # first hand rotates with the step so that none is ahead for a whole epoch.
        hands = self.world_size * self.slices
        dealt = _dealt(self._counts[step], hands, start=step)  # (hands, tasks)
        hand = slice * self.world_size + rank
        # (tasks,): a step's share of a task's order begins at end - count, and its hands follow one
        # another in it; so whatever the number of hands, the step holds the same rows.
        stops = self._ends[step] - self._counts[step] + np.cumsum(dealt, axis=0)[hand]
        return self._rows(stops, dealt[hand])

    def step_indices(self, step: int) -> dict[str, np.ndarray]:
        """Rows of all processes and slices of a step, in order, the same for any world size."""
        self._check_step(step)
        return self._rows(self._ends[step], self._counts[step])

    def _rows(self, stops: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
        """By task the ``counts`` rows of its order that end at ``stops``, (tasks,) each."""
        cuts = zip(self.tasks, self._orders, stops.tolist(), counts.tolist(), strict=True)
        return {task: order[stop - count : stop] for task, order, stop, count in cuts}

    @property
    def always_present(self) -> bool:
        """Whether every process has every task in every slice of every step.

        Where not, distributed training must look for unused parameters, for a task without
        samples leaves its adapter without gradient on that process.
        """
        return bool((self._counts >= self.world_size * self.slices).all())

    def _check_step(self, step: int) -> None:
        if not 0 <= step < self.num_steps:
            raise IndexError(f"step: expected 0 to {self.num_steps - 1}, found {step}.")


def whole_number(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}: expected a whole number of {least} or more, found {value!r}.")
    return int(value)
