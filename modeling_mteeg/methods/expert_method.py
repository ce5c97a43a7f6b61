"""What methods with several LaBraMs as experts share: their start, training and files."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors.torch import save_file
from torch import nn

from ..model.adapter_options import AdapterOptions
from ..model.checked_files import read_json
from ..model.configuration_mteeg import MteegConfig
from ..model.modeling_mteeg import MteegModel
from ..model.task_card import TaskCard
from ..settings.plain_json import write_json
from ..settings.schema import setting
from .kept_base import trains_encoder
from .labram import (
    cards_with_heads,
    chosen_heads,
    decays_in_labram,
    depth_in_labram,
    start_model,
)
from .method import Batch, GradientMethod, TrainingError
from .mixture_of_experts import ADAPTER, MixtureOfExperts, MixtureOutput, copies, mixing_faults
from .task_files import WEIGHTS_FILE, read_weights, save_tasks

FOLDER, SIZES_FILE = "experts", "experts.json"
"""Of the shared experts in a saved folder: their weights, configuration, and how many they are."""
_EXPERT = re.compile(r"(?:experts\.\d+|own\.[^.]+\.\d+)\.")
_PARTS = {"gate.": "gates.{}.", "head.": "heads.{}.", "own.": "own.{}."}
"""Names in a task's file to names in the network."""
_TOLD = {
    "full": "each a whole LaBraM",
    "lora": "each a low-rank adapter on one frozen LaBraM",
    "frozen": "each a frozen LaBraM",
}


@dataclasses.dataclass(frozen=True)
class ExpertOptions:
    """Experts that all tasks share, a task's own beside them, and what of them is trained.

    ``full``: everything. ``lora``: a low-rank adapter in each (the section ``adapter``) on one
    frozen backbone, whose temporal encoder is trained by all unless ``train_temporal_encoder`` is
    false. ``frozen``: nothing, only gates and heads are.
    """

    shared: int = setting(6, "> 0")
    own: int = setting(0, ">= 0")
    expert: str = setting("full", "full|lora|frozen")


