"""``python tests/support/mutated``: many mutations, a table of what came of each.

It can be stopped and started again: what the table has is not tried again. A row is tried again,
and its folder kept, by ``--only recordings:17``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    SUPPORT = Path(__file__).resolve().parents[1]
    sys.path[0] = str(SUPPORT)
    sys.path.insert(1, str(SUPPORT.parents[1]))

from mutated.drawing import GROUPS
from mutated.running import WRONG, Limits, Run, run_all, summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 1 where anything came out wrong."""
    parser = argparse.ArgumentParser(prog="python tests/support/mutated", description=__doc__)
    add = parser.add_argument
    for group, usual in zip(GROUPS, (100, 100, 50), strict=True):
        add(f"--{group}", type=int, default=usual, metavar="N", help=f"mutations ({usual})")
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("mutations.tsv"), help="table, one row a way")
    add("--work", type=Path, help="folder for the files (default: a temporary one)")
    add("--layouts", nargs="+", default=(), help="of these originals only")
    add("--only", metavar="GROUP:NUMBER", help="this one, with its folder kept in --work")
    add("--seconds", type=float, default=120.0, help="limit of time of one way (120)")
    options = parser.parse_args(arguments)
    if options.only and not options.work:
        parser.error("--only keeps a folder: say --work FOLDER, too.")
    with tempfile.TemporaryDirectory(prefix="mutated-") as temporary:
        run = Run(options.work or Path(temporary), options.layouts, Limits(options.seconds))
        try:
            return _only(run, options) if options.only else _all(run, options)
        finally:
            run.close()


def _only(run: Run, options: argparse.Namespace) -> int:
    group, _, number = options.only.partition(":")
    rows = list(run.tried(group, options.seed, int(number), keep=True))
    for row in rows:
        print("\n".join(f"{key}: {value!r}" for key, value in row.items()), end="\n\n")
    return int(any(row["verdict"] in WRONG for row in rows))


def _all(run: Run, options: argparse.Namespace) -> int:
    from tqdm import tqdm

    counts = {group: getattr(options, group) for group in GROUPS}
    with tqdm(total=sum(counts.values()), unit=" mutations", disable=None) as bar:

        def tell(rows: list[dict]) -> None:
            bar.n = len({(row["group"], row["number"]) for row in rows})
            bar.set_postfix(wrong=sum(row["verdict"] in WRONG for row in rows))

        rows = run_all(run, options.seed, counts, options.out, tell)
    print(summary(rows))
    for row in rows:
        if row["verdict"] in WRONG:
            print(f"{row['verdict']}: {row['group']}:{row['number']} {row['layout']} "
                  f"{row['target']} ({row['change']}) {row['way']}: "
                  f"{row['contradiction'][:150]} {row['detail'][:300]}")  # fmt: skip
    return int(any(row["verdict"] in WRONG for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
