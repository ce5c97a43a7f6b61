"""``mteeg completion``: a script that lets a shell complete ``mteeg``'s command line."""

from __future__ import annotations

import argparse

from ..settings.command_line import CommandParser, Names

SUMMARY = "print a script that lets bash or zsh complete this command line"
EXAMPLES = (
    "mteeg completion bash > ~/.local/share/bash-completion/completions/mteeg",
    "mteeg completion zsh > ~/.zfunc/_mteeg",
)
LIGHT = True
"""Needs nothing of the package but the parsers."""
SHELLS = ("bash", "zsh")
_TASKS = "_mteeg_tasks"
_PREAMBLE = {
    # Names of tasks: folders in adapters/ of the base that the line names so far.
    "bash": f"""
{_TASKS}() {{
  local index base="" done="" word="$1"
  for (( index = 1; index < COMP_CWORD; index++ )); do
    case "${{COMP_WORDS[index]}}" in
      --base|--bases)
        base="${{COMP_WORDS[index + 1]}}"
        [[ $base == "=" ]] && base="${{COMP_WORDS[index + 2]}}" ;;
    esac
  done
  base="${{base/#\\~/$HOME}}"
  [[ $word == *,* ]] && done="${{word%,*}},"
  local names="all" card
  for card in "$base"/adapters/*/task.json; do
    [[ -f $card ]] && card="${{card%/task.json}}" && names="$names ${{card##*/}}"
  done
  compgen -P "$done" -W "$names" -- "${{word##*,}}"
  compgen -d -- "$word"
}}
""",
    "zsh": f"""
{_TASKS}() {{
  local base="" index
  local -a names
  for (( index = 1; index < CURRENT; index++ )); do
    case "${{words[index]}}" in
      --base|--bases) base="${{words[index + 1]}}" ;;
      --base=*|--bases=*) base="${{words[index]#*=}}" ;;
    esac
  done
  base="${{base/#\\~/$HOME}}"
  names=(all $base/adapters/*/task.json(N:h:t))
  _values -s , task $names
}}
""",
}
_FILES = ("recording", "checkpoint", "at", "table", "plot", "config", "file", "out", "raw", "data")
_FOLDERS = ("base", "folder", "recordings", "onnx")
"""Names of arguments that are files or folders, among others."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", choices=SHELLS, help="which shell the script is for")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    print(script(args.parser, args.shell))


def script(parser: CommandParser, shell: str) -> str:
    """The script of a shell for a parser and all its subcommands."""
    import shtab

    parsers = [parser, *(one.filled() for one in parser.commands().values())]
    for action in (action for one in parsers for action in one._actions):
        kind = _kind(action)
        if kind is not None:
            action.complete = kind
        if isinstance(action, Names) and action.known:
            action.choices = action.known  # to be shown; nothing is parsed with this parser
    return shtab.complete(parser, shell, preamble=_PREAMBLE)


def _kind(action: argparse.Action) -> dict[str, str] | None:
    """How the value of an argument is completed; None: by its choices, if it has some."""
    import shtab

    if isinstance(action, Names) and action.what == "task":
        return dict.fromkeys(SHELLS, _TASKS)
    if action.dest in _FOLDERS:
        return shtab.DIRECTORY
    return shtab.FILE if action.dest in _FILES else None
