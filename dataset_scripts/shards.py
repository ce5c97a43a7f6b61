"""Shards: a corpus prepared by several jobs that do not know of each other.

Shard 3 of 8 writes the parts of its share of the recordings to ``<out>/<task>.shard-3-of-8``. Who
has which share follows from the recordings alone, so the jobs need no word from each other.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording
from modeling_mteeg.dataset_scripts.locking import PreparationError, write_whole
from modeling_mteeg.dataset_scripts.parts import read_part
from modeling_mteeg.dataset_scripts.report import Outcome

if TYPE_CHECKING:
    from modeling_mteeg.dataset_scripts.planning import Plan

SHARD_FILE = "shard.json"
SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Shard:
    """One share of a corpus.

    Parameters
    ----------
    index : int
        From 1 to ``count``.
    count : int
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(
                f"shard: expected i/n with i from 1 to n, such as 1/8 ... 8/8, found "
                f"{self.index}/{self.count}."
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``3/8`` as ``Shard(3, 8)``."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if not match:
            raise ValueError(f"shard: expected i/n, such as 3/8, found {text!r}.")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def folder_name(self, task: str) -> str:
        """Where its parts are, below ``out``."""
        return f"{task}.shard-{self.index}-of-{self.count}"

    def share(
        self, recordings: Sequence[Recording], duration_s: Callable[[Recording], float]
    ) -> list[Recording]:
        """Its recordings, sorted by key."""
        owner = assign_shards(recordings, duration_s, self.count)
        return [recording for recording in recordings if owner[recording.key] == self.index]


def assign_shards(
    recordings: Sequence[Recording], duration_s: Callable[[Recording], float], count: int
) -> dict[str, int]:
    """Which shard, from 1 on, writes which recording.

    A function of keys and lengths only: the longest recording first, each to the shard that has
    the least to do, of equals to the one with fewer recordings, then to the lower number. So no
    shard has more than the mean and one recording.
    """
    lengths = {recording.key: duration_s(recording) for recording in recordings}
    load = [(0.0, 0, index) for index in range(1, count + 1)]
    owner = {}
    for key in sorted(lengths, key=lambda key: (-lengths[key], key)):
        seconds, number, index = min(load)
        owner[key] = index
        load[index - 1] = (seconds + lengths[key], number + 1, index)
    return owner


def start_shard(folder: Path) -> Path:
    """The folder of the shard's parts; the shard counts as incomplete from now on."""
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    (folder / SHARD_FILE).unlink(missing_ok=True)
    return parts


def finish_shard(folder: Path, plan: Plan, shard: Shard, outcomes: Sequence[Outcome]) -> None:
    """Write down that the shard is complete, and say what became of it."""
    states: dict[str, list[str]] = {"used": [], "skipped": []}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.recording.key):
        states.setdefault(outcome.status, []).append(outcome.recording.key)
    content = {"shard": str(shard), "settings": plan.choices(), **states}
    write_whole(folder / SHARD_FILE, json.dumps(content, indent=1) + "\n")
    if plan.settings.progress:
        print(f"{plan.corpus.card.name}: shard {shard}: {len(states['used'])} recordings used, "
              f"{len(states['skipped'])} skipped (judged when all shards are merged).")  # fmt: skip


