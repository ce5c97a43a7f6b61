"""What recipes print: once, from the main process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator

from ..data import Corpus, UnlabelledWindows
from ..methods import METHODS
from ..model.head_options import PLAIN_HEAD
from ..model.task_card import TaskCard
from .core import TrainingCore, count
from .joint_config import JointConfig
from .stage_one.stage_one_config import StageOneConfig


def say(accelerator: Accelerator, text: str) -> None:
    """Print in the main process only."""
    if accelerator.is_main_process:
        print(text, flush=True)


def describe_joint(
    config: JointConfig, corpora: Mapping[str, Corpus], accelerator: Accelerator
) -> None:
    """Say what a joint training is about to do."""
    start = config.model.base or f"{config.model.preset}, random weights"
    if not METHODS[config.method].needs_model:
        start = "none"
    device = accelerator.device.type
    threads = f" with {count(torch.get_num_threads(), 'thread')}" if device == "cpu" else ""
    if threads and os.environ.get("OMP_WAIT_POLICY") == "PASSIVE" and torch.get_num_threads() > 1:
        threads += " that sleep while they wait"
    say(accelerator, f"{count(len(corpora), 'task')}, method {config.method}, model {start}, "
        f"{count(accelerator.num_processes, 'process')} on {device}{threads}, "
        f"precision {accelerator.mixed_precision}")  # fmt: skip
    for task, corpus in corpora.items():
        sizes = " / ".join(f"{len(reader):,}" for reader in corpus.splits.values())
        origin = "simulated" if corpus.card.simulated else corpus.card.corpus
        head = config.head_of(task, corpus.card)
        told = METHODS[config.method].has_heads and head != PLAIN_HEAD
        say(accelerator, f"  {task:<13} {sizes} windows ({' / '.join(corpus.splits)}), {origin}"
            f"{f', head: {head.describe()}' if told else ''}")  # fmt: skip
        for line in corpus.split.lines() if corpus.split else ():
            say(accelerator, f"  {line}")


def describe_stage_one(
    config: StageOneConfig,
    data: Mapping[str, Sequence[UnlabelledWindows]],
    accelerator: Accelerator,
    what: str,
    model: torch.nn.Module,
    simulated: bool,
) -> None:
    """Say what a training of stage one is about to do."""
    start = config.model.init or f"{config.model.preset}, random weights"
    weights = sum(p.numel() for p in model.parameters() if p.requires_grad)
    processes = f"{accelerator.num_processes} process(es) on {accelerator.device.type}"
    precision = f"precision {accelerator.mixed_precision}"
    say(accelerator, f"{what}: {start}, {weights:,} parameters, {processes}, {precision}")
    for split, groups in data.items():
        for group in groups:
            shown = " ".join(group.channels[:3]) + (" ..." if len(group.channels) > 3 else "")
            say(accelerator, f"  {split:<10} {len(group):>7,} windows of {len(group.channels):>3} "
                f"channels x {group.patches:>2} s ({shown})")  # fmt: skip
    if simulated:
        say(accelerator, "  the recordings are simulated: figures show that training works")


def say_resumed(training: TrainingCore) -> None:
    """Say where a training goes on."""
    progress = training.progress
    where = f"going on at epoch {progress.epoch + 1}, step {progress.step}"
    say(training.accelerator, "all epochs are done already" if training.finished else where)


def epoch_line(
    entry: Mapping[str, Any], best_epoch: int | None, cards: Mapping[str, TaskCard]
) -> str:
    """An epoch of a joint training in a line; a star marks the best so far.

    The first one tells the start, too, where that is a candidate.
    """

    def told(name: str, of: Mapping[str, Any], best: bool) -> str:
        scores = "  ".join(
            f"{task} {of['validation'][task][card.monitor]:.3f}" for task, card in cards.items()
        )
        return f"{name}: validation {of['score']:.4f}{' *' if best else ''}  ({scores})"

    line = told(f"epoch {entry['epoch'] + 1}", entry, best_epoch == entry["epoch"])
    if "start" in entry:
        line = told("start", entry["start"], best_epoch == -1) + "\n" + line
    balanced = {"next_samples": ("samples in the next epoch", ","),
                "loss_weights": ("weights of losses", ".3f")}  # fmt: skip
    for key, (what, form) in balanced.items():
        if key in entry:
            values = "  ".join(f"{task} {value:{form}}" for task, value in entry[key].items())
            line += f"\n  {what}: {values}"
    return f"{line}\nstopped: {entry['stopped']}" if "stopped" in entry else line


def say_thresholds(accelerator: Accelerator, thresholds: Mapping[str, float]) -> None:
    """Say which decision thresholds were chosen, if any."""
    for task, threshold in thresholds.items():
        say(accelerator, f"{task}: threshold {threshold:.3g}, chosen on validation")
