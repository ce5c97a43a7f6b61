"""Mutations one after the other, each way in the child, the outcome judged and written down."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .drawing import Mutation, mutate
from .oracle import contradictions
from .originals import Original, all_originals, write_originals

COLUMNS = ("group", "seed", "number", "layout", "target", "change", "way", "verdict", "seconds",
           "peak_mb", "more_mb", "flaw", "contradiction", "detail")  # fmt: skip
RIGHT = ("refused", "finding", "used")
"""Verdicts that are as they should be."""
WRONG = ("silent", "uncaught", "crash", "hang", "memory", "lost", "ended", "not finite", "oracle")
"""``silent``: used without a word though the file contradicts itself. ``oracle``: it failed."""
MOST_MB = 2048
_START_S = 900.0
"""For the imports of a child; they are no part of what is tried."""
_ENV = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}


@dataclasses.dataclass(frozen=True)
class Limits:
    """Of one way on one mutation.

    Parameters
    ----------
    seconds : float
    headroom : int
        Bytes of address space beyond what the child has.
    """

    seconds: float = 120.0
    headroom: int = 2 * 10**9


class Child:
    """The process that tries, started anew where it died."""

    def __init__(self, work: Path, limits: Limits) -> None:
        self.work, self.limits = work, limits
        self._process: subprocess.Popen | None = None

    def ask(self, **request: Any) -> dict[str, Any]:
        """An answer, or ``crash`` or ``hang`` where the child ended or did not."""
        process = self._process or self._start()
        line = json.dumps({**request, "headroom": self.limits.headroom,
                           "scratch": str(self.work)}) + "\n"  # fmt: skip
        try:
            process.stdin.write(line.encode())
            process.stdin.flush()
        except BrokenPipeError:
            return self._ended()
        for limit_s in (_START_S, self.limits.seconds):  # a line that it begins, and the answer
            ready, _, _ = select.select([process.stdout], [], [], limit_s)
            if not ready:
                self.close()
                return {"outcome": "hang", "detail": f"more than {limit_s:g} s"}
            answer = process.stdout.readline()
            if not answer:
                return self._ended()
        return json.loads(answer)

    def _start(self) -> subprocess.Popen:
        log = open(self.work / "child.log", "ab")  # noqa: SIM115 (the child has it)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("child.py"))], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, bufsize=0, stderr=log, env={**os.environ, **_ENV},
            start_new_session=True,
        )  # fmt: skip
        log.close()
        return self._process

    def _ended(self) -> dict[str, Any]:
        code = self._process.wait()
        self._process = None
        tail = (self.work / "child.log").read_text("utf-8", "replace").strip().splitlines()[-1:]
        return {"outcome": "crash", "detail": f"status {code}: {' '.join(tail)[:200]}"}

    def close(self) -> None:
        """End it, and whatever it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


class Run:
    """Mutations in a working folder.

    Parameters
    ----------
    work : Path
        Originals are written there once; what is mutated is removed after it was tried.
    layouts : sequence of str
        Names of the originals; empty: all.
    limits : Limits
    """

    def __init__(self, work: Path, layouts: Iterable[str] = (), limits: Limits | None = None):
        self.work = Path(work).resolve()
        self.originals = {name: one for name, one in all_originals().items()
                          if not layouts or name in layouts}  # fmt: skip
        (self.work / "mutated").mkdir(parents=True, exist_ok=True)
        write_originals(self.work / "originals", list(self.originals))
        self.child = Child(self.work, limits or Limits())
        self._usual: dict[tuple[str, str], set[str]] = {}

    def usual(self, original: Original, way: str) -> set[str]:
        """What is said of the original itself, which must be used."""
        key = (original.name, way)
        if key not in self._usual:
            folder = self.work / "originals" / original.name
            answer = self.child.ask(way=way, layout=original.name, folder=str(folder), target="")
            if answer["outcome"] != "used":
                raise RuntimeError(f"{key}: the original itself: {answer}")
            self._usual[key] = set(answer["said"])
        return self._usual[key]

    def tried(self, group: str, seed: int, number: int, keep: bool = False) -> Iterator[dict]:
        """Rows of one mutation, one a way."""
        folder = self.work / "mutated" / f"{group}-{seed}-{number}"
        with _gone_afterwards(folder, keep):
            place = self.work / "originals"
            mutation = mutate(group, seed, number, self.originals, place, folder)
            original = self.originals[mutation.layout]
            Path(f"{folder}.target").write_text(mutation.target)
            Path(f"{folder}.originals").write_text(str(place))
            contradicting = self._contradictions(folder, mutation, original)
            for way in original.ways:
                usual = self.usual(original, way)
                answer = self.child.ask(way=way, layout=original.name, folder=str(folder),
                                        target=mutation.target)  # fmt: skip
                yield row_of(mutation, way, answer, usual, contradicting)

    @staticmethod
    def _contradictions(
        folder: Path, mutation: Mutation, original: Original
    ) -> dict[str, list[str]]:
        try:
            found = contradictions(folder, original.name, original.group, mutation.target,
                                   original.opened)  # fmt: skip
        except Exception as error:  # a fault of the judge, which is reported as such
            return {"signal": [f"oracle: {type(error).__name__}: {error}"], "labels": []}
        declared = [mutation.declares] if mutation.declares else []
        return {**found, "signal": declared + found["signal"]}

    def close(self) -> None:
        """End the child."""
        self.child.close()


