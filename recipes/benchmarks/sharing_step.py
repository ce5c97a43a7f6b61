"""Steps of the ways of sharing one LaBraM: HPS, MMoE and CGC beside MTEEG, all trained alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.methods import GradientMethod, build_sharing
from modeling_mteeg.methods.cgc import Cgc
from modeling_mteeg.methods.hps import Hps
from modeling_mteeg.methods.mmoe import Mmoe
from modeling_mteeg.methods.mteeg import Mteeg
from modeling_mteeg.model.channels import ELECTRODES
from modeling_mteeg.recipes.benchmarks.joint_step import (
    DROP_PATH,
    LABEL_SMOOTHING,
    LR,
    SHAPES,
    WEIGHT_DECAY,
    batches,
    cards,
)
from modeling_mteeg.recipes.benchmarks.step import Step
from modeling_mteeg.recipes.benchmarks.tables import median_ratio, middle, table
from modeling_mteeg.training.passes import split_passes

FIRST = "HPS"
VARIANTS = {
    "HPS": "one backbone trained whole, one pass over all tasks",
    "MMoE": "6 shared experts, each in one pass over all tasks",
    "CGC": "the same, and 1 own expert a task",
    "MTEEG": "one backbone, six adapters, one pass",
    "MMoE, task by task": "the same step without the one pass",
    "HPS, bounded": "no pass of more tokens than the largest task has",
    "MMoE, bounded": "likewise, where a token counts once for every expert that it meets",
    "CGC, bounded": "likewise",
    "MTEEG, bounded": "likewise",
}


def build_method(name: str, preset: str) -> GradientMethod:
    """A method with random weights, on the six tasks' real shapes."""
    config = MteegConfig.from_preset(preset, drop_path_rate=DROP_PATH)
    chosen = {
        task: card.replace(channels=ELECTRODES[: SHAPES[task][1]]) for task, card in cards().items()
    }
    if name == "MTEEG":
        model = MteegModel(config)
        for task, card in chosen.items():
            model.add_adapter(task, card=card)
        return Mteeg(model)
    network = build_sharing(name.lower(), chosen, config).module
    return Hps(network) if name == "HPS" else {"MMoE": Mmoe, "CGC": Cgc}[name](network, "full")


class SharingStep(Step):
    """One optimiser step of all tasks."""

    def __init__(self, preset: str, samples: int, device: torch.device, variant: str, *args):
        super().__init__(samples, variant, device, *args)
        torch.manual_seed(0)
        self.method = build_method(variant.partition(",")[0], preset)
        self.method.module.to(device).train()
        trained = [p for p in self.method.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, LR, weight_decay=WEIGHT_DECAY)
        self.batches = batches(samples, device)
        largest = max(1 + channels * seconds for _, channels, seconds in SHAPES.values())
        self.max_tokens = largest * samples if "bounded" in variant else None
        self.alone = "task by task" in variant

    def __call__(self) -> None:
        passes = split_passes(self.batches, self.max_tokens, self.method.tokens)
        if self.alone:
            passes = [{task: batch} for task, batch in self.batches.items()]
        for part in passes:
            outputs = self.method.forward(part, LABEL_SMOOTHING)
            loss = sum(
                output.loss * (len(part[task]["labels"]) / self.samples)
                for task, output in outputs.items()
            )
            loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def build(variant: str, preset: str, samples: int, device: torch.device) -> SharingStep:
    """The step of a variant, ready to be called."""
    return SharingStep(preset, samples, device, variant)


def sharing_table(
    preset: str, seconds: Mapping[str, Sequence[float]], peak: Mapping[str, float]
) -> str:
    """Time, memory and weights by variant; times and memory also as multiples of the first's."""
    first, rows = next(iter(seconds)), []
    for name, values in seconds.items():
        with torch.device("meta"):
            counts = build_method(name.partition(",")[0], preset).parameter_counts()
        slower = median_ratio(seconds[first], values)
        rows.append(
            f"{name} | {middle(values):.3f} | {slower:.2f} | {peak[name]:.0f} "
            f"| {peak[name] / peak[first]:.2f} | {counts['total']:,} | {counts['trained']:,}"
        )
    columns = f"step | seconds | times {first} | peak MB | times {first} | weights | trained"
    return table(columns, rows)
