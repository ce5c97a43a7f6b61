"""Byte ranges of files in a folder that may be anywhere: bucket, Hub, web server, local disk.

All file systems come through ``fsspec``: ``hf://datasets/owner/repo``, ``s3://bucket/folder`` (with
``s3fs``), ``gs://`` (with ``gcsfs``), ``https://``, ``memory://``, a local path; also chained ones
such as ``simplecache::s3://bucket/folder``. Credentials are those that each of them finds itself.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub.errors import OfflineModeIsEnabled

from ..model import hub_fetch
from .hub_links import HubLinks

PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""What no second attempt mends."""
PERMANENT_STATUS = (400, 401, 403, 404, 405, 410)
LONGEST_WAIT_S = 30.0
Range = tuple[str, int | None, int | None]
"""File, first byte and the one past the last; None: the whole file."""


class StreamError(OSError):
    """Data that cannot be fetched, or that is not what the index says."""


def is_url(location: str | Path) -> bool:
    """Whether a location is a URL, so that its data must be streamed."""
    return "://" in str(location) or "::" in str(location)


class RemoteFolder:
    """Reading from one folder, many ranges at once, with patience.

    Parameters
    ----------
    url : str or Path
    concurrency : int
        Ranges that are on their way at once.
    attempts : int
        How often a range is asked for before it is an error. The pauses double from ``wait_s``
        up to 30 s, with some chance in them so that processes do not come back in step; the
        default gives up after about a minute and a half.
    wait_s : float
        Pause after the first failure, in seconds.

    Raises
    ------
    StreamError
        The protocol is unknown or needs a package that is not installed.
    """

    def __init__(
        self, url: str | Path, concurrency: int = 32, attempts: int = 8, wait_s: float = 0.5
    ) -> None:
        from fsspec.core import url_to_fs

        if concurrency < 1 or attempts < 1 or wait_s < 0:
            raise ValueError(
                "expected concurrency and attempts of 1 or more and wait_s of 0 or more, found "
                f"{concurrency}, {attempts}, {wait_s}."
            )
        self.url = str(url).rstrip("/")
        self.concurrency, self.attempts, self.wait_s = concurrency, attempts, wait_s
        try:
            self._fs, path = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise StreamError(f"{self.url}: cannot be opened: {error}") from error
        self._path = path.rstrip("/")
        protocol = self._fs.protocol  # a word, or several for one file system
        on_hub = "hf" in ((protocol,) if isinstance(protocol, str) else protocol)
        # Its buffered files would read megabytes ahead of every window.
        self._options = {"cache_type": "none"} if on_hub else {}
        self._links = HubLinks(self._fs) if on_hub else None
        self._random = random.Random()

    def __repr__(self) -> str:
        return f"RemoteFolder({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFolder, (self.url, self.concurrency, self.attempts, self.wait_s)

    def read(self, name: str) -> bytes:
        """A whole small file.

        Raises
        ------
        FileNotFoundError
            There is none.
        StreamError
            It cannot be fetched.
        """
        return self.fetch([(name, None, None)])[0]

    def fetch(self, ranges: Sequence[Range]) -> list[bytes]:
        """Bytes [start, stop) of files, or all of them, as many at once as ``concurrency`` allows.

        Raises
        ------
        FileNotFoundError
            A file is missing.
        StreamError
            A range cannot be fetched, or the file is shorter than that.
        """
        results: list[bytes] = [b""] * len(ranges)
        pending, fault = list(range(len(ranges))), ""
        for attempt in range(self.attempts):
            if attempt:
                pause = min(LONGEST_WAIT_S, self.wait_s * 2 ** (attempt - 1))
                time.sleep(pause * self._random.uniform(0.75, 1.25))
            failed = []
            outcomes = self._once([ranges[index] for index in pending], attempt)
            for index, outcome in zip(pending, outcomes, strict=True):
                name, start, stop = ranges[index]
                wanted = None if start is None or stop is None else stop - start
                if isinstance(outcome, BaseException):
                    self._raise_permanent(name, outcome)
                    fault = f"{name}: {type(outcome).__name__}: {outcome}"
                    failed.append(index)
                elif wanted is not None and len(outcome) != wanted:
                    fault = f"{name}: expected bytes {start} to {stop}, found {len(outcome)} bytes"
                    failed.append(index)
                else:
                    results[index] = outcome
            pending = failed
            if not pending:
                return results
        raise StreamError(
            f"{self.url}: {len(pending)} of {len(ranges)} reads failed {self.attempts} times; the "
            f"last: {fault}. Check the connection, that the server answers range requests, and "
            "that the files are those that the index was written for; then start again, and the "
            "training goes on from its checkpoint."
        )

    def _raise_permanent(self, name: str, error: BaseException) -> None:
        """Raise what waiting does not mend."""
        if not isinstance(error, Exception):
            raise error
        if isinstance(error, OfflineModeIsEnabled):
            words = hub_fetch.explain_offline(hub_fetch.no_answer)
            raise StreamError(
                f"{self.url}: {words} Data of the Hub are streamed and kept in no cache; give a "
                "folder with them instead."
            ) from error
        status = _status(error)
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(f"{self.url}/{name}: not found.") from error
        if isinstance(error, PERMANENT) or status in PERMANENT_STATUS:
            raise StreamError(
                f"{self.url}/{name}: refused ({type(error).__name__}: {error}); check address and "
                "credentials."
            ) from error

    def _once(self, ranges: Sequence[Range], attempt: int) -> list[Any]:
        """One attempt: bytes or an exception for every range."""
        paths = [f"{self._path}/{name}" for name, _, _ in ranges]
        starts, stops = [part[1] for part in ranges], [part[2] for part in ranges]
        if self._fs.async_impl:
            return self._fs.cat_ranges(
                paths, starts, stops, on_error="return", batch_size=self.concurrency
            )
        outcomes: list[Any] = [None] * len(paths)
        if self._links is not None and starts[0] is not None and attempt % 2 == 0:
            outcomes = self._through_links(paths, starts, stops)
        rest = [i for i, outcome in enumerate(outcomes)
                if outcome is None or isinstance(outcome, LookupError)]  # fmt: skip
        asked = [(paths[i], starts[i], stops[i]) for i in rest]
        call = self._pool.map if len(asked) > 1 else map
        for i, outcome in zip(rest, call(self._range, asked), strict=True):
            outcomes[i] = outcome
        return outcomes

    def _through_links(self, paths: list[str], starts: list[Any], stops: list[Any]) -> list[Any]:
        """From the stores behind the Hub; every second attempt goes through the Hub itself."""
        try:
            outcomes = self._links.fetch(paths, starts, stops, self.concurrency)
        except Exception as error:
            return [error] * len(paths)
        # A store knows no credentials: what it refuses, the Hub judges at the next attempt.
        return [StreamError(f"the store refused: {outcome}")
                if _status(outcome) in PERMANENT_STATUS
                or isinstance(outcome, PERMANENT) else outcome for outcome in outcomes]  # fmt: skip

    def _range(self, asked: Range) -> Any:
        path, start, stop = asked
        # Every file system has its own exceptions; all are judged in one place, `fetch`.
        try:
            return self._fs.cat_file(path, start=start, end=stop, **self._options)
        except Exception as error:
            return error

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.concurrency, thread_name_prefix="mteeg-fetch")


def _status(error: Any) -> int | None:
    """HTTP status of an answer, as aiohttp (``status``) and the Hub's client have it."""
    response = getattr(error, "response", None)
    return getattr(error, "status", getattr(response, "status_code", None))
