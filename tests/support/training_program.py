"""A small joint training as a program of its own, for tests that start or kill processes.

python training_program.py train DATA OUT [--die PLACE:COUNT[:RANK]] [--slow SECONDS]
                          [--set KEY=VALUE]
python training_program.py gradients DATA OUT
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save_file

from modeling_mteeg.data import Corpus, load_corpora
from modeling_mteeg.methods import METHODS
from modeling_mteeg.settings.config_file import read_overrides
from modeling_mteeg.training import checkpoint, selected_training
from modeling_mteeg.training import joint_training as loop
from modeling_mteeg.training.conflict_record import save_conflicts
from modeling_mteeg.training.joint_config import JointConfig
from modeling_mteeg.training.joint_training import JointTrainer
from modeling_mteeg.training.optimization import build_optimizer

TASKS = ("tuab", "seed-v", "sleep-edf")


def make_config(tasks: tuple[str, ...] = TASKS, **overrides: Any) -> JointConfig:
    """A tiny training with everything random in it; overrides use dots as two underscores."""
    tree = {
        "model": {"preset": "tiny", "drop_path": 0.2},
        "data": {"folder": "data", "tasks": list(tasks)},
        "adapter": {"dropout": 0.1},
        "optimization": {"epochs": 3, "batch_size": 12, "lr": 1e-2, "warmup_epochs": 1,
                         "eval_batch_size": 8, "layer_decay": 0.9},
        "sampling": {"tuab": {"fraction": 0.5}},
        "checkpoint": {"every_steps": 2, "keep": 2},
    }  # fmt: skip
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    return JointConfig.build(tree, changes)


def make_trainer(
    corpora: dict[str, Corpus], out: str | Path, accelerator: Accelerator | None = None, **overrides
) -> JointTrainer:
    config = make_config(tuple(corpora), **overrides)
    accelerator = accelerator or Accelerator(cpu=True)
    cards = {task: corpus.card for task, corpus in corpora.items()}
    method = METHODS[config.method].build(config, cards, 0)
    optimizer = build_optimizer(method, config.optimization, accelerator.device)
    return JointTrainer(config, corpora, method, optimizer, accelerator, 0, out)


def fill_adapters(trainer: JointTrainer) -> None:
    """Give every B values, for where B is zero A has no gradient."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(0, 0.05, generator=generator)


def step_gradients(trainer: JointTrainer, step: int = 0) -> dict[str, torch.Tensor | None]:
    """Gradients of one step of the first epoch, as the trainer finds them; they are cleared.

    In double precision, for some are zero but for rounding (a bias before a normalisation).
    """
    trainer.model.double()
    plan, options = trainer.plan(0), trainer.options
    rank = trainer.accelerator.process_index
    batches = loop.JointBatches(trainer.corpora, plan, rank=rank, prefetch=0)
    parts = [batches.batch(step, part) for part in range(options.gradient_accumulation)]
    trainer.compute_gradients(parts, plan.counts(step))
    found = {
        name: None if p.grad is None else p.grad.clone() for name, p in trainer.trainable().items()
    }
    trainer.optimizer.zero_grad(set_to_none=True)
    trainer.model.float()
    return found


def run(trainer: JointTrainer) -> None:
    """The recipe's loop."""
    trainer.resume()
    while not trainer.finished:
        trainer.train_epoch()
        trainer.finish_epoch()
        trainer.save_checkpoint()


def outcome(trainer: JointTrainer) -> dict[str, torch.Tensor]:
    """Final and selected weights."""
    final = {f"final.{name}": p.detach().clone() for name, p in trainer.trainable().items()}
    return final | {f"best.{name}": tensor for name, tensor in trainer.best.items()}


