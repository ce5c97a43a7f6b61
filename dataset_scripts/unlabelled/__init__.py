"""Unlabelled recordings for stage one: any folder, or the paper's nine corpora.

python -m dataset_scripts.unlabelled --raw FOLDER --out FOLDER

A source of recordings (``layouts``: any folder; ``named``: by the names of files) is a class as in
``tuh``, ``seed`` and ``trujillo``, and an entry in ``known_sources``. ``digests`` and ``excluded``
find copies and downstream test recordings. A recording is read and checked by ``stretch_reading``,
becomes a part (``stretch_parts``), and all parts become the prepared folder (``stretch_writer``).
"""

from modeling_mteeg.dataset_scripts.unlabelled.layouts import Source, UnlabelledRecording
from modeling_mteeg.dataset_scripts.unlabelled.stretch_settings import UnlabelledSettings
from modeling_mteeg.dataset_scripts.unlabelled.stretch_writer import prepare_unlabelled

__all__ = ["Source", "UnlabelledRecording", "UnlabelledSettings", "prepare_unlabelled"]
