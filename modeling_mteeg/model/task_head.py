"""The head of a task: from the tokens of a window to its logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .channels import channel_ids as rows_of
from .head_options import CHANNELS_ADVICE
from .log_band_power import LogBandPower
from .task_card import PATCH_S, TaskCard


class TaskHead(nn.Linear):
    """A linear output layer over what :meth:`features` reads of the tokens.

    The module is the output layer itself: ``weight`` (outputs, features) and ``bias`` (outputs,)
    lie in the head's file under these names for every kind of head.

    Parameters
    ----------
    card : TaskCard
        Its ``head`` says what is read (:class:`head_options.HeadOptions`), its channels and labels
        how much.
    hidden_size : int
        Width of the backbone.
    std : float
        Standard deviation of the start values; biases start at 0.
    """

    def __init__(self, card: TaskCard, hidden_size: int, std: float = 0.02) -> None:
        options = card.head
        blocks = options.blocks(hidden_size, len(card.channels))
        read = sum(blocks)
        sources = blocks if options.hidden is None else (options.hidden,)
        super().__init__(read if options.hidden is None else options.hidden, card.num_outputs)
        self.blocks = sources  # features of the output layer by source
        self.options, self.task, self.channels = options, card.name, card.channels
        nn.init.trunc_normal_(self.weight, std=std)
        nn.init.zeros_(self.bias)
        if options.hidden is not None:
            self.hidden = nn.Linear(read, options.hidden)
            nn.init.kaiming_normal_(self.hidden.weight, nonlinearity="relu")
            nn.init.zeros_(self.hidden.bias)
        if options.kind == "attention":  # small: at first nearly the mean over all tokens
            self.query = nn.Parameter(torch.empty(options.queries, hidden_size))
            nn.init.trunc_normal_(self.query, std=std)
        if options.kind == "channels":
            rows = torch.from_numpy(rows_of(card.channels, card.bipolar))  # (channels, 2)
            self.register_buffer("channel_ids", rows, persistent=False)
        if options.band_power:
            patch_size = round(card.rate_hz * PATCH_S)
            self.log_band_power = LogBandPower(patch_size, card.rate_hz, card.scale_uv)

    def serves(self, card: TaskCard) -> bool:
        """Whether these weights are those of a card: same head, outputs, and channels it knows."""
        same = card.head == self.options and card.num_outputs == self.out_features
        if not same or self.options.kind != "channels":
            return same
        rows = torch.from_numpy(rows_of(card.channels, card.bipolar))
        return torch.equal(rows, self.channel_ids.cpu())

    def extra_repr(self) -> str:
        text = f"head {self.options.describe()}, {self.out_features} outputs"
        by_name = self.options.kind == "channels"
        return text + (f", channels {' '.join(self.channels)}" if by_name else "")

    def forward(
        self,
        tokens: torch.Tensor,
        pooled: torch.Tensor,
        channel_ids: torch.Tensor,
        norm: nn.LayerNorm,
        input_values: torch.Tensor,
    ) -> torch.Tensor:
        """Logits (batch, outputs); arguments as of :meth:`features`."""
        read = self.features(tokens, pooled, channel_ids, norm, input_values)
        features = self._dropped(read)
        return F.linear(features, self.weight, self.bias)

    def features(
        self,
        tokens: torch.Tensor,
        pooled: torch.Tensor,
        channel_ids: torch.Tensor,
        norm: nn.LayerNorm,
        input_values: torch.Tensor,
    ) -> torch.Tensor:
        """What the output layer gets.

        Parameters
        ----------
        tokens : torch.Tensor
            (batch, 1 + channels * patches, width), the last hidden state.
        pooled : torch.Tensor
            (batch, width), the normalised mean over the patch tokens.
        channel_ids : torch.Tensor
            int64, (channels, 2) or (batch, channels, 2), of the window.
        norm : torch.nn.LayerNorm
            The backbone's ``fc_norm``: part of the base, not of the head.
        input_values : torch.Tensor
            The window itself, as the model got it; read where ``band_power`` is on.

        Returns
        -------
        torch.Tensor
            (batch, ``in_features``), in the head's dtype.

        Raises
        ------
        ValueError
            A ``channels`` head, and the window's channels are not those of the task. On an
            accelerator in training and in compiled graphs nothing can be raised without waiting for
            values; the features are NaN instead.
        """
        if self.options.kind == "channels":
            read = self._by_channel(tokens, channel_ids, norm, input_values)
        elif self.options.kind == "attention":
            read = self._attended(tokens, norm)
        else:
            read = pooled.to(self.weight.dtype)
        if self.options.hidden is None:
            return read
        return F.gelu(self.hidden(self._dropped(read)))

    def shares(self, tokens: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
        """Share of every patch token in what is read, (batch, channels * patches), sum 1.

        Equal shares, whatever the weights of the output layer, but for an ``attention`` head.
        """
        if self.options.kind == "attention":
            values = norm(tokens[:, 1:]).to(self.weight.dtype)
            return self._attention(values).mean(2)  # over the queries
        count = tokens.shape[1] - 1
        return tokens.new_full((len(tokens), count), 1 / count)

    def _dropped(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, self.options.dropout, self.training) if self.options.dropout else x

    def _attention(self, values: torch.Tensor) -> torch.Tensor:
        """Weights (batch, tokens, queries) of normalised tokens (batch, tokens, width)."""
        scores = values @ self.query.t() * values.shape[-1] ** -0.5
        return scores.softmax(1)

    def _attended(self, tokens: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
        """(batch, queries * width)."""
        values = norm(tokens[:, 1:]).to(self.weight.dtype)  # without cls: (batch, tokens, width)
        return (self._attention(values).transpose(1, 2) @ values).flatten(1)

    def _by_channel(
        self,
        tokens: torch.Tensor,
        channel_ids: torch.Tensor,
        norm: nn.LayerNorm,
        input_values: torch.Tensor,
    ) -> torch.Tensor:
        """(batch, the card's channels * (width, then bands)), in the card's order."""
        ours = self.channel_ids  # (own, 2)
        same = channel_ids[..., None, :, :].to(ours.device) == ours[:, None]
        same = same.all(-1)  # (own, channels), or with a leading batch axis
        # Every own channel is there, and there is no other one.
        fits = same.any(-1).all(-1) & same.any(-2).all(-1)  # () or (batch,)
        if self._may_ask(channel_ids) and not bool(fits.all()):
            raise ValueError(self._misfit(same))
        batch, _, width = tokens.shape
        count = channel_ids.shape[-2]
        means = norm(tokens[:, 1:].reshape(batch, count, -1, width).mean(2))  # over patches
        place = same.to(torch.int64).argmax(-1)  # of every own channel: (own,) or (batch, own)
        place = place.expand(batch, -1)[..., None]  # (batch, own, 1)
        read = [means]
        if self.options.band_power:
            read.append(self.log_band_power(input_values))  # (batch, channels, bands)
        read = torch.cat(
            [
                values.gather(1, place.expand(-1, -1, values.shape[2]))
                .to(self.weight.dtype)
                .flatten(1)
                for values in read
            ],
            dim=1,
        )
        # Where nothing can be raised: never an answer from channels that are not the task's.
        return read.masked_fill(~fits.reshape(-1, 1), torch.nan)

    def _may_ask(self, channel_ids: torch.Tensor) -> bool:
        """Whether values may be read back: from an accelerator a training would wait for them."""
        if torch.compiler.is_compiling():
            return False
        return not self.training or (
            channel_ids.device.type == self.channel_ids.device.type == "cpu"
        )

    def _misfit(self, same: torch.Tensor) -> str:
        """What is wrong with the first window that does not have the card's channels."""
        same = same.reshape(-1, *same.shape[-2:])  # (batch, own, channels)
        fits = same.any(2).all(1) & same.any(1).all(1)
        same = same[int(torch.nonzero(~fits)[0, 0])]
        there, known = same.any(1).tolist(), same.any(0).tolist()
        absent = [name for name, found in zip(self.channels, there, strict=True) if not found]
        text = (
            f"Task {self.task!r}: its head has weights of its own for every channel, so that it "
            f"needs exactly its {len(there)} channels, in any order; found {len(known)}"
        )
        text += f", without {', '.join(absent)}" if absent else ""
        if not all(known):
            text += f", {len(known) - sum(known)} of them unknown to it"
        return text + f". {CHANNELS_ADVICE}"
