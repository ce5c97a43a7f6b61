"""Joint training: one backbone, a named adapter and a head for every task (paper, section 4.2).

    accelerate launch recipes/joint.py                                   # demo, simulated data
    accelerate launch recipes/joint.py --config recipes/configs/joint_base.yaml --data DATA
    torchrun --nproc_per_node 2 recipes/joint.py --tasks tuab,seed-v     # several processes on CPU

A run that was killed goes on where it was when it is started again in the same way.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Threads that wait for each other sleep instead of spinning: next to other work on the same cores
# steps are several times as fast. The OpenMP library reads this when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
import yaml
from accelerate import Accelerator

from modeling_mteeg.data import (
    Corpus,
    StreamError,
    load_corpora,
    load_corpus,
    model_inputs,
    training_mixes,
)
from modeling_mteeg.settings.schema import yaml_loader
from modeling_mteeg.training.checkpoint import CheckpointError
from modeling_mteeg.training.joint_config import ConfigError, JointConfig, load_config
from modeling_mteeg.training.joint_training import JointTrainer
from modeling_mteeg.training.output import check_output, note_output
from modeling_mteeg.training.record import command_line, note_seeds, start_record, task_results
from modeling_mteeg.training.results import results_table, save_model, summarize, write_json
from modeling_mteeg.training.setup import TrainingError, start_accelerator

CONFIGS = Path(__file__).resolve().parent / "configs"


def main(argv: Sequence[str] | None = None) -> int:
    """Train with every seed, test once each, save, and print the table."""
    args = parse_arguments(argv)
    try:
        config = load_config(args.config, overrides(args))
        if args.resume != "never":
            check_output(config)
        accelerator = start_accelerator(config)
        simulate = config.data.simulate
        data = simulated_corpora(config, accelerator) if simulate else config.data.folder
        corpora = load_corpora(data, config.data.tasks, config.data.streaming)
        training_mixes(corpora, config.sampling_of(config.data.tasks))  # do the rules fit?
    except (OSError, ValueError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    describe(config, corpora, accelerator)
    if accelerator.is_main_process:
        note_output(config)
    record = start_record(config, corpora, data, accelerator, command_line(__file__, argv))

    by_seed = {}
    for seed in config.seeds:
        try:
            by_seed[seed] = train(config, corpora, accelerator, seed, record, args.resume)
        except (CheckpointError, StreamError, TrainingError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1

    if accelerator.is_main_process:
        summary = summarize(by_seed)
        for seed in config.seeds:
            note_seeds(seed_folder(config, seed) / "model", summary, config.seeds)
        cards = {task: corpus.card for task, corpus in corpora.items()}
        path = write_json(
            Path(config.output) / "results.json",
            {
                "simulated": {task: card.simulated for task, card in cards.items()},
                "test": summary,
                "seeds": list(config.seeds),
                "config": config.to_dict(),
            },
        )
        print(f"\nTest results, {count(len(config.seeds), 'seed')}:")
        print(results_table(summary, cards))
        print(f"written to {path}")
    accelerator.end_training()
    return 0


def train(
    config: JointConfig,
    corpora: dict[str, Corpus],
    accelerator: Accelerator,
    seed: int,
    record: Mapping[str, Any],
    resume: str,
) -> dict[str, dict[str, float]]:
    """One training: epochs, selection on validation, one test, the saved folder."""
    folder = seed_folder(config, seed)
    if config.tracker != "none":
        accelerator.init_trackers(f"tensorboard-seed-{seed}")
    trainer = JointTrainer(config, corpora, accelerator, seed, folder)
    trained = sum(parameter.numel() for parameter in trainer.trainable().values())
    say(accelerator, f"\nSeed {seed}: {trained:,} trainable parameters, "
        f"{count(trainer.steps_per_epoch, 'step')} an epoch")  # fmt: skip
    if trainer.resume(resume):
        progress = trainer.progress
        where = f"going on at epoch {progress.epoch + 1}, step {progress.step}"
        say(accelerator, "all epochs are done already" if trainer.finished else where)

    while not trainer.finished:
        trainer.train_epoch()
        entry = trainer.finish_epoch()
        trainer.save_checkpoint()
        mark = " *" if trainer.progress.best_epoch == entry["epoch"] else ""
        scores = "  ".join(
            f"{task} {entry['validation'][task][trainer.cards[task].monitor]:.3f}"
            for task in trainer.tasks
        )
        say(accelerator, f"epoch {entry['epoch'] + 1}: validation {entry['score']:.4f}{mark}"
            f"  ({scores})")  # fmt: skip

    trainer.select_best()
    test = trainer.evaluate("test")
    if accelerator.is_main_process:
        progress = trainer.progress
        own = {"seed": seed, "epoch": progress.best_epoch, "history": progress.history,
               "trainable_parameters": trained}  # fmt: skip
        record = {**record, **own, "test": summarize({seed: test})}
        results = {
            task: task_results(record, task, test[task], corpora[task].card.simulated)
            for task in trainer.tasks
        }
        saved = save_model(trainer.model, folder / "model", results, record)
        write_json(folder / "history.json", progress.history)
        print(f"saved {saved}, selected epoch {progress.best_epoch + 1}")
        check_saved(saved, trainer, corpora)
    for tracker in accelerator.trackers:
        tracker.finish()
    accelerator.trackers.clear()  # the next seed has its own
    accelerator.wait_for_everyone()
    return test


def seed_folder(config: JointConfig, seed: int) -> Path:
    """Where a seed's checkpoints and model go: the output folder, or its own in it."""
    folder = Path(config.output)
    return folder / f"seed-{seed}" if len(config.seeds) > 1 else folder


