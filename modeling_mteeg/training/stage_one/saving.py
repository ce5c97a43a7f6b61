"""What is left of a training of stage one: a folder that loads by itself, whole or not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...cards import RECORD_FILE, write_cards
from ...data import read_manifest
from ...model.feature_extraction_mteeg import MteegFeatureExtractor
from ...model.pretraining_mteeg import MteegForPreTraining
from ...model.tokenizer_mteeg import MteegTokenizerModel
from ...settings.plain_json import write_json
from ..pretraining_record import pretraining_record, unlabelled_corpora
from ..record import command_line, run_record
from ..results import replaced
from .stage_one_config import StageOneConfig
from .trainer import StageOneTrainer


def save_stage_one(
    model: MteegForPreTraining | MteegTokenizerModel,
    folder: str | Path,
    record: Mapping[str, Any],
) -> Path:
    """Write model, feature extractor, record and card; they take the place of earlier ones."""
    with replaced(folder) as place:
        model.save_pretrained(place)
        MteegFeatureExtractor().save_pretrained(place)
        write_json(place / RECORD_FILE, record)
        write_cards(place)
    return Path(folder)


def simulated_folders(config: StageOneConfig) -> list[bool]:
    """Whether the recordings of each folder are simulated."""
    if config.data.simulate:
        return [True]
    return [read_manifest(folder).get("simulated") is True for folder in config.data.folders]


def stage_one_record(
    script: str, arguments: Sequence[str] | None, trainer: StageOneTrainer
) -> dict[str, Any]:
    """How a training came about, for the saved folder; ``script`` and ``arguments`` started it."""
    config, tokenizer = trainer.config, getattr(trainer.config, "tokenizer", None)
    return {
        **run_record(
            config,
            trainer.accelerator,
            command_line(script, arguments),
            simulated_folders(config),
            config.model.init,
            *([] if tokenizer is None else [tokenizer]),
        ),
        "stage": "one",
        "pretraining": pretraining_record(config.model.init, tokenizer),
        "corpora": unlabelled_corpora(config.data.folders, config.data.simulate),
        "windows": {
            split: {f"{len(g.channels)} channels x {g.patches} s": len(g) for g in groups}
            for split, groups in trainer.data.items()
        },
        "history": trainer.progress.history,
    }
