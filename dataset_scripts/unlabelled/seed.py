"""Four corpora of emotion from one laboratory: SEED, SEED-IV, SEED-GER, SEED-FRA.

62 channels at 1000 Hz as Neuroscan ``.cnt`` files, whose names begin with the number of the subject
(``1_1.cnt``, ``3_2_20150101.cnt``). The mastoids and eye channels are left out, as the published
script for SEED-V does. Together they are 166.75 h by the paper's sources, which do not give the
parts.

Notes
-----
Not confirmed without the corpora: the exact names of the raw files. What is distributed as ``.mat``
(down-sampled to 200 Hz and filtered already) is not read; the raw ``.cnt`` files are.
"""

from __future__ import annotations

import re

from .named import NamedSource


class SeedSource(NamedSource):
    """What the four have in common."""

    homepage = "https://bcmi.sjtu.edu.cn/home/seed/"
    layout = "raw Neuroscan files <subject>_<session>....cnt, at any depth"
    file_name = re.compile(r"(\d{1,2})_[^/]*\.cnt", re.IGNORECASE)
    drop = ("M1", "M2", "VEO", "HEO", "VEOG", "HEOG")


class Seed(SeedSource):
    """SEED: three emotions, Chinese films."""

    name = "seed"


class SeedIv(SeedSource):
    """SEED-IV: four emotions."""

    name = "seed-iv"


class SeedGer(SeedSource):
    """SEED-GER: German subjects."""

    name = "seed-ger"


class SeedFra(SeedSource):
    """SEED-FRA: French subjects."""

    name = "seed-fra"