def die_at(place: str, count: int) -> None:
    """Kill this process at the ``count``-th time it comes by ``place``."""
    owner, name = {
        "step": (torch.optim.AdamW, "step"),  # gradients are there, weights not yet moved
        "forward": (loop.JointTrainer, "_losses"),
        "evaluation": (selected_training, "evaluate_tasks"),
        "tensors": (checkpoint, "save_file"),
        "optimizer": (checkpoint.torch, "save"),
        "rename": (checkpoint.os, "rename"),
    }[place]
    real, calls = getattr(owner, name), iter(range(count - 1))

    def deadly(*args, **kwargs):
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(owner, name, deadly)


def record_gradients(trainer: JointTrainer) -> dict[str, Any]:
    """Gradients of all steps at the start, and the weights after an epoch."""
    fill_adapters(trainer)
    plan, rank = trainer.plan(0), trainer.accelerator.process_index
    gradients = [step_gradients(trainer, step) for step in range(plan.num_steps)]
    start = {name: p.detach().clone() for name, p in trainer.trainable().items()}
    trainer.train_epoch()
    return {
        "gradients": gradients,
        "start": start,
        "weights": {name: p.detach() for name, p in trainer.trainable().items()},
        "always_present": plan.always_present,
        "empty": [not sum(map(len, plan.indices(step, rank).values()))
                  for step in range(plan.num_steps)],
    }  # fmt: skip


def record_steps(trainer: JointTrainer) -> dict[str, Any]:
    """For every step, which tasks are present in it and which tasks' parameters moved."""
    plan, rank = trainer.plan(0), trainer.accelerator.process_index
    batches = loop.JointBatches(trainer.corpora, plan, rank=rank, prefetch=0)
    present, moved = [], []
    for step in range(plan.num_steps):
        before = {name: p.detach().clone() for name, p in trainer.trainable().items()}
        counts = plan.counts(step)
        trainer.train_step([batches.batch(step)], counts)
        trainer.progress.step += 1
        present.append({task: counts[task] > 0 for task in trainer.tasks})
        changed = [n for n, p in trainer.trainable().items() if not torch.equal(p, before[n])]
        moved.append({task: any(f".{task}." in name for name in changed) for task in trainer.tasks})
    final = {name: tensor.detach().clone() for name, tensor in trainer.trained_tensors().items()}
    return {"present": present, "moved": moved, "final": final}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("train", "gradients", "steps"))
    parser.add_argument("data")  # a folder, or a URL to stream
    parser.add_argument("out", type=Path)
    parser.add_argument("--die")
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--method", default="mteeg")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    accelerator = Accelerator(cpu=True)
    corpora = load_corpora(args.data, tuple(args.tasks.split(",")))
    if args.mode != "train":
        record = (record_gradients if args.mode == "gradients" else record_steps)(
            make_trainer(corpora, args.out, accelerator, model__drop_path=0.0,
                         adapter__dropout=0.0, optimization__epochs=1, method=args.method,
                         optimization__batch_size=args.batch_size)
        )  # fmt: skip
        torch.save(record, args.out / f"rank-{accelerator.process_index}.pt")
        return
    if args.die:
        place, count, *only = args.die.split(":")
        if not only or int(only[0]) == accelerator.process_index:
            die_at(place, int(count))
    trainer = make_trainer(corpora, args.out, accelerator, **read_overrides(args.set))
    if args.slow:
        real = trainer.train_step

        def slowly(*step):
            time.sleep(args.slow)
            return real(*step)

        trainer.train_step = slowly
    run(trainer)
    if accelerator.is_main_process:
        save_file(outcome(trainer), args.out / "outcome.safetensors")
        history = {"history": trainer.progress.history, "test": trainer.evaluate("test")}
        (args.out / "history.json").write_text(json.dumps(history, indent=1), "utf-8")
        save_conflicts(args.out, trainer.conflicts)
    else:
        trainer.evaluate("test")
    accelerator.wait_for_everyone()


if __name__ == "__main__":
    main()
    if torch.distributed.is_initialized():  # its threads may abort the interpreter's end
        torch.distributed.destroy_process_group()
