"""Pictures of predictions and of prepared corpora. Needs matplotlib (the ``plot`` extra).

One file for each picture: ``sleep``, ``binary``, ``multiclass``, ``scalp``, ``corpus_picture``;
they share ``layout``, ``style``, ``time_axis``, ``spectrogram`` and ``traces``.
"""

from .prediction_picture import draw_prediction, save_prediction
from .scalp import draw_scalp, save_scalp
from .style import FORMATS, MissingMatplotlibError, check_picture_name

__all__ = [
    "FORMATS",
    "MissingMatplotlibError",
    "check_picture_name",
    "draw_prediction",
    "draw_scalp",
    "save_prediction",
    "save_scalp",
]
