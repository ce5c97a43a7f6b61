"""MTEEG: one pre-trained LaBraM, one low-rank adapter and head per EEG task.

Importing this package registers its classes with transformers' ``AutoConfig``, ``AutoModel`` and
``AutoFeatureExtractor``, and ``pipeline("eeg-classification")``.
"""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from .channels import CHANNEL_NAMES, UnknownChannelError, channel_ids, clean_name
from .configuration_mteeg import MteegConfig
from .feature_extraction_mteeg import MteegFeatureExtractor
from .modeling_mteeg import MteegModel, MteegOutput, MteegPreTrainedModel
from .pipeline import EegClassificationPipeline
from .pipeline import register as _register_pipeline
from .task_card import TaskCard, TaskCardError

__version__ = "0.1.0"
__all__ = [
    "CHANNEL_NAMES",
    "EegClassificationPipeline",
    "MteegConfig",
    "MteegFeatureExtractor",
    "MteegModel",
    "MteegOutput",
    "MteegPreTrainedModel",
    "TaskCard",
    "TaskCardError",
    "UnknownChannelError",
    "channel_ids",
    "clean_name",
]

AutoConfig.register(MteegConfig.model_type, MteegConfig, exist_ok=True)
AutoModel.register(MteegConfig, MteegModel, exist_ok=True)
AutoFeatureExtractor.register(MteegConfig, MteegFeatureExtractor, exist_ok=True)
for _class, _auto in (
    (MteegConfig, "AutoConfig"),
    (MteegModel, "AutoModel"),
    (MteegFeatureExtractor, "AutoFeatureExtractor"),
):
    _class.register_for_auto_class(_auto)
_register_pipeline()
