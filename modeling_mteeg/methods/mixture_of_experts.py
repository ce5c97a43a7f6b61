"""Experts that are whole LaBraMs, and gates that mix what a task's head reads of them.

MMoE has experts that all tasks share; CGC gives every task some of its own beside them. Every
shared expert runs once over the batches of all tasks of a step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers.utils import ModelOutput

from ..model.channel_order import ChannelOrder
from ..model.channels import BIPOLAR_RULES
from ..model.modeling_mteeg import MteegModel, MteegOutput, task_loss
from ..model.task_card import TaskCard
from ..model.task_head import TaskHead

ADAPTER = "expert"
"""Name of the adapter in an expert that has one."""
_OF_A_BATCH = {"input_values", "channel_ids", "labels"}


@dataclass
class MixtureOutput(ModelOutput):
    """What :class:`MixtureOfExperts` returns for a task's batch.

    Parameters
    ----------
    loss : torch.Tensor, optional
        Scalar, mean over the batch, where labels were given.
    logits : torch.Tensor
        (batch, outputs); one column for a binary task.
    representation : torch.Tensor
        (batch, features), the experts' mixture: what the head's first linear layer gets.
    gate : torch.Tensor
        (batch, experts), the weights it was mixed by, sum 1: the shared experts, then the task's.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    representation: torch.Tensor | None = None
    gate: torch.Tensor | None = None


class TaskGate(nn.Linear):
    """A task's weights of its experts: softmax of a linear layer on the window as it is.

    Parameters
    ----------
    card : TaskCard
        Its channels and window say how long a window is; weights belong to channels by name.
    experts : int

    Notes
    -----
    LibMTL's gate of MMoE and CGC, which has one input size for all tasks and so cannot serve tasks
    of unlike shapes; here it has its task's own, channels x samples, channel by channel.
    """

    def __init__(self, card: TaskCard, experts: int) -> None:
        samples = round(card.window_s * card.rate_hz)
        super().__init__(len(card.channels) * samples, experts)  # PyTorch's start values
        # The window may have been looked up by either rule: the signal is the same.
        self.order = ChannelOrder(card, "gate", BIPOLAR_RULES)
        self.task = card.name

    def forward(self, input_values: torch.Tensor, channel_ids: torch.Tensor) -> torch.Tensor:
        """Weights (batch, experts) for windows (batch, channels, patches, 200) in 0.1 mV.

        Raises
        ------
        ValueError
            Channels or a length other than the task's.
        """
        signal = input_values.flatten(2)  # (batch, channels, samples): patches in order are time
        place, fits = self.order(channel_ids)  # (own,) or (batch, own)
        samples = self.in_features // len(self.order.channels)
        if signal.shape[1:] != (len(self.order.channels), samples):
            raise ValueError(
                f"Task {self.task!r}: its gate has a weight for every sample, so that it needs "
                f"windows of {len(self.order.channels)} channels x {samples} samples; found "
                f"{signal.shape[1]} x {signal.shape[2]}."
            )
        place = place.expand(len(signal), -1)[..., None].expand(-1, -1, samples)
        signal = signal.gather(1, place).flatten(1)  # (batch, channels * samples)
        scores = F.linear(signal.to(self.weight.dtype), self.weight, self.bias)
        # Where nothing can be raised: never an answer from channels that are not the task's.
        return scores.softmax(-1).masked_fill(~fits.reshape(-1, 1), torch.nan)


