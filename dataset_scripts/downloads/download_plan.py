"""What is there, what is wrong, what is to be fetched: said before anything is fetched."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from modeling_mteeg.dataset_scripts.bars import Bar
from modeling_mteeg.dataset_scripts.completeness import some_names
from modeling_mteeg.dataset_scripts.downloads.database import Database
from modeling_mteeg.dataset_scripts.downloads.download_record import DownloadRecord
from modeling_mteeg.dataset_scripts.downloads.download_settings import DownloadError
from modeling_mteeg.dataset_scripts.downloads.file_server import Job

if TYPE_CHECKING:
    from modeling_mteeg.dataset_scripts.corpus import Corpus

_ELSEWHERE = ("", "files/", "physionet.org/files/", "MNE-eegbci-data/files/")
"""Where wget and MNE put databases below a folder."""
_MARGIN = 64 * 2**20
"""Room that is left free."""


@dataclasses.dataclass
class Plan:
    """Files of a database that are wanted in ``folder``.

    Parameters
    ----------
    folder : Path
    listed : int
        Files of the whole database.
    here : list of str
        Files that are there, verified.
    jobs : list of Job
        Those that are to be fetched.
    wrong : list of str
        Of the jobs, those that are there with another content.
    """

    folder: Path
    listed: int
    here: list[str] = dataclasses.field(default_factory=list)
    jobs: list[Job] = dataclasses.field(default_factory=list)
    wrong: list[str] = dataclasses.field(default_factory=list)

    @property
    def have(self) -> int:
        """Bytes in unfinished files."""
        return sum(job.have for job in self.jobs)

    @property
    def total(self) -> int:
        """Bytes of the jobs, as far as their sizes are known."""
        return sum(max(job.size or 0, job.have) for job in self.jobs)


def make_plan(
    folder: Path,
    sums: Mapping[str, str],
    chosen: Iterable[str],
    record: DownloadRecord,
    replace_wrong: bool = False,
    progress: bool = True,
) -> Plan:
    """Look at what is there; files that nobody has verified, or that were touched, are hashed.

    Parameters
    ----------
    folder : Path
    sums : mapping of str to str
        All files of the database.
    chosen : iterable of str
        Those that are wanted.
    record : DownloadRecord
    replace_wrong : bool
        Whether files with another content become jobs.
    progress : bool
        Bar.

    Returns
    -------
    Plan
        Without sizes.

    Raises
    ------
    DownloadError
        A place below the folder is a link that leads out of it, or no file.
    """
    plan, root = Plan(folder, len(sums)), folder.resolve()
    unknown: list[str] = []
    for name in chosen:
        path = folder / name
        job = Job(name, sums[name], path)
        _check_place(job, root)
        if not path.exists():
            plan.jobs.append(job)
        elif record.was_verified(name, path, job.sha256):
            plan.here.append(name)
        else:
            unknown.append(name)
    length = sum((folder / name).stat().st_size for name in unknown)
    options = {"unit": "B", "unit_scale": True, "desc": "looking at what is there", "leave": False}
    with Bar(total=length, progress=progress and bool(unknown), **options) as bar:
        for name in unknown:
            path = folder / name
            if _sha256(path, bar) == sums[name]:
                plan.here.append(name)
                record.note_verified(name, path, sums[name])
                continue
            plan.wrong.append(name)
            if replace_wrong:
                plan.jobs.append(Job(name, sums[name], path, replace=True))
    return plan


def _check_place(job: Job, root: Path) -> None:
    for path in (job.path, job.part):
        if not path.parent.resolve().is_relative_to(root):
            raise DownloadError(
                f"{path.parent}: a link that leads out of {root}; nothing is written there. Give "
                "the folder that it leads to as --raw, or remove the link."
            )
        if (path.exists() and not path.is_file()) or (path == job.part and path.is_symlink()):
            raise DownloadError(f"{path}: expected a file or nothing; move it away.")


def _sha256(path: Path, bar: Bar) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()


def check_folder(folder: Path, database: Database) -> None:
    """Refuse folders in which files would lie twice, or beside simulated ones.

    Raises
    ------
    DownloadError
    """
    if folder.exists() and not folder.is_dir():
        raise DownloadError(f"{folder}: expected a folder, or nothing; choose another --raw.")
    if (folder / "SIMULATED").exists():
        raise DownloadError(
            f"{folder}: holds simulated recordings; choose another --raw for real ones."
        )
    for place in _ELSEWHERE:
        found = folder / f"{place}{database.slug}" / database.version
        if found.is_dir():
            raise DownloadError(
                f"{folder}: has files of {database.slug} in {found}, which would be there twice. "
                f"Go on there: --raw {found}"
            )


def describe_plan(plan: Plan, corpus: type[Corpus], url: str, chosen_by: str) -> list[str]:
    """What is about to happen, a line each: from where, licence, citation, files, bytes, room."""
    unsized = sum(job.size is None for job in plan.jobs)
    to_fetch = f"{_files(len(plan.jobs))}, {in_words(plan.total)}"
    if unsized:
        to_fetch += f" and {unsized} of unstated size"
    if plan.have:
        to_fetch += f"; {in_words(plan.have)} of it are there ({_files(_parts(plan.jobs))} begun)"
    rows = [
        ("from", url),
        ("licence", f"{corpus.card.license}, {corpus.license_link}"),
        *(("cite" * (not number), text) for number, text in enumerate(corpus.references)),
        ("chosen", f"{len(plan.here) + len(plan.jobs):,} of {_files(plan.listed)}: {chosen_by}"),
        ("here", f"{_files(len(plan.here))}, verified" if plan.here else "nothing yet"),
        ("to fetch", to_fetch if plan.jobs else "nothing"),
        ("into", f"{plan.folder} ({in_words(_free(plan.folder))} free)"),
    ]
    return [corpus.card.corpus, *(f"  {title:<8} {text}" for title, text in rows)]


def describe_files(plan: Plan) -> list[str]:
    """Every file of the plan, a line each, sorted: its path, size and state."""
    lines = dict.fromkeys(plan.here, "here") | dict.fromkeys(plan.wrong, "has another content")
    for job in plan.jobs:
        size = "size unstated" if job.size is None else f"{job.size:,} bytes"
        state = "replace" if job.replace else f"go on at {job.have:,}" if job.have else "fetch"
        lines[job.name] = f"{size}\t{state}"
    return [f"{name}\t{lines[name]}" for name in sorted(lines)]


def check_room(plan: Plan) -> None:
    """Raise where the disk has not the room that the plan needs.

    Raises
    ------
    DownloadError
    """
    needed, free = plan.total - plan.have, _free(plan.folder)
    if plan.jobs and needed + _MARGIN > free:
        raise DownloadError(
            f"{plan.folder}: {in_words(needed)} are to be fetched, its disk has {in_words(free)} "
            f"free ({in_words(_MARGIN)} are left free). Make room, choose a --raw on another disk, "
            "or fewer --subjects. Nothing was fetched."
        )


def check_wrong(plan: Plan, replace_wrong: bool) -> None:
    """Raise where files are there with another content, unless they may be replaced.

    Raises
    ------
    DownloadError
    """
    if plan.wrong and not replace_wrong:
        raise DownloadError(
            f"{plan.folder}: {_files(len(plan.wrong))} there with another content than the list "
            f"says: {some_names(plan.wrong)}. They are cut off, damaged, or of another version; "
            "nothing was fetched or overwritten. Move them away, or fetch them anew with "
            "--replace-wrong."
        )


def _free(folder: Path) -> int:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _parts(jobs: Sequence[Job]) -> int:
    return sum(job.have > 0 for job in jobs)


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number:,} files"


def in_words(size: int) -> str:
    """``1.61 GB``, with powers of 1000."""
    if size < 1000:
        return f"{size} bytes"
    number = tqdm.format_sizeof(size)
    return f"{number[:-1]} {number[-1]}B"
