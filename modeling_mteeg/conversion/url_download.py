"""One file from a web address into a cache: goes on where it broke off, never overwrites."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants, get_session
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import hf_raise_for_status, tqdm

from ..settings.disk_faults import of_the_disk, writing
from ..settings.folder_lock import held

_TRIES = 5
"""Attempts in a row that bring nothing new."""
_IDENTITY = {"Accept-Encoding": "identity"}  # of the file itself, or no range can be asked for
_GITHUB = re.compile(r"https?://github\.com/([^/]+/[^/]+)/blob/(.+)")


class DownloadError(OSError):
    """A file that cannot be had from its address; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class _Head:
    """What the server says of the file: its size, and the validator a range is asked with."""

    size: int | None = None
    validator: str | None = None


def download_url(url: str, folder: str | Path | None = None) -> Path:
    """The file at an address, from the cache where it is there already.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``. The page of a file on GitHub (``/blob/``) means the file.
    folder : str or Path, optional
        Cache; default: ``mteeg/checkpoints`` in the folder of ``HF_HOME``. A file lies in a folder
        of its address there. What is on its way ends in ``.part``; where the server can tell that
        the file is still the same, the next call asks for the rest only.

    Returns
    -------
    Path
        A whole file, of the size that the server named.

    Raises
    ------
    DownloadError
        Offline mode, nothing there, no rights, the connection broke off again and again, or the
        address gives a web page.
    WriteError
        The disk is full, or the cache cannot be written to.
    """
    page = _GITHUB.fullmatch(url)
    address = f"https://github.com/{page[1]}/raw/{page[2]}" if page else url
    folder = Path(folder or Path(constants.HF_HOME) / "mteeg" / "checkpoints")
    folder = folder / hashlib.sha256(address.encode()).hexdigest()[:16]
    path = folder / _file_name(address)
    if path.exists():
        return path
    with held(folder / ".lock", wait=True):
        if not path.exists():
            _fetch(address, path)
    return path


def _file_name(url: str) -> str:
    """Last part of the address, made safe."""
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "_", name).strip(".")[-150:] or "checkpoint"


def _fetch(url: str, path: Path) -> None:
    part, note = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
    head = _ask(url)
    facts = dataclasses.asdict(head)
    kept = head.validator is not None and _read(note) == facts and part.exists()
    with writing(path):
        if not kept:
            part.write_bytes(b"")
            note.write_text(json.dumps(facts))
    _receive(url, part, head)
    part.replace(path)
    note.unlink(missing_ok=True)


def _receive(url: str, part: Path, head: _Head) -> None:
    """Ask until all is there; tries that bring nothing new are counted."""
    tries, most = 0, part.stat().st_size
    while head.size is None or part.stat().st_size != head.size:
        try:
            _stream(url, part, head)
            return
        except (OSError, HTTPError) as error:
            if of_the_disk(error):
                raise
            there = part.stat().st_size
            if head.size is not None and there > head.size:
                there = 0
                part.write_bytes(b"")
            tries = 0 if there > most else tries + 1
            most = max(most, there)
            if tries >= _TRIES or not _may_pass(error):
                raise DownloadError(f"{url}: {_explain(error, part)}") from error
            time.sleep(min(2**tries - 1, 8))


def _stream(url: str, part: Path, head: _Head) -> None:
    """Append what is missing, or write all from the start where the server gives no part of it."""
    headers, start = dict(_IDENTITY), part.stat().st_size if head.validator else 0
    if start:  # If-Range: a file that is another one by now comes from its start
        headers |= {"Range": f"bytes={start}-", "If-Range": head.validator or ""}
    options = {"headers": headers, "follow_redirects": True,
               "timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT}  # fmt: skip
    with get_session().stream("GET", url, **options) as answer:
        hf_raise_for_status(answer)
        if not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            start = 0
        with writing(part), part.open("r+b") as file:
            file.truncate(start)
            file.seek(start)
            bar = tqdm(total=head.size, initial=start, unit="B", unit_scale=True,
                       desc=part.stem[-40:], name="mteeg.download")  # fmt: skip
            with bar:
                for piece in answer.iter_bytes():  # as it comes, so that nothing is lost
                    bar.update(file.write(piece))
                    if head.size is not None and file.tell() > head.size:
                        break
    size = part.stat().st_size
    if head.size not in (None, size):
        raise OSError(f"{size:,} bytes came, {head.size:,} were named")


def _ask(url: str) -> _Head:
    """Size and validator, as far as the server answers without sending the file."""
    try:
        options = {"headers": _IDENTITY, "timeout": constants.HF_HUB_ETAG_TIMEOUT}
        answer = get_session().head(url, follow_redirects=True, **options)
    except (OSError, HTTPError) as error:
        if isinstance(error, OfflineModeIsEnabled):
            raise DownloadError(f"{url}: {_explain(error)}") from error
        return _Head()  # the request for the file itself says what is wrong
    if answer.status_code >= 400:
        return _Head()
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(
            f"{url}: expected a file, found a web page. Give the address that its download button "
            "has; of a file on the Hub, owner/repo with --file."
        )
    size, tag = answer.headers.get("Content-Length"), answer.headers.get("ETag", "")
    strong = tag if tag and not tag.startswith("W/") else None
    return _Head(int(size) if size and size.isdecimal() else None,
                 strong or answer.headers.get("Last-Modified"))  # fmt: skip


def _read(note: Path) -> dict[str, Any] | None:
    try:
        return json.loads(note.read_text())
    except (OSError, ValueError):
        return None


def _may_pass(error: Exception) -> bool:
    """Whether the same may go well at once: not where the server answered with a refusal."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    return not isinstance(error, OfflineModeIsEnabled)


def _explain(error: Exception, part: Path | None = None) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "offline mode is on. Unset HF_HUB_OFFLINE, or give a file that is here."
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (404, 410):
            return f"there is no such file ({status}). Look at the address in a browser."
        if status in (401, 403):
            return (
                f"the server does not give it to everybody ({status}). Fetch it where you are "
                "logged in, then give the file."
            )
        if status == 429:
            return "too many requests (429). Wait some minutes, then run the same again."
        if status < 500:
            return f"the server refused it ({status}). Look at the address in a browser."
        return f"the server has a fault of its own ({status}). Run the same again in some minutes."
    there = part.stat().st_size if part is not None and part.exists() else 0
    kept = f" {there / 1e6:.1f} MB of it are kept, the same command goes on." if there else ""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"the connection failed or broke off ({first}). Check the network.{kept}"
