"""Several corpora, each with its own folder and settings, from one YAML file.

``python -m dataset_scripts.prepare --config corpora.yaml [--out DATA]``; ``corpora.yaml`` beside
this file is an example. Everything that is wrong with the file, and every raw folder that is not
there, is said at once, before any work. Then the corpora are prepared in the file's order; one that
fails does not stop the others.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg._ending import hush, say_error, told
from modeling_mteeg.dataset_scripts.corpus import Corpus
from modeling_mteeg.dataset_scripts.registry import KNOWN_TASKS, corpus_class
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.writer import PreparationError, prepare
from modeling_mteeg.settings.command_line import CommandParser, Place
from modeling_mteeg.settings.config_file import read_tree
from modeling_mteeg.settings.disk_faults import disk_fault
from modeling_mteeg.settings.schema import ConfigError, nearest, read_section, setting
from modeling_mteeg.settings.vocabulary import add_option

OPTION = "--config"


@dataclasses.dataclass(frozen=True)
class CorpusSection:
    """One corpus of the file; what is null is as the whole file has it.

    Parameters
    ----------
    raw : str
        Folder of the download.
    protocol : str, optional
        One of the corpus's; its first by default.
    split_seed : int, optional
        For protocols that shuffle.
    split : {"protocol", "within-subject"}
    subjects : tuple of str
        Use these subjects only; empty: all.
    rename : dict of str to str
        Channels that are meant by other names, such as ``{T7: T3}``.
    num_proc, dtype, max_skipped : optional
        See :class:`~modeling_mteeg.dataset_scripts.settings.Settings`.
    """

    raw: str = ""
    protocol: str | None = None
    split_seed: int | None = setting(None, ">= 0")
    split: str = setting("protocol", "protocol|within-subject")
    subjects: tuple[str, ...] = ()
    rename: dict[str, str] = setting({})
    num_proc: int | None = setting(None, ">= 1")
    dtype: str | None = setting(None, "int16|float32")
    max_skipped: float | None = setting(None, ">= 0, <= 1")


@dataclasses.dataclass(frozen=True)
class PlanSection:
    """The whole file: what all corpora share, and the corpora by task (or ``FILE.py:CLASS``)."""

    out: str = ""
    num_proc: int = setting(1, ">= 1")
    dtype: str = setting("int16", "int16|float32")
    max_skipped: float = setting(0.01, ">= 0, <= 1")
    corpora: dict[str, CorpusSection] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class CorporaPlan:
    """What is to be done: corpora with their settings, in order, and where they go."""

    out: Path
    corpora: tuple[tuple[Corpus, Settings], ...]


def read_plan(
    path: str | Path,
    out: str | Path | None = None,
    num_proc: int | None = None,
    overwrite: Sequence[str] = (),
) -> CorporaPlan:
    """Read the file and check all of it.

    Parameters
    ----------
    path : str or Path
    out : str or Path, optional
        Instead of the file's ``out``.
    num_proc : int, optional
        Instead of the file's numbers of processes, those of single corpora included.
    overwrite : sequence of str
        Tasks whose prepared corpus is replaced. No key of the file: every start would begin anew.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ConfigError
        Everything that is wrong: not YAML, unknown keys, wrong values, unknown tasks, protocols and
        splits, raw folders that are not there.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {OPTION} names a YAML file of corpora.")
    tree, faults = read_tree(path)
    _name_subjects(tree)
    section = read_section(PlanSection, tree, "", faults)
    target = str(out or section.out)
    if not target:
        faults.append("out: expected the folder of the prepared corpora, here or as --out")
    if not section.corpora and not any(fault.startswith("corpora") for fault in faults):
        faults.append(f"corpora: expected at least one of {', '.join(KNOWN_TASKS)}")
    jobs = _jobs(section, num_proc, overwrite, faults)
    tasks = [*jobs, *section.corpora]
    for task in overwrite:
        if task not in tasks:
            faults.append(f"--overwrite {task}: not in the file{nearest(task, tasks)}")
    if faults:
        raise ConfigError(str(path), faults)
    return CorporaPlan(Path(target), tuple(jobs.values()))


def _name_subjects(tree: Any) -> None:
    """Numbers among the subjects become text, as SEED-V's subjects are called 1, 2."""
    corpora = tree.get("corpora") if isinstance(tree, Mapping) else None
    for content in corpora.values() if isinstance(corpora, Mapping) else ():
        subjects = content.get("subjects") if isinstance(content, dict) else None
        if isinstance(subjects, list):
            content["subjects"] = [str(subject) if type(subject) is int else subject
                                   for subject in subjects]  # fmt: skip


