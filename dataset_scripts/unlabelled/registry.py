"""Sources of unlabelled recordings by name."""

from __future__ import annotations

from .sources import Source

SOURCES: dict[str, type[Source]] = {source.name: source for source in (Source,)}
