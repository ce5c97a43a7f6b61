"""How a step's batches go through the model: at once, or in passes of bounded size.

Activations are what a training step holds in memory, and they grow with the tokens of a pass. The
tasks of a step need not share a pass: their losses are added up, so gradients of passes add up to
those of the whole step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import torch

Batch = Mapping[str, torch.Tensor]


def split_passes(
    batches: Mapping[str, Batch], max_tokens: int | None, tokens: Callable[[Batch], int]
) -> list[dict[str, Batch]]:
    """Batches of one step as passes of at most ``max_tokens`` tokens.

    Parameters
    ----------
    batches : mapping of str to mapping
        Task to ``input_values`` (samples, ...), ``channel_ids`` and ``labels`` (samples,).
    max_tokens : int or None
        Bound of a pass; None: one pass. A pass of a single sample may exceed it, since a sample is
        never cut.
    tokens : callable
        Tokens of one sample of a batch, as a method counts them.

    Returns
    -------
    list of dict
        Passes, each like ``batches``. A task stays whole where it fits; a larger one is cut into
        equal runs of samples. Every sample is in exactly one pass, in the order given within its
        task. The passes depend on the shapes alone.
    """
    if max_tokens is None:
        return [dict(batches)]
    pieces: list[tuple[int, str, Batch]] = []
    for task, batch in batches.items():
        count = len(batch["labels"])
        if not count:
            continue
        size = tokens(batch)
        runs = -(-count // max(1, max_tokens // size))
        borders = [count * run // runs for run in range(runs + 1)]
        for start, stop in itertools.pairwise(borders):
            pieces.append((size * (stop - start), task, rows_of(batch, start, stop)))
    # Largest first into the first pass with room: few passes, and the same ones every time.
    pieces.sort(key=lambda piece: (-piece[0], piece[1]))
    passes: list[tuple[int, dict[str, Batch]]] = []
    for number, task, batch in pieces:
        for index, (filled, content) in enumerate(passes):
            if filled + number <= max_tokens and task not in content:
                content[task] = batch
                passes[index] = (filled + number, content)
                break
        else:
            passes.append((number, {task: batch}))
    return [content for _, content in passes]


def rows_of(batch: Batch, start: int, stop: int) -> Batch:
    """Samples ``start`` to ``stop`` of a batch."""
    return {
        key: value if key == "channel_ids" else value[start:stop] for key, value in batch.items()
    }
