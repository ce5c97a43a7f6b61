"""Data of the joint training: windows on disk, the plan that mixes tasks, batches.

Needs ``datasets`` and ``pyarrow``; ``import modeling_mteeg`` alone does not import this package.
"""

from .ahead import read_ahead, run_ahead
from .index import write_index
from .loading import (
    Corpus,
    JointBatches,
    load_corpora,
    load_corpus,
    model_inputs,
    stream_corpus,
    training_mixes,
)
from .mixing import PAPER_SAMPLING, EpochPlan, SamplingRule, TaskMix, sampling_rules
from .remote import RemoteFolder, StreamError
from .source import WindowFormatError, WindowSource
from .streaming import StreamedReader
from .windows import WindowReader, decode_window, encode_window, window_features

__all__ = [
    "Corpus",
    "EpochPlan",
    "JointBatches",
    "PAPER_SAMPLING",
    "RemoteFolder",
    "SamplingRule",
    "StreamError",
    "StreamedReader",
    "TaskMix",
    "WindowFormatError",
    "WindowReader",
    "WindowSource",
    "decode_window",
    "encode_window",
    "load_corpora",
    "load_corpus",
    "model_inputs",
    "read_ahead",
    "run_ahead",
    "sampling_rules",
    "stream_corpus",
    "training_mixes",
    "window_features",
    "write_index",
]