class ExpertMethod(GradientMethod):
    """Experts that are whole backbones, a gate and a head a task.

    Experts start as copies of the base; from a preset each has random values of its own, the first
    those that other methods start from. Heads are those of :class:`~.labram.LabramMethod` with the
    same seed.
    """

    module: MixtureOfExperts
    makes_base = False
    has_heads = True
    Options: ClassVar[type] = ExpertOptions
    label: ClassVar[str] = ""
    """What the title begins with."""

    def __init__(
        self, network: MixtureOfExperts, expert: str, adapter: AdapterOptions | None = None
    ) -> None:
        super().__init__(network.cards)
        self.module, self.expert, self.adapter = network, expert, adapter
        self.depths = network.config.num_hidden_layers + 1

    @classmethod
    def check(cls, config: Any) -> Iterator[str]:
        yield from super().check(config)
        if cls._expert(config) == "full" and config.train_temporal_encoder is False:
            yield (
                f"train_temporal_encoder: method {config.method} trains whole experts, found "
                "false; leave it out, or take method_options.expert: lora"
            )
        if config.into_base:
            yield (
                f"into_base: method {config.method} makes no tasks of a base, but experts of its "
                "own; leave it out"
            )
        by_task = {f"heads.{task}": head for task, head in config.heads.items()}
        for where, head in {"head": config.head, **by_task}.items():
            if head.kind == "attention":
                yield (
                    f"{where}.kind: a head of kind attention weighs tokens, which a mixture of "
                    "experts has none of; expected mean or channels"
                )

    @classmethod
    def _expert(cls, config: Any) -> str:
        return config.method_options.get("expert", cls.Options().expert)

    @classmethod
    def uses_adapters(cls, config: Any) -> bool:
        return cls._expert(config) == "lora"

    @classmethod
    def build(cls, config: Any, cards: Mapping[str, TaskCard], seed: int) -> Self:
        options, chosen = cls.Options(**config.method_options), cards_with_heads(config, cards)
        faults = list(mixing_faults(chosen))
        if faults:
            raise TrainingError(" ".join(faults))
        torch.manual_seed(seed)
        first, kind = start_model(config.model), options.expert
        number = options.shared + options.own * len(chosen)
        if config.model.base is None and kind != "lora":  # random values go on where they were
            experts = [first, *(start_model(config.model) for _ in range(number - 1))]
        else:
            experts = copies(first, number, tied=kind != "full")
        choose_trained(experts, kind, kind == "lora" and trains_encoder(config))
        torch.manual_seed(seed)  # heads and gates do not depend on how the experts came about
        adapter = config.adapter if kind == "lora" else None
        return cls(assemble(experts, options.shared, chosen, options.own, adapter), kind, adapter)

    def forward(
        self, batches: Mapping[str, Batch], smoothing: float
    ) -> Mapping[str, MixtureOutput]:
        return self.module(batches, smoothing)

    def output_layer(self, task: str) -> nn.Linear:
        return self.module.heads[task]

    def output_blocks(self, task: str) -> tuple[int, ...]:
        return self.module.heads[task].blocks

    @torch.no_grad()
    def output_features(self, task: str, batch: Batch) -> torch.Tensor:
        device = next(self.module.parameters()).device
        batch = {key: batch[key].to(device) for key in ("input_values", "channel_ids")}
        self.module.eval()  # a training step puts it back
        return self.module.heads[task].layers(self.module.mix({task: batch})[0][task])

    def tokens(self, batch: Batch) -> int:
        """Of all experts that a sample meets, since each holds its activations."""
        samples = batch["input_values"].shape[1:].numel()
        met = len(self.module.experts) + max(map(len, self.module.own.values()))
        return met * (1 + samples // self.module.config.patch_size)  # the class token, too

    def depth(self, name: str) -> int:
        """As in one LaBraM; gates learn from nothing, as heads do, and have their depth."""
        inner = _EXPERT.sub("", name, count=1)
        return self.depths if inner.startswith("gates.") else depth_in_labram(inner, self.depths)

    def decays(self, name: str, parameter: torch.Tensor) -> bool:
        return decays_in_labram(_EXPERT.sub("", name, count=1), parameter)

    def task_of(self, name: str) -> str | None:
        part, task, *_ = name.split(".")
        return None if part == "experts" else task

    def identity(self) -> dict[str, Any]:
        return chosen_heads(self.cards)

    @property
    def title(self) -> str:
        own = {len(experts) for experts in self.module.own.values()}
        least, most = min(own), max(own)
        number = f"{least}" if least == most else f"{least} to {most}"
        beside = f" and {number} of every task's own" if most else ""
        return (
            f"{self.label}: {len(self.module.experts)} shared experts{beside}, "
            f"{_TOLD[self.expert]}; a gate and a head a task"
        )

    def facts(self) -> dict[str, Any]:
        encoders = [expert.temporal_encoder for expert in self.module.all_experts()]
        trained = {p.requires_grad for encoder in encoders for p in encoder.parameters()}
        encoder = "partly trained" if len(trained) > 1 else trained.pop()
        return {**super().facts(), "train_temporal_encoder": encoder}

    # Files -----------------------------------------------------------------------------------

    def save(
        self,
        folder: Path,
        results: Mapping[str, Mapping[str, Any]],
        record: Mapping[str, Any] | None = None,
    ) -> None:
        """``experts`` holds the shared experts, ``tasks/<task>`` what a task has beside them."""
        weights = {name: p.detach() for name, p in self.module.named_parameters()}
        place = folder / FOLDER
        place.mkdir(parents=True)
        shared = {name: p.cpu() for name, p in weights.items() if name.startswith("experts.")}
        save_file({name: p.contiguous() for name, p in shared.items()}, place / WEIGHTS_FILE)
        config = MteegConfig.from_dict(self.module.config.to_dict())
        config.fingerprint = config.rounded_fingerprints = None  # of the start, not of these
        config.save_pretrained(place)
        write_json(place / SIZES_FILE, {
            "shared": len(self.module.experts),
            "own": {task: len(own) for task, own in self.module.own.items()},
            "expert": self.expert,
            "tied": len({id(e.cls_token) for e in self.module.all_experts()}) == 1,
            "adapter": self.adapter.to_dict() if self.adapter else None,
            "train_temporal_encoder": self.facts()["train_temporal_encoder"],
        })  # fmt: skip
        states = {task: self._state(task, weights) for task in self.cards}
        save_tasks(folder, self.cards, states, results, record)

    @staticmethod
    def _state(task: str, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What is a task's own, by its names in the task's file."""
        return {
            part + name.removeprefix(full.format(task)): tensor.contiguous()
            for part, full in _PARTS.items()
            for name, tensor in weights.items()
            if name.startswith(full.format(task))
        }

    @classmethod
    def load(cls, folder: Path, task: str) -> Self:
        """With the shared experts and those of one task.

        Raises
        ------
        ValueError
            Weights that are missing, left over or of other shapes, all named.
        """
        place = folder / FOLDER
        sizes = read_json(place / SIZES_FILE)
        card = TaskCard.load(cls.task_folder(folder, task))
        config = MteegConfig.from_pretrained(place)
        adapter = AdapterOptions(**sizes["adapter"]) if sizes["adapter"] else None
        shared, own = sizes["shared"], sizes["own"][task]
        experts = copies(MteegModel(config), shared + own, sizes["tied"])
        choose_trained(experts, sizes["expert"], sizes["train_temporal_encoder"])
        network = assemble(experts, shared, {task: card}, own, adapter)
        state = read_weights(place / WEIGHTS_FILE)
        for name, tensor in read_weights(cls.task_folder(folder, task) / WEIGHTS_FILE).items():
            part = name.partition(".")[0] + "."
            state[_PARTS.get(part, part).format(task) + name.removeprefix(part)] = tensor
        fill(dict(network.named_parameters()), state, str(folder))
        return cls(network, sizes["expert"], adapter)


def choose_trained(experts: list[MteegModel], kind: str, encoder: bool) -> None:
    """Freeze what experts of a kind leave as it is; ``encoder``: but for the temporal encoder."""
    for expert in experts:
        expert.requires_grad_(kind == "full")
        expert.temporal_encoder.requires_grad_(kind == "full" or encoder)


def assemble(
    experts: list[MteegModel],
    shared: int,
    cards: Mapping[str, TaskCard],
    own: int | Mapping[str, int],
    adapter: AdapterOptions | None = None,
) -> MixtureOfExperts:
    """The network: the first ``shared`` experts for all, the rest to the tasks in their order.

    Parameters
    ----------
    experts : list of MteegModel
        As many as are needed.
    shared : int
    cards : mapping of str to TaskCard
    own : int or mapping of str to int
        Of every task, or by task.
    adapter : AdapterOptions, optional
        A low-rank adapter of every expert; random A, B zero.
    """
    rest = iter(experts[shared:])
    numbers = own if isinstance(own, Mapping) else dict.fromkeys(cards, own)
    of_task = {task: [next(rest) for _ in range(numbers[task])] for task in cards}
    network = MixtureOfExperts(experts[:shared], of_task, cards)
    for expert in network.all_experts() if adapter else ():
        expert.insert_adapter(ADAPTER, adapter)
    return network


def fill(
    parameters: Mapping[str, nn.Parameter], state: Mapping[str, torch.Tensor], where: str
) -> None:
    """Copy weights into parameters of the same names; all must be there, and no others.

    Raises
    ------
    ValueError
        Naming everything that is missing, left over or of another shape; nothing is copied.
    """
    faults = [f"{name}: missing" for name in parameters if name not in state]
    faults += [f"{name}: there is no such weight" for name in state if name not in parameters]
    faults += [
        f"{name}: expected shape {tuple(parameter.shape)}, found {tuple(state[name].shape)}"
        for name, parameter in parameters.items()
        if name in state and state[name].shape != parameter.shape
    ]
    if faults:
        raise ValueError("\n  ".join([f"{where}: these weights do not fit:", *faults]))
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[name])