def shard_folders(task: str, roots: Sequence[Path]) -> dict[int, Path | None]:
    """Folders of all shards of a task below ``roots``, by number; None where there is none.

    Raises
    ------
    PreparationError
        There are none, one is there twice, or they are of different divisions of the corpus.
    """
    name = re.compile(rf"{re.escape(task)}\.shard-(\d+)-of-(\d+)")
    divisions: dict[int, dict[int, list[Path]]] = {}
    for root in dict.fromkeys(roots):
        for path in sorted(root.iterdir()) if root.is_dir() else ():
            match = name.fullmatch(path.name)
            if match:
                divisions.setdefault(int(match[2]), {}).setdefault(int(match[1]), []).append(path)
    where = ", ".join(map(str, dict.fromkeys(roots)))
    if not divisions:
        raise PreparationError(
            f"{task}: no shards in {where}: expected folders like {Shard(1, 8).folder_name(task)}. "
            "Write them with --shard 1/8 ... --shard 8/8, or name the folders: --merge DIR DIR ..."
        )
    if len(divisions) > 1:
        kinds = ", ".join(f"{len(held)} of {count}" for count, held in sorted(divisions.items()))
        raise PreparationError(
            f"{task}: shards of different divisions in {where}: {kinds}. Name only the folders of "
            "one, or remove the others."
        )
    ((count, shards),) = divisions.items()
    twice = [paths for paths in shards.values() if len(paths) > 1]
    if twice:
        raise PreparationError(
            f"{task}: the same shard in several folders: {', '.join(map(str, twice[0]))}. Name "
            "only one of them."
        )
    return {index: shards[index][0] if index in shards else None for index in range(1, count + 1)}


def collect_shards(
    plan: Plan, folders: dict[int, Path | None], out: Path
) -> tuple[list[Outcome], dict[str, Path]]:
    """Outcome and Arrow file of every recording that is wanted.

    Raises
    ------
    PreparationError
        Parts are missing or of other settings or files.
    """
    corpus, task = plan.corpus, plan.corpus.card.name
    owner = assign_shards(plan.wanted, corpus.duration_s, len(folders))
    outcomes, places, settings = [], {}, plan.part_settings()
    lacking: dict[int, list[str]] = {index: [] for index in folders}
    for recording in plan.wanted:
        folder = folders[owner[recording.key]]
        outcome, reason = None, ""
        if folder is not None:
            outcome, reason = read_part(
                recording, folder / "parts", settings, plan.sources[recording.key]
            )
        if outcome is None:
            lacking[owner[recording.key]].append(f"{recording.key}: {reason or 'not written'}")
        else:
            outcomes.append(outcome)
            places[recording.key] = folder / "parts" / f"{recording.key}.arrow"
    lines = []
    for index, folder in folders.items():
        shard = Shard(index, len(folders))
        if folder is None:
            lines.append(f"shard {shard} was never started")
        elif not (folder / SHARD_FILE).is_file() or lacking[index]:
            shown = "; ".join(lacking[index][:SHOWN]) or "it has not come to its end"
            more = len(lacking[index]) - SHOWN
            lines.append(f"shard {shard} in {folder} is incomplete: {shown}"
                         + (f"; and {more} more" if more > 0 else ""))  # fmt: skip
        else:
            continue
        command = _command(plan, shard, out if folder is None else folder.parent)
        lines.append(f"  make it: {command}")
    if lines:
        raise PreparationError("\n  ".join([f"{task}: cannot be merged:", *lines]))
    return outcomes, places


def _command(plan: Plan, shard: Shard, out: Path) -> str:
    """The command that writes a shard."""
    corpus, settings = plan.corpus, plan.settings
    words = ["python", "-m", _module(corpus), "--raw", str(corpus.raw), "--out", str(out),
             "--shard", str(shard)]  # fmt: skip
    for option, value, default in (
        ("--dtype", settings.dtype, "int16"),
        ("--protocol", corpus.protocol, next(iter(corpus.protocols))),
        ("--split-seed", corpus.split_seed or 0, 0),
        ("--split", settings.split, "protocol"),
    ):
        words += [] if value == default else [option, str(value)]
    words += [word for old, new in corpus.rename.items() for word in ("--rename", f"{old}={new}")]
    if settings.subjects:
        words += ["--subjects", *settings.subjects]
    return shlex.join(words)


def _module(corpus: Corpus) -> str:
    """Module of the corpus's command."""
    module = type(corpus).__module__
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name if module == "__main__" and spec is not None else module
