"""The head of a task: from the tokens of a window to its logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .channel_order import ChannelOrder
from .channels import channel_ids as rows_of
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
            self.order = ChannelOrder(card, "head")
        if options.band_power:
            patch_size = round(card.rate_hz * PATCH_S)
            self.log_band_power = LogBandPower(patch_size, card.rate_hz, card.scale_uv)

    def serves(self, card: TaskCard) -> bool:
        """Whether these weights are those of a card: same head, outputs, and channels it knows."""
        same = card.head == self.options and card.num_outputs == self.out_features
        if not same or self.options.kind != "channels":
            return same
        rows = torch.from_numpy(rows_of(card.channels, card.bipolar))
        return torch.equal(rows, self.order.channel_ids[0].cpu())

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
        """Logits (batch, outputs); arguments as of :meth:`read`."""
        return self.logits(self.read(tokens, pooled, channel_ids, norm, input_values))

    def logits(self, read: torch.Tensor) -> torch.Tensor:
        """Logits (batch, outputs) of what :meth:`read` gave."""
        return F.linear(self._dropped(self.layers(read)), self.weight, self.bias)

    def layers(self, read: torch.Tensor) -> torch.Tensor:
        """What the output layer gets, (batch, ``in_features``), of what :meth:`read` gave."""
        if self.options.hidden is None:
            return read
        return F.gelu(self.hidden(self._dropped(read)))

    def features(
        self,
        tokens: torch.Tensor,
        pooled: torch.Tensor,
        channel_ids: torch.Tensor,
        norm: nn.LayerNorm,
        input_values: torch.Tensor,
    ) -> torch.Tensor:
        """What the output layer gets, (batch, ``in_features``); arguments as of :meth:`read`."""
        return self.layers(self.read(tokens, pooled, channel_ids, norm, input_values))

    def read(
        self,
        tokens: torch.Tensor,
        pooled: torch.Tensor,
        channel_ids: torch.Tensor,
        norm: nn.LayerNorm,
        input_values: torch.Tensor,
    ) -> torch.Tensor:
        """What the head's first linear layer gets.

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
            (batch, features), in the head's dtype.

        Raises
        ------
        ValueError
            A ``channels`` head, and the window's channels are not those of the task. Where nothing
            can be raised (:class:`channel_order.ChannelOrder`) the features are NaN instead.
        """
        if self.options.kind == "channels":
            return self._by_channel(tokens, channel_ids, norm, input_values)
        if self.options.kind == "attention":
            return self._attended(tokens, norm)
        return pooled.to(self.weight.dtype)

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
        # Of every own channel its place: (own,) or (batch, own); whether all are there.
        place, fits = self.order(channel_ids)
        batch, _, width = tokens.shape
        count = channel_ids.shape[-2]
        means = norm(tokens[:, 1:].reshape(batch, count, -1, width).mean(2))  # over patches
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
