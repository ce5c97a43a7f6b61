"""Cross-validation: every fold and seed a training as recipes/joint.py does it, one table.

    python recipes/cross_validate.py --data data --tasks eegmat --split kfold:6 --seeds 0,1,2
    python recipes/cross_validate.py --data data --method mteeg,shallow-convnet --out outputs/cv
    python recipes/cross_validate.py --data data --shard 1/4   # and 2/4 ... elsewhere, one folder
    python recipes/cross_validate.py --show-table --out outputs/cv   # what there is so far

A fold that is finished is not run again, one that was killed goes on from its checkpoint. Whoever
finishes last prints the table.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg import _ending  # first: Ctrl-C while the rest is imported

# isort: split
from modeling_mteeg.data import (
    Corpus,
    StreamError,
    fold_count,
    load_corpora,
    training_mixes,
    view_corpora,
)
from modeling_mteeg.methods import METHODS
from modeling_mteeg.recipes.joint import CONFIGS, KEPT, searched, simulated, train
from modeling_mteeg.settings.command_line import CommandParser
from modeling_mteeg.settings.vocabulary import add_option
from modeling_mteeg.training.arguments import joint_overrides, joint_parser
from modeling_mteeg.training.checkpoint import CheckpointError
from modeling_mteeg.training.console import describe_joint, say
from modeling_mteeg.training.cross_validation import (
    Unit,
    all_units,
    check_outputs,
    claim_outputs,
    read_folds,
    share_of,
)
from modeling_mteeg.training.final_report import save_floors, save_splits
from modeling_mteeg.training.floors import fit_floors
from modeling_mteeg.training.fold_report import (
    folds_table,
    judge_methods,
    missing_text,
    write_folds,
)
from modeling_mteeg.training.joint_config import JointConfig, foreign_sections
from modeling_mteeg.training.launch import TrainingError, start_accelerator
from modeling_mteeg.training.output_folder import LOCK, one_training
from modeling_mteeg.training.record import command_line, start_record
from modeling_mteeg.training.search import check_search
from modeling_mteeg.training.selected_training import choose_metrics
from modeling_mteeg.training.standing_tasks import settle_encoder

OUTPUT = "outputs/cv"


def build_parser() -> CommandParser:
    """The command line: that of recipes/joint.py, and shares."""
    parser = joint_parser(__doc__, CONFIGS)
    add_option(parser, "--shard", "of the folds and seeds")
    add_option(parser, "--show-table")
    parser.old_spelling("--table", "--show-table")
    return parser


@_ending.command(KEPT)
def main(argv: Sequence[str] | None = None) -> int:
    """Train and test every fold of this shard, and print the table where all are there."""
    args = build_parser().parse_args(argv)
    _ending.hush(args.quiet, printed=args.show_config or args.show_table)
    output = Path(args.output or OUTPUT)
    try:
        if args.show_table:
            return table(output)
        configs = method_configs(args, output)
        check_search(configs)
        if args.show_config:
            print(configs[0].to_yaml(), end="")
            return 0
        first = configs[0]
        accelerator = start_accelerator(first)
        # Shards work side by side, each in folds of its own.
        name = f"{LOCK}-{args.shard.replace('/', '-of-')}" if args.shard else LOCK
        _ending.until_end(one_training(output, accelerator, name))
        data = first.data.folder
        if first.data.simulate:
            data = simulated(dataclasses.replace(first, output=str(output)), accelerator)
        stored = load_corpora(data, first.data.tasks, first.data.streaming)
        folds = fold_count(stored, first.data.split, first.data.labels)
        corpora = {fold: corpora_of(first, stored, fold) for fold in range(folds)}
        units = share_of(all_units(configs, folds), args.shard)
        check_outputs(configs, args.resume)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            claim_outputs(configs, folds)
        accelerator.wait_for_everyone()
    except (OSError, ValueError, TrainingError) as error:
        return _ending.told(error, 2)

    command = command_line(__file__, argv)
    try:
        for number, unit in enumerate(units):
            say(accelerator, f"\n{number + 1} of {len(units)}: {unit}")
            if args.resume != "never" and unit.finished(corpora[unit.fold]):
                say(accelerator, "finished already")
                continue
            with one_training(unit.folder, accelerator):
                run(unit, corpora[unit.fold], accelerator, data, command, args.resume)
    except (CheckpointError, StreamError, TrainingError) as error:
        return _ending.told(error, 1)
    if accelerator.is_main_process:
        missing = missing_text(read_folds(output))
        if missing:  # another shard's
            print(f"\n{missing}\nwhat there is: --show-table --out {output}")
        else:
            table(output)
    accelerator.end_training()
    return 0


def run(
    unit: Unit,
    corpora: Mapping[str, Corpus],
    accelerator: Any,
    data: str | Path,
    command: str,
    resume: str,
) -> None:
    """One training, or the floors of one fold."""
    config = unit.training
    if accelerator.is_main_process:
        unit.restart()
        save_splits(unit.fold_folder, corpora)
    accelerator.wait_for_everyone()
    if unit.seed is None:
        floors = fit_floors(config, corpora, accelerator)
        if accelerator.is_main_process:
            save_floors(unit.folder, floors)
    else:
        describe_joint(config, corpora, accelerator)
        record = start_record(config, corpora, data, accelerator, command)
        if config.search:  # every fold by its own validation people
            config, record, resume = searched(config, corpora, accelerator, record, resume)
        train(config, corpora, accelerator, unit.seed, record, resume)
    if accelerator.is_main_process:
        unit.note_finished(corpora)
    accelerator.wait_for_everyone()


def table(output: Path) -> int:
    """Print what the finished folds say; once all are there, write it."""
    methods = read_folds(output)
    missing = missing_text(methods)
    judged = judge_methods(methods)
    text = folds_table(judged)
    print(f"\n{text or 'no fold is finished by every seed, with its floors'}\n")
    if missing:
        print(missing)
    else:
        write_folds(output, methods, judged, text)
        print(f"written to {output}")
    return 0


def method_configs(args: Any, output: Path) -> list[JointConfig]:
    """A configuration a method, each with a folder of its own."""
    keys = joint_overrides(args)
    names = str(keys.pop("method", "") or JointConfig.load(args.config, keys).method).split(",")
    configs = []
    for name in names:
        own = {**keys, "method": name, "output": str(output / name)}
        if len(names) > 1 and name in METHODS:
            own |= {section: {} for section in foreign_sections(METHODS[name])}
        # A base that has tasks keeps its encoder, unless told otherwise.
        configs.append(settle_encoder(JointConfig.load(args.config, own))[0])
    if configs[0].into_base:
        raise ValueError("into_base: folds leave no task for a base; leave it out.")
    if configs[0].tracker != "none":
        raise ValueError(
            "tracker: a cross-validation has none (every fold leaves a history.json); leave it out."
        )
    if configs[0].data.fold is not None:
        raise ValueError("data.fold: a cross-validation runs all folds; leave it out.")
    return configs


def corpora_of(config: JointConfig, stored: Mapping[str, Corpus], fold: int) -> dict[str, Corpus]:
    """The corpora of a fold, checked before any work."""
    view = {**config.data.view, "fold": fold}
    corpora = choose_metrics(config, view_corpora(stored, **view))
    training_mixes(corpora, config.sampling_of(config.data.tasks))  # do the rules fit?
    return corpora


if __name__ == "__main__":
    sys.exit(main())
