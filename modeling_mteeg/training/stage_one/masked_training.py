"""Masked pre-training of the backbone: it predicts the tokenizer's codes of hidden patches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ...data import StepPart, UnlabelledWindows
from ...methods.method import TrainingError
from ...model.configuration_mteeg import MteegConfig
from ...model.pretraining_mteeg import MteegForPreTraining
from ...model.tokenizer_mteeg import MteegTokenizerModel
from .held_out_codes import (
    CollapseError,
    code_use,
    collapse,
    no_better_than_the_commonest,
)
from .stage_one_config import MaskedTrainingConfig, StudentOptions
from .step_place import StepPlace, masked_patches
from .trainer import StageOneTrainer

_CHECKED_STEPS = 20


def build_student(
    options: StudentOptions, tokenizer: MteegTokenizerModel, seed: int
) -> MteegForPreTraining:
    """The model to train: a preset with random weights, or earlier weights.

    Weights of a base without its prediction layer serve too: what it lacks begins at random.

    Raises
    ------
    TrainingError
        There is no model at ``options.init``, or it predicts other codes than the tokenizer has.
    """
    torch.manual_seed(seed)
    codes = tokenizer.config.num_codes
    settings = {"drop_path_rate": options.drop_path, "mask_ratio": options.mask_ratio}
    if options.init is None:
        if options.initializer_range is not None:
            settings["initializer_range"] = options.initializer_range
        config = MteegConfig.from_preset(options.preset, num_codes=codes, **settings)
        return MteegForPreTraining(config)
    try:
        model, info = MteegForPreTraining.from_pretrained(
            options.init, output_loading_info=True, **settings
        )
        if "lm_head.weight" in info["missing_keys"] and model.config.num_codes != codes:
            model = MteegForPreTraining.from_pretrained(options.init, num_codes=codes, **settings)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"model.init: expected a folder or Hub id of a model, found {options.init!r}: {error} "
            "Convert a published one with mteeg convert --kind pretraining."
        ) from error
    if model.config.num_codes != codes:
        raise TrainingError(
            f"model.init: {options.init} predicts {model.config.num_codes} codes, the tokenizer "
            f"has {codes}; give the tokenizer that the model was trained with."
        )
    return model


class MaskedTrainer(StageOneTrainer):
    """Symmetric masking; see :class:`~modeling_mteeg.training.stage_one.StageOneTrainer`.

    Parameters
    ----------
    config, data, model, accelerator, folder
        See there.
    tokenizer : MteegTokenizerModel
        Frozen: its codes are the labels.
    """

    model: MteegForPreTraining
    config: MaskedTrainingConfig
    plateau_is_fault = False  # a base is none the worse for it than random weights
    remedy = "Train longer, or take another optimization.lr (docs/pretraining.md)."

    def __init__(
        self,
        config: MaskedTrainingConfig,
        data: Mapping[str, Sequence[UnlabelledWindows]],
        model: MteegForPreTraining,
        tokenizer: MteegTokenizerModel,
        accelerator: Accelerator,
        folder: str | Path,
    ) -> None:
        self.tokenizer = tokenizer.to(accelerator.device).eval().requires_grad_(False)
        super().__init__(config, data, model, accelerator, folder)
        codes = tokenizer.config.num_codes
        self.label_usage = torch.zeros(codes, dtype=torch.int64, device=accelerator.device)

    @property
    def num_codes(self) -> int:
        return self.tokenizer.config.num_codes

    @property
    def num_electrodes(self) -> int:
        return 1 + self.tokenizer.config.num_spatial

    def plateau(self, figures: Mapping[str, float]) -> str:
        return no_better_than_the_commonest(figures)

    def compiled_models(self) -> Sequence[torch.nn.Module]:
        return self.model, self.tokenizer

    def _identity(self) -> dict[str, Any]:
        return {**super()._identity(), "tokenizer weights": weights_digest(self.tokenizer)}

    @torch.no_grad()
    def check_tokenizer(self) -> str:
        """A sentence where the tokenizer has collapsed, measured here on held-out windows.

        Of the training's own where nothing is held out; ``_CHECKED_STEPS`` steps at most.

        Raises
        ------
        CollapseError
            In its place, where ``on_collapse`` is ``stop``.
        """
        split = "validation" if "validation" in self.data else "train"
        counts, plan = self.no_codes_yet(split), self.plan(0, split)
        batches = self.batches(split, plan)
        for step in range(min(plan.num_steps, _CHECKED_STEPS)):
            part = batches.part(step).to(self.accelerator.device)
            inputs = [batch.inputs for batch in part.groups]
            with self.accelerator.autocast():
                counts.add(part, self.tokenizer.get_codebook_indices(groups=inputs))
        told = collapse(counts.figures(self.accelerator))
        if told and self.config.on_collapse == "stop":
            raise CollapseError(
                f"tokenizer {self.config.tokenizer}: {told} A backbone would learn to guess that "
                "code. Train the tokenizer until it uses its codes (docs/pretraining.md), or go on "
                "all the same with on_collapse: continue."
            )
        return told

    def run_part(self, part: StepPart, where: StepPlace) -> tuple[torch.Tensor, dict[str, Any]]:
        ratio = self.config.model.mask_ratio
        inputs = [batch.inputs for batch in part.groups]
        with self.accelerator.autocast():
            labels = self.tokenizer.get_codebook_indices(groups=inputs)
            groups = [
                {**batch.inputs, "mask": where.mask(batch, ratio), "labels": codes,
                 "num_masked": masked_patches(batch, ratio)}
                for batch, codes in zip(part.groups, labels, strict=True)
            ]  # fmt: skip
            out = self.model(groups=groups, num_hidden=where.hidden(ratio), return_logits=False)
        if where.training:
            for codes in labels:
                # bincount would read the largest code back
                self.label_usage.index_add_(0, codes.flatten(), torch.ones_like(codes.flatten()))
        else:
            self.held_out.add(part, labels)
        here, whole = where.hidden_in(part, ratio), where.hidden(ratio)
        shares = [number / max(1, of) for number, of in zip(here, whole, strict=True)]
        return out.loss, {
            "loss": out.loss.detach(),
            "accuracy": out.accuracy.nan_to_num() * shares[0],
            "accuracy_complement": out.accuracy_complement.nan_to_num() * shares[1],
        }

    def summary(self) -> dict[str, float]:
        """How the epoch's labels spread over the codes."""
        use = code_use(self.counts()["label_usage"])
        self.label_usage.zero_()
        return {
            "codes_in_labels": use["codes_used"],
            "perplexity_of_labels": use["code_perplexity"],
        }

    @torch.no_grad()
    def figures(self, counts: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        from ...pictures.stage_one_pictures import draw_code_usage, draw_masked

        self.model.eval()
        batch, channels = self.example()
        labels = self.tokenizer.get_codebook_indices(**batch.inputs)
        place = StepPlace(self.seed, 0, 0, False, ())
        mask = place.mask(batch, self.config.model.mask_ratio)
        out = self.model(**batch.inputs, mask=mask, labels=labels)
        guesses = torch.empty_like(labels)
        guesses[mask], guesses[~mask] = out.logits.argmax(-1), out.logits_complement.argmax(-1)
        hits = guesses == labels
        title = f"Codes found in hidden patches, after epoch {self.progress.epoch + 1}"
        return {
            "hidden patches": draw_masked(mask[0], hits[0], channels, title),
            "code usage": draw_code_usage(
                {
                    "labels of the epoch": counts["label_usage"],
                    "labels of the window shown": _count(labels, self.label_usage),
                    "codes predicted in it": _count(guesses, self.label_usage),
                }
            ),
        }

    def counts(self) -> dict[str, torch.Tensor]:
        return {"label_usage": self.accelerator.reduce(self.label_usage, reduction="sum")}

    def load_counts(self, counts: Mapping[str, torch.Tensor]) -> None:
        if self.accelerator.is_main_process:  # the others count from 0: sums are over all
            self.label_usage.copy_(counts["label_usage"])


def _count(codes: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return torch.bincount(codes.flatten(), minlength=len(like))


def weights_digest(model: torch.nn.Module) -> str:
    """Hash of all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().double().numpy().tobytes())
    return digest.hexdigest()
