"""How the threads of a training wait is chosen before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from places import ROOT

from modeling_mteeg import _ending, _waiting


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("use", "given", "expected"),
    [
        ((2.0, 0.0), {}, None),
        ((15.0, 15.0, 10.0), {}, "PASSIVE"),  # 0.4 of the cores
        ((100.0, 0.0), {}, "PASSIVE"),
        ((100.0, 100.0), {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        ((100.0, 100.0), {"OMP_NUM_THREADS": "1"}, None),  # nobody waits
    ],
)
def test_threads_sleep_beside_busy_programs_alone(use, given, expected, monkeypatch):
    monkeypatch.setattr(_waiting, "_use_of_cores", lambda: use)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    _waiting.choose_waiting()
    assert os.environ.get("OMP_WAIT_POLICY") == expected


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be chosen here")
def test_the_cores_of_this_process_count_and_no_others(monkeypatch):
    import psutil

    mine = sorted(os.sched_getaffinity(0))[0]
    cores = [50.0] * (mine + 3)
    cores[mine] = 7.0
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: cores)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda own: [mine])
    assert _waiting._use_of_cores() == [7.0]


@pytest.mark.parametrize(
    ("argv", "module", "asked"),
    [
        (["-m"], "modeling_mteeg.recipes.joint", True),
        (["-m"], "modeling_mteeg.dataset_scripts.tuab", False),
        ([str(ROOT / "recipes/joint.py")], None, True),
        ([str(ROOT / "recipes/pretrain.py")], None, True),
        ([str(ROOT / "recipes/pretrain_tokenizer.py")], None, True),
        ([str(ROOT / "recipes/benchmark.py")], None, False),
        ([str(ROOT / "dataset_scripts/tuab.py")], None, False),
        (["/usr/bin/mteeg"], None, False),
    ],
)
def test_trainings_choose_by_name_and_as_files(argv, module, asked, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    words = ["python", *(["-m", module] if module else argv), "--show-config"]
    monkeypatch.setattr(sys, "orig_argv", words)
    for name in ("_catch", "_end_with_launcher", "show_streams"):
        monkeypatch.setattr(_ending, name, lambda: None)
    for name in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setenv("PYTHON_COLORS", "0")
    called = []
    monkeypatch.setattr(_ending, "choose_waiting", lambda: called.append(True))
    _ending.watch()
    assert _ending.is_command() and bool(called) == asked


def test_the_choice_comes_before_torch():
    """OpenMP reads it once, when torch is imported."""
    program = """
import sys
import psutil

def use(interval, percpu):
    print("asked", "torch" in sys.modules)
    sys.exit()  # the rest would be the import

sys.argv, psutil.cpu_percent = ["recipes/joint.py"], use
import modeling_mteeg
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True,
        env=environment,
    )  # fmt: skip
    assert done.stdout.split() == ["asked", "False"]
