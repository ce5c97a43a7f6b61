"""The trainings of a comparison: where each lies, which belong together, who does which.

```
OUTPUT/comparison.yaml                           the plan of whoever began last
OUTPUT/splits/fold-0/<task>.parquet              which window is in which part, where it was chosen
OUTPUT/rows/<row>/row.json                       the row as it stands in the plan
OUTPUT/rows/<row>/<part>/fold-0/tuning/          tries: search/<try>/, tuning.tsv; tuning.json: done
OUTPUT/rows/<row>/<part>/fold-0/seed-0/          a training as recipes/joint.py leaves it
                                                 unit.json, written last: done
                                                 missing.json in its place: why it is not
```

A part is ``joint``, or a task where a row has a training for each.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..methods.method import TrainingError
from ..model.checked_files import MAX_RESULT_BYTES
from ..model.json_fields import NUMBER, read_checked
from ..settings.config_file import put_over
from ..settings.folder_lock import held
from ..settings.plain_json import write_json
from ..settings.schema import ConfigError
from ..training.joint_config import JointConfig
from ..training.output_folder import NOTE, differing_keys
from ..training.search_grid import SHORT_NAMES
from .comparison_config import of_tasks
from .comparison_plan import Row

JOINT = "joint"
DONE, MISSING = "unit.json", "missing.json"
TUNING, TUNED, TUNED_TABLE = "tuning", "tuning.json", "tuning.tsv"
ROW_FILE, HISTORY, STRETCHES = "row.json", "history.json", "stretches.json"
_SHARD = re.compile(r"(\d+)/(\d+)")
_COUNT = range(1, 10_001)
_FILE = {"bytes": int, "sha256": str}
_PARAMETERS = {
    "total": int | None, "trained": int | None, "run": int | None,
    "run_for_one_task": dict[str, int] | None,
}  # fmt: skip
KINDS: dict[str, Any] = {
    ROW_FILE: {
        "row": dict, "name": str, "group": str, "place": int, "separate": bool,
        "tasks": list[str], "seeds": list[int], "folds": _COUNT,
    },
    DONE: {
        "row": str, "tasks": list[str], "fold": int, "folds": _COUNT, "seed": int,
        "split_hash": dict[str, str | None], "splits": dict[str, dict], "identity": dict,
        "start_fingerprint": str | None, "epochs": int | None,
        "chosen_epoch": dict[str, int | None], "parameters": dict[str, _PARAMETERS],
        "seconds": NUMBER, "peak_memory_bytes": int,
        "peak_memory": str, "packages": dict | None, "device": str | None, "tuning": dict | None,
        "settings": dict, "files": dict[str, _FILE],
        "conflicts": dict | None,
    },
    MISSING: dict[str, str],
    TUNED: {
        "chosen": dict, "identity": dict, "split_hash": dict[str, str | None],
        "start_fingerprint": str | None, "seconds": NUMBER | None,
    },
    HISTORY: list[dict],
    STRETCHES: {"seconds": NUMBER, "peak": int, "stretches": int, "began": NUMBER},
}  # fmt: skip
"""What the JSON files of a comparison must say, by their names."""
_BY_TASK = ("split_hash", "splits", "chosen_epoch", "parameters")


class ResultError(TrainingError):
    """A file of a result that cannot be read, or is not the one that was written."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A row's trainings of one fold that share their tries: every seed.

    Parameters
    ----------
    row : Row
    tasks : tuple of str
        One where the row has a training for each.
    fold : int
    folds : int
        How many there are; 1 where the split has none.
    seeds : tuple of int
        Those that this process is to train.
    """

    row: Row
    tasks: tuple[str, ...]
    fold: int
    folds: int
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.tasks[0] if self.row.options.separate else JOINT

    @property
    def folder(self) -> Path:
        return part_folder(self.row.folder, self.name, self.fold)

    def without(self, tasks: Sequence[str]) -> Part:
        """The same with fewer tasks."""
        return dataclasses.replace(self, tasks=tuple(t for t in self.tasks if t not in tasks))

    def unit_folder(self, seed: int) -> Path:
        return self.folder / f"seed-{seed}"

    def training(self, seed: int, chosen: Mapping[str, Any] | None = None) -> JointConfig:
        """The configuration of one seed, with the values that were ``chosen`` of a grid."""
        keys = {SHORT_NAMES.get(name, name): value for name, value in (chosen or {}).items()}
        return self._settled(self.row.config, seed, self.unit_folder(seed), keys)

    def tries(self) -> JointConfig | None:
        """The configuration of the tries; None: the row has none."""
        if self.row.tries is None:
            return None
        return self._settled(self.row.tries, self.row.tries.seeds[0], self.folder / TUNING, {})

    def _settled(
        self, config: JointConfig, seed: int, folder: Path, keys: Mapping[str, Any]
    ) -> JointConfig:
        own = {
            "seeds": [seed], "output": str(folder), "floor": False,
            "data.tasks": list(self.tasks), "data.fold": self.fold if self.folds > 1 else None,
        }  # fmt: skip
        tree = put_over(of_tasks(config.to_dict(), self.tasks.__contains__), keys, str(self))
        return JointConfig.build(tree, own, str(self))

    def __str__(self) -> str:
        fold = f", fold {self.fold}" if self.folds > 1 else ""
        return f"{self.row.name}{f', {self.name}' if self.row.options.separate else ''}{fold}"


def part_folder(row: Path, part: str, fold: int) -> Path:
    """Where the trainings of a row's part and fold lie."""
    return row / part / f"fold-{fold}"