@contextlib.contextmanager
def _gone_afterwards(folder: Path, keep: bool) -> Iterator[None]:
    try:
        yield
    finally:
        if not keep:
            for place in folder.parent.glob(f"{folder.name}*"):
                if place.is_dir() and not place.is_symlink():
                    shutil.rmtree(place, ignore_errors=True)
                else:
                    place.unlink(missing_ok=True)


def row_of(
    mutation: Mutation, way: str, answer: dict, usual: set[str], found: dict[str, list[str]]
) -> dict[str, Any]:
    """A row of the report: the verdict on one answer.

    ``found`` are the contradictions; those of labels count where labels are wanted.
    """
    contradicting = found["signal"] + (found["labels"] if way == "labelled" else [])
    verdict, detail = answer["outcome"], answer.get("detail", "")
    new = sorted(set(answer.get("said", ())) - usual)
    if verdict == "used" and new:
        verdict, detail = "finding", "; ".join(new)
    elif verdict == "used" and contradicting:
        verdict = "silent"
    elif verdict == "not finite" and mutation.group == "weights" and not contradicting:
        verdict = "used"  # numbers of weights are finite, and too large: nobody can know that
    if contradicting and contradicting[0].startswith("oracle: "):
        verdict = "oracle"
    if answer.get("peak_mb", 0) > MOST_MB:
        verdict, detail = "memory", f"{answer['peak_mb']} MB; {detail}"
    return {
        "group": mutation.group, "seed": mutation.seed, "number": mutation.number,
        "layout": mutation.layout, "target": mutation.target, "change": mutation.note, "way": way,
        "verdict": verdict, "seconds": f"{answer.get('seconds', 0):.2f}",
        "peak_mb": answer.get("peak_mb", ""), "more_mb": answer.get("more_mb", ""),
        "flaw": answer.get("flaw", "") if verdict == "refused" else "",
        "contradiction": "; ".join(contradicting)[:500], "detail": detail[:1500],
    }  # fmt: skip


def run_all(
    run: Run, seed: int, counts: dict[str, int], out: Path, tell=lambda rows: None
) -> list[dict[str, Any]]:
    """All mutations that ``out`` does not have yet; returns all rows, those that it had too.

    Parameters
    ----------
    run : Run
    seed : int
    counts : dict
        Group to number of mutations.
    out : Path
        A table, to which rows are added when a mutation is done with.
    tell : callable
        Called with the rows so far after each mutation.
    """
    rows = [row for row in read_rows(out) if row["seed"] == str(seed)]
    there = {(row["group"], int(row["number"])) for row in rows}
    new = not out.is_file()
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", quoting=csv.QUOTE_MINIMAL)
        if new:
            writer.writeheader()
        for group, count in counts.items():
            for number in range(count):
                if (group, number) in there:
                    continue
                found = [{key: _one_line(value) for key, value in row.items()}
                         for row in run.tried(group, seed, number)]  # fmt: skip
                writer.writerows(found)
                file.flush()
                rows += found
                tell(rows)
    return rows


def _one_line(value: Any) -> str:
    """Without tabs, line ends and what else a terminal would take for a command."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in str(value))


def read_rows(out: Path) -> list[dict[str, str]]:
    """Rows of a table that :func:`run_all` wrote."""
    if not out.is_file():
        return []
    csv.field_size_limit(2**24)
    with out.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def summary(rows: Iterable[dict[str, Any]]) -> str:
    """Counts of verdicts by group, and the most memory and time."""
    rows, lines = list(rows), []
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        counts = Counter(row["verdict"] for row in own)
        mutations = len({row["number"] for row in own})
        told = ", ".join(f"{counts[name]} {name}" for name in (*RIGHT, *WRONG) if counts[name])
        flaws = sum(bool(row["flaw"]) for row in own)
        contradicting = len({row["number"] for row in own if row["contradiction"]})
        peak = max((int(row["peak_mb"] or 0) for row in own), default=0)
        lines.append(
            f"{group}: {mutations} mutations ({contradicting} contradict themselves), "
            f"{len(own)} tries: {told}; {flaws} messages at fault; at most {peak} MB, "
            f"{max((float(row['seconds']) for row in own), default=0):.1f} s"
        )
    return "\n".join(lines)
