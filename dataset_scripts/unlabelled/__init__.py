"""Unlabelled recordings for stage one: any folder, or the paper's nine corpora.

python -m dataset_scripts.unlabelled --raw FOLDER --out FOLDER
"""

from .layouts import Source, UnlabelledRecording
from .stretch_settings import UnlabelledSettings
from .stretch_writer import prepare_unlabelled

__all__ = ["Source", "UnlabelledRecording", "UnlabelledSettings", "prepare_unlabelled"]
