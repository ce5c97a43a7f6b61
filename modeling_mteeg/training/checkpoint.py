"""Checkpoints that survive a kill at any moment: written aside, synced, renamed, verified."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ..settings.disk_faults import writing

_NAME = re.compile(r"epoch-(\d{5})-step-(\d{8})")
_COMPLETE = "complete.json"
_TRAINABLE, _BEST, _OPTIMIZER, _STATE = (
    "trainable.safetensors",
    "best.safetensors",
    "optimizer.pt",
    "state.json",
)


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be continued from."""


@dataclasses.dataclass
class Progress:
    """How far a training has come.

    Parameters
    ----------
    epoch : int
        Epoch that is running, from 0.
    step : int
        Optimiser steps of that epoch that are done.
    best_score : float or None
        Highest mean of the monitor metrics on validation so far.
    best_epoch : int or None
        Its epoch.
    history : list of dict
        One entry for every finished epoch.
    """

    epoch: int = 0
    step: int = 0
    best_score: float | None = None
    best_epoch: int | None = None
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Checkpoint:
    """Everything a training needs to go on.

    ``trainable`` and ``best`` map parameter names to tensors, ``best`` is None before the first
    selection; ``optimizer`` is its state dict; ``extra`` holds plain values (a gradient scaler's).
    """

    progress: Progress
    trainable: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    best: dict[str, torch.Tensor] | None = None
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)


class CheckpointStore:
    """The checkpoints of one training, in one folder.

    A checkpoint is a folder ``epoch-…-step-…``. It is written under another name, its files and
    the folder are synced to the disk, a list of their sizes and hashes is written last, and only
    then it gets its name. A kill at any moment therefore leaves the earlier ones as they were.

    Parameters
    ----------
    folder : str or Path
    identity : mapping
        Plain values that a training to be continued must share (flat configuration, data).
    keep : int
        Number of checkpoints that stay.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any], keep: int = 2) -> None:
        self.folder = Path(folder)
        self.identity = json.loads(json.dumps(dict(identity)))
        self.keep = keep

    def names(self) -> list[str]:
        """Names of the checkpoints, oldest first, whether they are intact or not."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if _NAME.fullmatch(path.name))

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint and remove the oldest beyond ``keep``; call it in one process only.

        Raises
        ------
        WriteError
            The disk is full or read-only; the earlier ones stay.
        """
        try:
            with writing(self.folder):
                return self._save(checkpoint)
        except OSError:  # what is half written takes room on a full disk
            for path in self.folder.glob(".writing-*"):
                shutil.rmtree(path, ignore_errors=True)
            raise

    def _save(self, checkpoint: Checkpoint) -> Path:
        progress = checkpoint.progress
        target = self.folder / f"epoch-{progress.epoch:05d}-step-{progress.step:08d}"
        self.clean()
        temporary = self.folder / f".writing-{target.name}"
        temporary.mkdir(parents=True)
        save_file(_plain(checkpoint.trainable), temporary / _TRAINABLE)
        if checkpoint.best is not None:
            save_file(_plain(checkpoint.best), temporary / _BEST)
        torch.save({"optimizer": checkpoint.optimizer, "extra": checkpoint.extra},
                   temporary / _OPTIMIZER)  # fmt: skip
        state = {"progress": dataclasses.asdict(progress), "identity": self.identity}
        (temporary / _STATE).write_text(json.dumps(state, indent=1), "utf-8")
        files = {path.name: _summary(path) for path in sorted(temporary.iterdir())}
        (temporary / _COMPLETE).write_text(json.dumps(files, indent=1), "utf-8")
        for path in temporary.iterdir():
            _sync(path)
        _sync(temporary)
        if target.exists():  # was found damaged, else training would have gone on from it
            self._remove(target)
        os.rename(temporary, target)
        _sync(self.folder)
        for name in self.names()[: -self.keep]:
            self._remove(self.folder / name)
        return target

    def newest(self) -> str | None:
        """Name of the newest intact checkpoint, or None; damaged ones are warned of and passed by.

        Raises
        ------
        CheckpointError
            It belongs to another configuration or other data; the message says which keys differ.
        """
        for name in reversed(self.names()):
            damage = self._damage(name)
            if damage:
                warnings.warn(
                    f"Checkpoint {self.folder / name} is ignored: {damage}.", stacklevel=2
                )
                continue
            self._check_identity(name)
            return name
        return None

    def load(self, name: str) -> Checkpoint:
        """Read the checkpoint ``name``, tensors on the CPU."""
        folder = self.folder / name
        damage = self._damage(name)
        if damage:
            raise CheckpointError(f"Checkpoint {folder} cannot be read: {damage}.")
        state = json.loads((folder / _STATE).read_text("utf-8"))
        stored = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
        return Checkpoint(
            progress=Progress(**state["progress"]),
            trainable=load_file(folder / _TRAINABLE),
            optimizer=stored["optimizer"],
            best=load_file(folder / _BEST) if (folder / _BEST).exists() else None,
            extra=stored["extra"],
        )

    def clean(self) -> None:
        """Remove what interrupted writing or removing has left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if path.name.startswith((".writing-", ".removing-")):
                shutil.rmtree(path)

    def clear(self) -> None:
        """Remove all checkpoints."""
        self.clean()
        for name in self.names():
            self._remove(self.folder / name)

    def _remove(self, path: Path) -> None:
        aside = path.with_name(f".removing-{path.name}")
        os.rename(path, aside)
        shutil.rmtree(aside)

    def _damage(self, name: str) -> str | None:
        """What is wrong with a checkpoint's files, or None."""
        folder = self.folder / name
        try:
            files = json.loads((folder / _COMPLETE).read_text("utf-8"))
        except (OSError, ValueError) as error:
            return f"{_COMPLETE} cannot be read ({error})"
        if not isinstance(files, dict) or not {_TRAINABLE, _OPTIMIZER, _STATE} <= set(files):
            return f"{_COMPLETE} does not name the files of a checkpoint"
        for file, summary in files.items():
            path = folder / file
            if not path.is_file():
                return f"{file} is missing"
            if _summary(path) != summary:
                return f"{file} is not as it was written"
        return None

    def _check_identity(self, name: str) -> None:
        state = json.loads((self.folder / name / _STATE).read_text("utf-8"))
        then = state["identity"]
        keys = [key for key in sorted(then.keys() | self.identity.keys())
                if then.get(key, "absent") != self.identity.get(key, "absent")]  # fmt: skip
        if keys:
            lines = "".join(
                f"\n  - {key}: checkpoint {then.get(key, 'absent')!r}, "
                f"now {self.identity.get(key, 'absent')!r}"
                for key in keys
            )
            raise CheckpointError(
                f"{self.folder / name} belongs to another training; these differ:{lines}\n"
                "Give the earlier values, another --output, or --resume never, which removes the "
                "earlier checkpoints."
            )


def _plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _summary(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