def all_parts(rows: Sequence[Row], folds: int, shard: str | None = None) -> list[Part]:
    """Every training, row by row.

    Parameters
    ----------
    rows : sequence of Row
    folds : int
    shard : str, optional
        ``2/4``: the second of four shares. What has its own tries is dealt out as a whole; seeds
        without tries one by one.

    Raises
    ------
    ValueError
        It is no shard.
    """
    dealt: list[Part] = []
    for row in rows:
        groups = [(task,) for task in row.tasks] if row.options.separate else [row.tasks]
        seeds = [row.config.seeds] if row.tries else [(seed,) for seed in row.config.seeds]
        dealt += [Part(row, tasks, fold, folds, some)
                  for fold in range(folds) for tasks in groups for some in seeds]  # fmt: skip
    if shard is not None:
        match = _SHARD.fullmatch(shard)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"--shard: expected 1/4 to 4/4 or the like, found {shard!r}.")
        dealt = dealt[int(match[1]) - 1 :: int(match[2])]
    return dealt


def read_result(path: Path) -> Any:
    """A JSON file of a comparison, which says what :data:`KINDS` has for its name.

    Raises
    ------
    ResultError
        It is damaged.
    """
    try:
        return read_checked(path, KINDS[path.name], MAX_RESULT_BYTES)
    except (OSError, ValueError) as error:
        what = str(error).removeprefix(f"{path}: ")
        raise ResultError(f"{path} is damaged: {what}") from error


def finished(folder: Path) -> dict[str, Any] | None:
    """What a finished unit says of itself, its files being there in full; None: not finished.

    Raises
    ------
    ResultError
        A file is damaged, gone, or has another length than it had.
    """
    path = folder / DONE
    if not path.is_file():
        return None
    said = read_result(path)
    for key in _BY_TASK:
        if not said[key].keys() >= set(said["tasks"]):
            raise ResultError(
                f"{path} is damaged: {key}: expected {said['tasks']}, found {list(said[key])}"
            )
    for name, file in said["files"].items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != file["bytes"]:
            found = "none" if size is None else f"{size:,}"
            raise ResultError(
                f"{folder / name} is damaged: expected {file['bytes']:,} bytes, found {found}"
            )
    return said


def tuned(part: Part) -> dict[str, Any] | None:
    """What the tries of a part chose, or None: not tried yet, or nothing to try.

    Raises
    ------
    ResultError
        The file is damaged.
    """
    path = part.folder / TUNING / TUNED
    if part.row.tries is None or not path.is_file():
        return None
    return read_result(path)


def differing(
    config: JointConfig,
    said: Mapping[str, Any] | None,
    hashes: Mapping[str, str] | None = None,
    start: str | None = None,
) -> dict[str, tuple[Any, Any]]:
    """Keys that decide a unit's numbers and are not what they were: key to (then, now).

    Parameters
    ----------
    config : JointConfig
        Now.
    said : mapping or None
        Of a finished unit or finished tries; None: what ``config.yaml`` in the folder says of a
        begun one.
    hashes : mapping of str to str, optional
        Hash of the windows and parts of every task, now.
    start : str, optional
        Fingerprint of the weights that are begun from, now.
    """
    if said is None:
        folder = Path(config.output)
        if not (folder / NOTE).is_file():
            return {}
        try:
            then = JointConfig.load(folder / NOTE)
        except ConfigError as error:
            return {NOTE: (error.faults, "readable")}
        return differing_keys(then.identity(), config.identity())
    identity = config.identity()
    if "seed" in said["identity"]:  # of tries
        identity["seed"] = config.seeds[0]
    found = differing_keys(said["identity"], json.loads(json.dumps(identity)))
    for task in said["split_hash"]:
        if hashes and hashes.get(task) != said["split_hash"][task]:
            found[f"windows of {task}"] = (said["split_hash"][task], hashes.get(task))
    then = said.get("start_fingerprint")
    if start and then == start:
        found.pop("model.base", None)  # the same weights in another place
    elif start and then:
        found["weights of model.base"] = (then[:12], start[:12])
    return found


def note_missing(part: Part, seed: int, reasons: Mapping[str, str]) -> None:
    """Say in a unit's folder why it has no results of tasks; without reasons, forget earlier ones.

    A row's other tasks have folders of their own, where it has a training for each.
    """
    path = part.unit_folder(seed) / MISSING
    if reasons:
        with suppress(FileNotFoundError):  # another process, at it as well, has written the same
            write_json(path, {task: " ".join(why.split()) for task, why in reasons.items()})
    else:
        path.unlink(missing_ok=True)


def note_row(row: Row, folds: int) -> None:
    """Write ``row.json``: the row, and which tasks, seeds and folds it is to have.

    Tasks and seeds of an earlier start are kept where the row has a training for each.
    """
    path, tasks, seeds = row.folder / ROW_FILE, list(row.tasks), list(row.config.seeds)
    if path.is_file():
        try:
            there = read_result(path)
            seeds = [*there["seeds"], *(s for s in seeds if s not in there["seeds"])]
            if row.options.separate:
                tasks = [*there["tasks"], *(t for t in tasks if t not in there["tasks"])]
        except ResultError:
            pass  # it says nothing that is not known now
    write_json(path, {
        "row": row.to_dict(), "name": row.name, "group": row.options.group, "place": row.place,
        "method": row.config.method, "separate": row.options.separate, "tasks": tasks,
        "seeds": seeds, "folds": folds,
    })  # fmt: skip


@contextmanager
def claimed(folder: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a unit's or tuning's folder while it is worked at; false: another process does.

    The system frees it when the process ends, however. ``wait``: until the other one is done.
    """
    with held(folder.with_name(f".{folder.name}.lock"), wait) as mine:
        yield mine


def forget(folder: Path) -> None:
    """Remove what a unit or its tries left, so that it begins anew."""
    (folder / DONE).unlink(missing_ok=True)  # first: a kill leaves nothing that looks finished
    (folder / TUNED).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
