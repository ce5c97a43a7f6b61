"""What ``mteeg`` answers without importing torch, and that its commands have the whole package."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from places import ROOT

from modeling_mteeg.cli import COMMANDS

HEAVY = ("torch", "transformers", "peft", "mne", "numpy", "scipy", "datasets", "pyarrow",
         "huggingface_hub", "sklearn", "matplotlib", "accelerate")  # fmt: skip
ANSWERED = [
    ["--help"], ["--version"], [], ["pretict"], ["--hepl"],
    *([name, "--help"] for name in COMMANDS), *([name, "--taks", "x"] for name in COMMANDS),
    ["predict", "a.edf", "--base", "b", "--task", "c", "--out", "events.csv"],
    ["completion", "bash"], ["completion", "zsh"],
]  # fmt: skip
PROGRAM = """
import json, sys
import mteeg_command

said = sys.stdout
for words in json.loads(sys.argv[1]):
    with open(sys.argv[2], "w") as sys.stdout:
        try:
            code = mteeg_command.main(words)
        except SystemExit as ended:
            code = ended.code
    heavy = [name for name in json.loads(sys.argv[3]) if name in sys.modules]
    print(json.dumps([words, code, heavy]), file=said)
"""
WHOLE = """
import sys
import mteeg_command

code = mteeg_command.main(["push", "nowhere", "--repo", "me/nothing"])
package = sys.modules["modeling_mteeg"]
from transformers import AutoConfig, AutoModel
config = AutoConfig.for_model("mteeg")
print(code, type(config) is package.MteegConfig, AutoModel._model_mapping[type(config)].__name__)
import modeling_mteeg
print(modeling_mteeg is package, modeling_mteeg.cli.__name__, modeling_mteeg.__version__)
"""


def run(program: str, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip


def test_help_usage_errors_and_completion_import_nothing_heavy(tmp_path):
    done = run(PROGRAM, json.dumps(ANSWERED), str(tmp_path / "out"), json.dumps(HEAVY))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [words for words, _, _ in answers] == ANSWERED, done.stderr[-2000:]
    for words, code, heavy in answers:
        right = bool({"--help", "--version", "bash", "zsh"} & {*words})
        assert code == (0 if right else 2), words
        assert not heavy, words
    assert "unknown option --taks (did you mean --task" in done.stderr


@pytest.mark.slow
def test_a_command_that_begins_has_the_whole_package():
    """As after ``import modeling_mteeg``: the classes are registered, and the names are there."""
    done = run(WHOLE)
    assert done.stdout.splitlines()[-2:] == ["2 True MteegModel", "True modeling_mteeg.cli 0.1.0"]
    assert "mteeg push: error: " in done.stderr and "Traceback" not in done.stderr
