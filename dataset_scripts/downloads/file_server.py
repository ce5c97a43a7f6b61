"""One file over HTTP: resumed to the byte, tried again, and never longer than it may be."""

from __future__ import annotations

import asyncio
import dataclasses
import email.utils
import hashlib
import os
import random
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import yarl

from modeling_mteeg import __version__
from modeling_mteeg.dataset_scripts.downloads.download_record import DownloadRecord
from modeling_mteeg.dataset_scripts.downloads.download_settings import (
    DownloadError,
    DownloadSettings,
)
from modeling_mteeg.settings.disk_faults import writing

T = TypeVar("T")
UNSTATED_LIMIT = 4 * 2**30
"""Bytes of a file whose length nobody has said."""
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers that may be another one in a moment."""
_NO_HEAD = (405, 501)
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


class Passing(Exception):
    """A fault that another try may not have; ``wait_s`` is what the server asked for."""

    def __init__(self, text: str, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.wait_s = wait_s


class Unreachable(DownloadError):
    """No try brought anything: the next file will hardly be had either."""


@dataclasses.dataclass
class Job:
    """A file that is to be fetched.

    Parameters
    ----------
    name : str
        Path below the address and below the folder.
    sha256 : str
        What it must have.
    path : Path
        Where it is to lie; ``path`` with ``.part`` until it is verified.
    size : int, optional
        Bytes, where the server says so.
    replace : bool
        Whether a file that is there already may be replaced.
    """

    name: str
    sha256: str
    path: Path
    size: int | None = None
    replace: bool = False

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def have(self) -> int:
        """Bytes in the part."""
        try:
            return self.part.stat().st_size
        except FileNotFoundError:
            return 0


def new_session(settings: DownloadSettings) -> aiohttp.ClientSession:
    """A client with the proxies of the environment, whose bytes are those of the file."""
    stall_s = settings.stall_s
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=stall_s, sock_read=stall_s)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=settings.connections),
        timeout=timeout,
        auto_decompress=False,
        trust_env=True,
        headers={"User-Agent": f"modeling-mteeg/{__version__}", "Accept-Encoding": "identity"},
    )


class FileServer:
    """The files below one address.

    Parameters
    ----------
    session : aiohttp.ClientSession
    url : str
        With a slash at the end.
    settings : DownloadSettings
    say : callable
        Gets a sentence where the user should know why nothing moves.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        settings: DownloadSettings,
        say: Callable[[str], None],
    ) -> None:
        self._session, self.url, self._settings, self._say = session, url, settings, say
        self._quiet_until = 0.0  # by time.monotonic: the server asked for it

    async def read(self, name: str, limit: int, tries: int | None = None) -> bytes:
        """A small file of at most ``limit`` bytes, in memory."""

        async def once() -> bytes:
            async with self._get("GET", name) as response:
                self._check(response, name)
                content = b""
                async for chunk in response.content.iter_any():
                    content += chunk
                    if len(content) > limit:
                        raise DownloadError(f"{self.url}{name}: longer than {limit:,} bytes.")
                return content

        return await self._tried(name, once, tries=tries)

    async def size(self, name: str) -> int | None:
        """Bytes of a file, or None where the server does not say."""

        async def once() -> int | None:
            async with self._get("HEAD", name) as response:
                if response.status in _NO_HEAD:
                    return None
                self._check(response, name)
                return _length(response)

        return await self._tried(name, once)

    async def fetch(self, job: Job, record: DownloadRecord, moved: Callable[[int], None]) -> None:
        """Fetch and verify a file, and put it to its place.

        Parameters
        ----------
        job : Job
        record : DownloadRecord
        moved : callable
            Gets how many bytes more are there; fewer than 0 where a part was thrown away.

        Raises
        ------
        DownloadError
            The server does not have it, gives it with another sum twice, or does not give it.
        WriteError
            The disk is full, or the like.
        """
        found = ""
        for _ in range(2):  # a part from an earlier start may be of something else
            await self._tried(
                job.name, lambda: self._fetch_once(job, record, moved), lambda: job.have
            )
            with writing(job.part):
                found, size = await asyncio.to_thread(sha256_on_disk, job.part)
            if found == job.sha256:
                self._put(job)
                record.note_verified(job.name, job.path, job.sha256)
                return
            job.part.unlink()
            moved(-size)
        raise DownloadError(
            f"{job.name}: fetched twice, {size:,} bytes with SHA-256 {found[:12]}... where the "
            f"list says {job.sha256[:12]}...; thrown away. The server's file is not the one of its "
            "list: tell its keepers, or take another --mirror."
        )

    @staticmethod
    def _put(job: Job) -> None:
        if job.path.exists() and not job.replace:
            raise DownloadError(
                f"{job.path}: came there while it was fetched, and is not overwritten; the new one "
                f"is {job.part.name}. Move one of them away."
            )
        with writing(job.path):
            os.replace(job.part, job.path)

    async def _fetch_once(
        self, job: Job, record: DownloadRecord, moved: Callable[[int], None]
    ) -> None:
        """One request for what lacks; returns when the part is as long as it must be."""
        offset, known = job.have, record.version(job.name)
        if offset and offset == job.size:
            return  # ended between the last byte and its name
        if job.size is not None and offset > job.size:
            self._begin_anew(job, moved)
            offset = 0
        headers = {}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator := _validator(known):
                headers["If-Range"] = validator
        async with self._get("GET", job.name, headers) as response:
            if response.status == 416:
                match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
                if match and match[3] == str(offset):
                    return
                self._begin_anew(job, moved)
                raise Passing("the server has fewer bytes than were fetched; begun anew")
            self._check(response, job.name)
            total = self._continued(response, job, offset, known, moved)
            if response.status != 206:
                if offset:
                    self._begin_anew(job, moved)
                offset, total = 0, _length(response)
                job.size = job.size if total is None else total
                record.note_begun(job.name, _version(response))
            total = job.size if total is None else total
            limit = UNSTATED_LIMIT if total is None else total
            with writing(job.part), job.part.open("ab") as file:
                async for chunk in response.content.iter_any():
                    if offset + len(chunk) > limit:
                        self._begin_anew(job, moved)
                        raise DownloadError(
                            f"{job.name}: more than the {limit:,} bytes that it may have; the "
                            "server's answer has no end, or says a wrong length."
                        )
                    offset += file.write(chunk)
                    moved(len(chunk))
        if total is not None and offset < total:
            raise Passing(f"cut off after {offset:,} of {total:,} bytes")

    def _continued(
        self,
        response: aiohttp.ClientResponse,
        job: Job,
        offset: int,
        known: dict[str, str],
        moved: Callable[[int], None],
    ) -> int | None:
        """Of an answer 206: the whole length; it must be of the same file, from ``offset`` on."""
        if response.status != 206:
            return None
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        total = int(match[3]) if match and match[3].isdecimal() else None
        both = [key for key in _version(response) if key in known]  # the ETag first
        changed = bool(both) and _version(response)[both[0]] != known[both[0]]
        wrong_size = None not in (total, job.size) and total != job.size
        if not offset or not match or match[1] != str(offset) or changed or wrong_size:
            self._begin_anew(job, moved)
            job.size = None if wrong_size else job.size
            raise Passing("changed on the server, or another range than was asked for; begun anew")
        return total

    @staticmethod
    def _begin_anew(job: Job, moved: Callable[[int], None]) -> None:
        moved(-job.have)
        job.part.unlink(missing_ok=True)

    def _get(self, method: str, name: str, headers: dict[str, str] | None = None) -> Any:
        url = yarl.URL(self.url + quote(name), encoded=True)
        return self._session.request(method, url, headers=headers)

    def _check(self, response: aiohttp.ClientResponse, name: str) -> None:
        """Only answers with the file pass."""
        status = response.status
        if self.url.startswith("https:") and response.url.scheme != "https":
            raise DownloadError(f"{self.url}{name}: the server leads to an address without TLS.")
        if status in (200, 206):
            encoding = response.headers.get("Content-Encoding") or "identity"
            if encoding != "identity":
                raise DownloadError(
                    f"{self.url}{name}: packed with {encoding} though it was asked for as it is; "
                    "a proxy may do so. Take another way or --mirror."
                )
            return
        if status in _PASSING:
            said = f"the server answered {status} ({response.reason})"
            raise Passing(said, _asked_wait_s(response.headers.get("Retry-After", "")))
        missing = status in (404, 410)
        remedy = "it is not there" if missing else "it is not there, or not given to everybody"
        raise DownloadError(
            f"{self.url}{name}: the server answered {status} ({response.reason}): {remedy}. "
            "Expected an open database of PhysioNet, or a mirror of it (--mirror)."
        )

    async def _tried(
        self,
        name: str,
        once: Callable[[], Awaitable[T]],
        progress: Callable[[], int] = lambda: 0,
        tries: int | None = None,
    ) -> T:
        """Call ``once`` until it succeeds; a try that brought new bytes is no failed one."""
        settings, failures, best = self._settings, 0, progress()
        while True:
            await asyncio.sleep(max(0.0, self._quiet_until - time.monotonic()))
            try:
                return await once()
            except Passing as fault:
                why, asked_s = str(fault), fault.wait_s
            except (aiohttp.ClientSSLError, aiohttp.InvalidURL) as error:
                raise DownloadError(f"{self.url}{name}: {error}.") from error
            except (aiohttp.ClientError, TimeoutError) as error:
                why, asked_s = self._in_words(error), 0.0
            if progress() > best:
                best, failures = progress(), 0
            failures += 1
            if failures >= (tries or settings.tries):
                raise Unreachable(f"{self.url}{name}: {why}; given up after {failures} tries.")
            if asked_s:
                self._be_quiet(asked_s, why)
            pause_s = min(settings.longest_pause_s, settings.pause_s * 2 ** (failures - 1))
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))

    def _be_quiet(self, asked_s: float, why: str) -> None:
        """Ask nothing of the server, for any file, as long as it wants."""
        if asked_s > self._settings.longest_wait_s:
            raise Unreachable(
                f"{self.url}: {why}, and wants to be left alone for {asked_s:,.0f} s. Start again "
                "then."
            )
        until = time.monotonic() + asked_s
        if until > self._quiet_until + 1:
            self._say(f"{why}, and wants to be left alone for {asked_s:,.0f} s; waiting")
        self._quiet_until = max(self._quiet_until, until)

    def _in_words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no byte for {self._settings.stall_s:g} s"
        if isinstance(error, aiohttp.ClientConnectorError):
            return f"no connection: {error.os_error.strerror or error.os_error}"
        return str(error) or type(error).__name__


def sha256_on_disk(path: Path) -> tuple[str, int]:
    """Sum and bytes of a file whose content has reached the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


def _length(response: aiohttp.ClientResponse) -> int | None:
    said = response.headers.get("Content-Length", "")
    return int(said) if said.isdecimal() else None


def _version(response: aiohttp.ClientResponse) -> dict[str, str]:
    """What tells one version of a file from another."""
    said = {key: response.headers.get(key, "") for key in ("ETag", "Last-Modified")}
    return {key.lower(): value for key, value in said.items() if value}


def _validator(known: dict[str, str]) -> str:
    """For ``If-Range``: a weak ETag will not do (RFC 9110, 13.1.5)."""
    etag = known.get("etag", "")
    return etag if etag and not etag.startswith("W/") else known.get("last-modified", "")


def _asked_wait_s(said: str) -> float:
    """Seconds of a ``Retry-After``, which is a number or a date; 0 where it is neither."""
    if said.strip().isdecimal():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
