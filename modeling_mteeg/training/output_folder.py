"""The output folder of a training: noted whose it is, so that no other run writes over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from ..methods.method import TrainingError
from ..settings.folder_lock import held
from ..settings.schema import ConfigError
from .run_config import RunConfig

T = TypeVar("T")
NOTE = "config.yaml"
LOCK = ".training.lock"
_mine: set[Path] = set()
"""Lock files that this process holds: a command may run another one in its own folder."""
_RESULTS = ("model", "results.json", "history.json", "checkpoints", "seed-*", "fold-*")
_REMEDY = (
    "Give another --output, or --resume never, which begins anew and replaces what lies there."
)


def check_output(config: RunConfig, seeds_apart: bool = False) -> None:
    """Raise where ``config.output`` holds what another training has left.

    Parameters
    ----------
    config : RunConfig
        The training that is about to begin or to go on. Seeds may be added to several earlier
        ones.
    seeds_apart : bool
        A single seed has a folder of its own, too, so that others may be added to it.

    Raises
    ------
    TrainingError
        Results or checkpoints of another configuration (the message says which keys differ), or
        such files without the note :func:`note_output` writes.
    """
    folder = Path(config.output)
    leftovers = sorted(path.name for name in _RESULTS for path in folder.glob(name))
    if not leftovers:
        return
    if not (folder / NOTE).is_file():
        raise TrainingError(
            f"{folder} holds {', '.join(leftovers)}, but no {NOTE} that says of which training. "
            f"{_REMEDY}"
        )
    try:
        earlier = type(config).load(folder / NOTE)
    except ConfigError as error:
        raise TrainingError(f"{folder} holds another training: {error}\n{_REMEDY}") from error
    differing = _differing(earlier, config, seeds_apart)
    if differing:
        lines = "".join(
            f"\n  - {key}: there {then!r}, now {now!r}" for key, (then, now) in differing.items()
        )
        raise TrainingError(f"{folder} holds another training; these differ:{lines}\n{_REMEDY}")


def _differing(earlier: RunConfig, now: RunConfig, seeds_apart: bool) -> dict[str, tuple[Any, Any]]:
    """Keys that decide the trained numbers, with both values, where they are not the same."""
    differing = differing_keys(earlier.identity(), now.identity())
    before, after = getattr(earlier, "seeds", ()), getattr(now, "seeds", ())
    then, seeds = set(before), set(after)
    # a single seed lies in the folder itself, where they are not apart
    added = then <= seeds and (len(then) > 1 or seeds_apart)
    if then != seeds and not added:
        differing["seeds"] = (list(before), list(after))
    return differing


def differing_keys(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys of two identities with both values, where they are not the same."""
    pairs = {key: (then.get(key, "absent"), now.get(key, "absent"))
             for key in sorted(then.keys() | now.keys())}  # fmt: skip
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def note_output(config: RunConfig) -> Path:
    """Note in ``config.output`` that it belongs to this training; returns the file."""
    path = Path(config.output) / NOTE
    config.save(path)
    return path


@contextmanager
def one_training(folder: str | Path, accelerator: Any = None, name: str = LOCK) -> Iterator[None]:
    """Hold an output folder, so that no second training writes there at the same time.

    Parameters
    ----------
    folder : str or Path
    accelerator : Accelerator, optional
        Of several processes of one start the main one holds it, and all of them hear of it.
    name : str
        Of the lock file. The system frees it when the process ends, however.

    Raises
    ------
    TrainingError
        Another process holds it.
    WriteError
        The folder cannot be written to.
    """
    path = Path(folder).resolve() / name
    if path in _mine:
        yield
        return
    with ExitStack() as stack:
        free, fault = True, None
        if accelerator is None or accelerator.is_main_process:
            try:
                free = stack.enter_context(held(path))
            except OSError as error:
                fault = error
        free, text = agreed(accelerator, (free, str(fault or "")))
        if text:
            raise fault or TrainingError(text)
        if not free:
            raise TrainingError(
                f"{folder}: another training is at work there now (it holds {path.name}). Wait "
                "until it has ended, or give another --output."
            )
        _mine.add(path)
        stack.callback(_mine.discard, path)
        if accelerator is None or accelerator.is_main_process:
            stack.callback(_leave_nothing, path)
        yield


def _leave_nothing(lock: Path) -> None:
    """Remove a folder that holds the lock file alone: nothing was begun there."""
    with suppress(OSError):  # it is not there, or others are at work in it
        if list(lock.parent.iterdir()) == [lock]:
            lock.unlink()  # while it is held
            lock.parent.rmdir()


def agreed(accelerator: Any, value: T) -> T:
    """The main process's value, in all of them."""
    if accelerator is None or accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]
