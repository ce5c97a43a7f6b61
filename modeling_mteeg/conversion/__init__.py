"""Published LaBraM weights, and those of braindecode's ``Labram``, as this package's models.

Three kinds of checkpoint: a backbone (fine-tuned, pre-trained or braindecode's), a pre-training
student with its prediction layer, and a neural tokenizer. Nothing is taken or left silently: the
report lists every key.
"""

from .backbone import infer_config
from .files import KINDS, convert_checkpoint, convert_state_dict
from .report import ConversionError, ConversionReport, KeyRecord

__all__ = [
    "KINDS",
    "ConversionError",
    "ConversionReport",
    "KeyRecord",
    "convert_checkpoint",
    "convert_state_dict",
    "infer_config",
]
