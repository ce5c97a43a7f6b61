"""MTEEG: one pre-trained LaBraM, one low-rank adapter and head per EEG task.

Importing this package registers its classes with transformers' ``AutoConfig``, ``AutoModel``,
``AutoModelForPreTraining`` and ``AutoFeatureExtractor``, and ``pipeline("eeg-classification")``.
"""

import sys
from pathlib import Path

from . import _ending  # noqa: F401  first: Ctrl-C while the rest is imported
from ._clone import CLONE

if CLONE is not None:  # modeling_mteeg.recipes and .dataset_scripts lie beside the package
    __path__.append(str(CLONE))

# isort: split
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForPreTraining

from ._version import __version__
from .model import hub_push, task_card
from .model.adapter_options import AdapterOptions
from .model.channels import CHANNEL_NAMES, UnknownChannelError, channel_ids, clean_name
from .model.configuration_mteeg import MteegConfig
from .model.configuration_tokenizer import MteegTokenizerConfig
from .model.feature_extraction_mteeg import MteegFeatureExtractor
from .model.modeling_mteeg import MteegModel, MteegOutput, MteegPreTrainedModel
from .model.pretraining_mteeg import MteegForPreTraining, MteegPreTrainingOutput
from .model.task_card import TaskCard, TaskCardError
from .model.tokenizer_mteeg import MteegTokenizerModel, MteegTokenizerOutput
from .prediction.pipeline import EegClassificationPipeline
from .prediction.pipeline import register as _register_pipeline

__all__ = [
    "CHANNEL_NAMES",
    "AdapterOptions",
    "EegClassificationPipeline",
    "MteegConfig",
    "MteegFeatureExtractor",
    "MteegForPreTraining",
    "MteegModel",
    "MteegOutput",
    "MteegPreTrainedModel",
    "MteegPreTrainingOutput",
    "MteegTokenizerConfig",
    "MteegTokenizerModel",
    "MteegTokenizerOutput",
    "TaskCard",
    "TaskCardError",
    "UnknownChannelError",
    "__version__",
    "channel_ids",
    "clean_name",
]


def _write_cards(folder: Path, repo: str = "") -> None:
    from .cards import write_cards  # they need much that a model alone does not

    write_cards(folder, repo=repo)


hub_push.CARD_WRITER = _write_cards
# A name of before the rooms, which corpora of users import.
sys.modules[f"{__name__}.task_card"] = task_card

AutoConfig.register(MteegConfig.model_type, MteegConfig, exist_ok=True)
AutoModel.register(MteegConfig, MteegModel, exist_ok=True)
AutoModelForPreTraining.register(MteegConfig, MteegForPreTraining, exist_ok=True)
AutoFeatureExtractor.register(MteegConfig, MteegFeatureExtractor, exist_ok=True)
AutoConfig.register(MteegTokenizerConfig.model_type, MteegTokenizerConfig, exist_ok=True)
AutoModel.register(MteegTokenizerConfig, MteegTokenizerModel, exist_ok=True)
AutoFeatureExtractor.register(MteegTokenizerConfig, MteegFeatureExtractor, exist_ok=True)
for _class, _auto in (
    (MteegConfig, "AutoConfig"),
    (MteegModel, "AutoModel"),
    (MteegForPreTraining, "AutoModelForPreTraining"),
    (MteegTokenizerConfig, "AutoConfig"),
    (MteegTokenizerModel, "AutoModel"),
    (MteegFeatureExtractor, "AutoFeatureExtractor"),
):
    _class.register_for_auto_class(_auto)
_register_pipeline()
