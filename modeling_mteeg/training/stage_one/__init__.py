"""Training of stage one: the neural tokenizer, and masked pre-training of the backbone."""

from .compiling import compile_layers
from .masked_training import MaskedTrainer, build_student
from .stage_one_config import MaskedTrainingConfig, TokenizerTrainingConfig
from .tokenizer_training import TokenizerTrainer, build_tokenizer, load_tokenizer
from .trainer import StageOneTrainer

__all__ = [
    "MaskedTrainer",
    "MaskedTrainingConfig",
    "StageOneTrainer",
    "TokenizerTrainer",
    "TokenizerTrainingConfig",
    "build_student",
    "build_tokenizer",
    "compile_layers",
    "load_tokenizer",
]
