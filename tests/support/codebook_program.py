"""Steps of a codebook and of a tokenizer, by one process or several, for test_codebook_processes.

Run by torchrun with a folder; every process writes what it ends with to ``rank-<n>.pt``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F

from modeling_mteeg import MteegTokenizerConfig, MteegTokenizerModel
from modeling_mteeg.model.codebook import Codebook

STEPS, TOKENS, SAMPLES = 4, 301, 5
OPTIONS = {"num_codes": 64, "code_size": 8, "code_decay": 0.5, "dead_below": 0.6}


def part_of(rank: int, world: int, count: int) -> slice:
    """Rows of one process, in order; the first process has more than the others."""
    borders = [0, *(count - (count // (world + 1)) * (world - r) for r in range(1, world)), count]
    return slice(borders[rank], borders[rank + 1])


def codebook_steps(rank: int, world: int, revive: bool) -> dict:
    """k-means start and a few updates over tokens that wander."""
    torch.manual_seed(rank)  # nothing may depend on the process's own generator
    config = MteegTokenizerConfig.from_preset("tiny", revive_dead=revive, **OPTIONS)
    book = Codebook(config).train()
    generator = torch.Generator().manual_seed(7)
    codes = torch.randn(64, 8, generator=generator)
    book.codes.copy_(F.normalize(codes, dim=-1))
    centres, indices, dead = torch.randn(9, 8, generator=generator), [], []
    for step in range(STEPS):
        own = torch.arange(TOKENS) % (9 - 2 * step)
        noise = torch.randn(TOKENS, 8, generator=generator)
        tokens = centres[own] + 0.3 * noise
        indices.append(book(tokens[part_of(rank, world, TOKENS)]).indices)
        dead.append(book.num_dead())
    return {"state": book.state_dict(), "indices": torch.stack(indices), "dead": dead}


def tokenizer_steps(rank: int, world: int) -> dict:
    """The codebook of a whole tokenizer; its other weights stay."""
    torch.manual_seed(0)
    config = MteegTokenizerConfig.from_preset("tiny", **OPTIONS)
    model = MteegTokenizerModel(config).train()
    x = torch.randn(SAMPLES, 6, 4, 200, generator=torch.Generator().manual_seed(3))
    rows = torch.arange(1, 7)[:, None].repeat(1, 2)
    indices = []
    for step in range(STEPS):
        values = (x * (1 + step))[part_of(rank, world, SAMPLES)]
        indices.append(model(values, rows).token_ids)
    return {"state": model.codebook.state_dict(), "indices": torch.stack(indices)}


def slices_of(rank: int, world: int, count: int) -> list[slice]:
    """The same rows in parts; of several processes the second has none, the last what it had."""
    if world == 1:
        return [slice(0, 2), slice(2, count)]
    if rank == 1:
        return []
    if rank == 0:
        last = part_of(world - 1, world, count).start if world > 2 else count
        return [slice(0, 1), slice(1, 2), slice(2, last)]
    return [part_of(rank, world, count)]


def sliced_steps(rank: int, world: int, revive: bool) -> dict:
    """A tokenizer whose steps are cut into parts, of unequal number and size, and maybe none."""
    torch.manual_seed(0)
    codes = 200 if revive else 64  # more than the 120 tokens of a step can keep alive
    options = OPTIONS | {"revive_dead": revive, "num_codes": codes}
    config = MteegTokenizerConfig.from_preset("tiny", **options)
    model = MteegTokenizerModel(config).train()
    x = torch.randn(SAMPLES, 6, 4, 200, generator=torch.Generator().manual_seed(3))
    rows = torch.arange(1, 7)[:, None].repeat(1, 2)
    indices = []
    for step in range(STEPS):
        parts = [
            [{"input_values": (x * (1 + step))[part], "channel_ids": rows}]
            for part in slices_of(rank, world, SAMPLES)
        ]
        model.start_codebook(parts)
        with model.codebook.one_step():
            found = [model(groups=part).token_ids[0] for part in parts]
        indices.append(torch.cat([torch.empty(0, 24, dtype=torch.int64), *found]))
    return {"state": model.codebook.state_dict(), "indices": torch.stack(indices)}


def outcome(rank: int = 0, world: int = 1) -> dict:
    """Everything that is compared."""
    return {
        "plain": codebook_steps(rank, world, False),
        "revived": codebook_steps(rank, world, True),
        "tokenizer": tokenizer_steps(rank, world),
        "sliced": sliced_steps(rank, world, False),
        "sliced, revived": sliced_steps(rank, world, True),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    ours = outcome(dist.get_rank(), dist.get_world_size())
    torch.save(ours, Path(sys.argv[1]) / f"rank-{dist.get_rank()}.pt")
    dist.destroy_process_group()
