"""Data of the joint training: windows on disk, the plan that mixes tasks, batches.

Needs ``datasets`` and ``pyarrow``; ``import modeling_mteeg`` alone does not import this package.
"""

from .loading import (
    Corpus,
    JointBatches,
    load_corpora,
    load_corpus,
    model_inputs,
    read_ahead,
    training_mixes,
)
from .mixing import PAPER_SAMPLING, EpochPlan, SamplingRule, TaskMix, sampling_rules
from .windows import WindowFormatError, WindowReader, encode_window, window_features

__all__ = [
    "Corpus",
    "EpochPlan",
    "JointBatches",
    "PAPER_SAMPLING",
    "SamplingRule",
    "TaskMix",
    "WindowFormatError",
    "WindowReader",
    "encode_window",
    "load_corpora",
    "load_corpus",
    "model_inputs",
    "read_ahead",
    "sampling_rules",
    "training_mixes",
    "window_features",
]
