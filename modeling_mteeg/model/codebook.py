"""Codebook of the neural tokenizer: unit vectors that follow their tokens' mean, without gradients.

Under several processes every update counts the tokens of all of them, so that all hold the codes
that one process would have on the same tokens. Where something is drawn, it is drawn from all
tokens in the order of the processes, by a generator that depends on the number of updates alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from .code_search import largest
from .configuration_tokenizer import MteegTokenizerConfig

# Scores of so many (token, code) pairs are held at a time: 16 MB in float32.
_SCORES_AT_A_TIME = 2**22
# Values of unit tokens are summed as whole multiples of 2**-36 (7e-12 off at most; float32 holds
# 6e-8). Whole numbers add up to the same in any order, which floats on a GPU do not, and 2**26
# tokens of one code stay within int64.
_UNITS = 2.0**36


class Quantized(NamedTuple):
    """Tokens snapped to codes.

    Parameters
    ----------
    values : torch.Tensor
        (tokens, code_size), the codes; gradients pass straight through to the tokens.
    commitment : torch.Tensor
        Scalar, mean squared distance of the unit tokens from their codes.
    indices : torch.Tensor
        int64, (tokens,), numbers of the codes.
    """

    values: torch.Tensor
    commitment: torch.Tensor
    indices: torch.Tensor


class _Pending:
    """What the forwards of one step have found so far: sums by code, and maybe the tokens."""

    def __init__(self, sums: torch.Tensor, tokens: torch.Tensor):
        self.sums = sums  # int64, (codes, code_size + 2)
        self.tokens = [tokens]


class Codebook(nn.Module):
    """Codes of unit length that move by an exponential average (LaBraM, neural tokenizer).

    In training mode every forward is one update, or all within :meth:`one_step` are one. In the
    first ``continuous_steps`` updates the tokens pass on as they are, of unit length, and the codes
    do not move: encoder and decoder learn to carry what there is before codes have to.

    Attributes
    ----------
    codes : torch.Tensor
        float32, (num_codes, code_size).
    usage : torch.Tensor
        float32, (num_codes,), moving average of the tokens that took a code, per training step.
    started : torch.Tensor
        bool, whether the codes come from training (the k-means start is over) or a checkpoint.
    updates : torch.Tensor
        int64, training steps so far.
    """

    def __init__(self, config: MteegTokenizerConfig):
        super().__init__()
        self.config = config
        codes = F.normalize(torch.randn(config.num_codes, config.code_size), dim=-1)
        self.register_buffer("codes", codes)
        self.register_buffer("usage", torch.zeros(config.num_codes))
        self.register_buffer("started", torch.tensor(not config.kmeans_start))
        self.register_buffer("updates", torch.tensor(0))
        # All three save reading the buffers back from an accelerator every step.
        self._known_updates: tuple[torch.Tensor, int, int] | None = None
        self._seen_started = False
        self._seen_all_continuous = False
        self._pending: _Pending | None = None

    def _load_from_state_dict(self, *args) -> None:
        self._seen_started = self._seen_all_continuous = False
        super()._load_from_state_dict(*args)

    def forward(self, tokens: torch.Tensor) -> Quantized:
        """Snap tokens to codes; in training mode the codes then move.

        Parameters
        ----------
        tokens : torch.Tensor
            float32, (tokens, code_size), of any length. In training every process has to call this
            equally often, each with its part of the step's tokens; within :meth:`one_step` as often
            as it likes.

        Raises
        ------
        RuntimeError
            Within :meth:`one_step`, if the k-means start is still to come: it needs all tokens of
            the step.
        """
        tokens = F.normalize(tokens, dim=-1)
        if self.is_continuous():
            if self.training and self._pending is None:
                self._count_update()
            return Quantized(tokens, tokens.new_zeros(()), self.look_up(tokens.detach()))
        if self.training and not self.is_started():
            if self._pending is not None:
                raise RuntimeError(
                    "The codebook has not been started: expected start_codebook(parts) with all "
                    "parts of the first step before one_step()."
                )
            self._start(tokens.detach())
        indices = self.look_up(tokens.detach())
        values = self.codes[indices]
        if self.training and self._pending is not None:
            self._note(tokens.detach(), indices)
        elif self.training:
            with self.one_step():
                self._note(tokens.detach(), indices)
        commitment = F.mse_loss(tokens, values)
        return Quantized(tokens + (values - tokens).detach(), commitment, indices)

    @contextmanager
    def one_step(self) -> Iterator[None]:
        """Make all forwards within the block one update, made when the block ends.

        A step that is cut into parts to save memory then moves the codes, counts the usage and
        revives dead codes exactly as one forward over all its tokens does; forwards within the
        block see the codes of before. Processes may hold different numbers of parts, or none. With
        an error in the block nothing is updated.

        Raises
        ------
        RuntimeError
            Within another such block.
        """
        if self._pending is not None:
            raise RuntimeError("Expected one one_step() at a time, found one within another.")
        size = self.config.code_size
        sums = torch.zeros(
            self.config.num_codes, size + 2, dtype=torch.int64, device=_summing_device(self.codes)
        )
        self._pending = _Pending(sums, self.codes.new_empty(0, size))
        try:
            yield
            if self.training and self.is_continuous():
                self._count_update()
            elif self.training:
                self._update(self._pending)
        finally:
            self._pending = None

    @torch.no_grad()
    def start(self, tokens: torch.Tensor) -> bool:
        """Start codes and usage by k-means, unless they have been.

        Parameters
        ----------
        tokens : torch.Tensor
            float32, (tokens, code_size), this process's part of the first step, maybe none of it;
            every process has to call this.

        Returns
        -------
        bool
            Whether there was anything to start.
        """
        if self.is_started() or self.is_continuous():
            return False
        self._start(F.normalize(tokens.float(), dim=-1))
        return True

    def is_continuous(self) -> bool:
        """Whether tokens still pass on as they are; numbers of codes say nothing until then."""
        if not self._seen_all_continuous:
            early = self._num_updates() < self.config.continuous_steps
            self._seen_all_continuous = not early or self.is_started()
        return not self._seen_all_continuous

    def _num_updates(self) -> int:
        """``updates`` as a number, read back only where something else has written it."""
        known, buffer = self._known_updates, self.updates
        if known is None or known[0] is not buffer or known[1] != buffer._version:
            known = self._known_updates = (buffer, buffer._version, int(buffer))
        return known[2]

    @torch.no_grad()
    def _count_update(self) -> None:
        number = self._num_updates() + 1
        self.updates += 1
        self._known_updates = (self.updates, self.updates._version, number)

    def is_started(self) -> bool:
        """Whether the codes come from training or a checkpoint; read back until it is so."""
        self._seen_started = self._seen_started or bool(self.started)
        return self._seen_started

    def look_up(self, tokens: torch.Tensor) -> torch.Tensor:
        """Number of the nearest code of every unit token: (tokens, code_size) to int64 (tokens,).

        Notes
        -----
        The nearest code is the one with the largest ``token . code - |code|^2 / 2``, one matrix
        product; a slice of the tokens at a time.
        """
        codes = self.codes.to(tokens.dtype)
        offset = codes.square().sum(1) / -2
        slices = tokens.split(max(1, _SCORES_AT_A_TIME // len(codes)))
        with torch.autocast(tokens.device.type, enabled=False):
            # Scores (slice, codes): the offset has one number a code.
            nearest = [largest(torch.addmm(offset, part, codes.T)) for part in slices]
        return torch.cat(nearest)

    def num_dead(self) -> int:
        """Codes whose usage is below ``dead_below``; all of them before the first update."""
        return int((self.usage < self.config.dead_below).sum())

    def perplexity(self) -> float:
        """Exponential of the entropy of the usage: how many equally used codes it amounts to."""
        share = self.usage.double() / self.usage.sum().clamp(min=1e-12)
        return float(torch.special.entr(share).sum().exp())

    @torch.no_grad()
    def note_usage(self, counts: torch.Tensor) -> None:
        """Take the tokens of one step, counted by code (num_codes,), into the usage."""
        decay = self.config.code_decay
        self.usage.mul_(decay).add_(counts.to(self.usage.dtype), alpha=1 - decay)

    @torch.no_grad()
    def _note(self, tokens: torch.Tensor, indices: torch.Tensor) -> None:
        """Take the tokens of one forward into the pending update."""
        self._pending.sums.add_(self._sums(tokens, indices))
        if self.config.revive_dead:
            self._pending.tokens.append(tokens)

    @torch.no_grad()
    def _update(self, pending: _Pending) -> None:
        """Move every code that was taken towards the mean of its tokens, and revive dead ones."""
        means, counts = self._means(pending.sums)  # (codes, code_size), (codes,)
        self.note_usage(counts)
        moved = torch.lerp(means, self.codes.to(means.dtype), self.config.code_decay)
        moved = F.normalize(moved, dim=-1).to(self.codes.dtype)
        # Where nothing came there is no mean, and the code stays.
        self.codes.copy_(torch.where(counts[:, None] > 0, moved, self.codes))
        if self.config.revive_dead:
            self._revive(torch.cat(pending.tokens))
        self._count_update()

    def _sums(self, tokens: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Sums by code over this process's tokens: int64, (num_codes, code_size + 2).

        The values in whole :data:`_UNITS`, the number of tokens, and how many are not finite.
        """
        device = _summing_device(tokens)
        tokens, indices = tokens.to(device), indices.to(device)
        broken = ~tokens.isfinite().all(1, keepdim=True)  # (tokens, 1); whole numbers have no NaN
        values = (tokens.float().nan_to_num(0.0, 0.0, 0.0) * _UNITS).round().long()
        # (tokens, code_size + 2): one index_add_ sums values, tokens and broken tokens.
        rows = torch.cat([values, torch.ones_like(values[:, :1]), broken.long()], dim=1)
        return rows.new_zeros(self.config.num_codes, rows.shape[1]).index_add_(0, indices, rows)

    def _means(self, sums: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit mean (num_codes, code_size) and count (num_codes,) of every code's tokens.

        From all processes' :meth:`_sums`. A code that took a token that is not finite has no mean:
        it shows NaN.
        """
        sums = _sum_over_processes(sums)
        exact = torch.float32 if self.codes.device.type == "mps" else torch.float64
        means = F.normalize(sums[:, :-2].double() / _UNITS, dim=-1)
        means.masked_fill_(sums[:, -1:] > 0, torch.nan)
        return means.to(self.codes.device, exact), sums[:, -2].to(self.codes.device)

    @torch.no_grad()
    def _start(self, tokens: torch.Tensor) -> None:
        """Set codes and usage by k-means over the unit tokens of all processes.

        With fewer tokens than codes the codes left over stay the random directions they were.
        """
        centres = self._draw(tokens, self.config.num_codes)
        if not len(centres):
            raise ValueError("The k-means start of the codebook: expected tokens, found none.")
        self.codes[: len(centres)] = centres
        for _ in range(self.config.kmeans_iterations):
            means, counts = self._means(self._sums(tokens, self.look_up(tokens)))
            self.codes.copy_(torch.where(counts[:, None] > 0, means.to(self.codes), self.codes))
        self.usage.copy_(counts)
        self.started.fill_(True)
        self._seen_started = True

    def _revive(self, tokens: torch.Tensor) -> None:
        """Give dead codes the values of tokens drawn from the step."""
        dead = self.usage < self.config.dead_below  # (num_codes,)
        # How many are dead is not read back: as many as there are codes are drawn, and the n-th
        # dead code takes the n-th. Over processes that would send them all with every step.
        number = len(dead) if _processes() == 1 else int(dead.sum())
        if not number:
            return
        drawn = self._draw(tokens, number)
        if not len(drawn):
            return
        place = dead.cumsum(0) - 1  # of every dead code among them
        dead = dead & (place < len(drawn))
        values = drawn[place.clamp(0, len(drawn) - 1)].to(self.codes.dtype)
        self.codes.copy_(torch.where(dead[:, None], values, self.codes))
        # As if one token a step had taken it: time to find its tokens.
        self.usage.masked_fill_(dead, 1.0)

    def _draw(self, tokens: torch.Tensor, count: int) -> torch.Tensor:
        """At most ``count`` rows, drawn without repeats from the tokens of all processes."""
        first, total = _own_place(len(tokens), tokens.device)
        generator = torch.Generator().manual_seed(self._num_updates())
        # The same draw in every process, counted from this one's first token.
        wanted = torch.randperm(total, generator=generator)[:count] - first
        if tokens.device.type == "cuda":  # else the copy would wait for all that runs there
            wanted = wanted.pin_memory()
        wanted = wanted.to(tokens.device, non_blocking=True)
        if not len(tokens):
            return _sum_over_processes(tokens.new_zeros(len(wanted), tokens.shape[1]))
        here = (wanted >= 0) & (wanted < len(tokens))  # drawn rows that this process holds
        rows = tokens[wanted.clamp(0, len(tokens) - 1)].masked_fill(~here[:, None], 0.0)
        return _sum_over_processes(rows)  # every row is zero on all processes but one


def _summing_device(tensor: torch.Tensor) -> torch.device:
    """Where whole numbers are summed: Apple's GPUs lack the 64-bit types."""
    return torch.device("cpu") if tensor.device.type == "mps" else tensor.device


def _processes() -> int:
    """Processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """The sum over all processes, in place."""
    if _processes() > 1:
        dist.all_reduce(tensor)
    return tensor


def _own_place(rows: int, device: torch.device) -> tuple[int, int]:
    """Number of this process's first row among those of all processes, and their number."""
    if _processes() == 1:
        return 0, rows
    sizes = torch.zeros(_processes(), dtype=torch.int64, device=device)
    sizes[dist.get_rank()] = rows
    sizes = _sum_over_processes(sizes).tolist()
    return sum(sizes[: dist.get_rank()]), sum(sizes)