class MixtureOfExperts(nn.Module):
    """Experts, gates and heads of several tasks.

    Parameters
    ----------
    experts : sequence of MteegModel
        Shared by all tasks; without tasks of their own.
    own : mapping of str to sequence of MteegModel
        Every task's own experts, maybe none.
    cards : mapping of str to TaskCard
        The tasks, with channels; their heads are made here, then their gates.

    Raises
    ------
    ValueError
        No expert, a task without channels, or with a head that cannot be mixed.

    Notes
    -----
    What is mixed is what a head's first linear layer reads. For the paper's head this is the
    pooled representation after ``fc_norm``, as LibMTL mixes its encoders' outputs; for a head of
    kind ``channels`` every channel's normalised mean token, and band power, which is the same of
    all experts.
    """

    def __init__(
        self,
        experts: Sequence[MteegModel],
        own: Mapping[str, Sequence[MteegModel]],
        cards: Mapping[str, TaskCard],
    ) -> None:
        super().__init__()
        faults = list(mixing_faults(cards))
        faults += [] if experts else ["shared: expected at least one expert, found none."]
        if faults:
            raise ValueError(" ".join(faults))
        config = experts[0].config
        self.config, self.cards = config, dict(cards)
        self.experts = nn.ModuleList(experts)
        self.own = nn.ModuleDict({task: nn.ModuleList(own.get(task, ())) for task in cards})
        self.heads = nn.ModuleDict(
            {
                task: TaskHead(card, config.hidden_size, config.initializer_range)
                for task, card in cards.items()
            }
        )
        self.gates = nn.ModuleDict(
            {
                task: TaskGate(card, len(experts) + len(self.own[task]))
                for task, card in cards.items()
            }
        )

    def forward(
        self, tasks: Mapping[str, Mapping[str, torch.Tensor]], smoothing: float = 0.0
    ) -> dict[str, MixtureOutput]:
        """Logits and, where there are labels, losses.

        Parameters
        ----------
        tasks : mapping
            Task to ``input_values`` (batch, channels, patches, 200) or (batch, channels, samples)
            in 0.1 mV, ``channel_ids`` (channels, 2), and maybe ``labels`` (batch,).
        smoothing : float
            Label smoothing of cross-entropy losses.
        """
        mixed, weights = self.mix(tasks)
        outputs = {}
        for task, read in mixed.items():
            logits, labels = self.heads[task].logits(read), tasks[task].get("labels")
            loss = None
            if labels is not None:
                loss = task_loss(self.cards[task], logits, labels, smoothing)
            outputs[task] = MixtureOutput(loss, logits, read, weights[task])
        return outputs

    def mix(
        self, tasks: Mapping[str, Mapping[str, torch.Tensor]]
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """What every task's head reads (batch, features), and the weights (batch, experts).

        Shared experts run once, the tasks' tokens laid end to end; own ones on their task alone.
        """
        if not tasks or not set(tasks) <= set(self.cards):
            raise ValueError(f"tasks: expected some of {list(self.cards)}, found {list(tasks)}.")
        for task, batch in tasks.items():
            if not set(batch) <= _OF_A_BATCH:
                raise ValueError(
                    f"Task {task!r}: expected input_values, channel_ids and maybe labels, found "
                    f"{sorted(set(batch) - _OF_A_BATCH)} too."
                )
        encoded = [self._encode(expert, tasks) for expert in self.experts]
        mixed, weights = {}, {}
        for task, batch in tasks.items():
            outputs = [(expert, by_task[task])
                       for expert, by_task in zip(self.experts, encoded, strict=True)]  # fmt: skip
            for expert in self.own[task]:
                outputs.append((expert, self._encode(expert, {task: batch})[task]))
            reads = torch.stack(
                [self._read(task, expert, output, batch) for expert, output in outputs], dim=1
            )  # (batch, experts, features)
            gate = self.gates[task](batch["input_values"], batch["channel_ids"])
            # A weight a window and expert: (batch, 1, experts) (batch, experts, features).
            mixed[task] = torch.bmm(gate[:, None].to(reads.dtype), reads).squeeze(1)
            weights[task] = gate
        return mixed, weights

    @staticmethod
    def _encode(expert: MteegModel, batches: Mapping) -> dict[str, MteegOutput]:
        return expert.encode(batches, ADAPTER if expert.has_adapters else None)

    def _read(self, task: str, expert: MteegModel, output: MteegOutput, batch: Mapping):
        """What the task's head would read of one expert, (batch, features)."""
        return self.heads[task].read(
            output.last_hidden_state,
            output.pooler_output,
            batch["channel_ids"],
            expert.fc_norm,
            batch["input_values"],
        )

    def all_experts(self) -> list[MteegModel]:
        """The shared ones, then every task's own."""
        return [*self.experts, *(expert for own in self.own.values() for expert in own)]


def mixing_faults(cards: Mapping[str, TaskCard]) -> Iterator[str]:
    """Why tasks cannot be served by gates and a mixture, in sentences."""
    for task, card in cards.items():
        if not card.channels:
            yield (
                f"Task {task!r}: a gate reads every channel of a window, so it needs their names "
                "in the task card, found none; prepare the corpus with them."
            )
        if card.head.kind == "attention":
            yield (
                f"Task {task!r}: a head of kind 'attention' weighs tokens, which experts' mixtures "
                "have none of; use head: mean or channels."
            )


def copies(model: MteegModel, number: int, tied: bool) -> list[MteegModel]:
    """Models that start alike, the one given first.

    ``tied``: they have the very same tensors, which take memory once and stay alike whatever is
    done to them; only what is put into them later, such as adapters, is their own.
    """
    same = {id(parameter): parameter for parameter in model.parameters()} if tied else {}
    return [model, *(copy.deepcopy(model, dict(same)) for _ in range(number - 1))]
