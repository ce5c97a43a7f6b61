"""Data of training: windows and unlabelled recordings on disk, the plans of epochs, batches.

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
from .shape_plan import ShapePlan
from .source import WindowFormatError, WindowSource
from .split_manifest import SplitManifest, read_split
from .split_rules import SplitError, SplitRule
from .split_views import fold_count, view_corpora
from .streaming import StreamedReader
from .stretches import (
    MANIFEST_FILE,
    MANIFEST_VERSION,
    cut_stretches,
    encode_stretch,
    read_manifest,
    stretch_features,
    window_patches,
)
from .unlabelled import UnlabelledWindows, load_unlabelled
from .unlabelled_batches import GroupBatch, StepPart, UnlabelledBatches
from .window_views import WindowView
from .windows import WindowReader, decode_window, encode_window, window_features

__all__ = [
    "Corpus",
    "EpochPlan",
    "GroupBatch",
    "JointBatches",
    "MANIFEST_FILE",
    "MANIFEST_VERSION",
    "PAPER_SAMPLING",
    "RemoteFolder",
    "SamplingRule",
    "ShapePlan",
    "SplitError",
    "SplitManifest",
    "SplitRule",
    "StepPart",
    "StreamError",
    "StreamedReader",
    "TaskMix",
    "UnlabelledBatches",
    "UnlabelledWindows",
    "WindowFormatError",
    "WindowReader",
    "WindowSource",
    "WindowView",
    "cut_stretches",
    "decode_window",
    "encode_stretch",
    "encode_window",
    "fold_count",
    "load_corpora",
    "load_corpus",
    "load_unlabelled",
    "model_inputs",
    "read_ahead",
    "read_manifest",
    "read_split",
    "run_ahead",
    "sampling_rules",
    "stream_corpus",
    "stretch_features",
    "training_mixes",
    "view_corpora",
    "window_features",
    "window_patches",
    "write_index",
]