def _jobs(
    plan: PlanSection, num_proc: int | None, overwrite: Sequence[str], faults: list[str]
) -> dict[str, tuple[Corpus, Settings]]:
    """Task to corpus and settings: the command line's, else its own, else the whole file's."""
    jobs: dict[str, tuple[Corpus, Settings]] = {}
    for name, section in plan.corpora.items():
        corpus = _open_corpus(name, section, faults)
        if corpus is None:
            continue
        task = corpus.card.name
        if task in jobs:
            faults.append(f"corpora.{name}: the task {task} is in the file already")
        jobs[task] = (
            corpus,
            Settings(
                num_proc=num_proc or section.num_proc or plan.num_proc,
                dtype=section.dtype or plan.dtype,
                split=section.split,
                max_skipped=plan.max_skipped
                if section.max_skipped is None
                else section.max_skipped,
                subjects=section.subjects,
                overwrite=task in overwrite,
            ),
        )
    return jobs


def _open_corpus(name: str, section: CorpusSection, faults: list[str]) -> Corpus | None:
    """The reader on its raw folder, or None where anything is wrong with it."""
    where, before = f"corpora.{name}", len(faults)
    reader = None
    try:
        if ".py:" in str(name) or name in KNOWN_TASKS:
            reader = corpus_class(str(name))
        else:
            faults.append(f"{where}: unknown task{nearest(name, KNOWN_TASKS)}")
    except (ValueError, ImportError, SyntaxError) as error:
        faults.append(f"{where}: {error}")
    if not section.raw:
        faults.append(f"{where}.raw: expected the folder of the download, found none")
    elif not Path(section.raw).is_dir():
        layout = f"; it is to hold {reader.layout}" if reader else ""
        faults.append(f"{where}.raw: no such folder: {section.raw}{layout}")
    if reader is None:
        return None
    for key, value, known in (
        ("protocol", section.protocol, tuple(reader.protocols)),
        ("split", section.split, reader.splits),
    ):
        if value is not None and value not in known:
            faults.append(f"{where}.{key}: expected one of {', '.join(known)}, found {value!r}")
    if len(faults) > before:
        return None
    try:
        corpus = reader(section.raw, section.protocol, split_seed=section.split_seed)
        corpus.use_rename(section.rename)
        return corpus
    except (ValueError, OSError) as error:
        faults.append(f"{where}: {error}")
        return None


def run_plan(plan: CorporaPlan) -> dict[str, str]:
    """Prepare every corpus; those that are ready are kept.

    Returns
    -------
    dict
        Task to why it failed; tasks that are ready have an empty text.
    """
    result = {}
    for corpus, settings in plan.corpora:
        task = corpus.card.name
        try:
            folder = prepare(corpus, plan.out, settings)
        except (ValueError, OSError, PreparationError) as error:
            result[task] = disk_fault(error) or str(error)
        except Exception as error:  # a fault of ours: the others are prepared all the same
            traceback.print_exc()
            result[task] = f"{type(error).__name__}: {error} (see above)"
        else:
            result[task] = ""
            print(f"{task}: {folder}")
        if result[task]:
            say_error(f"{task}: error: {result[task]}")
    return result


def names_plan(arguments: Sequence[str]) -> bool:
    """Whether a command line names a file of corpora."""
    return any(argument == OPTION or argument.startswith(f"{OPTION}=") for argument in arguments)


def build_parser() -> CommandParser:
    """The command line with a file of corpora."""
    parser = CommandParser(
        prog="python -m dataset_scripts.prepare",
        description=__doc__.partition("\n")[0],
        examples=("python -m dataset_scripts.prepare --config corpora.yaml --out data",),
    )
    add_option(parser, OPTION, "of corpora", required=True)
    add_option(parser, "--out", "instead of the file's out", type=Place(folder=True, kind=Path))
    add_option(parser, "--num-proc", "that prepare, instead of the file's num_proc")
    add_option(parser, "--again", "tasks, with commas, spaces or again", nargs="+", default=(),
        what="task", metavar="TASK")  # fmt: skip
    parser.old_spelling("--overwrite", "--again")
    add_option(parser, "--quiet")
    return parser


def run_plan_command(arguments: Sequence[str]) -> int:
    """``prepare --config FILE``; 0, 1 where a corpus failed, or 2 where nothing was begun."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    hush(options.quiet)
    if options.num_proc is not None and options.num_proc < 1:
        parser.error(f"--num-proc: expected 1 or more processes, found {options.num_proc}.")
    try:
        plan = read_plan(options.config, options.out, options.num_proc, options.again)
    except (ConfigError, OSError) as error:
        return told(error, 2)
    failures = run_plan(plan)
    print()
    for task, why in failures.items():
        print(f"{task}: {'failed: ' + why.splitlines()[0] if why else 'ready'}")
    if not any(failures.values()):
        return 0
    print("What is done is kept: mend what failed and start again.")
    return 1
