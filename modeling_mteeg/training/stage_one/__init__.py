"""Training of stage one: the neural tokenizer, and masked pre-training of the backbone."""

from .held_out_codes import (
    CollapseError,
    bits_in_words,
    code_use,
    collapse,
    mutual_information,
)
from .masked_training import MaskedTrainer, build_student
from .saving import save_stage_one, simulated_folders, stage_one_record
from .stage_one_config import MaskedTrainingConfig, StageOneConfig, TokenizerTrainingConfig
from .tokenizer_training import TokenizerTrainer, build_tokenizer, load_tokenizer
from .trainer import StageOneTrainer

__all__ = [
    "CollapseError",
    "MaskedTrainer",
    "MaskedTrainingConfig",
    "StageOneConfig",
    "StageOneTrainer",
    "TokenizerTrainer",
    "TokenizerTrainingConfig",
    "bits_in_words",
    "build_student",
    "build_tokenizer",
    "code_use",
    "collapse",
    "load_tokenizer",
    "mutual_information",
    "save_stage_one",
    "simulated_folders",
    "stage_one_record",
]
