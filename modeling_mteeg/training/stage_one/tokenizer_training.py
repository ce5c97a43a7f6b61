"""Training of the neural tokenizer (LaBraM: vector-quantised neural spectrum prediction)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..._clone import as_typed
from ...data import StepPart
from ...methods.method import TrainingError
from ...model.configuration_tokenizer import MteegTokenizerConfig
from ...model.tokenizer_mteeg import MteegTokenizerModel
from ..optimization import CosineSchedule
from .held_out_codes import collapse, sampled_windows
from .stage_one_config import TokenizerOptions, TokenizerTrainingConfig
from .step_place import StepPlace
from .trainer import StageOneTrainer

_OPTIONS = (
    "num_codes", "code_size", "revive_dead", "continuous_steps", "commitment_weight",
    "amplitude_target", "phase_weight", "initializer_range",
)  # fmt: skip
"""Fields of :class:`TokenizerOptions` that are the model's configuration."""
_FITTED_WINDOWS = 2000


def build_tokenizer(options: TokenizerOptions, seed: int) -> MteegTokenizerModel:
    """The tokenizer to train: a preset with random weights, or an earlier one.

    Raises
    ------
    TrainingError
        There is no tokenizer at ``options.init``.
    """
    torch.manual_seed(seed)
    settings = {name: value for name in _OPTIONS if (value := getattr(options, name)) is not None}
    if options.init is None:
        return MteegTokenizerModel(MteegTokenizerConfig.from_preset(options.preset, **settings))
    return load_tokenizer(options.init, "model.init", **settings)


def load_tokenizer(place: str, key: str, **options: Any) -> MteegTokenizerModel:
    """A trained tokenizer from a folder or the Hub; ``key`` names the setting in messages."""
    try:
        return MteegTokenizerModel.from_pretrained(place, **options)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{key}: expected a folder or Hub id of a neural tokenizer, found {place!r}: {error} "
            + as_typed("Train one with accelerate launch recipes/pretrain_tokenizer.py")
            + ", or convert a published one with mteeg convert."
        ) from error


class TokenizerTrainer(StageOneTrainer):
    """Encoder, codebook and decoder; see :class:`~.trainer.StageOneTrainer`."""

    model: MteegTokenizerModel
    plateau_is_fault = True
    remedy = (
        "Train longer, start the codebook later (model.continuous_steps), take another "
        "optimization.lr, or begin with the settings of --config small: the "
        "phase_loss falls where a training leaves this plateau (docs/pretraining.md)."
    )

    @property
    def num_codes(self) -> int:
        return len(self.model.codebook.codes)

    def __init__(self, config: TokenizerTrainingConfig, *arguments: Any) -> None:
        super().__init__(config, *arguments)
        targets = self.model.log_amplitudes
        if targets is not None and not targets.fitted:  # else earlier weights, which know theirs
            device = self.accelerator.device
            parts = sampled_windows(self.data["train"], _FITTED_WINDOWS)
            targets.fit(part.to(device) for part in parts)

    @property
    def num_electrodes(self) -> int:
        return 1 + self.model.config.num_spatial

    @property
    def codes_from(self) -> int:
        codebook = self.model.codebook
        return self.model.config.continuous_steps if codebook.is_continuous() else 0

    def planned_schedule(self) -> CosineSchedule:
        """Of a short training half is without a codebook at most."""
        schedule = super().planned_schedule()
        if self.codes_from > self.length.codes_from:
            if self.accelerator.is_main_process:
                print(f"the codebook starts after {self.length.codes_from} steps, half of the "
                      f"training, not model.continuous_steps: {self.codes_from}")  # fmt: skip
            self.model.config.continuous_steps = self.length.codes_from
        return schedule

    def plateau(self, figures: Mapping[str, float]) -> str:
        return collapse(figures)

    def whole_step(self, parts: list[StepPart], where: StepPlace) -> Any:
        """All parts are one update of the codebook, which k-means starts before the first."""
        codebook = self.model.codebook
        if not codebook.is_started():
            groups = [[batch.inputs for batch in part.groups] for part in parts]
            with self.accelerator.autocast():
                self.model.start_codebook(groups)
        return codebook.one_step()

    def run_part(self, part: StepPart, where: StepPlace) -> tuple[torch.Tensor, dict[str, Any]]:
        with self.accelerator.autocast():
            out = self.model(groups=[batch.inputs for batch in part.groups])
        patches = sum(batch.input_values.shape[:3].numel() for batch in part.groups)
        share = patches / where.patches
        if not where.training:
            self.held_out.add(part, out.token_ids)
        values = {
            "loss": out.loss,
            "amplitude_loss": out.amplitude_loss,
            "phase_loss": out.phase_loss,
            "commitment_loss": out.commitment_loss,
        }
        return out.loss * share, {name: value.detach() * share for name, value in values.items()}

    def evaluate(self, split: str = "validation") -> dict[str, float]:
        """As of any training; without figures of codes before there are codes."""
        figures = super().evaluate(split)
        if not self.model.codebook.is_continuous():
            return figures
        return {name: value for name, value in figures.items() if name.endswith("loss")}

    def summary(self) -> dict[str, float]:
        codebook = self.model.codebook
        return {"dead_codes": codebook.num_dead(), "perplexity": codebook.perplexity()}

    @torch.no_grad()
    def figures(self, counts: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        from ...pictures.stage_one_pictures import draw_code_usage, draw_reconstruction

        self.model.eval()
        batch, channels = self.example()
        out = self.model(**batch.inputs)
        title = f"Recorded and decoded, after epoch {self.progress.epoch + 1}"
        codebook = self.model.codebook
        note = f"{codebook.num_dead()} dead, perplexity {codebook.perplexity():.1f}"
        amplitude, targets = out.amplitude, self.model.log_amplitudes
        if targets is not None:
            amplitude = targets.amplitudes(amplitude, batch.input_values)
        return {
            "reconstruction": draw_reconstruction(
                batch.input_values[0], amplitude[0], out.phase[0], channels, title
            ),
            "code usage": draw_code_usage({"codes": codebook.usage}, note),
        }
