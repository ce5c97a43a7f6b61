"""Make a list of downstream test recordings, which pre-training must not see.

python -m dataset_scripts.exclusions --raw tuab=DOWNLOAD --raw tuev=DOWNLOAD --out exclusions.json

:mod:`modeling_mteeg.dataset_scripts.unlabelled.excluded` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from modeling_mteeg._ending import command, hush
from modeling_mteeg.dataset_scripts.bars import Bar
from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording
from modeling_mteeg.dataset_scripts.registry import corpus_class
from modeling_mteeg.dataset_scripts.unlabelled.digests import digest_of
from modeling_mteeg.dataset_scripts.unlabelled.excluded import Entry, Exclusions
from modeling_mteeg.settings.command_line import CommandParser, Place
from modeling_mteeg.settings.vocabulary import add_option


def test_recordings(raw: Mapping[str, str | Path], progress: bool = True) -> Exclusions:
    """Every recording that has a window in the test split of one of its corpus's protocols.

    Protocols that shuffle by a seed do not count, nor does ``--split within-subject``: they test on
    a part of every subject.

    Parameters
    ----------
    raw : mapping of str to str or Path
        Task to the folder of its download, as for its preparation.
    progress : bool

    Raises
    ------
    ValueError, FileNotFoundError
        A task is unknown, or its folder is missing or has no test recording.
    """
    entries = []
    for task, folder in raw.items():
        kind, tested = corpus_class(task), {}
        for protocol in kind.protocols:
            if protocol not in kind.seeded_protocols:
                tested |= _tested(kind(folder, protocol))
        if not tested:
            raise FileNotFoundError(
                f"{task}: no test recording in {folder}; expected {kind.layout}."
            )
        bar = Bar(sorted(tested), desc=f"hashing {task}", unit="recording", progress=progress)
        entries += [
            Entry(task, tested[key].path.name, digest_of([tested[key].path]), tested[key].subject)
            for key in bar
        ]
    return Exclusions(tuple(entries))


def _tested(corpus: Corpus) -> dict[str, Recording]:
    """Recordings by key that a corpus's protocol tests on."""
    wanted = [
        recording
        for recording in corpus.find_recordings()
        if not recording.left_out and not recording.repeated
    ]
    splits = corpus.assign(wanted) if wanted else {}
    tested = {unit.partition("/")[0] for unit, split in splits.items() if split == "test"}
    return {recording.key: recording for recording in wanted if recording.key in tested}


def build_parser() -> CommandParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m dataset_scripts.exclusions",
        description=__doc__.partition("\n")[0],
        examples=(
            "python -m dataset_scripts.exclusions --raw tuab=TUAB --raw tuev=TUEV --out tuh.json",
        ),
    )
    add_option(parser, "--raw", "of a downstream corpus; may be repeated", action="append",
        type=str, metavar="TASK=FOLDER", required=True)  # fmt: skip
    add_option(parser, "--out", "the list, in a file (.json)", required=True,
        type=Place(".json", kind=Path))  # fmt: skip
    add_option(parser, "--overwrite", "the list")
    add_option(parser, "--quiet")
    return parser


@command(errors=(ValueError, OSError))
def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; returns the exit code."""
    options = build_parser().parse_args(arguments)
    hush(options.quiet)
    if options.out.exists() and not options.overwrite:
        raise FileExistsError(f"{options.out} exists: choose another --out, or --overwrite.")
    pairs = [text.partition("=") for text in options.raw]
    if not all(equals and folder for _, equals, folder in pairs):
        raise ValueError(f"--raw: expected TASK=FOLDER, found {options.raw}.")
    exclusions = test_recordings({task: folder for task, _, folder in pairs})
    exclusions.save(options.out)
    print(f"{options.out}: {len(exclusions.entries)} test recordings")


if __name__ == "__main__":
    raise SystemExit(main())
