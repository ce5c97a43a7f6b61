"""Weights as users load them: a base, a task, a published checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tiny_models import tiny_model

from modeling_mteeg import MteegFeatureExtractor, MteegModel
from modeling_mteeg.conversion import convert_checkpoint
from modeling_mteeg.model.channels import channel_ids

from .originals import Original
from .trying import Lost, NotFinite
from .weight_originals import BASE_SEED

CHANNELS = ("C3", "CZ", "C4")


def base(original: Original, folder: Path, scratch: Path) -> Iterator[str]:
    """``from_pretrained`` of model and extractor, and an answer."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = MteegModel.from_pretrained(folder).eval()
        extractor = MteegFeatureExtractor.from_pretrained(folder)
        signal = np.random.default_rng(0).normal(0, 20, (3, 800))
        with torch.no_grad():
            out = model(**extractor((signal, CHANNELS, 200.0), window_s=2.0))
    if not torch.isfinite(out.pooler_output).all():
        raise NotFinite("features that are not finite")
    yield from (str(one.message) for one in caught)


def adapter(original: Original, folder: Path, scratch: Path) -> Iterator[str]:
    """``load_adapter`` into a model that must stay as it was where it is refused."""
    model = tiny_model(BASE_SEED)
    before = model.fingerprint()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            card = model.load_adapter(folder)
    except Exception as error:
        if model.tasks or model.fingerprint() != before or hasattr(model.heads, "tuab"):
            raise Lost(f"the model is another after {error}") from error
        raise
    patches = round(card.window_s)
    names = card.channels or CHANNELS  # a task of any channels names none
    values = torch.randn((1, len(names), patches, 200), generator=torch.Generator())
    ids = torch.from_numpy(channel_ids(names, card.bipolar))
    with torch.no_grad():
        out = model(input_values=values, channel_ids=ids, task=card.name)
    if not torch.isfinite(out.logits).all():
        raise NotFinite("logits that are not finite")
    if model.fingerprint() != before:
        raise Lost("the base is another with the task")
    yield from (str(one.message) for one in caught)


def convert(original: Original, folder: Path, scratch: Path) -> Iterator[str]:
    """What ``mteeg convert`` does, and an answer of what it made."""
    path = next(iter(sorted(folder.glob("labram*"))), folder / "labram.pth")
    report = convert_checkpoint(path, scratch / "converted", kind="auto")
    model = MteegModel.from_pretrained(scratch / "converted").eval()
    values = torch.randn((1, 3, 2, 200), generator=torch.Generator())
    with torch.no_grad():
        out = model(input_values=values, channel_ids=torch.from_numpy(channel_ids(CHANNELS)))
    if not torch.isfinite(out.pooler_output).all():
        raise NotFinite("features that are not finite")
    yield from (f"{record.status} {record.key}" for record in report.keys
                if record.status != "used")  # fmt: skip
