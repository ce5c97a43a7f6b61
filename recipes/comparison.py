"""The paper's comparison: every row of a table tuned, trained and tested in the same way.

    accelerate launch recipes/comparison.py --config recipes/configs/comparison_demo.yaml
    python recipes/comparison.py --config FILE.yaml --list                 # to do, done, time
    python recipes/comparison.py --config FILE.yaml --only mteeg,hps --seeds 0,1
    python recipes/comparison.py --config FILE.yaml --shard 1/8            # and 2/8 ... elsewhere
    python recipes/comparison.py --config FILE.yaml --merge FOLDER FOLDER  # of other machines
    python recipes/comparison.py --config FILE.yaml --show-table --add FOLDER

A training that is finished is not run again, one that was killed goes on from its checkpoint, and
several processes may work at one folder (docs/comparison.md).
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modeling_mteeg import _ending  # first: Ctrl-C while the rest is imported

# isort: split
from accelerate import Accelerator

from modeling_mteeg.comparison.checking import (
    Prepared,
    check_units,
    other_tries,
    prepare,
    settled,
    unfit,
)
from modeling_mteeg.comparison.comparison_arguments import comparison_parser, over_common
from modeling_mteeg.comparison.comparison_config import NOTE
from modeling_mteeg.comparison.comparison_plan import Plan, load_plan
from modeling_mteeg.comparison.finished_rows import (
    read_rows,
    unfinished,
    with_others,
)
from modeling_mteeg.comparison.listing import listing
from modeling_mteeg.comparison.measuring import Measured
from modeling_mteeg.comparison.merged_folders import merge
from modeling_mteeg.comparison.result_text import write_results
from modeling_mteeg.comparison.unit_files import finish, note_tuned
from modeling_mteeg.comparison.units import (
    TUNING,
    Part,
    ResultError,
    all_parts,
    claimed,
    finished,
    forget,
    note_missing,
    note_row,
    tuned,
)
from modeling_mteeg.data import StreamError
from modeling_mteeg.recipes.joint import KEPT, fit, simulated, train
from modeling_mteeg.settings.command_line import CommandParser
from modeling_mteeg.settings.disk_faults import disk_fault
from modeling_mteeg.training.console import describe_joint, say
from modeling_mteeg.training.final_report import SPLIT_FILES, save_splits
from modeling_mteeg.training.launch import TrainingError, start_accelerator
from modeling_mteeg.training.output_folder import agreed, note_output
from modeling_mteeg.training.record import command_line, start_record
from modeling_mteeg.training.search import run_search

CONFIGS = Path(__file__).resolve().parent / "configs"


def build_parser() -> CommandParser:
    """The command line."""
    return comparison_parser(__doc__, CONFIGS)


@_ending.command(KEPT)
def main(argv: Sequence[str] | None = None) -> int:
    """Do what is not done of the chosen rows, and write the table."""
    args = build_parser().parse_args(argv)
    shows = args.list or args.show_table or args.merge is not None
    _ending.hush(args.quiet, printed=shows)
    try:
        plan = load_plan(args.config, over_common(args), args.output)
        rows = plan.chosen(args.only)
        again = [row.name for row in plan.chosen(args.again, "--again")] if args.again else []
        if args.list:
            print(listing(plan, rows, args.shard))
            return 0
        if args.merge:
            for line in merge(settled(plan), args.merge):
                print(line)
        if args.show_table or args.merge is not None:
            return table(plan, args.add)
        plan = settled(plan)
        rows = plan.chosen(args.only)
        accelerator = start_accelerator(plan.first)
        data = plan.first.data.folder
        if plan.first.data.simulate:
            data = simulated_data(plan, accelerator)
        prepared = prepare(plan, rows, data)
        parts = all_parts(rows, prepared.folds, args.shard)
        damaged = check_units(parts, prepared, again)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            with claimed(plan.output / "rows", wait=True):
                begin(plan, rows, prepared)
        accelerator.wait_for_everyone()
    except (OSError, ValueError, TrainingError) as error:
        return _ending.told(error, 2)

    run = Run(plan, prepared, accelerator, data, command_line(__file__, argv), again)
    try:
        for number, part in enumerate(parts):
            say(accelerator, f"\n{number + 1} of {len(parts)}: {part}")
            run.part(part)
    except StreamError as error:  # started again it goes on
        return _ending.told(error, 1)
    failed, code = [*damaged, *run.failed], 0
    if accelerator.is_main_process:
        try:
            code = table(plan, args.add, failed)
        except (OSError, ValueError, TrainingError) as error:
            code = _ending.told(error, 2)
    accelerator.end_training()
    return code or int(bool(failed))


def simulated_data(plan: Plan, accelerator: Accelerator) -> Path:
    """The folder of the simulated corpora; one start of the recipe makes them, others wait."""
    own = dataclasses.replace(plan.first, output=str(plan.output))
    if not accelerator.is_main_process:
        return simulated(own, accelerator)
    with claimed(plan.output / "data", wait=True):
        return simulated(own, accelerator)


def begin(plan: Plan, rows: Sequence[Any], prepared: Prepared) -> None:
    """Note in the output folder what is going to lie there."""
    plan.config.save(plan.output / NOTE)
    for row in rows:
        note_row(row, prepared.folds)
    for fold, corpora in enumerate(prepared.corpora):
        if not (plan.output / SPLIT_FILES / f"fold-{fold}").exists():
            save_splits(plan.output / SPLIT_FILES / f"fold-{fold}", corpora)
    for gap in prepared.gaps.values():
        print(f"left out: {gap}")


def table(plan: Plan, added: Sequence[Path], failed: Sequence[str] = ()) -> int:
    """Write and print what the finished trainings say; 1 where something failed or is damaged."""
    failed = list(failed)
    rows = read_rows(plan.output, plan, failed)
    text = write_results(plan, with_others(rows, added))
    print(f"\n{text}\n\n{unfinished(plan, rows)}")
    for line in dict.fromkeys(failed):
        _ending.say_error(f"error: {line}")
    return 1 if failed else 0


class Run:
    """What all trainings of one start of the recipe share; ``failed`` says what went wrong."""

    def __init__(
        self,
        plan: Plan,
        prepared: Prepared,
        accelerator: Accelerator,
        data: str | Path,
        command: str,
        again: Sequence[str],
    ) -> None:
        self.plan, self.prepared, self.accelerator = plan, prepared, accelerator
        self.data, self.command, self.again = data, command, again
        self.failed: list[str] = []
        self._anew: set[Path] = set()

    def part(self, part: Part) -> None:
        """Everything that is not done of a row's task (or tasks) and fold: tries, then seeds."""
        corpora = self.prepared.corpora[part.fold]
        asked, part = part, part.without(self.prepared.gaps)
        if part.row.name not in self.again and self.is_done(part):
            return
        reasons = {task: why for task, why in self.prepared.gaps.items() if task in asked.tasks}
        try:
            reasons |= unfit(part, corpora) if part.tasks else {}
            self.leave_out(asked, reasons)
            part = part.without(reasons)
            chosen = self.tune(part, corpora) if part.tasks else None
            for seed in part.seeds if chosen is not None else ():
                self.unit(part, seed, corpora, chosen)
        except (RuntimeError, ValueError) as error:  # of the training, its checkpoint, its memory
            if disk_fault(error):
                raise
            self.failed.append(f"{asked}: {error}")
            say(self.accelerator, f"not finished: {error}")

    def leave_out(self, part: Part, reasons: Mapping[str, str]) -> None:
        """Note which tasks of a part have no results, and why; without any, forget earlier ones."""
        for task, why in reasons.items():
            say(self.accelerator, f"left out: {task}: {why}")
        if self.accelerator.is_main_process:
            for seed in part.seeds:
                note_missing(part, seed, reasons)
        self.accelerator.wait_for_everyone()

    def is_done(self, part: Part) -> bool:
        """Whether all seeds are there, or are damaged, which stands until it is asked for anew."""
        try:
            done = part.tasks and all(finished(part.unit_folder(seed)) for seed in part.seeds)
        except ResultError as error:
            say(self.accelerator, f"{error}; --again {part.row.name} begins it anew")
            done = False
        done = agreed(self.accelerator, bool(done))
        if done:
            say(self.accelerator, "finished already")
        return done

    def tune(self, part: Part, corpora: Mapping[str, Any]) -> dict[str, Any] | None:
        """What the tries of a part say; empty: it has none. None: another process is at them."""
        config = part.tries()
        if config is None:
            return {}
        folder = part.folder / TUNING
        with self.claim(folder) as mine:
            if not mine:
                say(self.accelerator, "another process is at its tries")
                return None
            if part.row.name in self.again and other_tries(part, self.prepared):
                self.begin_anew(part, folder)  # tries that are still right are kept
            said = tuned(part)
            if said is None:
                corpora = {task: corpora[task] for task in part.tasks}
                seed = config.seeds[0]
                began = time.monotonic()
                _, told = run_search(config, seed, folder, self.accelerator, self.attempt(corpora),
                                     "auto")  # fmt: skip
                told["seconds"] = round(time.monotonic() - began, 2)  # of this start of them
                if self.accelerator.is_main_process:
                    note_tuned(folder, config, told, corpora, self.prepared.start(config))
                self.accelerator.wait_for_everyone()
                said = tuned(part)
        say(self.accelerator, f"chosen on validation: {said['chosen']}")
        return said

    def attempt(self, corpora: Mapping[str, Any]) -> Any:
        """A try's training, for :func:`run_search`."""
        return lambda config, seed, resume: fit(config, corpora, self.accelerator, seed, resume)

    def unit(
        self, part: Part, seed: int, corpora: Mapping[str, Any], tuning: Mapping[str, Any]
    ) -> None:
        """One training and its test."""
        folder = part.unit_folder(seed)
        with self.claim(folder) as mine:
            if not mine:
                say(self.accelerator, f"seed {seed}: another process is at it")
                return
            self.begin_anew(part, folder)
            try:
                if finished(folder):
                    say(self.accelerator, f"seed {seed}: finished already")
                    return
            except ResultError:
                return  # told; the others go on
            self.train(part, seed, {task: corpora[task] for task in part.tasks}, tuning)

    def train(
        self, part: Part, seed: int, corpora: Mapping[str, Any], tuning: Mapping[str, Any]
    ) -> None:
        """Train, test, and say that it is done."""
        config, accelerator = part.training(seed, tuning.get("chosen")), self.accelerator
        if accelerator.is_main_process:
            note_output(config)
        measured = Measured(Path(config.output), accelerator)
        describe_joint(config, corpora, accelerator)
        record = start_record(config, corpora, self.data, accelerator, self.command)
        train(config, corpora, accelerator, seed, record, "auto")
        if accelerator.is_main_process:
            start = self.prepared.start(config)
            finish(part, config, corpora, measured.result(), tuning, start,
                   self.plan.config.keep_models)  # fmt: skip
        accelerator.wait_for_everyone()

    def begin_anew(self, part: Part, folder: Path) -> None:
        """Remove what there is, where that was asked for; once in a start of the recipe."""
        if part.row.name in self.again and folder not in self._anew:
            self._anew.add(folder)
            if self.accelerator.is_main_process:
                forget(folder)
            self.accelerator.wait_for_everyone()

    @contextmanager
    def claim(self, folder: Path) -> Iterator[bool]:
        """Hold a folder against other starts of the recipe, for all processes of this one."""
        if not self.accelerator.is_main_process:
            yield agreed(self.accelerator, False)
            return
        with claimed(folder) as mine:
            yield agreed(self.accelerator, mine)


if __name__ == "__main__":
    sys.exit(main())
