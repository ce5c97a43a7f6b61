"""Folds and seeds of a cross-validation: where each lies, what is finished, who does which.

```
OUTPUT/table.txt                        once all is there
OUTPUT/<method>/config.yaml             whose it is
OUTPUT/<method>/folds.json              number of folds, seeds
OUTPUT/<method>/fold-0/seed-0/          a training as recipes/joint.py leaves it; tested.json: done
OUTPUT/<method>/fold-0/floors/          what the floors say of its test windows; tested.json: done
OUTPUT/<method>/fold-0/splits/          the manifest of the fold
OUTPUT/<method>/pooled/seed-0/          the test windows of all folds
OUTPUT/<method>/results.json
```
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..data.loading import Corpus
from ..data.split_manifest import read_split
from ..evaluation import WindowPredictions, read_predictions
from ..methods.method import TrainingError
from ..model.json_fields import read_checked
from ..settings.plain_json import write_json
from .final_report import FLOORS, PREDICTIONS, SPLIT_FILES, read_floors
from .joint_config import JointConfig
from .output_folder import NOTE, check_output, note_output

DONE = "tested.json"
FOLDS = "folds.json"
_HASHES = {"split_hash": dict[str, str | None]}
_SAID = {"folds": range(1, 10_001), "seeds": list[int]}
_SHARD = re.compile(r"(\d+)/(\d+)")


@dataclasses.dataclass(frozen=True)
class Unit:
    """One training, or the floors of one fold (``seed`` None)."""

    config: JointConfig
    fold: int
    seed: int | None

    @property
    def fold_folder(self) -> Path:
        """Of the fold."""
        return Path(self.config.output) / f"fold-{self.fold}"

    @property
    def folder(self) -> Path:
        """Where it leaves what it found."""
        return self.fold_folder / (FLOORS if self.seed is None else f"seed-{self.seed}")

    @property
    def training(self) -> JointConfig:
        """The configuration of this fold and seed alone."""
        data = dataclasses.replace(self.config.data, fold=self.fold)
        seeds = self.config.seeds if self.seed is None else (self.seed,)
        return dataclasses.replace(self.config, data=data, seeds=seeds, output=str(self.folder))

    def __str__(self) -> str:
        what = "floors" if self.seed is None else f"seed {self.seed}"
        return f"{self.config.method}, fold {self.fold}, {what}"

    def finished(self, corpora: Mapping[str, Corpus] | None = None) -> bool:
        """Whether it was trained and tested.

        Raises
        ------
        TrainingError
            On other windows than ``corpora`` have.
        """
        path = self.folder / DONE
        if not path.is_file():
            return False
        then = _read(path, _HASHES)["split_hash"]
        now = {task: corpus.card.split_hash for task, corpus in (corpora or {}).items()}
        if now and then != now:
            raise TrainingError(
                f"{self.folder} holds results on other windows (manifests {then}, now {now}): the "
                "prepared data have changed. Give another --output, or --resume never."
            )
        return True

    def note_finished(self, corpora: Mapping[str, Corpus]) -> None:
        """Note that it is done, and remove its checkpoints, which nothing goes on from any more."""
        hashes = {task: corpus.card.split_hash for task, corpus in corpora.items()}
        write_json(self.folder / DONE, {"split_hash": hashes})
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)

    def restart(self) -> None:
        """Forget that it is done."""
        (self.folder / DONE).unlink(missing_ok=True)


def all_units(configs: Iterable[JointConfig], folds: int) -> list[Unit]:
    """Every training of every method, then the floors: the order that shards are dealt in."""
    configs = list(configs)
    trainings = [Unit(config, fold, seed) for config in configs for fold in range(folds)
                 for seed in config.seeds]  # fmt: skip
    floors = [
        Unit(config, fold, None) for config in configs if config.floor for fold in range(folds)
    ]
    return trainings + floors


def share_of(units: Sequence[Unit], shard: str | None) -> list[Unit]:
    """The units of shard ``2/4``; all without one.

    Raises
    ------
    ValueError
        It is no shard.
    """
    if shard is None:
        return list(units)
    match = _SHARD.fullmatch(shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"--shard: expected 1/4 to 4/4 or the like, found {shard!r}.")
    return list(units[int(match[1]) - 1 :: int(match[2])])


def check_outputs(configs: Sequence[JointConfig], resume: str) -> None:
    """Raise where a method's folder, or one beside it, holds another cross-validation.

    Parameters
    ----------
    configs : sequence of JointConfig
        Of every method, each with its own ``output``.
    resume : str
        ``never``: what the methods' own folders hold is going to be replaced.

    Raises
    ------
    TrainingError
        A folder is another training's, or another method's beside it has other data or splits.
    """
    for config in configs:
        folder = Path(config.output)
        if resume != "never":
            check_output(config, seeds_apart=True)
        mine = _data_keys(config)
        for note in sorted(folder.parent.glob(f"*/{NOTE}")):
            others = _data_keys(JointConfig.load(note))
            if note.parent != folder and others != mine:
                differing = sorted(key for key in mine | others if mine.get(key) != others.get(key))
                raise TrainingError(
                    f"{note.parent} is a cross-validation with other {', '.join(differing)}; "
                    "one folder holds methods on the same windows. Give another --output."
                )


def claim_outputs(configs: Sequence[JointConfig], folds: int) -> None:
    """Note in every method's folder whose it is, and how many folds and which seeds it has."""
    for config in configs:
        said = {"folds": folds, "seeds": list(config.seeds)}
        with suppress(FileNotFoundError):  # another shard, begun at once, has written the same
            note_output(config)
            write_json(Path(config.output) / FOLDS, said)


