"""Finding a task's channels in a window, by name and in any order."""

from __future__ import annotations

import torch
from torch import nn

from .channels import channel_ids as rows_of
from .head_options import CHANNELS_ADVICE
from .task_card import TaskCard


class ChannelOrder(nn.Module):
    """The channels of a task's card, for a part of the model that has weights for each of them.

    Parameters
    ----------
    card : TaskCard
        With channels.
    part : str
        Whose weights they are, for errors: ``head``.
    rules : tuple of str, optional
        The rules (``bipolar``) by which a window's channels may have been looked up; by default
        the card's alone.
    """

    def __init__(self, card: TaskCard, part: str, rules: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.task, self.channels, self.part = card.name, card.channels, part
        forms = [rows_of(card.channels, rule) for rule in rules or (card.bipolar,)]
        rows = torch.stack([torch.from_numpy(form) for form in forms])  # (forms, own, 2)
        self.register_buffer("channel_ids", rows, persistent=False)

    def forward(self, channel_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the card's channels are among a window's.

        Parameters
        ----------
        channel_ids : torch.Tensor
            int64, (channels, 2) or (batch, channels, 2), of the window.

        Returns
        -------
        place : torch.Tensor
            int64, (own,) or (batch, own): of every channel of the card.
        fits : torch.Tensor
            bool, () or (batch,): whether these channels are there, and no others. False only where
            nothing can be raised: on an accelerator in training and in compiled graphs, which would
            have to wait for values.

        Raises
        ------
        ValueError
            The window's channels are not those of the task.
        """
        ours = self.channel_ids[..., None, :]  # (forms, own, 1, 2)
        theirs = channel_ids[..., None, None, :, :].to(ours.device)
        same = (theirs == ours).all(-1).any(-3)  # (own, channels), or with a leading batch axis
        # Every own channel is there, and there is no other one.
        fits = same.any(-1).all(-1) & same.any(-2).all(-1)  # () or (batch,)
        if self._may_ask(channel_ids) and not bool(fits.all()):
            raise ValueError(self._misfit(same))
        return same.to(torch.int64).argmax(-1), fits

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
            f"Task {self.task!r}: its {self.part} has weights of its own for every channel, so "
            f"that it needs exactly its {len(there)} channels, in any order; found {len(known)}"
        )
        text += f", without {', '.join(absent)}" if absent else ""
        if not all(known):
            text += f", {len(known) - sum(known)} of them unknown to it"
        return text + f". {CHANNELS_ADVICE}"
