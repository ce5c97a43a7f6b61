"""Sources of unlabelled recordings by name: any folder, and the paper's nine corpora."""

from __future__ import annotations

from .layouts import Source
from .seed import Seed, SeedFra, SeedGer, SeedIv
from .trujillo import Trujillo
from .tuh import Tuar, Tuep, Tusl, Tusz

SOURCES: dict[str, type[Source]] = {
    source.name: source
    for source in (Source, Tusz, Tuep, Tuar, Tusl, Seed, SeedIv, SeedGer, SeedFra, Trujillo)
}
