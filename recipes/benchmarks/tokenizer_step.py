"""One training step of the neural tokenizer, and the published way of it, written plainly."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from modeling_mteeg import MteegConfig, MteegTokenizerConfig, MteegTokenizerModel
from modeling_mteeg.recipes.benchmarks.plain import PlainLabram, PlainTokenizer
from modeling_mteeg.recipes.benchmarks.pretraining_step import CHANNELS, SECONDS, windows
from modeling_mteeg.recipes.benchmarks.step import Step, layer_operations
from modeling_mteeg.training.compiling import compile_layers

LR, BETAS, WEIGHT_DECAY = 5e-5, (0.9, 0.99), 1e-4
VARIANTS = {
    "plain, float32": "as published: distances whole, codes counted and summed by one-hot matrices",
    "tokenizer, float32": "look-up in slices, codes summed by whole numbers",
    "tokenizer, float32, compiled": "the same, layers through torch.compile (`compile: true`)",
    "tokenizer, bfloat16": "under autocast",
    "tokenizer, bfloat16, compiled": "the same, layers through torch.compile",
}


def configuration(preset: str) -> MteegTokenizerConfig:
    """The published tokenizer, whatever the student; its k-means start is over."""
    return MteegTokenizerConfig.from_preset(
        "tiny" if preset == "tiny" else "base", kmeans_start=False
    )


class PlainTokenizerTraining(nn.Module):
    """Encoder, codebook and decoder, with one-hot matrices of tokens by codes."""

    def __init__(self, config: MteegTokenizerConfig):
        super().__init__()
        self.decay = config.code_decay
        self.encoder = PlainTokenizer(config)
        shallow = copy.deepcopy(config)
        shallow.num_hidden_layers = config.num_decoder_layers
        self.decoder = PlainLabram(shallow, config.patch_size)
        width = config.hidden_size
        self.decoder.convs = self.decoder.norms = nn.ModuleList()  # codes come in, not patches
        self.from_code = nn.Linear(config.code_size, width)
        self.amplitude_head, self.phase_head = (
            nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, config.patch_size))
            for _ in range(2)
        )

    def forward(self, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """(batch, channels, patches, 200) and the channels' rows (channels,) to the loss."""
        encoder, patches = self.encoder, values.shape[2]
        x = encoder.transform(encoder.patch_tokens(values), rows, patches)
        tokens = F.normalize(encoder.head(encoder.fc_norm(x)).float(), dim=-1)
        snapped, commitment = self.quantize(tokens.flatten(0, 1))
        features = self.from_code(snapped.view(tokens.shape))
        features = self.decoder.fc_norm(self.decoder.transform(features, rows, patches))
        spectrum = torch.fft.fft(values)
        targets = spectrum.abs(), torch.angle(spectrum)
        predicted = self.amplitude_head(features), self.phase_head(features)
        return commitment + sum(
            F.mse_loss(part, self.standardised(target).flatten(1, 2))
            for part, target in zip(predicted, targets, strict=True)
        )

    def quantize(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes of unit tokens (tokens, size) with straight-through gradients, and commitment."""
        codes, usage = self.encoder.codes, self.encoder.usage
        with torch.no_grad():
            indices = self.encoder.nearest(tokens)
            chosen = F.one_hot(indices, len(codes)).to(tokens.dtype)  # (tokens, codes)
            values = codes[indices]
            counts = chosen.sum(0)
            usage.mul_(self.decay).add_(counts, alpha=1 - self.decay)
            means = F.normalize((tokens.T @ chosen).T / counts.clamp(min=1)[:, None], dim=-1)
            means = torch.where(counts[:, None] > 0, means, codes)
            codes.copy_(F.normalize(codes * self.decay + means * (1 - self.decay), dim=-1))
        return tokens + (values - tokens).detach(), F.mse_loss(tokens, values)

    @staticmethod
    def standardised(x: torch.Tensor) -> torch.Tensor:
        mean, deviation = x.mean((1, 2, 3), keepdim=True), x.std((1, 2, 3), keepdim=True)
        return (x - mean) / deviation


class TokenizerStep(Step):
    """Forward with the codebook's update, backward, AdamW."""

    def __init__(self, model: nn.Module, samples: int, variant: str, device: torch.device):
        super().__init__(samples, variant, device)
        self.model, self.batch = model.to(device).train(), windows(samples, device)
        self.plain = variant.startswith("plain")
        options = {} if self.plain else {"fused": True}
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), LR, betas=BETAS, weight_decay=WEIGHT_DECAY, **options
        )

    def loss(self) -> torch.Tensor:
        """Loss of the batch; the codebook moves."""
        values, ids = self.batch["input_values"], self.batch["channel_ids"]
        return self.model(values, ids[:, 0]) if self.plain else self.model(values, ids).loss

    def __call__(self) -> None:
        with self.autocast():
            loss = self.loss()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def build(variant: str, preset: str, samples: int, device: torch.device) -> TokenizerStep:
    """The step of a variant, ready to be called."""
    config = configuration(preset)
    torch.manual_seed(0)
    kind = PlainTokenizerTraining if variant.startswith("plain") else MteegTokenizerModel
    step = TokenizerStep(kind(config), samples, variant, device)
    if "compiled" in variant:
        compile_layers(step.model)
    return step


def operations(preset: str, samples: int) -> float:
    """Floating-point operations in the matrix products of a step.

    Counted: linear layers and attention of encoder and decoder, forward and backward, and the codes
    looked up. Not counted: everything else, and the temporal encoder.
    """
    config: MteegConfig = configuration(preset)
    patches, layers = CHANNELS * SECONDS, config.num_hidden_layers + config.num_decoder_layers
    forward = samples * layer_operations(config, 1 + patches, layers)
    return 3 * forward + 2 * samples * patches * config.code_size * config.num_codes
