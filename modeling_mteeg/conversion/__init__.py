"""Published LaBraM weights, and those of braindecode's ``Labram``, as this package's models.

And the way back: a base, or one task merged into it, as a model of braindecode.

Three kinds of checkpoint: a backbone (fine-tuned, pre-trained or braindecode's), a pre-training
student with its prediction layer, and a neural tokenizer. Nothing is taken or left silently: the
report lists every key.
"""

from .backbone_weights import infer_config
from .braindecode_folder import write_braindecode
from .checkpoint_folder import KINDS, convert_checkpoint, convert_state_dict
from .key_report import ConversionError, ConversionReport, KeyRecord

__all__ = [
    "KINDS",
    "ConversionError",
    "ConversionReport",
    "KeyRecord",
    "convert_checkpoint",
    "convert_state_dict",
    "infer_config",
    "write_braindecode",
]
