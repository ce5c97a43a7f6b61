"""The list of a database's files: SHA256SUMS.txt and RECORDS, names checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from modeling_mteeg.dataset_scripts.downloads.download_settings import DownloadError

SUMS, RECORDS = "SHA256SUMS.txt", "RECORDS"
PART = ".part"
OWN = ".download"
"""Files of the download itself, beside those of the database, begin so."""
_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *]?(\S(?:.*\S)?)")
_LONGEST = 200


def read_sums(content: bytes, where: str) -> dict[str, str]:
    """Paths and SHA-256 sums of a list ``<sum> <path>``, a line each.

    Parameters
    ----------
    content : bytes
        Of SHA256SUMS.txt, as PhysioNet or ``sha256sum`` write it.
    where : str
        Its address, for errors.

    Returns
    -------
    dict
        Path with forward slashes to sum in lower case, in the order of the list.

    Raises
    ------
    DownloadError
        A line is no sum and path, a path appears with two sums, or a name leads out of the folder.
    """
    sums: dict[str, str] = {}
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DownloadError(f"{where}: expected text in UTF-8: {error}.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            raise DownloadError(
                f"{where}: line {number}: expected a SHA-256 sum and a path, found "
                f"{line[:60]!r}. Is it the right address, or the answer of a proxy?"
            )
        name, found = match[2].removeprefix("./"), match[1].lower()
        if name == SUMS:
            continue
        if fault := leads_out(name):
            raise DownloadError(
                f"{where}: line {number}: the name {name[:_LONGEST]!r} {fault}; nothing of this "
                "list is fetched."
            )
        if sums.setdefault(name, found) != found:
            raise DownloadError(f"{where}: line {number}: {name} appears with two different sums.")
    if not sums:
        raise DownloadError(f"{where}: expected a SHA-256 sum and a path a line, found nothing.")
    return sums


def check_names(names: Iterable[str], where: str) -> None:
    """Raise where files cannot lie beside each other, on any system.

    Parameters
    ----------
    names : iterable of str
        Those that are to be fetched.
    where : str
        Address of their list, for errors.

    Raises
    ------
    DownloadError
        A name is none that every system takes, or is that of another one on a disk that does not
        tell upper from lower case, or of another one's folder.
    """
    lower: dict[str, str] = {}
    for name in names:
        if fault := unfit(name):
            raise DownloadError(
                f"{where}: the name {name[:_LONGEST]!r} {fault}. Without --all-files fewer are "
                "fetched."
            )
        if other := lower.get(name.lower()):
            raise DownloadError(f"{where}: {other} and {name} are one file on many disks.")
        lower[name.lower()] = name
    for name in lower:
        folder = name.rpartition("/")[0]
        while folder:
            if folder in lower:
                raise DownloadError(f"{where}: {lower[folder]} is both a file and a folder.")
            folder = folder.rpartition("/")[0]


def leads_out(name: str) -> str:
    """What makes a path no place below a folder, on any system; empty: it is one."""
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "is not relative"
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name:
        return "leads elsewhere"
    if not name.isprintable():
        return "has characters that no name should have"
    return ""


def unfit(name: str) -> str:
    """Why a file of that name cannot lie in the folder of a download; empty: it can."""
    parts = name.split("/")
    if any(character in name for character in ':*?"<>|'):
        return "has characters that not every system takes"
    if any(len(part.encode()) > _LONGEST or part.endswith((" ", ".")) for part in parts):
        return "is too long, or ends in a dot or space"
    if name.lower().endswith(PART) or any(part.lower().startswith(OWN) for part in parts):
        return f"is one that downloads use themselves ({PART}, {OWN})"
    return ""


def check_records(
    content: bytes, sums: Mapping[str, str], reads: Callable[[str], bool], where: str
) -> None:
    """Hold the list of sums against RECORDS, the database's list of recordings.

    Parameters
    ----------
    content : bytes
        Of RECORDS: a recording's path a line.
    sums : mapping of str to str
        As :func:`read_sums` gives it.
    reads : callable
        Whether a path is one that is wanted.
    where : str
        Address of RECORDS, for errors.

    Raises
    ------
    DownloadError
        A recording that is wanted has no sum.
    """
    records = (line.strip() for line in content.decode("utf-8", "replace").splitlines())
    lacking = [name for name in records if reads(name) and name not in sums]
    if lacking:
        raise DownloadError(
            f"{where}: lists {len(lacking)} recording(s) that have no sum in {SUMS}, "
            f"{lacking[0]} is the first. The list of sums is not complete; start again later, or "
            "from another --mirror."
        )
