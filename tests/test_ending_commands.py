"""Whole commands that are ended: a preparation with its processes, a training, the page."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from places import ROOT
from tiny_models import model_with_tasks
from tiny_people import save_people
from tiny_runs import write_run, write_runs

from modeling_mteeg import MteegFeatureExtractor

pytestmark = pytest.mark.slow
LIMIT_S = 300


class Command:
    """A command in a session of its own, what it says in files."""

    def __init__(self, folder: Path, *words: object, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT),
                       "PYTHONUNBUFFERED": "1", **environment}  # fmt: skip
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, words)], stdout=out, stderr=err,
                env={**os.environ, **environment}, start_new_session=True,
                # A shell's command in the background ignores Ctrl-C, and so do all it starts.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )  # fmt: skip

    def wait_for(self, happened: Callable[[], object]) -> None:
        end = time.monotonic() + LIMIT_S
        while not happened():
            assert self.process.poll() is None and time.monotonic() < end, self.err.read_text()
            time.sleep(0.05)

    def ended(self, sent: int | None = None, group: bool = False) -> tuple[int, str]:
        """Exit code and stderr, after a signal."""
        if sent is not None:
            (os.killpg if group else os.kill)(self.process.pid, sent)
        return self.process.wait(timeout=LIMIT_S), self.err.read_text()


@pytest.mark.parametrize(
    ("sent", "group", "code", "said"),
    [(signal.SIGINT, True, 130, "interrupted"), (signal.SIGTERM, False, 143, "ended by SIGTERM")],
)  # fmt: skip
def test_a_preparation_ends_with_its_processes_and_goes_on(sent, group, code, said, tmp_path):
    raw, out = write_runs(tmp_path / "raw"), tmp_path / "data"
    for number in range(30):  # so many that the signal never comes when all is done
        name = f"S{3 + number // 3:03d}R{(4, 6, 8)[number % 3]:02d}.edf"
        write_run(raw / name[:4] / name, 100 + number)
    words = ["-m", "dataset_scripts.physionet_mi", "--raw", raw, "--out", out]
    command = Command(tmp_path, *words, "--num-proc", "2")
    command.wait_for(lambda: list(out.glob(".*/parts/*.json")))
    status, err = command.ended(sent, group)
    assert status == code
    assert err.splitlines()[-1] == (
        f"{said}: recordings that are done stay, and the same command goes on with the others."
    )
    assert "Traceback" not in err
    assert Command(tmp_path / "again", *words).ended()[0] == 0


def test_a_training_is_alone_and_ends_at_sigterm(tmp_path):
    data = save_people(tmp_path / "data", 9, windows=6, strength=0.15)
    out = tmp_path / "out"
    words = [ROOT / "recipes/joint.py", "--data", data, "--tasks", "eegmat", "--output", out]
    words += ["--set", "model.preset=tiny", "--set", "optimization.epochs=300"]
    first = Command(tmp_path / "first", *words)
    first.wait_for(lambda: list(out.glob("checkpoints/epoch-*")))
    status, err = Command(tmp_path / "second", *words).ended()
    assert status == 2 and "another training is at work there" in err and err.count("\n") == 1
    status, err = first.ended(signal.SIGTERM)
    assert status == 143 and "Traceback" not in err
    assert err.splitlines()[-1] == (
        "ended by SIGTERM: the same command goes on from the newest checkpoint."
    )


def test_the_page_removes_what_it_has_and_what_a_killed_one_left(tmp_path):
    pytest.importorskip("gradio", reason="the page needs Gradio (the app extra)")
    base, files = tmp_path / "base", tmp_path / "tmp"
    model = model_with_tasks("sleep-edf")
    model.save_pretrained(base)
    MteegFeatureExtractor().save_pretrained(base)
    model.save_adapter("sleep-edf", base / "adapters" / "sleep-edf")
    files.mkdir()

    def start(name: str) -> Command:
        page = Command(tmp_path / name, "-m", "modeling_mteeg.cli", "app", "--base", base,
                       TMPDIR=str(files), GRADIO_TEMP_DIR="")  # fmt: skip
        page.wait_for(lambda: "the page is at" in page.out.read_text())
        return page

    page = start("killed")
    assert page.ended(signal.SIGKILL)[0] == -signal.SIGKILL
    (left,) = files.glob("mteeg-page-*")
    page = start("ended")
    assert not left.exists() and len(list(files.glob("mteeg-page-*"))) == 1
    status, err = page.ended(signal.SIGTERM)
    assert status == 143 and "Traceback" not in err
    assert err.endswith("mteeg app: ended by SIGTERM: uploads and results are removed.\n")
    assert not list(files.glob("mteeg-page-*"))
