"""What is known of the files of a folder from earlier starts.

A line of JSON a fact, added at the end, so that a kill loses at most the last one. The file is a
shortcut and no authority: without it files are hashed again, and the sums decide.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from modeling_mteeg.dataset_scripts.downloads.file_list import OWN
from modeling_mteeg.settings.disk_faults import writing

FILE = f"{OWN}.jsonl"


class DownloadRecord:
    """Which files of ``folder`` were verified, and which version of a file a part is of.

    Parameters
    ----------
    folder : Path
    kept : bool
        Whether facts are written; else they are known until the end.
    """

    def __init__(self, folder: Path, kept: bool = True) -> None:
        self._path, self._kept, self._torn = folder / FILE, kept, False
        self._verified: dict[str, list[Any]] = {}
        self._begun: dict[str, dict[str, str]] = {}
        try:
            text = self._path.read_text("utf-8", "replace")
        except FileNotFoundError:
            return
        self._torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            self._take(line)

    def _take(self, line: str) -> None:
        try:
            fact = json.loads(line)
            name = str(fact["name"])
            if "verified" in fact:
                self._verified[name] = list(fact["verified"])
            else:
                self._begun[name] = {str(key): str(fact["begun"][key]) for key in fact["begun"]}
        except (ValueError, KeyError, TypeError):
            pass  # torn by a kill

    def was_verified(self, name: str, path: Path, sha256: str) -> bool:
        """Whether the file had that sum, and nobody has touched it since."""
        return self._verified.get(name) == _state(path, sha256)

    def note_verified(self, name: str, path: Path, sha256: str) -> None:
        """The file has that sum."""
        self._verified[name] = _state(path, sha256)
        self._note({"name": name, "verified": self._verified[name]})

    def version(self, name: str) -> dict[str, str]:
        """``etag`` and ``last-modified`` of what the part of a file was fetched from, if known."""
        return self._begun.get(name, {})

    def note_begun(self, name: str, version: dict[str, str]) -> None:
        """A part is begun from that version."""
        if self._begun.get(name) != version:
            self._begun[name] = version
            self._note({"name": name, "begun": version})

    def _note(self, fact: dict[str, Any]) -> None:
        if not self._kept:
            return
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._torn + json.dumps(fact) + "\n")
        self._torn = False


def _state(path: Path, sha256: str) -> list[Any]:
    status = os.stat(path)
    return [sha256, status.st_size, status.st_mtime_ns]
