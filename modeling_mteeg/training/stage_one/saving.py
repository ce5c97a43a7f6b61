"""What is left of a training of stage one: a folder that loads by itself, whole or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...cards import RECORD_FILE, write_cards
from ...model.feature_extraction_mteeg import MteegFeatureExtractor
from ...model.pretraining_mteeg import MteegForPreTraining
from ...model.tokenizer_mteeg import MteegTokenizerModel
from ..results import write_json


def save_stage_one(
    model: MteegForPreTraining | MteegTokenizerModel,
    folder: str | Path,
    record: Mapping[str, Any],
) -> Path:
    """Write model, feature extractor, record and card; they take the place of earlier ones."""
    folder = Path(folder)
    temporary, old = (folder.with_name(f".{folder.name}-{end}") for end in ("writing", "old"))
    for path in (temporary, old):
        shutil.rmtree(path, ignore_errors=True)
    model.save_pretrained(temporary)
    MteegFeatureExtractor().save_pretrained(temporary)
    write_json(temporary / RECORD_FILE, record)
    write_cards(temporary)
    if folder.exists():
        os.rename(folder, old)
    os.rename(temporary, folder)
    shutil.rmtree(old, ignore_errors=True)
    return folder
