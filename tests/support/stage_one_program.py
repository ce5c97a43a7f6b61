"""Small trainings of stage one as a program of its own, for tests that start or kill processes.

python stage_one_program.py {tokenizer,masked} train DATA TOKENIZER OUT [--die COUNT]
python stage_one_program.py {tokenizer,masked} gradients DATA TOKENIZER OUT [--slices N]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save_file

from modeling_mteeg import MteegTokenizerConfig, MteegTokenizerModel
from modeling_mteeg.data import load_unlabelled
from modeling_mteeg.training.stage_one import (
    MaskedTrainer,
    MaskedTrainingConfig,
    StageOneTrainer,
    TokenizerTrainer,
    TokenizerTrainingConfig,
    build_student,
    build_tokenizer,
)
from modeling_mteeg.training.stage_one.sharding import whole

SIZES = {"num_codes": 16, "code_size": 8}


def make_tokenizer() -> MteegTokenizerModel:
    """A random tokenizer with a codebook that has started."""
    torch.manual_seed(5)
    config = MteegTokenizerConfig.from_preset("tiny", kmeans_start=False, **SIZES)
    return MteegTokenizerModel(config)


def make_trainer(
    kind: str,
    data: str | Path,
    out: str | Path,
    accelerator: Accelerator | None = None,
    **overrides: Any,
) -> StageOneTrainer:
    """A tiny training with everything random in it; overrides use dots as two underscores."""
    tree = {
        "model": {"preset": "tiny"},
        "data": {"folders": [str(data)], "stride_s": 1.0, "max_patches": 9, "max_seconds": 4,
                 "validation": 0.3, "bundle": 3},
        "optimization": {"epochs": 2, "batch_size": 17, "lr": 1e-3, "warmup_epochs": 1,
                         "clip_norm": 1.0, "ema_decay": 0.9},
        "checkpoint": {"every_steps": 2, "keep": 2},
    }  # fmt: skip
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    accelerator = accelerator or Accelerator(cpu=True)
    if kind == "tokenizer":
        changes = {**{f"model.{key}": value for key, value in SIZES.items()},
                   "model.revive_dead": True, **changes}  # fmt: skip
        config = TokenizerTrainingConfig.build(tree, changes)
        model = build_tokenizer(config.model, config.seed)
        return TokenizerTrainer(config, open_data(config), model, accelerator, out)
    changes = {"model.drop_path": 0.2, "tokenizer": "as-made-here", **changes}
    config = MaskedTrainingConfig.build(tree, changes)
    tokenizer = make_tokenizer()
    model = build_student(config.model, tokenizer, config.seed)
    return MaskedTrainer(config, open_data(config), model, tokenizer, accelerator, out)


def open_data(config):
    options = config.data
    limits = options.max_patches, options.max_seconds, options.validation
    return load_unlabelled(options.folders, options.stride_s, *limits)


def finish(trainer: StageOneTrainer) -> list[dict]:
    """Train whatever is left."""
    if trainer.resume():
        print(f"going on at epoch {trainer.progress.epoch + 1}, step {trainer.progress.step}")
    while not trainer.finished:
        trainer.train_epoch()
        trainer.finish_epoch()
        trainer.save_checkpoint()
    return trainer.progress.history


def outcome(trainer: StageOneTrainer) -> dict[str, torch.Tensor]:
    """All tensors of a training: weights, buffers, averages."""
    tensors = {name: whole(tensor).clone() for name, tensor in trainer.trained_tensors().items()}
    if trainer.average is not None:
        tensors |= {f"average.{k}": whole(v).clone() for k, v in trainer.average.averages.items()}
    return tensors


def step_gradients(trainer: StageOneTrainer) -> dict[str, torch.Tensor]:
    """Gradients of the first step, and the buffers after it."""
    batches = trainer.batches("train", trainer.plan(0))
    parts = [batches.part(0, slice) for slice in range(batches.slices)]
    losses = trainer.compute_gradients(parts, trainer.place(batches, 0))
    trained = trainer.trainable().items()
    found = {name: whole(p.grad).clone() for name, p in trained if p.grad is not None}
    found |= {f"buffer.{name}": b.clone() for name, b in trainer.model.named_buffers()}
    return found | {f"loss.{name}": torch.as_tensor(value) for name, value in losses.items()}


def die_in_step(count: int) -> None:
    """Kill this process, as kill -9 does, in the ``count``-th step, after its gradients."""
    real, calls = StageOneTrainer.compute_gradients, []

    def dying(self, *arguments):
        found = real(self, *arguments)
        calls.append(1)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    StageOneTrainer.compute_gradients = dying


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("tokenizer", "masked"))
    parser.add_argument("action", choices=("train", "gradients"))
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--die", type=int)
    parser.add_argument("--slices", type=int, default=1)
    parser.add_argument("--tracker", default="none")
    args = parser.parse_args()
    options = {"optimization__gradient_accumulation": args.slices}
    if args.action == "gradients":
        options["model__drop_path"] = 0.0  # dropped paths are drawn by process
        if args.kind == "tokenizer":
            del options["model__drop_path"]
    accelerator = None
    if args.tracker != "none":
        accelerator = Accelerator(cpu=True, log_with=args.tracker, project_dir=args.out)
    options["tracker"] = args.tracker
    trainer = make_trainer(args.kind, args.data, args.out, accelerator, **options)
    trainer.accelerator.init_trackers("logs")
    if args.die:
        die_in_step(args.die)
    args.out.mkdir(parents=True, exist_ok=True)
    found = step_gradients(trainer) if args.action == "gradients" else None
    history = finish(trainer) if args.action == "train" else []
    tensors = outcome(trainer) if found is None else found
    if trainer.accelerator.is_main_process:
        save_file({k: v.contiguous() for k, v in tensors.items()}, args.out / "outcome.safetensors")
        (args.out / "history.json").write_text(json.dumps(history))


if __name__ == "__main__":
    main()
    if torch.distributed.is_initialized():  # its threads may abort the interpreter's end
        torch.distributed.destroy_process_group()
