"""What the two recipes of stage one have in common: arguments, data, the epochs, the record."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator

from modeling_mteeg.data import UnlabelledWindows, load_unlabelled, read_manifest
from modeling_mteeg.settings.schema import ConfigError, yaml_loader
from modeling_mteeg.training.checkpoint import CheckpointError
from modeling_mteeg.training.record import command_line, package_versions, simulated_record
from modeling_mteeg.training.results import write_json
from modeling_mteeg.training.setup import TrainingError
from modeling_mteeg.training.stage_one.stage_one_config import StageOneConfig
from modeling_mteeg.training.stage_one.trainer import StageOneTrainer

CONFIGS = Path(__file__).resolve().parent / "configs"
SIZES = ("demo", "base", "large", "huge")
SIMULATED = Path("outputs") / "unlabelled_demo"
"""Simulated recordings, raw and prepared: both demos use the same."""
ERRORS = (OSError, ValueError, TrainingError, CheckpointError)
Data = Mapping[str, Sequence[UnlabelledWindows]]


def shipped_config(kind: str, name: str) -> Path:
    """The file that ``--config NAME`` means: one of ``SIZES`` is a shipped one, else a path.

    There is one published tokenizer: its codes serve the large and the huge student as well.
    """
    if name not in SIZES:
        return Path(name)
    if kind == "tokenizer" and name in ("large", "huge"):
        name = "base"
    return CONFIGS / f"{kind}_{name}.yaml"


def parse_arguments(text: str, kind: str, argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments of a recipe; ``kind`` (tokenizer, pretrain) begins its configurations' names."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", default=shipped_config(kind, "demo"), metavar="FILE",
        type=lambda name: shipped_config(kind, name),
        help=f"a YAML file, or the name of a shipped one: {', '.join(SIZES)} (default: demo)"
        + ("; one tokenizer serves base, large and huge" if kind == "tokenizer" else "")
    )  # fmt: skip
    add("--data", nargs="+", metavar="FOLDER", help="folders of unlabelled recordings, prepared "
        "with python -m dataset_scripts.unlabelled")  # fmt: skip
    if kind == "pretrain":
        add("--tokenizer", help="folder or Hub id of the neural tokenizer")
    add("--init", help="folder or Hub id to go on from, instead of random weights")
    add("--output", help="folder for checkpoints, model and history")
    add("--num-processes", type=int, help="how many there must be")
    add("--resume", choices=("auto", "always", "never"), default="auto",
        help="never: begin anew and replace what the output folder holds")  # fmt: skip
    add("--set", action="append", default=[], metavar="KEY=VALUE",
        help="any key of the configuration, such as optimization.epochs=10")  # fmt: skip
    return parser.parse_args(argv)


def read_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Command-line arguments as dotted keys of the configuration."""
    found: dict[str, Any] = {}
    for text in args.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError("--set", [f"{text!r}: expected KEY=VALUE"])
        found[key] = yaml.load(value, Loader=yaml_loader([]))
    if args.data is not None:
        found |= {"data.folders": args.data, "data.simulate": False}
    if args.init is not None:
        found |= {"model.init": args.init, "model.preset": None}
    for key in ("output", "num_processes", "tokenizer"):
        if getattr(args, key, None) is not None:
            found[key] = getattr(args, key)
    return found


def open_data(config: StageOneConfig, accelerator: Accelerator) -> Data:
    """The windows of all folders; simulated and prepared first where the configuration says so."""
    options = config.data
    folders = list(options.folders)
    if options.simulate:
        folders = [SIMULATED / "data"]
        if accelerator.is_main_process:
            simulate(SIMULATED)
        accelerator.wait_for_everyone()
    return load_unlabelled(
        folders, options.stride_s, options.max_patches, options.max_seconds, options.validation
    )


def simulate(folder: Path) -> None:
    """Simulate unlabelled recordings and prepare them; whole ones are kept."""
    from dataset_scripts.simulator.unlabelled import simulate_unlabelled
    from dataset_scripts.unlabelled import prepare_unlabelled

    try:
        read_manifest(folder / "data")
    except (FileNotFoundError, ValueError):
        print(f"Simulating unlabelled recordings in {folder / 'raw'}", flush=True)
        simulate_unlabelled(folder / "raw")
        prepare_unlabelled(folder / "raw", folder / "data")


def describe_data(
    config: StageOneConfig,
    data: Data,
    accelerator: Accelerator,
    what: str,
    model: torch.nn.Module,
) -> None:
    """Say what is about to happen."""
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
    if any(simulated_folders(config)):
        say(accelerator, "  the recordings are simulated: figures show that training works")


def simulated_folders(config: StageOneConfig) -> list[bool]:
    """Whether the recordings of each folder are."""
    if config.data.simulate:
        return [True]
    return [read_manifest(folder).get("simulated") is True for folder in config.data.folders]


def train(trainer: StageOneTrainer, resume: str, show: Callable[[dict], str]) -> None:
    """All epochs that are left, with a checkpoint after each; the weights to save are in the
    model then."""
    accelerator, folder = trainer.accelerator, trainer.store.folder.parent
    if trainer.config.tracker != "none":
        accelerator.init_trackers("tensorboard")
    if trainer.resume(resume):
        progress = trainer.progress
        where = f"going on at epoch {progress.epoch + 1}, step {progress.step}"
        say(accelerator, "all epochs are done already" if trainer.finished else where)
    while not trainer.finished:
        trainer.train_epoch()
        entry = trainer.finish_epoch()
        trainer.save_checkpoint()
        say(accelerator, f"epoch {entry['epoch'] + 1}: {show(entry)}")
    trainer.use_average()
    if accelerator.is_main_process:
        write_json(folder / "history.json", trainer.progress.history)


def run_record(
    script: str,
    argv: Sequence[str] | None,
    config: StageOneConfig,
    data: Data,
    trainer: StageOneTrainer,
    accelerator: Accelerator,
) -> dict[str, Any]:
    """How the training came about, for the saved folder."""
    simulated = simulated_folders(config)
    tokenizer = getattr(config, "tokenizer", None)
    origins = () if tokenizer is None else (tokenizer,)
    return {
        "format": 1,
        "command": command_line(script, argv),
        "stage": "one",
        "simulated": any(simulated),
        **simulated_record(simulated, config.model.init, *origins),
        "device": accelerator.device.type,
        "processes": accelerator.num_processes,
        "precision": accelerator.mixed_precision,
        "packages": package_versions(),
        "windows": {
            split: {f"{len(g.channels)} channels x {g.patches} s": len(g) for g in groups}
            for split, groups in data.items()
        },
        "history": trainer.progress.history,
        "config": config.to_dict(),
    }


def say(accelerator: Accelerator, text: str) -> None:
    """Print in the main process only."""
    if accelerator.is_main_process:
        print(text, flush=True)
