"""What a prepared corpus looks like: counts, amplitudes, spectra, examples, and what is odd.

Needs ``datasets`` and ``scipy``; ``import modeling_mteeg`` alone does not import this package.
Pictures are drawn by :mod:`modeling_mteeg.pictures`.
"""

from .overview import Example, Overview, SplitOverview, corpus_overview, prepared_folders
from .overview_as_text import overview_text

__all__ = [
    "Example",
    "Overview",
    "SplitOverview",
    "corpus_overview",
    "overview_text",
    "prepared_folders",
]
