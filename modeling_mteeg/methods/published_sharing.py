"""HPS, MMoE and CGC from outside a training, with weights under LibMTL's and LaBraM's names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import nn

from ..conversion.key_names import published_key
from ..model.adapter_options import HEAD_ALONE
from ..model.configuration_mteeg import MteegConfig
from ..model.modeling_mteeg import MteegModel
from ..model.task_card import TaskCard
from ..settings.schema import nearest
from .expert_method import assemble, fill
from .mixture_of_experts import MixtureOfExperts, MixtureOutput

SHARINGS = ("hps", "mmoe", "cgc")
_PREFIXES = (
    (re.compile(r"experts\.(\d+)\."), r"experts_shared.\1."),
    (re.compile(r"own\.([^.]+\.\d+)\."), r"experts_specific.\1."),
)
_ENCODER = re.compile(r"(encoder\.|experts_shared\.\d+\.|experts_specific\.[^.]+\.\d+\.)(.*)")


class Sharing(nn.Module):
    """One of the three networks of several tasks.

    Attributes
    ----------
    module : MteegModel or MixtureOfExperts
        What the method of the same name trains.
    """

    def __init__(self, module: MteegModel | MixtureOfExperts) -> None:
        super().__init__()
        self.module = module

    def forward(
        self, tasks: Mapping[str, Mapping[str, torch.Tensor]], smoothing: float = 0.0
    ) -> dict[str, MixtureOutput]:
        """Logits, losses where there are labels, representations and gates of every task's batch.

        Parameters
        ----------
        tasks : mapping
            Task to ``input_values`` (batch, channels, patches, 200) or (batch, channels, samples)
            in 0.1 mV, ``channel_ids`` (channels, 2), and maybe ``labels`` (batch,).
        smoothing : float
            Label smoothing of cross-entropy losses.

        Returns
        -------
        dict of str to MixtureOutput
            The gate is None for HPS, which has none.
        """
        if isinstance(self.module, MixtureOfExperts):
            return self.module(tasks, smoothing)
        outputs, model = self.module(tasks=tasks, smoothing=smoothing), self.module
        return {
            task: MixtureOutput(
                loss=output.loss,
                logits=output.logits,
                representation=model.heads[task].read(
                    output.last_hidden_state,
                    output.pooler_output,
                    tasks[task]["channel_ids"],
                    model.fc_norm,
                    tasks[task]["input_values"],
                ),
            )
            for task, output in outputs.items()
        }

    def published_parameters(self) -> dict[str, nn.Parameter]:
        """The weights by their published names: ``encoder.*`` of HPS, ``experts_shared.<i>.*``,
        ``experts_specific.<task>.<j>.*`` and ``gate_specific.<task>.0.*``; ``decoders.<task>.*``.
        """
        return {_published(name): parameter for name, parameter in self.module.named_parameters()}

    def load_published(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take weights under their published names; all must be there, and no others.

        Raises
        ------
        ValueError
            Naming everything that is missing, left over or of another shape; nothing is taken.
        """
        parameters = self.published_parameters()
        fill(parameters, {name: _plain(name, value) for name, value in state.items()}, "published")


def build_sharing(
    name: str,
    cards: Mapping[str, TaskCard],
    config: MteegConfig,
    shared: int = 6,
    own: int | Mapping[str, int] = 1,
) -> Sharing:
    """The network of ``hps``, ``mmoe`` or ``cgc`` with random weights.

    Parameters
    ----------
    name : {"hps", "mmoe", "cgc"}
    cards : mapping of str to TaskCard
        The tasks; gates need their channels and windows.
    config : MteegConfig
        Sizes of the backbone, which is every expert's.
    shared : int
        Experts that all tasks share; HPS has none, whatever it says.
    own : int or mapping of str to int
        Experts of every task's own, for all alike or by task; for CGC alone.

    Raises
    ------
    ValueError
        An unknown name, no shared expert, a negative number, or numbers of other tasks.
    """
    if name not in SHARINGS:
        raise ValueError(
            f"name: expected one of {', '.join(SHARINGS)}, found {name!r}{nearest(name, SHARINGS)}."
        )
    if not cards:
        raise ValueError("cards: expected at least one task, found none.")
    if name == "hps":
        model = MteegModel(config)
        for task, card in cards.items():
            model.add_adapter(task, card=card, options=HEAD_ALONE)
        model.set_trainable(everything=True)
        return Sharing(model)
    by_task = own if isinstance(own, Mapping) else dict.fromkeys(cards, own)
    by_task = dict.fromkeys(cards, 0) if name == "mmoe" else dict(by_task)
    if set(by_task) != set(cards):
        raise ValueError(f"own: expected numbers of {list(cards)}, found {list(by_task)}.")
    numbers = [shared - 1, *by_task.values()]
    if any(not isinstance(number, int) or number < 0 for number in numbers):
        raise ValueError(
            f"Expected at least one shared expert and none or more own ones, found {shared!r} and "
            f"{own!r}."
        )
    experts = [MteegModel(config) for _ in range(shared + sum(by_task.values()))]
    return Sharing(assemble(experts, shared, cards, by_task))


def _published(name: str) -> str:
    """The published name of a weight of either kind of network."""
    part, _, rest = name.partition(".")
    if part == "heads":
        return f"decoders.{rest}"
    if part == "gates":
        task, _, tensor = rest.partition(".")
        return f"gate_specific.{task}.0.{tensor}"
    for pattern, prefix in _PREFIXES:
        if match := pattern.match(name):
            return match.expand(prefix) + published_key(name[match.end() :])
    return f"encoder.{published_key(name)}"


def _plain(name: str, value: torch.Tensor) -> torch.Tensor:
    """A table without its leading axis of one."""
    match = _ENCODER.fullmatch(name)
    is_table = match and match[2] in ("pos_embed", "time_embed")
    return value.squeeze(0) if is_table and value.ndim == 3 else value
