"""The training steps that are compared, and the operations they cannot do without."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from modeling_mteeg import MteegConfig, MteegModel, TaskCard
from modeling_mteeg.methods.mteeg import Mteeg
from modeling_mteeg.recipes.benchmarks.graphed_step import GraphedStep
from modeling_mteeg.recipes.benchmarks.plain import PlainLabram
from modeling_mteeg.recipes.benchmarks.step import Step
from modeling_mteeg.training.compiling import compile_layers
from modeling_mteeg.training.optimization import sum_gradients
from modeling_mteeg.training.passes import rows_of, split_passes

# Task: classes, channels, seconds (paper, table 1).
SHAPES = {
    "tuab": (2, 23, 10),
    "tuev": (6, 23, 5),
    "seed-v": (5, 62, 1),
    "chb-mit": (2, 16, 10),
    "sleep-edf": (5, 2, 30),
    "physionet-mi": (5, 64, 4),
}
LR, WEIGHT_DECAY, LABEL_SMOOTHING, DROP_PATH = 5e-4, 0.05, 0.1, 0.1
VARIANTS = {
    "plain, float32": "six models, each fully fine-tuned",
    "plain, bfloat16": "the same under autocast",
    "plain, float32, 2 processes": "the six models dealt to two processes, half the threads each",
    "joint, float32": "one model, six adapters, one pass",
    "joint, float32, bounded": "the same gradients, no pass larger than the largest task's",
    "joint, bfloat16": "one pass under autocast",
    "joint, bfloat16, bounded": "under autocast, no pass larger than the largest task's",
    "joint, float32, 2 processes": "bounded passes in two processes that halve samples and threads",
    "joint, bfloat16, 2 processes": "the same under autocast",
    "joint, float32, compiled": "one pass, its layers through torch.compile (`compile: true`)",
    "joint, bfloat16, compiled": "the same under autocast",
    "joint, float32, compiled, 2 processes": "bounded passes of compiled layers in two processes",
    "joint, bfloat16, compiled, 2 processes": "the same under autocast",
    "plain, float32 TF32": "six models, products of float32 rounded to TF32",
    "joint, float32 TF32": "one pass, products of float32 rounded to TF32",
    "joint, float32 TF32, compiled": "the same with compiled layers",
    "joint, float16": "one pass under autocast, with a gradient scaler",
    "joint, float16, bounded": "under autocast with a scaler, passes of bounded size",
    "joint, bfloat16, CUDA graph": "one pass under autocast, the whole step played back",
    "joint, bfloat16, compiled, CUDA graph": "the same of compiled layers",
}
"""Rows; TF32, float16 and CUDA graphs are measured on a GPU alone."""


def num_processes(variant: str) -> int:
    """Processes that a variant runs in."""
    return 2 if "2 processes" in variant else 1


def cards() -> dict[str, TaskCard]:
    """Task cards with the real shapes; labels are numbers."""
    return {
        task: TaskCard(task, tuple(map(str, range(classes))), window_s=seconds)
        for task, (classes, _, seconds) in SHAPES.items()
    }


def batches(samples: int, device: torch.device) -> dict[str, dict[str, torch.Tensor]]:
    """Random windows of every task's real shape (timing does not depend on the values)."""
    generator = torch.Generator().manual_seed(0)
    windows = {}
    for task, (classes, channels, seconds) in SHAPES.items():
        rows = torch.arange(1, channels + 1)
        windows[task] = {
            "input_values": torch.randn(samples, channels, seconds, 200, generator=generator),
            "channel_ids": torch.stack([rows, rows], dim=1),
            "labels": torch.arange(samples) % classes,
        }
    return {
        task: {key: value.to(device) for key, value in batch.items()}
        for task, batch in windows.items()
    }


