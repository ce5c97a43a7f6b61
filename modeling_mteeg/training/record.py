"""How a training came about, written beside its weights: what model cards are made from."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ..cards import RECORD_FILE, write_cards
from ..data import Corpus
from ..data.loading import task_location
from ..data.remote import RemoteFolder, is_url
from ..methods import METHODS, Method
from ..methods.kept_base import kept_tasks
from ..model.checked_files import MAX_RESULT_BYTES, parse_json
from ..model.task_card import CARD_FILE, TaskCard
from ..settings.plain_json import plain, write_json
from .joint_config import JointConfig
from .pretraining_record import pretraining_record, read_beside
from .run_config import RunConfig

FORMAT = 1
PACKAGES = (
    "modeling-mteeg",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "safetensors",
    "numpy",
    "scikit-learn",
    "mne",
)
_LAUNCHERS = ("accelerate", "torchrun")
_LAUNCHING_MODULES = ("accelerate.commands.launch", "torch.distributed.run")
_MANIFEST = "splits.json"


def command_line(script: str | Path, arguments: Sequence[str] | None = None) -> str:
    """The command as it can be typed again.

    Parameters
    ----------
    script : str or Path
        The recipe.
    arguments : sequence of str, optional
        Of a call from Python; by default the process's own, with the launcher in front that
        started it (``accelerate launch ...``, ``torchrun ...``).
    """
    if arguments is not None:
        return shlex.join(["python", str(script), *map(str, arguments)])
    return shlex.join(_launched() or ["python", *_started(), *sys.argv[1:]])


def _started() -> list[str]:
    """How Python was told what to run: a file, or ``-m`` and a module."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or spec.origin != sys.argv[0]:  # or a test set other words
        return [sys.argv[0]]
    return ["-m", spec.name.removesuffix(".__main__")]


def _launched() -> list[str] | None:
    """Words of the launcher's command if one started this process."""
    import psutil

    try:
        words = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return None
    for place, word in enumerate(words[:3]):
        if Path(word).stem in _LAUNCHERS:
            return [Path(word).stem, *words[place + 1 :]]
        if word in _LAUNCHING_MODULES:
            return ["python", "-m", *words[place:]]
    return None