def check_saved(folder: Path, trainer: JointTrainer, corpora: dict[str, Corpus]) -> None:
    """Load the saved folder as a user would, and predict some windows of the last task."""
    from transformers import AutoModel

    task = trainer.tasks[-1]
    model = AutoModel.from_pretrained(folder).eval()
    card = model.load_adapter(task)
    reader = corpora[task].splits["test"]
    rows = np.linspace(0, len(reader) - 1, min(5, len(reader))).astype(np.int64)
    batch = model_inputs(reader, card, rows)
    truth = batch.pop("labels")
    with torch.no_grad():
        logits = model(**batch).logits
        here = trainer.model.eval()(
            **{key: value.to(trainer.model.device) for key, value in batch.items()}, task=task
        ).logits
    if not torch.allclose(logits, here.cpu().float(), rtol=1e-3, atol=1e-4):
        raise TrainingError(f"{folder}: the loaded model differs from the trained one by "
                            f"{(logits - here.cpu()).abs().max():.2g}.")  # fmt: skip
    data = "simulated windows" if card.simulated else "windows"
    print(f"loaded back; {task} on {len(rows)} {data} of the test split:")
    for label, row in zip(truth.tolist(), card.probabilities(logits), strict=True):
        guess = int(row.argmax())
        print(
            f"  true {card.labels[label]:<12} predicted {card.labels[guess]:<12} {row[guess]:.2f}"
        )


def simulated_corpora(config: JointConfig, accelerator: Accelerator) -> Path:
    """Simulate the corpora in their own file layouts and prepare them; whole ones are kept."""
    raw = Path(config.output) / "raw"
    data = Path(config.data.folder or Path(config.output) / "data")
    if accelerator.is_main_process:
        from dataset_scripts.demo import simulate
        from dataset_scripts.prepare import prepare_corpora

        missing = [task for task in config.data.tasks if not is_whole(data / task)]
        if missing:
            print(f"Simulating recordings of {', '.join(missing)} in {raw}")
            simulate(raw, tasks=missing)
            prepare_corpora(raw, data, missing)
    accelerator.wait_for_everyone()
    return data


def is_whole(folder: Path) -> bool:
    """Whether a prepared corpus is there and can be read."""
    try:
        load_corpus(folder)
    except (OSError, ValueError):
        return False
    return True


def describe(config: JointConfig, corpora: dict[str, Corpus], accelerator: Accelerator) -> None:
    """Say what is about to happen."""
    start = config.model.base or f"{config.model.preset}, random weights"
    device = accelerator.device.type
    threads = f" with {count(torch.get_num_threads(), 'thread')}" if device == "cpu" else ""
    say(accelerator, f"{count(len(corpora), 'task')}, method {config.method}, model {start}, "
        f"{count(accelerator.num_processes, 'process')} on {device}{threads}, "
        f"precision {accelerator.mixed_precision}")  # fmt: skip
    for task, corpus in corpora.items():
        sizes = " / ".join(f"{len(reader):,}" for reader in corpus.splits.values())
        origin = "simulated" if corpus.card.simulated else corpus.card.corpus
        say(accelerator, f"  {task:<13} {sizes} windows ({' / '.join(corpus.splits)}), {origin}")


def say(accelerator: Accelerator, text: str) -> None:
    """Print in the main process only."""
    if accelerator.is_main_process:
        print(text, flush=True)


def count(number: int, noun: str) -> str:
    """``3 tasks``, ``1 process``."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", default=CONFIGS / "joint_demo.yaml", type=Path)
    add("--data", help="prepared corpora, <data>/<task>/: a folder, or a URL such as s3://..., "
        "hf://datasets/... (streamed); {task} stands for the task's name")  # fmt: skip
    add("--streaming", action="store_true", help="fetch windows by byte range from a folder too")
    add("--tasks", help="tasks, separated by commas")
    add("--base", help="folder or Hub id of the base, instead of a preset")
    add("--method", help="mteeg, or full (plain full fine-tuning)")
    add("--output", help="folder for checkpoints, model and results")
    add("--seeds", help="whole numbers, separated by commas")
    add("--num-processes", type=int, help="how many there must be")
    add("--resume", choices=("auto", "always", "never"), default="auto",
        help="never: begin anew and replace what the output folder holds")  # fmt: skip
    add("--set", action="append", default=[], metavar="KEY=VALUE",
        help="any key of the configuration, such as optimization.epochs=10")  # fmt: skip
    return parser.parse_args(argv)


def overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Command-line arguments as dotted keys of the configuration."""
    found: dict[str, Any] = {}
    for text in args.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError("--set", [f"{text!r}: expected KEY=VALUE"])
        found[key] = yaml.load(value, Loader=yaml_loader([]))
    if args.data is not None:
        found |= {"data.folder": args.data, "data.simulate": False}
    if args.streaming:
        found["data.streaming"] = True
    if args.base is not None:
        found |= {"model.base": args.base, "model.preset": None}
    if args.tasks is not None:
        found["data.tasks"] = args.tasks.split(",")
    if args.seeds is not None:
        found["seeds"] = [int(part) if part.isdecimal() else part for part in args.seeds.split(",")]
    for key in ("method", "output", "num_processes"):
        if getattr(args, key) is not None:
            found[key] = getattr(args, key)
    return found


if __name__ == "__main__":
    sys.exit(main())
