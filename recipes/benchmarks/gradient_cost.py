"""What comparing the tasks' gradients costs beside the steps of a training."""

from __future__ import annotations

import math
import statistics
import time

import torch
from accelerate import Accelerator

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.methods.hps import Hps
from modeling_mteeg.methods.mteeg import Mteeg
from modeling_mteeg.model.adapter_options import HEAD_ALONE, AdapterOptions
from modeling_mteeg.recipes.benchmarks.joint_step import (
    DROP_PATH,
    LABEL_SMOOTHING,
    LR,
    SHAPES,
    WEIGHT_DECAY,
    batches,
    cards,
)
from modeling_mteeg.recipes.benchmarks.tables import table
from modeling_mteeg.training.gradient_comparison import GradientComparison

METHODS = {"mteeg": Mteeg, "hps": Hps}
EVERY_STEPS = 25
MOST = 0.05
"""The largest share of a training that a comparison may take."""


class ComparedStep:
    """A joint step in one pass of ``samples`` windows a task, and a comparison on its windows."""

    def __init__(self, name: str, preset: str, samples: int, device: torch.device) -> None:
        torch.manual_seed(0)
        model = MteegModel(MteegConfig.from_preset(preset, drop_path_rate=DROP_PATH))
        options = AdapterOptions() if METHODS[name].has_adapters else HEAD_ALONE
        for task, card in cards().items():
            model.add_adapter(task, card=card, options=options)
        model.set_trainable(everything=name == "hps")
        model.to(device).train()
        self.method = METHODS[name](model)
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, LR, weight_decay=WEIGHT_DECAY)
        self.batches, self.counts = batches(samples, device), dict.fromkeys(SHAPES, samples)
        self.comparison = GradientComparison(self.method, tuple(SHAPES), EVERY_STEPS)
        self.accelerator = Accelerator(cpu=device.type == "cpu")

    def losses(self, part: dict) -> dict[str, torch.Tensor]:
        outputs = self.method.forward(part, LABEL_SMOOTHING)
        return {task: output.loss for task, output in outputs.items()}

    def train(self) -> None:
        """One optimiser step."""
        sum(self.losses(self.batches).values()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def compare(self) -> None:
        """One comparison."""
        self.comparison.add(self.batches, self.counts, self.losses, lambda batch: [batch])
        self.comparison.finish(0, 0, self.counts, self.accelerator)


def gradient_cost_table(
    preset: str, samples: int, repeats: int, warmup: int, device: torch.device
) -> str:
    """Seconds of a step and of a comparison, in turn, and the share that the latter takes."""
    rows = []
    for name in METHODS:
        step = ComparedStep(name, preset, samples, device)
        seconds: dict[str, list[float]] = {"train": [], "compare": []}
        for turn in range(warmup + repeats):
            for what, values in seconds.items():
                begun = time.perf_counter()
                getattr(step, what)()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                if turn >= warmup:
                    values.append(time.perf_counter() - begun)
        train, compare = (statistics.median(values) for values in seconds.values())
        ratio = compare / train
        share = ratio / (EVERY_STEPS + ratio)
        least = math.ceil(ratio * (1 - MOST) / MOST)  # ratio / (every + ratio) <= MOST
        shared = sum(p.numel() for p in step.comparison.shared.values())
        rows.append(
            f"{name} | {shared:,} | {train:.3f} | {compare:.3f} | {ratio:.2f} | {share:.1%} | "
            f"{least}"
        )
    head = (
        f"method | shared weights | step s | comparison s | in steps | share at {EVERY_STEPS} "
        f"steps | under {MOST:.0%} from"
    )
    return (
        f"Comparing gradients, {preset}, {samples} samples of each of six tasks, medians of "
        f"{repeats} rounds.\n\n{table(head, rows)}"
    )