def _data_keys(config: JointConfig) -> dict[str, object]:
    return {k: v for k, v in config.identity().items() if k.startswith(("data.", "monitor"))}


@dataclasses.dataclass(frozen=True)
class MethodFolds:
    """What one method has left of its folds.

    Parameters
    ----------
    config : JointConfig
    folds : int
        How many there are to be.
    finished : tuple of int
        Folds that every seed has finished, and the floors.
    missing : tuple of str
        What is not there yet.
    """

    config: JointConfig
    folds: int
    finished: tuple[int, ...]
    missing: tuple[str, ...]

    def tested(self, task: str) -> list[list[WindowPredictions]]:
        """What every seed said of the test windows of every finished fold."""
        return [
            [read_predictions(self._unit(fold, seed).folder / PREDICTIONS / f"{task}.parquet")
             for fold in self.finished]
            for seed in self.config.seeds
        ]  # fmt: skip

    def floors(self, task: str) -> dict[str, list[WindowPredictions]]:
        """What every floor said of them."""
        if not self.config.floor:
            return {}
        places = [self._unit(fold, None).folder for fold in self.finished]
        by_fold = [read_floors(place, task) for place in places]
        return {floor: [said[floor] for said in by_fold] for floor in by_fold[0]}

    def splits(self, task: str) -> list[dict[str, Any]]:
        """Rule, hash, counts and leaks of every finished fold."""
        places = [self._unit(fold, None).fold_folder / SPLIT_FILES for fold in self.finished]
        return [read_split(place / f"{task}.parquet").facts() for place in places]

    def _unit(self, fold: int, seed: int | None) -> Unit:
        return Unit(self.config, fold, seed)


def _read(path: Path, kind: Any) -> dict[str, Any]:
    try:
        return read_checked(path, kind)
    except ValueError as error:
        raise TrainingError(f"{error} Remove the file, and start it again.") from error


def read_folds(folder: Path) -> list[MethodFolds]:
    """What lies in the output folder of a cross-validation, by method.

    Raises
    ------
    FileNotFoundError
        Nothing does.
    TrainingError
        A file is damaged.
    """
    found = []
    for note in sorted(folder.glob(f"*/{FOLDS}")):
        said = _read(note, _SAID)
        config = dataclasses.replace(
            JointConfig.load(note.parent / NOTE),
            seeds=tuple(said["seeds"]), output=str(note.parent),
        )  # fmt: skip
        units = all_units([config], said["folds"])
        missing = [unit for unit in units if not unit.finished()]
        lacking = {unit.fold for unit in missing}
        finished = tuple(fold for fold in range(said["folds"]) if fold not in lacking)
        found.append(MethodFolds(config, said["folds"], finished, tuple(map(str, missing))))
    if not found:
        raise FileNotFoundError(f"{folder}: no cross-validation there; expected */{FOLDS}.")
    return found