def package_versions() -> dict[str, str]:
    """Python and the packages that decide what a training computes, those installed."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def data_record(location: str, corpus: Corpus) -> dict[str, Any]:
    """What a prepared corpus says of itself: windows, rule of the split, fingerprint.

    Parameters
    ----------
    location : str
        Its folder or URL.
    corpus : Corpus
    """
    manifest = _manifest(location)
    source = manifest.get("source")
    source = source if isinstance(source, dict) else {}
    split = corpus.split
    return {
        "location": location if is_url(location) else None,  # a path means nothing elsewhere
        "windows": {split: len(reader) for split, reader in corpus.splits.items()},
        "rule": split.rule if split and split.is_view else manifest.get("rule"),
        "split": split.facts() if split else None,
        "fingerprint": manifest.get("fingerprint"),
        "version": source.get("version"),
        "reader": source.get("reader"),
        "simulation": source.get("simulation"),
    }


def _manifest(location: str) -> dict[str, Any]:
    """The split manifest; empty where the data were made by something else and have none."""
    try:
        if is_url(location):
            content = RemoteFolder(location).read(_MANIFEST)
        else:
            content = (Path(location) / _MANIFEST).read_bytes()
        manifest = parse_json(content, _MANIFEST, MAX_RESULT_BYTES)
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def read_record(place: str | Path | None) -> dict[str, Any]:
    """What a training wrote beside the weights of a folder or Hub id; empty where there is none."""
    return read_beside(place, RECORD_FILE)


def simulated_record(
    corpora: Sequence[bool], start: str | Path | None, *others: str | Path
) -> dict[str, bool]:
    """Where simulated recordings stand behind weights.

    Parameters
    ----------
    corpora : sequence of bool
        Whether each corpus of this training is simulated.
    start : str, Path or None
        Folder or Hub id of the weights it began from; None: random ones.
    *others : str or Path
        Further weights that it learned from (a tokenizer).

    Returns
    -------
    dict of str to bool
        ``start_simulated``: the start had seen simulated recordings. ``only_simulated``: back to
        random weights, everything learned came from simulated recordings.
    """
    before = read_record(start)
    origins = [before] if start else []
    origins += [read_record(place) for place in others]
    learned = [*corpora, *(origin.get("only_simulated") is True for origin in origins)]
    return {
        "start_simulated": True in (before.get("simulated"), before.get("start_simulated")),
        "only_simulated": all(learned),
    }


def run_record(
    config: RunConfig,
    accelerator: Accelerator,
    command: str,
    simulated: Sequence[bool],
    start: str | None,
    *origins: str,
) -> dict[str, Any]:
    """What every training's record has.

    Parameters
    ----------
    config : RunConfig
    accelerator : Accelerator
    command : str
        Of :func:`command_line`.
    simulated, start, *origins
        As for :func:`simulated_record`.
    """
    return {
        "format": FORMAT,
        "command": command,
        "simulated": any(simulated),
        **simulated_record(simulated, start, *origins),
        "device": accelerator.device.type,
        "processes": accelerator.num_processes,
        "precision": accelerator.mixed_precision,
        "packages": package_versions(),
        "config": config.to_dict(),
    }


def start_record(
    config: JointConfig,
    corpora: Mapping[str, Corpus],
    data: str | Path,
    accelerator: Accelerator,
    command: str,
) -> dict[str, Any]:
    """What is known of a joint training before it trains, the same for every seed."""
    base, method = config.model.base, METHODS[config.method]
    preset = f"size {config.model.preset!r}, random weights"
    start = base or (preset if method.needs_model else "no earlier weights")
    file = method.start_file(config)
    if file:
        start = f"weights of {Path(file).name}"
    simulated = [corpus.card.simulated for corpus in corpora.values()]
    kept = kept_tasks(method, config)
    beside = [task for task in kept if task not in corpora]  # not those that are replaced
    return {
        **run_record(config, accelerator, command, simulated, base),
        **({"only_simulated": False} if file else {}),  # nobody knows what a file has learned from
        "method": config.method,
        "start": start,
        "pretraining": pretraining_record(base, file=file),
        "start_kind": "base" if base else "random",
        **({"beside": beside} if kept else {}),
        # Known here alone: elsewhere a folder of this name does not exist, and looks like a repo.
        "start_repo": None if Path(base or ".").exists() else base,
        "data": {
            task: data_record(task_location(data, task), corpus) for task, corpus in corpora.items()
        },
    }


def task_results(
    record: Mapping[str, Any], task: str, epoch: int, test: Mapping[str, float], simulated: bool
) -> dict[str, Any]:
    """``results`` of one task's card.

    Parameters
    ----------
    record : mapping
        A seed's record: that of :func:`start_record`, the method's facts, and ``seed``,
        ``epochs``, ``history``.
    task : str
    epoch : int
        The epoch whose weights serve the task; -1: the start.
    test : mapping
        Metrics on the test split.
    simulated : bool
        Whether the data were.
    """
    history = record["history"]
    outside = ("config", "format", "test", "simulated")  # the base's record has them
    training = {key: value for key, value in record.items() if key not in outside}
    training["data"], training["epoch"] = record["data"][task], epoch
    training["history"] = [
        {"train_loss": entry["train_loss"].get(task), "validation": entry["validation"][task]}
        for entry in history
    ]
    return {
        "seed": record["seed"],
        "epoch": epoch,
        "method": record["method"],
        "simulated": simulated,
        "validation": (history[0]["start"] if epoch < 0 else history[epoch])["validation"][task],
        "test": dict(test),
        "training": training,
    }


def note_seeds(
    method: type[Method],
    folder: str | Path,
    summary: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    judgements: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Put the results over several seeds into a saved folder, and make its cards anew.

    Parameters
    ----------
    method : type
        Whose ``save`` wrote the folder, of one of the seeds.
    folder : str or Path
    summary : mapping
        Of ``summarize``: task to metric to ``mean``, ``std`` and ``values``.
    seeds : sequence of int
    judgements : mapping, optional
        Of ``judge_test``: people, intervals and floors of every task.
    """
    folder, kept = Path(folder), False
    for task, metrics in summary.items():
        place = method.task_folder(folder, task)
        card = TaskCard.load(place)
        kept = "beside" in (card.results or {}).get("training", {})
        results = {**(card.results or {}), "seeds": list(seeds), "test_over_seeds": plain(metrics)}
        if judgements is not None:
            results["judgement"] = plain(judgements[task])
        write_json(place / CARD_FILE, card.replace(results=results).to_dict())
    if not kept:  # else the record is the base's own
        record = json.loads((folder / RECORD_FILE).read_text("utf-8"))
        write_json(folder / RECORD_FILE, record | {"seeds": list(seeds), "test": dict(summary)})
    write_cards(folder, tasks=summary)
