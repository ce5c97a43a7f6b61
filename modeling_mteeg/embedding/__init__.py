"""A recording, or windows of one, to features: of a base, or of one of its tasks.

``embed`` takes recordings; ``EEGEmbedder`` and ``EEGTaskClassifier`` are scikit-learn estimators,
``EEGTaskModule`` a plain network for training loops of others. The latter three are imported when
they are first asked for.
"""

import importlib
from typing import Any

from .embed_recording import Embeddings, embed

_LATER = {
    "EEGEmbedder": "sklearn_embedder",
    "EEGTaskClassifier": "sklearn_classifier",
    "EEGTaskModule": "torch_module",
}

__all__ = ["EEGEmbedder", "EEGTaskClassifier", "EEGTaskModule", "Embeddings", "embed"]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
