"""Unlabelled recordings for stage one: any folder, or the paper's nine corpora.

python -m dataset_scripts.unlabelled --raw FOLDER --out FOLDER
"""

from .settings import UnlabelledSettings
from .sources import Source, UnlabelledRecording
from .writer import prepare_unlabelled

__all__ = ["Source", "UnlabelledRecording", "UnlabelledSettings", "prepare_unlabelled"]
