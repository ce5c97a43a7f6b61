"""MTEEG: one pre-trained LaBraM, one low-rank adapter and head per EEG task.

Importing this package registers its classes with transformers' ``AutoConfig``, ``AutoModel``,
``AutoModelForPreTraining`` and ``AutoFeatureExtractor``, and ``pipeline("eeg-classification")``.
"""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForPreTraining

from .channels import CHANNEL_NAMES, UnknownChannelError, channel_ids, clean_name
from .configuration_mteeg import MteegConfig
from .configuration_tokenizer import MteegTokenizerConfig
from .feature_extraction_mteeg import MteegFeatureExtractor
from .modeling_mteeg import MteegModel, MteegOutput, MteegPreTrainedModel
from .pipeline import EegClassificationPipeline
from .pipeline import register as _register_pipeline
from .pretraining_mteeg import MteegForPreTraining, MteegPreTrainingOutput
from .task_card import TaskCard, TaskCardError
from .tokenizer_mteeg import MteegTokenizerModel, MteegTokenizerOutput

__version__ = "0.1.0"
__all__ = [
    "CHANNEL_NAMES",
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
    "channel_ids",
    "clean_name",
]

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
