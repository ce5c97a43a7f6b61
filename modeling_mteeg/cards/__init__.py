"""Model cards made from the files of a folder: ``write_cards(folder)``.

``facts`` reads, ``metadata`` makes the YAML header, a file ``..._card`` each the text, ``curves``
the picture, ``writing`` puts them beside the weights. Nothing here is needed to load or to predict,
and the code beside a base's weights does not have it.
"""

from .facts import CURVES_FILE, RECORD_FILE, CardError
from .writing import CARD_NAME, write_cards

__all__ = [
    "CARD_NAME",
    "CURVES_FILE",
    "CardError",
    "RECORD_FILE",
    "write_cards",
]
