"""A process in which this package cannot be imported, with all others that are installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

OWN = ("modeling_mteeg", "dataset_scripts", "__editable__", "__pycache__")

_BEGIN = """
import importlib.util, os, sys
sys.path[:] = [path for path in sys.path if "-packages" not in path] + [sys.argv[1]]
os.chdir(sys.argv[2])
assert importlib.util.find_spec("modeling_mteeg") is None
import torch
torch.set_num_threads(1)
"""


def packages_without_own(folder: Path) -> Path:
    """The installed packages, all but this one, however it is installed."""
    folder.mkdir()
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(place).iterdir():
            if not path.name.startswith(OWN) and path.suffix != ".pth":
                (folder / path.name).symlink_to(path)
    return folder


def run_without_package(
    program: str, root: Path, *arguments: str, environment: Mapping[str, str]
) -> str:
    """Output of a program; its ``sys.argv[3:]`` are the arguments, its folder is empty."""
    packages = packages_without_own(root / "packages")
    (root / "empty").mkdir()
    outcome = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _BEGIN + program, str(packages), str(root / "empty"),
         *arguments],
        env={
            "PATH": os.environ["PATH"],
            "OMP_NUM_THREADS": "1",
            "HF_MODULES_CACHE": str(root / "modules"),
            **environment,
        },
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout
