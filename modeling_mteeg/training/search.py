"""A small search: every setting of a stated grid is trained, validation chooses, the test waits.

Tries lie in ``search/<setting>/`` of the training's folder, each a training that can be killed and
goes on. The chosen one's checkpoint becomes the training's own, so that nothing is trained twice,
and the test is computed once, for the chosen.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ..evaluation import NotFiniteError
from ..methods.method import TrainingError
from ..model.checked_files import MAX_RESULT_BYTES
from ..model.json_fields import NUMBER, read_checked
from ..settings.plain_json import write_json, write_text
from ..settings.schema import ConfigError
from .console import say
from .core import DivergedError
from .joint_config import JointConfig
from .results import aligned
from .search_grid import SHORT_NAMES
from .selected_training import SelectedTraining, is_better

SEARCH, TRY_FILE = "search", "try.json"
_TRY = {"validation": NUMBER | None, "epoch": dict, "epochs": int, "identity": dict,
        "failed": str | None}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Try:
    """One setting of the grid.

    Parameters
    ----------
    values : dict
        Short name or dotted key to value, in the order of the grid.
    config : JointConfig
        The training with them; ``output`` is the try's own folder.
    """

    values: Mapping[str, Any]
    config: JointConfig

    @property
    def name(self) -> str:
        """Of its folder: ``lr=0.001,head=mean``."""
        return try_name(self.values)


def try_name(values: Mapping[str, Any]) -> str:
    """``lr=0.001,head=mean``; what no folder's name can hold is replaced."""
    text = ",".join(f"{name}={value}" for name, value in values.items())
    return "".join(c if c.isalnum() or c in "=,.-+_" else "_" for c in text)


def all_tries(config: JointConfig, seed: int, folder: Path) -> list[Try]:
    """Every setting of ``config.search``, each checked as a configuration of its own.

    Raises
    ------
    ConfigError
        A setting that is wrong, alone or with the others; all faults in one message.
    """
    tries, faults = [], []
    keys = [SHORT_NAMES.get(name, name) for name in config.search]
    for values in itertools.product(*config.search.values()):
        named = dict(zip(config.search, values, strict=True))
        changes = {"search": {}, "seeds": [seed], "output": str(folder / SEARCH / try_name(named)),
                   **dict(zip(keys, values, strict=True))}  # fmt: skip
        try:
            tries.append(Try(named, JointConfig.build(config.to_dict(), changes)))
        except ConfigError as error:
            faults += [f"{try_name(named)}: {fault}" for fault in error.faults]
    if faults:
        raise ConfigError("search", faults)
    return tries


def check_search(configs: Iterable[JointConfig]) -> None:
    """Raise where a grid is wrong for its method, or methods would get different budgets.

    Raises
    ------
    ValueError
        Methods that are compared have different numbers of tries or of epochs.
    """
    budgets = {config.method: budget_of(all_tries(config, config.seeds[0], Path(config.output)))
               for config in configs if config.search}  # fmt: skip
    if len({tuple(budget.values()) for budget in budgets.values()}) > 1:
        shown = "; ".join(f"{method}: {budget}" for method, budget in budgets.items())
        raise ValueError(
            f"search: expected the same budget for every method, found {shown}. Search each by a "
            "command of its own, with lists that make the budgets equal."
        )


def budget_of(tries: Sequence[Try]) -> dict[str, int]:
    """Number of tries, and their epochs in all."""
    return {"tries": len(tries), "epochs": sum(t.config.optimization.epochs for t in tries)}


