"""From a database's list of files to verified files in a folder, several at once."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from modeling_mteeg.dataset_scripts.bars import Bar
from modeling_mteeg.dataset_scripts.completeness import some_names
from modeling_mteeg.dataset_scripts.downloads.database import Database
from modeling_mteeg.dataset_scripts.downloads.download_plan import (
    Plan,
    check_folder,
    check_room,
    check_wrong,
    describe_files,
    describe_plan,
    in_words,
    make_plan,
)
from modeling_mteeg.dataset_scripts.downloads.download_record import DownloadRecord
from modeling_mteeg.dataset_scripts.downloads.download_settings import (
    DownloadError,
    DownloadSettings,
)
from modeling_mteeg.dataset_scripts.downloads.file_list import (
    OWN,
    RECORDS,
    SUMS,
    check_names,
    check_records,
    read_sums,
)
from modeling_mteeg.dataset_scripts.downloads.file_server import (
    FileServer,
    Job,
    Unreachable,
    new_session,
)
from modeling_mteeg.dataset_scripts.locking import write_whole
from modeling_mteeg.settings.disk_faults import writing
from modeling_mteeg.settings.folder_lock import held

if TYPE_CHECKING:
    from modeling_mteeg.dataset_scripts.corpus import Corpus

LIST_LIMIT = 64 * 2**20
"""Bytes of a list of files."""
_LIST_TRIES = 4
_IN_A_ROW = 3
"""Files that could not be had one after the other before the server counts as gone."""


def download(
    corpus: type[Corpus], folder: str | Path, settings: DownloadSettings | None = None
) -> Plan:
    """Fetch an open corpus from PhysioNet.

    Files are verified by the SHA-256 sums of the database's list. Those that are there with the
    right content are not fetched again; unfinished ones are ``NAME.part`` and go on where they
    ended, also after a kill. The list is kept as SHA256SUMS.txt.

    Parameters
    ----------
    corpus : subclass of Corpus
        One with a :attr:`~modeling_mteeg.dataset_scripts.corpus.Corpus.database`.
    folder : str or Path
        Becomes the raw folder of a preparation; it is made.
    settings : DownloadSettings, optional

    Returns
    -------
    Plan
        What was there and what was fetched.

    Raises
    ------
    DownloadError
        A file is there with another content, the disk has too little room, the server does not
        give the list or some files, or gives other content than its list says. What was finished
        stays.
    ValueError
        The corpus is not on PhysioNet, or a subject is not in it.
    WriteError
        The disk is full or cannot be written to.
    """
    settings, folder = settings or DownloadSettings(), Path(folder)
    if corpus.database is None:
        raise ValueError(
            f"{corpus.card.name}: {corpus.card.corpus} is not to be had without asking its "
            f"keepers: {corpus.homepage}"
        )
    check_folder(folder, corpus.database)
    if settings.dry_run:
        return asyncio.run(_Download(corpus, folder, settings).run())
    with held(folder / f"{OWN}.lock") as mine:
        if not mine:
            raise DownloadError(
                f"{folder}: another process is downloading into it now. Wait until it has ended, "
                "or choose another --raw."
            )
        return asyncio.run(_Download(corpus, folder, settings).run())


class _Download:
    """One download, from list to files."""

    def __init__(self, corpus: type[Corpus], folder: Path, settings: DownloadSettings) -> None:
        self.corpus, self.folder, self.settings = corpus, folder, settings
        self.database: Database = corpus.database
        self.url = self.database.url(settings.mirror)
        self.record = DownloadRecord(folder, kept=not settings.dry_run)

    async def run(self) -> Plan:
        kept = self._kept_list()
        if kept and (plan := self._all_here(kept)):
            return plan
        async with new_session(self.settings) as session:
            server = FileServer(session, self.url, self.settings, _say)
            sums, content = await self._list(server, kept)
            plan = self._plan(sums)
            check_wrong(plan, self.settings.replace_wrong or self.settings.dry_run)
            await self._ask_sizes(server, plan.jobs)
            self._tell(plan)
            if self.settings.dry_run:
                print("\n".join(describe_files(plan)))
                return plan
            check_room(plan)
            self.folder.mkdir(parents=True, exist_ok=True)
            if kept is None:
                write_whole(self.folder / SUMS, content.decode("utf-8"))
            await self._fetch(server, plan)
        return plan

    # Lists ------------------------------------------------------------------------------------

    def _kept_list(self) -> dict[str, str] | None:
        path = self.folder / SUMS
        if not path.is_file():
            return None
        sums = read_sums(path.read_bytes(), str(path))
        if not any(map(self.database.reads, sums)):
            raise DownloadError(
                f"{path}: is of another database than {self.database.slug}; choose another --raw."
            )
        return sums

    def _all_here(self, kept: dict[str, str]) -> Plan | None:
        """The plan, where by the list that is there nothing lacks: no server is asked then."""
        chosen = self._chosen(kept)
        if not all((self.folder / name).is_file() for name in chosen):
            return None
        plan = self._plan(kept)
        if plan.jobs or plan.wrong:
            return None
        self._tell(plan)
        return plan

    async def _list(
        self, server: FileServer, kept: dict[str, str] | None
    ) -> tuple[dict[str, str], bytes]:
        """The server's list, which must be that of the folder and hold all recordings."""
        try:
            content = await server.read(SUMS, LIST_LIMIT, tries=_LIST_TRIES)
        except Unreachable as error:
            raise Unreachable(
                f"{error} The list of files could not be had: check the network (a proxy is taken "
                "from HTTPS_PROXY), or choose a --mirror."
            ) from error
        sums = read_sums(content, f"{self.url}{SUMS}")
        if kept is not None:
            other = [name for name in self._chosen(kept) if kept[name] != sums.get(name)]
            if other:
                raise DownloadError(
                    f"{self.folder / SUMS}: is of other files than {self.url}{SUMS}: "
                    f"{some_names(other)}. Choose another --raw for these, or remove that file to "
                    "go by the server's list."
                )
        if RECORDS in sums:
            where = f"{self.url}{RECORDS}"
            records = await server.read(RECORDS, LIST_LIMIT, tries=_LIST_TRIES)
            check_records(records, sums, self.database.reads, where)
        return sums, content

    def _chosen(self, sums: dict[str, str]) -> list[str]:
        settings = self.settings
        chosen = self.database.choose(sums, settings.subjects, settings.all_files)
        check_names(chosen, f"{self.url}{SUMS}")
        return chosen

    def _plan(self, sums: dict[str, str]) -> Plan:
        settings = self.settings
        return make_plan(
            self.folder, sums, self._chosen(sums), self.record, settings.replace_wrong,
            settings.progress,
        )  # fmt: skip

    def _tell(self, plan: Plan) -> None:
        subjects = self.settings.subjects
        whose = f"subjects {some_names(subjects)}" if subjects else "all subjects"
        what = "what the task reads (--all-files: the others, too)"
        what = "all files" if self.settings.all_files else what
        print("\n".join(describe_plan(plan, self.corpus, self.url, f"{whose}, {what}")), flush=True)

    # Files ------------------------------------------------------------------------------------

    async def _ask_sizes(self, server: FileServer, jobs: Sequence[Job]) -> None:
        """Sizes of the jobs, as the server says them."""
        waiting, gone = deque(jobs), 0
        with Bar(total=len(jobs), desc="asking for sizes", unit="file", leave=False,
                 progress=self.settings.progress) as bar:  # fmt: skip

            async def work() -> None:
                nonlocal gone
                while waiting:
                    job = waiting.popleft()
                    try:
                        job.size = await server.size(job.name)
                    except Unreachable:
                        gone += 1
                        if gone >= _IN_A_ROW:
                            raise
                    except DownloadError:
                        pass  # the file itself will say it
                    bar.update()

            await _all_of([work() for _ in range(self.settings.connections)])

    async def _fetch(self, server: FileServer, plan: Plan) -> None:
        """Fetch the jobs; what cannot be had is said at the end, by name."""
        waiting, failed, in_a_row = deque(plan.jobs), {}, 0
        with Bar(total=plan.total, initial=plan.have, desc=self.corpus.card.name, unit="B",
                 unit_scale=True, progress=self.settings.progress) as bar:  # fmt: skip

            async def work() -> None:
                nonlocal in_a_row
                while waiting and in_a_row < _IN_A_ROW:
                    job = waiting.popleft()
                    stated = max(job.size or 0, job.have)
                    with writing(job.path.parent):
                        job.path.parent.mkdir(parents=True, exist_ok=True)
                    try:
                        await server.fetch(job, self.record, bar.update)
                    except DownloadError as error:
                        failed[job.name] = str(error)
                        in_a_row += isinstance(error, Unreachable)
                        continue
                    in_a_row = 0
                    bar.total += job.path.stat().st_size - stated

            await _all_of([work() for _ in range(self.settings.connections)])
        if failed:
            self._complain(plan, failed, [job.name for job in waiting])
        if plan.jobs:
            print(f"{self.corpus.card.name}: {len(plan.jobs):,} file(s) fetched and verified, "
                  f"{in_words(sum(job.path.stat().st_size for job in plan.jobs))}.")  # fmt: skip

    def _complain(self, plan: Plan, failed: dict[str, str], waiting: Sequence[str]) -> None:
        done = len(plan.jobs) - len(failed) - len(waiting)
        also = f", {len(waiting):,} not tried (the server no longer answers)" if waiting else ""
        lines = list(failed.values())
        more = [f"and {len(lines) - 10} more"] if len(lines) > 10 else []
        raise DownloadError(
            f"{len(failed):,} of {len(plan.jobs):,} file(s) could not be had{also}; {done:,} are "
            "fetched and verified and stay, and the same command goes on with the others:\n  "
            + "\n  ".join([*lines[:10], *more])
        )


async def _all_of(works: Sequence) -> None:
    """All of them; where one fails, the others are ended before its error goes on."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _say(text: str) -> None:
    """A line on stderr, above the bar."""
    tqdm.write(text, file=sys.stderr)
