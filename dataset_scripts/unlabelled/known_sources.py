"""Sources of unlabelled recordings by name: any folder, and the paper's nine corpora."""

from __future__ import annotations

from modeling_mteeg.dataset_scripts.unlabelled.layouts import Source
from modeling_mteeg.dataset_scripts.unlabelled.seed import Seed, SeedFra, SeedGer, SeedIv
from modeling_mteeg.dataset_scripts.unlabelled.trujillo import Trujillo
from modeling_mteeg.dataset_scripts.unlabelled.tuh import Tuar, Tuep, Tusl, Tusz

SOURCES: dict[str, type[Source]] = {
    source.name: source
    for source in (Source, Tusz, Tuep, Tuar, Tusl, Seed, SeedIv, SeedGer, SeedFra, Trujillo)
}
