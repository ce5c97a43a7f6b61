"""Joint training: one backbone, a named adapter and a head for every task (paper, section 4.2).

    accelerate launch recipes/joint.py                                   # demo, simulated data
    accelerate launch recipes/joint.py --config recipes/configs/joint_base.yaml --data DATA
    torchrun --nproc_per_node 2 recipes/joint.py --tasks tuab,seed-v     # several processes on CPU

A run that was killed goes on where it was when it is started again in the same way.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from modeling_mteeg import _ending  # first: Ctrl-C while the rest is imported

# isort: split
from accelerate import Accelerator

from modeling_mteeg.data import (
    Corpus,
    StreamError,
    load_corpora,
    training_mixes,
    view_corpora,
)
from modeling_mteeg.evaluation import WindowPredictions
from modeling_mteeg.methods import METHODS, FittedMethod
from modeling_mteeg.settings.command_line import CommandParser
from modeling_mteeg.settings.config_file import flatten
from modeling_mteeg.training.arguments import joint_overrides, joint_parser
from modeling_mteeg.training.checkpoint import CheckpointError
from modeling_mteeg.training.console import (
    describe_joint,
    epoch_line,
    say,
    say_resumed,
    say_thresholds,
)
from modeling_mteeg.training.core import count
from modeling_mteeg.training.final_report import (
    judge_tested,
    judgements_text,
    save_learning_curves,
    save_splits,
    save_tested,
    scores_of,
)
from modeling_mteeg.training.fitted_training import FittedTrainer
from modeling_mteeg.training.floors import fit_floors
from modeling_mteeg.training.joint_config import JointConfig
from modeling_mteeg.training.joint_training import JointTrainer
from modeling_mteeg.training.launch import TrainingError, start_accelerator
from modeling_mteeg.training.optimization import build_optimizer
from modeling_mteeg.training.output_folder import check_output, note_output, one_training
from modeling_mteeg.training.record import command_line, note_seeds, start_record
from modeling_mteeg.training.results import (
    check_saved,
    results_table,
    save_training,
    summarize,
    write_results,
)
from modeling_mteeg.training.search import check_search, run_search
from modeling_mteeg.training.selected_training import SelectedTraining, choose_metrics
from modeling_mteeg.training.standing_tasks import join_base, settle_encoder
from modeling_mteeg.training.trackers import end_tracker, start_tracker

CONFIGS = Path(__file__).resolve().parent / "configs"
KEPT = "the same command goes on from the newest checkpoint"


def build_parser() -> CommandParser:
    """The command line."""
    return joint_parser(__doc__, CONFIGS)


@_ending.command(KEPT)
def main(argv: Sequence[str] | None = None, command: str | None = None) -> int:
    """Train with every seed, test once each, save, and print the table.

    ``command`` is what was typed, for model cards, where it was another one than this.
    """
    args = build_parser().parse_args(argv)
    _ending.hush(args.quiet, printed=args.show_config)
    try:
        config = JointConfig.load(args.config, joint_overrides(args))
        if args.show_config:
            print(config.to_yaml(), end="")
            return 0
        # A base that has tasks keeps them, unless a new base is asked for.
        config, standing = settle_encoder(config)
        check_search([config])
        if args.resume != "never":
            check_output(config)
        accelerator = start_accelerator(config)
        _ending.until_end(one_training(config.output, accelerator))
        data = simulated(config, accelerator) if config.data.simulate else config.data.folder
        corpora = load_corpora(data, config.data.tasks, config.data.streaming)
        # The split and the classes: which of the stored windows are what.
        corpora = view_corpora(corpora, **config.data.view)
        corpora = choose_metrics(config, corpora)
        training_mixes(corpora, config.sampling_of(config.data.tasks))  # do the rules fit?
    except (OSError, ValueError, TrainingError) as error:
        return _ending.told(error, 2)
    describe_joint(config, corpora, accelerator)
    if standing:
        say(accelerator, standing)
    if accelerator.is_main_process:
        note_output(config)
        save_splits(Path(config.output), corpora)
    command = command or command_line(__file__, argv)
    record = start_record(config, corpora, data, accelerator, command)

    by_seed, resume = {}, args.resume
    try:
        if config.search:  # settings that validation chooses
            config, record, resume = searched(config, corpora, accelerator, record, resume)
        for seed in config.seeds:
            by_seed[seed] = train(config, corpora, accelerator, seed, record, resume)
        # The floors: the commonest class, and band power, on the same windows.
        floors = fit_floors(config, corpora, accelerator)
    except (CheckpointError, StreamError, TrainingError) as error:
        return _ending.told(error, 1)

    if accelerator.is_main_process:
        try:
            report(config, corpora, by_seed, floors)
        except TrainingError as error:  # a task of that name has come to the base meanwhile
            return _ending.told(error, 1)
    accelerator.end_training()
    return 0


def train(
    config: JointConfig,
    corpora: Mapping[str, Corpus],
    accelerator: Accelerator,
    seed: int,
    record: Mapping[str, Any],
    resume: str,
) -> dict[str, WindowPredictions]:
    """One training with one seed; what it says of the test windows of every task."""
    folder = seed_folder(config, seed)
    start_tracker(accelerator, config.tracker, config.output, seed, flatten(config.to_dict()))
    trainer = fit(config, corpora, accelerator, seed, resume)
    trainer.select_best()
    # Tasks of two classes may have their decision threshold chosen on validation, too.
    say_thresholds(accelerator, trainer.choose_thresholds())
    predictions = trainer.predict("test")
    if accelerator.is_main_process:
        saved = save_training(trainer, folder / "model", record, scores_of(predictions))
        save_tested(folder, predictions)
        check_saved(saved, trainer)
    end_tracker(accelerator)  # the next seed has its own
    accelerator.wait_for_everyone()
    return predictions


def fit(
    config: JointConfig,
    corpora: Mapping[str, Corpus],
    accelerator: Accelerator,
    seed: int,
    resume: str,
) -> SelectedTraining:
    """All epochs of a training, from the start or from its newest checkpoint."""
    folder = seed_folder(config, seed)
    # Model: the backbone, adapters and heads that the method asks for, the rest frozen.
    cards = {task: corpus.card for task, corpus in corpora.items()}
    method = METHODS[config.method].build(config, cards, seed)
    # The trainer has plan, schedule and checkpoints; what is fitted at once has no optimiser.
    if isinstance(method, FittedMethod):
        trainer = FittedTrainer(config, corpora, method, accelerator, seed, folder)
    else:
        # AdamW, groups by depth
        optimizer = build_optimizer(method, config.optimization, accelerator.device)
        trainer = JointTrainer(config, corpora, method, optimizer, accelerator, seed, folder)
    say(accelerator, f"\nSeed {seed}: {trainer.describe()}")
    if trainer.resume(resume):
        say_resumed(trainer)

    while not trainer.finished:
        # The plan's steps: each holds a part of every task's samples, one pass over all of them.
        with closing(trainer.steps()) as steps:
            for batches, counts in steps:
                trainer.train_step(batches, counts)
        validation = trainer.evaluate("validation")
        # Selection: weights are kept where the mean of the monitor metrics is the best yet.
        entry = trainer.finish_epoch(validation)
        trainer.save_checkpoint()
        say(accelerator, epoch_line(entry, trainer.progress.best_epoch, trainer.cards))
    return trainer


def searched(
    config: JointConfig,
    corpora: Mapping[str, Corpus],
    accelerator: Accelerator,
    record: Mapping[str, Any],
    resume: str,
) -> tuple[JointConfig, dict[str, Any], str]:
    """The configuration that a search with the first seed chooses by validation, and its record.

    Also how to go on: the chosen try's checkpoint is the first seed's, even after ``never``.
    """

    def attempt(config: JointConfig, seed: int, resume: str) -> SelectedTraining:
        return fit(config, corpora, accelerator, seed, resume)

    seed = config.seeds[0]
    folder = seed_folder(config, seed)
    chosen, told = run_search(config, seed, folder, accelerator, attempt, resume)
    return chosen, {**record, "config": chosen.to_dict(), "search": told}, "auto"


def report(
    config: JointConfig,
    corpora: Mapping[str, Corpus],
    by_seed: Mapping[int, Mapping[str, WindowPredictions]],
    floors: Mapping[str, Mapping[str, WindowPredictions]],
) -> None:
    """Judge what was said of the test windows: results, model cards, the table."""
    cards = {task: corpus.card for task, corpus in corpora.items()}
    summary = summarize({seed: scores_of(said) for seed, said in by_seed.items()})
    judgements = judge_tested(Path(config.output), list(by_seed.values()), floors)
    models = {seed: seed_folder(config, seed) / "model" for seed in config.seeds}
    for folder in models.values():
        note_seeds(METHODS[config.method], folder, summary, config.seeds, judgements)
    curves = save_learning_curves(Path(config.output), models, cards)
    splits = {task: corpus.split.facts() for task, corpus in corpora.items()}
    path = write_results(config, summary, cards, judgements, splits)
    print(f"\nTest results, {count(len(config.seeds), 'seed')}:")
    print(results_table(summary, cards, judgements))
    print(f"\n{judgements_text(judgements, cards)}\n")
    print(f"written to {path}" + (f"; learning curves: {curves}" if curves else ""))
    joined = join_base(config)
    if joined:
        print(joined)


def seed_folder(config: JointConfig, seed: int) -> Path:
    """Where a seed's checkpoints and model go: the output folder, or its own in it."""
    folder = Path(config.output)
    return folder / f"seed-{seed}" if len(config.seeds) > 1 else folder


def simulated(config: JointConfig, accelerator: Accelerator) -> Path:
    """The folder of the simulated corpora, which are made first where they are not there."""
    data = Path(config.data.folder or Path(config.output) / "data")
    if accelerator.is_main_process:
        from modeling_mteeg.dataset_scripts.demo_data import simulated_corpora

        raw, size = Path(config.output) / "raw", config.data.simulated_size
        simulated_corpora(raw, data, config.data.tasks, size)
    accelerator.wait_for_everyone()
    return data


if __name__ == "__main__":
    sys.exit(main())
