"""Experiment trackers by name: all that accelerate carries, one run of them a training."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..methods.method import TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from matplotlib.figure import Figure

NONE = "none"
PROJECT = "modeling_mteeg"
"""What runs are gathered under where nobody says otherwise."""


@dataclasses.dataclass(frozen=True)
class _Tracker:
    """How a tracker is installed and begun.

    Parameters
    ----------
    package : str
        What pip installs.
    options : callable
        Keywords of its start, from the run's name and the output folder (a ``Path``).
    project : str
        Environment variable in which it looks for the project's name, too.
    by_run : bool
        Whether its own folder has the run's name: there is no project.
    figure : callable or None
        Takes the tracker as accelerate wraps it, a name, a figure and the step.
    """

    package: str
    options: Callable[[str, Path], dict[str, Any]] = lambda run, folder: {}
    project: str = ""
    by_run: bool = False
    figure: Callable[[Any, str, Figure, int], None] | None = None


def _image_of(module: str) -> Callable[[Any, str, Figure, int], None]:
    """Figures as the ``Image`` of a package that was made after Weights & Biases."""

    def log(tracker: Any, name: str, figure: Figure, step: int) -> None:
        import importlib
        import io

        from PIL import Image

        data = io.BytesIO()
        figure.savefig(data, format="png")
        image = importlib.import_module(module).Image(Image.open(data))
        tracker.tracker.log({name: image}, step=step)

    return log


def _to_tensorboard(tracker: Any, name: str, figure: Figure, step: int) -> None:
    tracker.writer.add_figure(name, figure, step)


def _to_mlflow(tracker: Any, name: str, figure: Figure, step: int) -> None:
    tracker.log_figure(figure, f"{name}/{step:08d}.png")


TRACKERS = {
    "tensorboard": _Tracker("modeling-mteeg[tracking]", by_run=True, figure=_to_tensorboard),
    "trackio": _Tracker(
        "modeling-mteeg[trackio]",
        lambda run, folder: {"name": run},
        project="TRACKIO_PROJECT",
        figure=_image_of("trackio"),
    ),
    "wandb": _Tracker(
        "wandb",
        lambda run, folder: {"name": run, "dir": str(folder)},
        project="WANDB_PROJECT",
        figure=_image_of("wandb"),
    ),
    # accelerate itself reads MLFLOW_EXPERIMENT_NAME
    "mlflow": _Tracker("mlflow", lambda run, folder: {"run_name": run}, figure=_to_mlflow),
    "aim": _Tracker("aim", lambda run, folder: {"experiment": PROJECT}, by_run=True),
    "clearml": _Tracker(
        "clearml", lambda run, folder: {"task_name": run}, project="CLEARML_PROJECT"
    ),
    "comet_ml": _Tracker("comet-ml", project="COMET_PROJECT_NAME"),
    "dvclive": _Tracker(
        "dvclive", lambda run, folder: {"dir": str(folder / f"dvclive-{run}")}, by_run=True
    ),
    "swanlab": _Tracker(
        "swanlab", lambda run, folder: {"experiment_name": run}, figure=_image_of("swanlab")
    ),
}
"""By the name that accelerate has for it."""


def check_tracker(name: str) -> None:
    """Raise ``TrainingError`` where the tracker's package is not installed."""
    from accelerate.tracking import get_available_trackers

    if name != NONE and name not in map(str, get_available_trackers()):
        package = TRACKERS[name].package
        raise TrainingError(
            f"tracker: {name} is not installed; run pip install "
            f"{repr(package) if '[' in package else package}, or set tracker: none."
        )


def start_tracker(
    accelerator: Accelerator, name: str, output: str | Path, seed: int | None,
    settings: Mapping[str, Any],
) -> None:  # fmt: skip
    """Begin a run of the tracker; nothing where ``name`` is ``none``.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
        Made with ``log_with=name``.
    name : str
        One of :data:`TRACKERS`.
    output : str or Path
        Folder of the training; its name, with the seed where there is one, is the run's.
    seed : int or None
    settings : mapping
        The configuration, flat, for the tracker to show. Not for TensorBoard, which would make
        another run of them.

    Raises
    ------
    TrainingError
        The tracker cannot begin, with its own words.

    Notes
    -----
    The project is ``modeling_mteeg``, or what the tracker's own variable says (``WANDB_PROJECT``,
    ``TRACKIO_PROJECT``, ``MLFLOW_EXPERIMENT_NAME`` ...). Trackers with a folder of their own have
    it in the output folder; where the others keep what they are told is theirs to say.
    """
    if name == NONE:
        return
    tracker, folder = TRACKERS[name], Path(output)
    seeded = "" if seed is None else f"-seed-{seed}"
    run = f"{folder.resolve().name}{seeded}"
    project = os.environ.get(tracker.project) or PROJECT
    options = tracker.options(run, folder)
    config = None if name == "tensorboard" else {key: _plain(v) for key, v in settings.items()}
    try:
        accelerator.init_trackers(
            f"{name}{seeded}" if tracker.by_run else project,
            config=config,
            init_kwargs={name: options} if options else {},
        )
    except Exception as error:  # each of them has its own: no login, no connection, no server
        raise TrainingError(
            f"tracker: {name} could not begin a run: {type(error).__name__}: {error} Set it up as "
            "its documentation says, or set tracker: none."
        ) from error


def end_tracker(accelerator: Accelerator) -> None:
    """End the run, so that another one can begin."""
    for tracker in accelerator.trackers:
        tracker.finish()
    accelerator.trackers.clear()


def shows_figures(name: str) -> bool:
    """Whether a tracker takes matplotlib figures."""
    return name != NONE and TRACKERS[name].figure is not None


def log_figure(accelerator: Accelerator, name: str, figure: Figure, step: int) -> None:
    """Give a figure to the trackers that take one (main process)."""
    for tracker in accelerator.trackers:
        log = TRACKERS[tracker.name].figure
        if log is not None:
            log(tracker, name, figure, step)


def _plain(value: Any) -> int | float | bool | str:
    """What every tracker takes as a setting."""
    return value if isinstance(value, (int, float, bool, str)) else str(value)
