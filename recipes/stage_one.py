"""What the two recipes of stage one have in common: their data, and the loop over the epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from accelerate import Accelerator

from modeling_mteeg.data import UnlabelledWindows, load_unlabelled
from modeling_mteeg.settings.config_file import flatten
from modeling_mteeg.settings.plain_json import write_json
from modeling_mteeg.training.checkpoint import CheckpointError
from modeling_mteeg.training.console import say, say_resumed
from modeling_mteeg.training.launch import TrainingError
from modeling_mteeg.training.stage_one import StageOneConfig, StageOneTrainer
from modeling_mteeg.training.trackers import start_tracker

CONFIGS = Path(__file__).resolve().parent / "configs"
SIMULATED = Path("outputs") / "unlabelled_demo"
"""Simulated recordings, raw and prepared: both demos use the same."""
KEPT = "the same command goes on from the newest checkpoint"
ERRORS = (OSError, ValueError, TrainingError, CheckpointError)


def open_data(
    config: StageOneConfig, accelerator: Accelerator
) -> Mapping[str, Sequence[UnlabelledWindows]]:
    """The windows of all folders; simulated and prepared first where the configuration says so."""
    options = config.data
    folders = list(options.folders)
    if options.simulate:
        folders = [SIMULATED / "data"]
        if accelerator.is_main_process:
            from modeling_mteeg.dataset_scripts.demo_data import simulated_recordings

            simulated_recordings(SIMULATED)
        accelerator.wait_for_everyone()
    return load_unlabelled(
        folders, options.stride_s, options.max_patches, options.max_seconds, options.validation
    )


def train(trainer: StageOneTrainer, resume: str, show: Callable[[dict], str]) -> None:
    """All epochs that are left, with a checkpoint after each; the weights to save are in the
    model then.

    Raises
    ------
    CollapseError
        The tokenizer ends on the plateau, and ``on_collapse`` is ``stop``; its checkpoints stay.
    """
    accelerator = trainer.accelerator
    config = trainer.config
    start_tracker(accelerator, config.tracker, config.output, None, flatten(config.to_dict()))
    if trainer.resume(resume):
        say_resumed(trainer)
    while not trainer.over:
        planned = trainer.epochs
        trainer.train_epoch()
        entry = trainer.finish_epoch()
        trainer.save_checkpoint()
        on = "; on the plateau: does not count" if trainer.epochs > planned else ""
        say(accelerator, f"epoch {entry['epoch'] + 1}: {show(entry)}{on}")
    if accelerator.is_main_process:
        write_json(trainer.folder / "history.json", trainer.progress.history)
    told = trainer.end_on_plateau()
    if told:
        say(accelerator, told)
    trainer.use_average()
