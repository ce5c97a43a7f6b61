"""All corpora by one command: ``python -m dataset_scripts.prepare --raw ROOT --out ROOT``.

Where their settings differ, ``--config corpora.yaml``: see :mod:`.plan_file`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from modeling_mteeg._ending import command, hush
from modeling_mteeg.dataset_scripts.command import (
    KEPT,
    add_writer_options,
    prepare_as_asked,
    settings_of,
    with_exit_code,
)
from modeling_mteeg.dataset_scripts.corpus import Corpus
from modeling_mteeg.dataset_scripts.plan_file import names_plan, run_plan_command
from modeling_mteeg.dataset_scripts.registry import KNOWN_TASKS, TASKS, corpus_class
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.writer import prepare
from modeling_mteeg.settings.command_line import ALL, CommandParser
from modeling_mteeg.settings.vocabulary import add_option


def prepare_corpora(
    raw_root: str | Path,
    out_root: str | Path,
    tasks: Sequence[str] = TASKS,
    num_proc: int = 1,
    settings: Settings | None = None,
    how: Callable[[Corpus, Path, Settings], Path] = prepare,
) -> dict[str, Path]:
    """Prepare several corpora.

    Parameters
    ----------
    raw_root : str or Path
        Holds a folder ``<task>`` per corpus.
    out_root : str or Path
        Gets a folder ``<task>`` per corpus; those that are already there are kept.
    tasks : sequence of str
        Tasks of this package, or ``FILE.py:CLASS`` for corpora of one's own: see
        :func:`~modeling_mteeg.dataset_scripts.registry.corpus_class`.
    num_proc : int
        Processes, a recording each (unless ``settings`` is given).
    settings : Settings, optional
        Everything else about writing.
    how : callable
        ``writer.prepare``, or another function of corpus, ``out_root`` and
        settings that gives a folder, such as one that writes a shard.

    Returns
    -------
    dict
        Task to folder.

    Raises
    ------
    FileNotFoundError
        Folders of tasks are missing; all of them are named, before any work.
    ValueError
        A task card names a metric that there is not; before any work, too.
    """
    raw_root = Path(raw_root)
    readers = [corpus_class(task) for task in tasks]
    classes = {reader.card.name: reader for reader in readers}
    missing = [task for task in classes if not (raw_root / task).is_dir()]
    if missing:
        folders = sorted(folder.name for folder in raw_root.iterdir()) if raw_root.is_dir() else []
        raise FileNotFoundError(
            f"{raw_root}: expected a folder for each of {', '.join(missing)}; found "
            f"{', '.join(folders) or 'nothing'}. Add them, or name fewer --tasks."
        )
    settings = settings or Settings(num_proc=num_proc)
    corpora = {task: reader(raw_root / task) for task, reader in classes.items()}
    return {task: how(corpus, Path(out_root), settings) for task, corpus in corpora.items()}


@command(KEPT)
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    return run_plan_command(arguments) if names_plan(arguments) else _run(arguments)


def build_parser() -> CommandParser:
    """The command line without a file of corpora."""
    parser = CommandParser(
        prog="python -m dataset_scripts.prepare",
        description="Prepare several corpora: RAW/<task> becomes OUT/<task>. Where folders or "
        "settings differ between corpora: --config corpora.yaml (see --config x --help).",
        examples=("python -m dataset_scripts.prepare --raw raw --out data --task tuab,tuev",),
    )
    add_writer_options(parser)
    add_option(parser, "--task", "which to prepare; several with commas, spaces or again; or all "
        "that are known (default: the paper's six, or --corpus)",
        nargs="+", known=KNOWN_TASKS)  # fmt: skip
    add_option(parser, "--corpus", "from RAW/<its task>; may be repeated", action="append",
        default=[])  # fmt: skip
    return parser


@with_exit_code
def _run(arguments: Sequence[str]) -> None:
    """Prepare what the command line names, without a file of corpora."""
    options = build_parser().parse_args(arguments)
    hush(options.quiet)
    named = KNOWN_TASKS if options.task == [ALL] else options.task
    tasks = [*(named or (() if options.corpus else TASKS)), *options.corpus]
    settings = settings_of(options)
    how = lambda corpus, *_: prepare_as_asked(corpus, options)  # noqa: E731
    folders = prepare_corpora(options.raw, options.out, tasks, settings=settings, how=how)
    for task, folder in folders.items():
        print(f"{task}: {folder}")


if __name__ == "__main__":
    raise SystemExit(main())
