"""Data of the joint training: windows on disk, the plan that mixes tasks, batches.

Needs ``datasets`` and ``pyarrow``; ``import modeling_mteeg`` alone does not import this package.
"""

from .mixing import PAPER_SAMPLING, EpochPlan, SamplingRule, TaskMix, sampling_rules
from .windows import WindowFormatError, WindowReader, encode_window, window_features

__all__ = [
    "EpochPlan",
    "PAPER_SAMPLING",
    "SamplingRule",
    "TaskMix",
    "WindowFormatError",
    "WindowReader",
    "encode_window",
    "sampling_rules",
    "window_features",
]
