"""``python tests/support/opening_speed.py --against FOLDER``: what the checks of files cost.

Opens simulated recordings of every layout, and loads a base, with this package and with the one of
another checkout, turn by turn, each in a process of its own; prints medians and their ratio.
Without ``--against`` the other side is MNE-Python alone, for recordings.

    git worktree add ../before COMMIT
    python tests/support/opening_speed.py --against ../before
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
ROOT = SUPPORT.parents[1]
RATE_HZ, MINUTES = 256, 10
NAMES = "FP1 FP2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 FZ CZ PZ".split()


def write_files(folder: Path) -> list[str]:
    """A recording of every layout, and a base of LaBraM Base's sizes with random weights."""
    sys.path[:0] = [str(SUPPORT), str(ROOT)]
    import numpy as np
    from recording_files import WRITERS, write_recording

    from modeling_mteeg import MteegConfig, MteegModel

    signal = np.random.default_rng(0).normal(0, 15, (len(NAMES), 60 * MINUTES * RATE_HZ))
    for name in WRITERS:
        write_recording(folder / name.rpartition(".")[2], name, signal, NAMES, RATE_HZ)
    MteegModel(MteegConfig.from_preset("base")).save_pretrained(folder / "base")
    return [str(folder / name.rpartition(".")[2] / name) for name in WRITERS] + [
        str(folder / "base")
    ]


def measure(paths: list[str], plain: bool, times: int) -> list[float]:
    """Seconds to open each path, the median of several times."""
    import mne

    from modeling_mteeg import MteegModel
    from modeling_mteeg.model.recording_sources import open_source

    def opened(path: str) -> None:
        if os.path.isdir(path):
            MteegModel.from_pretrained(path)
        elif plain:
            mne.io.read_raw(path, verbose="error")
        else:
            open_source(path, preload=False)

    found = []
    for path in paths:
        seconds = []
        for _ in range(times + 1):  # the first one imports
            begin = time.perf_counter()
            opened(path)
            seconds.append(time.perf_counter() - begin)
        found.append(statistics.median(seconds[1:]))
    return found


def ask(tree: Path, paths: list[str], plain: bool, times: int) -> list[float]:
    """:func:`measure` in a process that has the package of ``tree``."""
    command = [sys.executable, __file__, "--child", json.dumps([paths, plain, times])]
    env = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=env, cwd=tree, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--against", type=Path, help="checkout of another version")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--times", type=int, default=15, help="openings a round")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        warnings.simplefilter("ignore")
        sys.path = [place for place in sys.path if Path(place or ".").resolve() != SUPPORT]
        print(json.dumps(measure(*json.loads(options.child))))
        return
    other = "before" if options.against else "MNE alone"
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(Path(folder))
        if not options.against:
            paths = paths[:-1]
        rounds = []
        for _ in range(options.rounds):
            ours = ask(ROOT, paths, False, options.times)
            tree = (options.against or ROOT).resolve()
            rounds.append((ours, ask(tree, paths, not options.against, options.times)))
    print(f"| file | ms | {other}, ms | ratio |\n|---|---|---|---|")
    for at, path in enumerate(paths):
        ours, theirs = ([part[side][at] for part in rounds] for side in (0, 1))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(f"| {Path(path).name} | {1e3 * statistics.median(ours):.1f} | "
              f"{1e3 * statistics.median(theirs):.1f} | {ratio:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