class PlainStep(Step):
    """One optimiser step of each of six separate models, one after the other.

    Several processes take turns at the models, largest first; there is nothing to exchange.
    """

    def __init__(self, preset: str, samples: int, device: torch.device, variant: str, *args):
        super().__init__(samples, variant, device, *args)
        config = MteegConfig.from_preset(preset, drop_path_rate=DROP_PATH)
        whole, rank, world = batches(samples, device), self.rank, self.world
        largest_first = sorted(whole, key=lambda task: -whole[task]["input_values"].numel())
        # 0 1 1 0 0 1: the sizes of both hands come out nearly even.
        tasks_here = {
            task for i, task in enumerate(largest_first) if (i + i // world) % world == rank
        }
        self.batches = {task: batch for task, batch in whole.items() if task in tasks_here}
        self.cards = {task: card for task, card in cards().items() if task in tasks_here}
        self.models = {
            task: PlainLabram(config, card.num_outputs).to(device)
            for task, card in self.cards.items()
        }
        self.optimizers = {
            task: torch.optim.AdamW(model.parameters(), LR, weight_decay=WEIGHT_DECAY)
            for task, model in self.models.items()
        }

    def __call__(self) -> None:
        for task, batch in self.batches.items():
            with self.autocast():
                rows = batch["channel_ids"][:, 0]
                logits = self.models[task](batch["input_values"], rows).float()
            if self.cards[task].is_binary:
                loss = F.binary_cross_entropy_with_logits(logits[:, 0], batch["labels"].float())
            else:
                loss = F.cross_entropy(logits, batch["labels"], label_smoothing=LABEL_SMOOTHING)
            self.backward(loss)
            self.update(self.optimizers[task])
            self.optimizers[task].zero_grad(set_to_none=True)


class JointStep(Step):
    """One optimiser step of the joint training, as ``recipes/joint.py`` does it.

    With several processes every one holds its share of each task's samples.
    """

    def __init__(self, preset: str, samples: int, device: torch.device, variant: str, *args):
        super().__init__(samples, variant, device, *args)
        torch.manual_seed(0)  # the same start in every process
        self.model = MteegModel(MteegConfig.from_preset(preset, drop_path_rate=DROP_PATH))
        for task, card in cards().items():
            self.model.add_adapter(task, card=card)
        self.method = Mteeg(self.model)
        self.model.to(device).train()
        if "compiled" in variant:
            compile_layers(self.model, temporal_encoder=True)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        fused = True if device.type == "cuda" else None  # as recipes/joint.py has it
        self.optimizer = torch.optim.AdamW(
            self.trained, LR, weight_decay=WEIGHT_DECAY, fused=fused, capturable="graph" in variant
        )
        self.batches = {
            task: rows_of(batch, self.share.start, self.share.stop)
            for task, batch in batches(samples, device).items()
        }
        self.max_tokens = None
        if "bounded" in variant or self.world > 1:
            largest = max(1 + channels * seconds for _, channels, seconds in SHAPES.values())
            self.max_tokens = largest * -(-samples // self.world)  # its share, rounded up

    def __call__(self) -> None:
        for part in split_passes(self.batches, self.max_tokens, self.method.tokens):
            with self.autocast():
                outputs = self.model(tasks=part, smoothing=LABEL_SMOOTHING)
            loss = sum(
                output.loss * (len(part[task]["labels"]) / self.samples)
                for task, output in outputs.items()
            )
            self.backward(loss)
        sum_gradients(self.trained, self.accelerator)
        self.update(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)


def build(variant: str, preset: str, samples: int, device: torch.device):
    """The step of a variant, ready to be called."""
    kind = PlainStep if variant.startswith("plain") else JointStep
    step = kind(preset, samples, device, variant)
    return GraphedStep(step, step.optimizer) if "graph" in variant else step


def computed_share(variant: str, device: torch.device) -> float:
    """Share of a step's rows that its layers compute, in the mean over layers and draws.

    Stochastic depth leaves rows out in the joint step on a CPU; its rate grows from 0 in the first
    layer to ``DROP_PATH`` in the last one.
    """
    leaves_out = variant.startswith("joint") and device.type == "cpu"
    return 1.0 - DROP_PATH / 2 if leaves_out else 1.0


def operations(preset: str, samples: int, joint: bool, rank: int = 8) -> float:
    """Floating-point operations in the matrix products of a step.

    Counted: linear layers forward, their input gradients, their weight gradients in the plain step
    or the adapters' products in the joint one, the attention products and their gradients. Not
    counted: everything else, the temporal encoder, and that samples skip layers
    (:func:`computed_share`).
    """
    config = MteegConfig.from_preset(preset)
    d, hidden, depth = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    sizes = ((d, 3 * d), (d, d), (d, hidden), (hidden, d))
    weights = sum(d_in * d_out for d_in, d_out in sizes)
    adapter = sum(rank * (d_in + d_out) for d_in, d_out in sizes)
    total = 0.0
    for _, channels, seconds in SHAPES.values():
        tokens = 1 + channels * seconds
        # Two operations a weight, for the output, the input's gradient and (plain) the weight's;
        # scores and weighted sums of the attention, and twice as much backward.
        linear = 2 * weights * (2 if joint else 3) + (2 * adapter * 2 if joint else 0)
        attention = 2 * 2 * tokens * d * 3
        total += samples * tokens * depth * (linear + attention)
    return total
