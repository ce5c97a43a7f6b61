"""``mteeg completion``: what the shells complete, tried by running them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from modeling_mteeg import cli
from modeling_mteeg.cli import COMMANDS
from modeling_mteeg.commands.completion import SHELLS, script

BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
COMPREPLY=()
_complete_with=$(complete -p mteeg | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$_complete_with" mteeg "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        (folder / shell).write_text(script(cli.build_parser(), shell) + "\n")
    return folder


@pytest.fixture
def base(tmp_path):
    for task in ("tuab", "tuev", "sleep-edf"):
        (tmp_path / "a base" / "adapters" / task).mkdir(parents=True)
        (tmp_path / "a base" / "adapters" / task / "task.json").touch()
    (tmp_path / "a base" / "adapters" / "no-task").mkdir()
    return tmp_path / "a base"


@pytest.fixture
def completed(scripts, tmp_path):
    """What bash offers for the last of some words."""

    def complete(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--norc", "-c", BASH, "bash", scripts / "bash", "mteeg", *words],
            cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert not done.stderr
        return [line.rstrip() for line in done.stdout.splitlines() if line]

    return complete


def test_bash_completes_commands_options_choices_and_files(completed, tmp_path):
    (tmp_path / "night.edf").touch()
    assert {*COMMANDS} <= {*completed("")}
    assert completed("pre") == ["predict"]
    assert {"--task", "--tasks", "--out", "--base"} <= {*completed("predict", "--")}
    assert "--merge" not in completed("predict", "--merge")  # an old spelling
    assert completed("predict", "--unit", "u") == ["uV"]
    assert completed("show", "x", "--on", "t") == ["train", "test"]
    assert "night.edf" in completed("predict", "n")


def test_bash_completes_the_tasks_beside_the_base(completed, base):
    words = ("predict", "x.edf", "--base", str(base), "--task")
    assert {"tuab", "tuev", "sleep-edf", "all"} <= {*completed(*words, "")}
    assert "no-task" not in completed(*words, "")
    assert completed(*words, "tu") == ["tuab", "tuev"]
    assert completed(*words, "tuab,tue") == ["tuab,tuev"]
    assert completed("predict", "x.edf", "--task", "tu") == []


def test_bash_takes_the_script(scripts):
    subprocess.run(["bash", "-n", scripts / "bash"], check=True)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_takes_the_script(scripts):
    subprocess.run(["zsh", "-n", scripts / "zsh"], check=True)
    loaded = (
        f"autoload -Uz compinit; compinit -u -D; source {scripts / 'zsh'}; whence -w _mteeg_tasks"
    )
    done = subprocess.run(["zsh", "-fc", loaded], capture_output=True, text=True, check=True)
    assert "_mteeg_tasks: function" in done.stdout


def test_the_script_for_zsh_names_every_command_option_and_choice(scripts):
    """Also where zsh is not there to say so."""
    text = (scripts / "zsh").read_text()
    assert text.startswith("#compdef mteeg")
    for name, parser in cli.build_parser().commands().items():
        assert f'"{name}:' in text or f"{name})" in text
        for action in parser.filled()._actions:
            for spelled in action.option_strings:
                assert spelled in text, (name, spelled)
    assert "(uV mV V)" in text and "_mteeg_tasks" in text and "(train validation test)" in text
