"""Which windows make up every step of an epoch of pre-training, over windows of many shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .mixing import shuffled, whole_number


class ShapePlan:
    """Windows of every step, a pure function of (sizes, batch size, seed, epoch, bundle).

    Windows are shuffled within their shape and cut into bundles of one shape, and the bundles are
    shuffled: a step then holds a few shapes with several windows each, instead of many shapes with
    one, which would make many small products of few large ones.

    Parameters
    ----------
    sizes : sequence of int
        Windows of every shape, in a fixed order.
    batch_size : int
        Most windows of a step, over all processes.
    seed, epoch : int
        0 or above.
    bundle : int
        Windows of one shape that stay together; 1 mixes them all.

    Attributes
    ----------
    num_steps : int
        Steps of an epoch, the same in every epoch.
    num_windows : int
        Windows of an epoch: each is used exactly once.

    Raises
    ------
    ValueError
        No window, or a number out of range.

    Notes
    -----
    Steps differ by one window at most; none is dropped at the end of the epoch.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        bundle: int = 16,
    ) -> None:
        self.sizes = tuple(whole_number("sizes", size, 0) for size in sizes)
        self.num_windows = sum(self.sizes)
        if not self.num_windows:
            raise ValueError("sizes: expected at least one window, found none.")
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.seed, self.epoch = whole_number("seed", seed, 0), whole_number("epoch", epoch, 0)
        self.bundle = whole_number("bundle", bundle, 1)
        self.num_steps = -(-self.num_windows // self.batch_size)
        self._groups, self._rows = self._order()

    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """Shape and row of every window, in the order of use."""
        bundles: list[tuple[int, np.ndarray]] = []  # shape, and up to `bundle` rows of it
        for group, size in enumerate(self.sizes):
            rows = shuffled(np.arange(size), self._source(0, group))
            bundles += [(group, rows[at : at + self.bundle]) for at in range(0, size, self.bundle)]
        order = shuffled(np.arange(len(bundles)), self._source(1))
        # Two parallel lists over the epoch, (num_windows,) each; a step is a slice of both.
        groups = [np.full(len(bundles[i][1]), bundles[i][0], np.int32) for i in order]
        return np.concatenate(groups), np.concatenate([bundles[i][1] for i in order])

    def _source(self, *purpose: int) -> np.random.Philox:
        return np.random.Philox(np.random.SeedSequence([self.seed, self.epoch, *purpose]))

    def bounds(self, step: int) -> tuple[int, int]:
        """Place in the epoch of a step's first window, and of the next step's."""
        if not 0 <= step < self.num_steps:
            raise IndexError(f"step: expected 0 to {self.num_steps - 1}, found {step}.")
        first, last = (number * self.num_windows // self.num_steps for number in (step, step + 1))
        return first, last

    def step(self, step: int) -> list[tuple[int, np.ndarray]]:
        """Shapes of a step in ascending order, each with the rows of its windows (n,), int64."""
        first, last = self.bounds(step)
        groups, rows = self._groups[first:last], self._rows[first:last]
        return [(int(group), rows[groups == group]) for group in np.unique(groups)]
