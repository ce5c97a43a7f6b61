"""One step of masked pre-training, and the published way of it, written plainly."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from modeling_mteeg import (
    MteegConfig,
    MteegForPreTraining,
    MteegTokenizerConfig,
    MteegTokenizerModel,
)
from modeling_mteeg.model.pretraining_mteeg import random_mask
from modeling_mteeg.recipes.benchmarks.plain import PlainStudent, PlainTokenizer
from modeling_mteeg.recipes.benchmarks.step import Step, layer_operations
from modeling_mteeg.training.compiling import compile_layers
from modeling_mteeg.training.optimization import sum_gradients

CHANNELS, SECONDS = 64, 4  # the 256 patches of a published window
LR, BETAS, WEIGHT_DECAY, CLIP = 5e-4, (0.9, 0.98), 0.05, 3.0
VARIANTS = {
    "plain, float32": "a tokenizer pass and two passes of the student, as published",
    "plain, float32, 2 processes": "the same in two processes that halve samples and threads",
    "one pass, float32": "mask and complement in one pass, temporal encoder shared",
    "one pass, float32, compiled": "the same, layers through torch.compile (`compile: true`)",
    "one pass, float32, compiled, 2 processes": "the same in two processes, as above",
    "one pass, bfloat16": "one pass under autocast, tokenizer included",
    "one pass, bfloat16, compiled": "the same, layers through torch.compile",
}


def configurations(preset: str) -> tuple[MteegConfig, MteegTokenizerConfig]:
    """Student and tokenizer; the published tokenizer serves students of every size."""
    tokenizer = MteegTokenizerConfig.from_preset("tiny" if preset == "tiny" else "base")
    return MteegConfig.from_preset(preset, num_codes=tokenizer.num_codes), tokenizer


def windows(samples: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Random windows of 64 channels x 4 s (timing does not depend on the values)."""
    rows = torch.arange(1, CHANNELS + 1)
    values = torch.randn(
        samples, CHANNELS, SECONDS, 200, generator=torch.Generator().manual_seed(0)
    )
    return {
        "input_values": values.to(device),
        "channel_ids": torch.stack([rows, rows], dim=1).to(device),
    }


class PretrainingStep(Step):
    """Labels from a frozen tokenizer, forward, backward, clipped gradients, AdamW.

    With several processes every one holds its share of the windows; the step is the same.
    """

    fused: bool | None = None  # as torch chooses

    def __init__(self, student: nn.Module, tokenizer: nn.Module, samples: int, variant: str,
                 device: torch.device):  # fmt: skip
        super().__init__(samples, variant, device)
        self.student, self.tokenizer = student.to(device).train(), tokenizer.to(device).eval()
        self.batch = windows(samples, device)
        self.batch["input_values"] = self.batch["input_values"][self.share]
        self.trained = [p for p in self.student.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trained, LR, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=self.fused
        )

    def loss(self, mask: torch.Tensor) -> torch.Tensor:
        """Loss on the mask and its complement."""
        raise NotImplementedError

    def __call__(self) -> None:
        mask = random_mask(self.samples, CHANNELS * SECONDS, device=self.device)[self.share]
        with self.autocast():
            loss = self.loss(mask)
        (loss * (len(mask) / self.samples)).backward()  # of every window the same share is hidden
        sum_gradients(self.trained, self.accelerator)
        nn.utils.clip_grad_norm_(self.trained, CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class PlainStep(PretrainingStep):
    """As published: every pass by itself."""

    def loss(self, mask: torch.Tensor) -> torch.Tensor:
        values, rows = self.batch["input_values"], self.batch["channel_ids"][:, 0]
        labels = self.tokenizer(values, rows)
        masked = F.cross_entropy(self.student(values, rows, mask), labels[mask])
        return masked + F.cross_entropy(self.student(values, rows, ~mask), labels[~mask])


class OnePassStep(PretrainingStep):
    """As this package does it."""

    fused = True

    def loss(self, mask: torch.Tensor) -> torch.Tensor:
        labels = self.tokenizer.get_codebook_indices(**self.batch)
        return self.student(**self.batch, mask=mask, labels=labels, return_logits=False).loss


def build(variant: str, preset: str, samples: int, device: torch.device) -> PretrainingStep:
    """The step of a variant, ready to be called."""
    student, tokenizer = configurations(preset)
    torch.manual_seed(0)
    if variant.startswith("plain"):
        return PlainStep(PlainStudent(student), PlainTokenizer(tokenizer), samples, variant, device)
    models = MteegForPreTraining(student), MteegTokenizerModel(tokenizer)
    step = OnePassStep(*models, samples, variant, device)
    if "compiled" in variant:
        compile_layers(*models)
    return step


def operations(preset: str, samples: int) -> float:
    """Floating-point operations in the matrix products of a step.

    Counted: linear layers and attention of the student's two passes, forward and backward; those of
    the tokenizer's encoder, forward; codes predicted and looked up. Not counted: everything else,
    and the temporal encoders.
    """
    student, tokenizer = configurations(preset)
    patches = samples * CHANNELS * SECONDS

    def forward(config: MteegConfig) -> float:
        return samples * layer_operations(config, 1 + CHANNELS * SECONDS, config.num_hidden_layers)

    predicted = 2 * patches * student.hidden_size * student.num_codes
    looked_up = 2 * patches * tokenizer.code_size * tokenizer.num_codes
    # Backward costs twice the forward; mask and complement are two passes of the student.
    return 3 * (2 * forward(student) + predicted) + forward(tokenizer) + looked_up