def run_search(
    config: JointConfig,
    seed: int,
    folder: Path,
    accelerator: Accelerator,
    fit: Callable[[JointConfig, int, str], SelectedTraining],
    resume: str,
) -> tuple[JointConfig, dict[str, Any]]:
    """Train every try, and choose by validation.

    Parameters
    ----------
    config : JointConfig
        With a ``search``.
    seed : int
        Of all tries.
    folder : Path
        Of the training; tries go to ``search`` in it, the table to ``search.tsv``.
    accelerator : Accelerator
    fit : callable
        ``(config, seed, resume)`` to a training whose epochs are done.
    resume : str
        ``never``: finished tries are trained anew.

    Returns
    -------
    tuple
        The configuration with the chosen values and without a search, and what is to be recorded:
        ``grid``, ``budget``, ``tries`` (values, validation, epoch), ``chosen``.
    """
    tries, results = all_tries(config, seed, folder), []
    if resume == "never" and accelerator.is_main_process:
        for place in (SEARCH, "checkpoints"):
            shutil.rmtree(folder / place, ignore_errors=True)
    accelerator.wait_for_everyone()
    budget = budget_of(tries)
    say(accelerator, f"search: {budget['tries']} tries, {budget['epochs']} epochs in all")
    for number, each in enumerate(tries):
        say(accelerator, f"\ntry {number + 1} of {len(tries)}: {each.name}")
        results.append(_result(each, seed, accelerator, fit, resume))
    if all("failed" in result for result in results):
        raise TrainingError(f"search: no try came to an end; the last: {results[-1]['failed']}")
    best = 0
    for number, result in enumerate(results):  # of equals the first
        if is_better(result["validation"], results[best]["validation"]):
            best = number
    chosen = tries[best]
    record = {
        "grid": {name: list(values) for name, values in config.search.items()},
        "budget": budget,
        "seed": seed,
        "chosen": dict(chosen.values),
        "tries": [{"values": dict(t.values), **r} for t, r in zip(tries, results, strict=True)],
    }
    if accelerator.is_main_process:
        write_text(folder / f"{SEARCH}.tsv", _tsv(record))
        _hand_over(tries, chosen, folder)
        print(f"\n{_table(record)}\n")
    accelerator.wait_for_everyone()
    changes = {"output": config.output, "seeds": config.seeds}
    return dataclasses.replace(chosen.config, **changes), record


def _result(
    each: Try,
    seed: int,
    accelerator: Accelerator,
    fit: Callable[[JointConfig, int, str], SelectedTraining],
    resume: str,
) -> dict[str, Any]:
    """Validation and epoch of a try, which is trained if it is not finished."""
    path = Path(each.config.output) / TRY_FILE
    identity = json.loads(json.dumps(each.config.identity()))
    if path.is_file():
        said = _read_try(path)
        if said.pop("identity") == identity:
            said["validation"] = math.nan if said["validation"] is None else said["validation"]
            say(accelerator, f"finished already: validation {said['validation']:.4f}")
            return said
    try:
        trainer = fit(each.config, seed, resume)
    except (DivergedError, NotFiniteError) as error:  # no candidate; the others go on
        epochs = each.config.optimization.epochs
        result = {"validation": math.nan, "epoch": {}, "epochs": epochs, "failed": str(error)}
        return _noted(path, result, identity, accelerator)
    score = trainer.progress.best_score
    if trainer.best_of_task:  # every task has its own epoch
        values = [value for value, _ in trainer.best_of_task.values() if math.isfinite(value)]
        score = sum(values) / len(values) if values else math.nan
    result = {"validation": score, "epoch": trainer.chosen_epochs(), "epochs": trainer.epochs}
    return _noted(path, result, identity, accelerator)


def _read_try(path: Path) -> dict[str, Any]:
    try:
        return read_checked(path, _TRY, MAX_RESULT_BYTES)
    except ValueError as error:
        raise TrainingError(f"{error} Remove the file; the try is then trained again.") from error


def _noted(
    path: Path, result: dict[str, Any], identity: Mapping[str, Any], accelerator: Accelerator
) -> dict[str, Any]:
    if accelerator.is_main_process:
        write_json(path, {**result, "identity": identity})
    if "failed" in result:
        say(accelerator, result["failed"])
    accelerator.wait_for_everyone()
    return result


def _hand_over(tries: Sequence[Try], chosen: Try, folder: Path) -> None:
    """The chosen one's checkpoints become the training's; those of the others are removed."""
    mine = folder / "checkpoints"
    theirs = Path(chosen.config.output) / "checkpoints"
    if theirs.is_dir() and not mine.exists():
        os.rename(theirs, mine)
    for each in tries:
        shutil.rmtree(Path(each.config.output) / "checkpoints", ignore_errors=True)


def _rows(record: Mapping[str, Any]) -> Iterator[list[str]]:
    """Header and a row a try."""
    yield [*record["grid"], "validation", "epoch", "epochs", "chosen"]
    for each in record["tries"]:
        numbers = dict.fromkeys(each["epoch"].values())  # -1: the start
        epochs = ", ".join(str(number + 1) if number >= 0 else "start" for number in numbers)
        values = [str(value) for value in each["values"].values()]
        epochs = epochs or "diverged"
        mark = "*" if each["values"] == record["chosen"] else ""
        yield [*values, f"{each['validation']:.6f}", epochs, str(each["epochs"]), mark]


def _tsv(record: Mapping[str, Any]) -> str:
    return "".join("\t".join(row) + "\n" for row in _rows(record))


def _table(record: Mapping[str, Any]) -> str:
    lines = aligned(list(_rows(record)), text_columns=len(record["grid"]))
    return "\n".join([*lines, "chosen (*) by validation alone; the test is computed once, for it"])
