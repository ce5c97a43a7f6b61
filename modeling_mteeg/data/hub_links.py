"""Ranges of files on the Hub through the addresses that it forwards to.

The Hub answers a request for a large file with the signed address of a store, good for about an
hour, and counts how often it is asked (a few thousand times in five minutes). A step of training
reads hundreds of windows. So the Hub is asked once a file, and the store for the windows.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

EXPIRED = (400, 401, 403, 410)
"""What a store answers to a signed address that is too old."""


class HubLinks:
    """Signed addresses of the files of one ``HfFileSystem``, asked for when first needed."""

    def __init__(self, file_system: Any) -> None:
        from fsspec.implementations.http import HTTPFileSystem

        self._fs = file_system
        self._http = HTTPFileSystem(encoded=True)  # a signature covers the address as it stands
        self._links: dict[str, str | None] = {}
        self._lock = threading.Lock()

    def link(self, path: str) -> str | None:
        """Where the Hub forwards to; None for files that it serves itself."""
        with self._lock:
            if path not in self._links:
                from huggingface_hub import get_hf_file_metadata

                address = self._fs.url(path)
                place = get_hf_file_metadata(address, token=self._fs.token).location
                elsewhere = urlsplit(place).netloc != urlsplit(address).netloc
                self._links[path] = place if elsewhere else None
            return self._links[path]

    def fetch(
        self, paths: Sequence[str], starts: Sequence[int], stops: Sequence[int], at_once: int
    ) -> list[Any]:
        """Bytes or an exception for every range; an address that has expired is asked for anew."""
        served_by_hub = LookupError("the Hub serves this file itself")
        results: list[Any] = [served_by_hub] * len(paths)
        pending = list(range(len(paths)))
        for last in (False, True):
            links = {index: self.link(paths[index]) for index in pending}
            pending = [index for index in pending if links[index] is not None]
            outcomes = self._http.cat_ranges(
                [links[index] for index in pending],
                [starts[index] for index in pending],
                [stops[index] for index in pending],
                on_error="return",
                batch_size=at_once,
            )
            for index, outcome in zip(pending, outcomes, strict=True):
                results[index] = outcome
            pending = [index for index in pending
                       if getattr(results[index], "status", None) in EXPIRED]  # fmt: skip
            if last or not pending:
                break
            with self._lock:
                for index in pending:
                    results[index] = served_by_hub  # unless the next round says otherwise
                    self._links.pop(paths[index], None)
        return results
