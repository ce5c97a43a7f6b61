"""Training on a base that has tasks: they stay right, or a new base is asked for by name."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from ..cards import write_cards
from ..methods import METHODS, TrainingError
from ..methods.kept_base import kept_tasks
from ..model.adapter_files import ADAPTERS, AdapterError
from ..model.adapter_places import tasks_beside
from ..settings.folder_lock import held
from .joint_config import JointConfig
from .results import replaced

LOCK = ".mteeg.lock"


def settle_encoder(config: JointConfig) -> tuple[JointConfig, str]:
    """Decide whether the temporal encoder is trained, where the configuration leaves it open.

    Parameters
    ----------
    config : JointConfig

    Returns
    -------
    config : JointConfig
        With ``train_temporal_encoder`` true or false.
    text : str
        What becomes of the tasks that the base has; empty: it has none.

    Raises
    ------
    TrainingError
        The base has tasks that the method would leave behind, or that go by the name of a new one;
        or the Hub cannot be asked whether it has any.
    """
    base, method = config.model.base, METHODS[config.method]
    settled = lambda train: dataclasses.replace(config, train_temporal_encoder=train)  # noqa: E731
    asked = config.train_temporal_encoder
    if not (base and method.needs_model and method.makes_base):
        if config.into_base:
            raise TrainingError("into_base: expected a folder of a base (--base), found none.")
        return settled(asked is not False), ""
    try:
        standing = tasks_beside(base)
    except AdapterError as error:
        if asked is None:
            raise TrainingError(
                f"{error} Whether the base has tasks decides whether its temporal encoder is "
                "trained: say --set train_temporal_encoder=false, or --retrain-encoder."
            ) from error
        standing = []
    if not standing:
        _check_into_base(config)
        return settled(asked is not False), ""
    names = ", ".join(standing)
    if asked is None and not method.keeps_base(settled(False)):
        raise TrainingError(
            f"Method {config.method} changes the weights of {base}, and on these stand its tasks "
            f"{names}, which would be left behind. Take --method mteeg or linear-probe, which "
            "leave the base as it is; or --retrain-encoder, which makes a new base without them."
        )
    config = settled(bool(asked))
    if not method.keeps_base(config):
        if config.into_base:
            raise TrainingError(
                f"into_base: the result is a new base; {base} keeps {names}. Leave --into-base out."
            )
        return config, (
            f"a new base: its temporal encoder is trained on, and the tasks {names} stay behind, "
            f"right on {base} alone"
        )
    _check_names(config, standing)
    _check_into_base(config)
    return config, (
        f"the base stays as it is, and with it its tasks {names} "
        "(--retrain-encoder would make a new base without them)"
    )


def _check_names(config: JointConfig, standing: list[str]) -> None:
    taken = [task for task in config.data.tasks if task in standing]
    if config.into_base:  # a finished training that is started once more
        taken = [task for task in taken if not _is_ours(config, task)]
    if taken and not config.replace_tasks:
        where = config.model.base if config.into_base else Path(config.output) / "model"
        raise TrainingError(
            f"{config.model.base} has the task {', '.join(taken)} already. Give the new one "
            f"another name, or --replace-tasks, which puts it in the earlier one's place in "
            f"{where}."
        )


def _check_into_base(config: JointConfig) -> None:
    base = config.model.base
    if config.into_base and not Path(base).is_dir():
        raise TrainingError(
            f"into_base: expected a folder, found the Hub's {base}. Leave --into-base out; the "
            f"task goes there by mteeg push {Path(config.output) / 'model'} --repo {base}"
        )


def _is_ours(config: JointConfig, task: str) -> bool:
    """Whether the base's task of that name is the one in the output folder."""
    there, here = (Path(root) / ADAPTERS / task for root in
                   (config.model.base, Path(config.output) / "model"))  # fmt: skip
    return _content(there) == _content(here)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*")) if path.is_file()}


def join_base(config: JointConfig) -> str:
    """Put the new tasks beside the others in the base's own folder, where that was asked for.

    Returns
    -------
    str
        A sentence on where they are; empty: nothing was kept.

    Raises
    ------
    TrainingError
        A task of that name has come there since the training began.
    """
    model = Path(config.output) / "model"
    if config.into_base:
        base = Path(config.model.base)
        with held(base / ADAPTERS / LOCK, wait=True):  # another training may add a task, too
            _check_names(config, tasks_beside(str(base)))
            for task in config.data.tasks:
                with replaced(base / ADAPTERS / task) as place:
                    shutil.copytree(model / ADAPTERS / task, place)
            write_cards(base, tasks=config.data.tasks)
        return f"{base}: {', '.join(tasks_beside(str(base)))} stand on it now"
    if not kept_tasks(METHODS[config.method], config) or len(config.seeds) > 1:
        return ""
    return f"{model}: the same base, with {', '.join(tasks_beside(str(model)))}"
