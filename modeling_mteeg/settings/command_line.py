"""The parser of every command line: unknown options are named first, help ends with an example."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from .._clone import as_typed

ALL = "all"
"""The name that stands for every task."""
_NUMBER = re.compile(r"-\.?\d")
_VERSION = re.compile(r"\.v?\d+", re.IGNORECASE)  # the end of `results-1.5` or `labram.v2`


def nearest_word(word: str, known: Iterable[str]) -> str:
    """`` (did you mean ...?)`` where one of the known words is like it."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def text_and_examples(docstring: str) -> tuple[str, tuple[str, ...]]:
    """A module's docstring without its indented lines, and those, which are command lines."""
    lines = docstring.strip().replace("\\\n", " ").splitlines()
    examples = [" ".join(line.partition(" #")[0].split()) for line in lines if line[:1] == " "]
    text = "\n".join(line for line in lines if line[:1] != " ")
    return re.sub(r"\n{3,}", "\n\n", text), tuple(examples)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """An option's spellings and its value once; description and examples as they stand."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        metavar = self._get_default_metavar_for_optional(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, metavar)}"


class CommandParser(argparse.ArgumentParser):
    """``argparse`` with what holds for every command here.

    Commands in its texts are shown as they can be typed (:func:`~modeling_mteeg._clone.as_typed`).

    Options are not abbreviated: a prefix that is clear today names another option tomorrow. An
    unknown option, or an unknown subcommand, is said before anything else is asked for.

    Parameters
    ----------
    *arguments
        Of ``ArgumentParser``.
    examples : sequence of str
        Whole command lines, which stand at the end of the help.
    fill : callable, optional
        Declares the arguments of this parser when they are needed first, so that the help of one
        subcommand does not import what another's arguments need.
    **options
        Of ``ArgumentParser``.
    """

    def __init__(
        self,
        *arguments: Any,
        examples: Sequence[str] = (),
        fill: Callable[[CommandParser], None] | None = None,
        **options: Any,
    ) -> None:
        options = {"allow_abbrev": False, "formatter_class": HelpFormatter, **options}
        for name in {"prog", "description"} & set(options):
            options[name] = as_typed(options[name]) if options[name] else options[name]
        super().__init__(*arguments, **options)
        self.examples, self._fill = tuple(map(as_typed, examples)), fill

    def filled(self) -> CommandParser:
        """This parser, with its arguments declared."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        return self

    def format_help(self) -> str:
        """The help; the examples are the end of it."""
        text = super().format_help()
        if not self.examples:
            return text
        title = "examples:" if len(self.examples) > 1 else "example:"
        return "\n".join([text, title, *(f"  {line}" for line in self.examples)]) + "\n"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in ``argparse``, but unknown options are an error, and come first."""
        self.filled()
        words = list(sys.argv[1:] if args is None else args)
        self._check_words(words)
        return super().parse_known_args(words, namespace)

    def old_spelling(self, old: str, new: str) -> None:
        """Let an option go by an earlier name, too, which help does not show."""
        self._option_string_actions[old] = self._option_string_actions[new]

    def commands(self) -> dict[str, CommandParser]:
        """The parsers of the subcommands by name; empty where there are none."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return dict(action.choices)
        return {}

    def _check_words(self, words: Sequence[str]) -> None:
        """End with a usage error where words name options or a subcommand that there are not."""
        known, commands, unknown = self._option_string_actions, self.commands(), {}
        shown = [name for action in self._actions for name in action.option_strings]
        for word in words:
            if word == "--":
                break
            if not word.startswith("-") or word == "-" or " " in word or _NUMBER.match(word):
                if not commands:
                    continue
                if word not in commands:  # what follows a command is its own
                    near = nearest_word(word, commands)
                    self.error(f"unknown command {word!r}{near}")
                break
            name = word.partition("=")[0]
            joined = not word.startswith("--") and name[:2] in known  # -h and the like
            if name not in known and not joined:
                unknown[name] = f"{name}{nearest_word(name, shown)}"
        if unknown:
            what = "unknown option" if len(unknown) == 1 else "unknown options"
            self.error(f"{what} {', '.join(unknown.values())}")


class Names(argparse.Action):
    """Names with commas between them, and the option again: a list in the order given.

    Every name once; ``all`` alone. A word that is one of the known names, or the path of something
    that is there, stays one name, whatever commas it has.

    Parameters
    ----------
    one : bool
        Whether there can be one name only, which is then kept as text.
    what : str
        What is named, for messages.
    every : bool
        Whether ``all`` stands for every one; else it is refused.
    known : sequence of str
        The only names that there are; empty: any.
    """

    def __init__(
        self, *arguments: Any, one: bool = False, what: str = "task", every: bool = True,
        known: Sequence[str] = (), **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(*arguments, **options)
        self.one, self.what, self.every, self.known = one, what, every, tuple(known)

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Add what one option named."""
        before = getattr(namespace, self.dest, None)
        names = [] if before is self.default else [before] if self.one else list(before)
        for word in [values] if isinstance(values, str) else values:
            # Names and folders may have commas of their own.
            whole = word in self.known or ("," in word and os.path.exists(word))
            names += [word] if whole else self._split(word)
        self._check(names)
        setattr(namespace, self.dest, names[0] if self.one else names)

    def _split(self, word: str) -> list[str]:
        names = [part.strip() for part in word.split(",")]
        if not all(names):
            raise argparse.ArgumentError(
                self, f"expected names with commas between them, found {word!r}"
            )
        return names

    def _check(self, names: Sequence[str]) -> None:
        twice = sorted({name for name in names if names.count(name) > 1})
        strange = [name for name in names if self.known and name not in (*self.known, ALL)]
        if strange:
            near = nearest_word(strange[0], self.known)
            fault = f"unknown {self.what} {strange[0]!r}{near}; known: {', '.join(self.known)}"
        elif twice:
            fault = f"expected every {self.what} once, found {', '.join(twice)} twice"
        elif self.one and len(names) > 1:
            fault = f"expected one {self.what}, found {len(names)}: {', '.join(names)}"
        elif ALL in names and not self.every:
            fault = f"{ALL!r} stands for every {self.what} elsewhere: choose another name"
        elif ALL in names and len(names) > 1:
            fault = f"expected {ALL!r} alone, found {', '.join(names)}"
        else:
            return
        raise argparse.ArgumentError(self, fault)


class Place:
    """``type=`` of an option that says where a result goes: its ending must be one that is written.

    A name without an ending, or with one that is a number (``results-1.5``, ``labram.v2``), can be
    a folder; so can any name that ends in a slash, or is a folder already.

    Parameters
    ----------
    *endings : str
        Of the files that the command writes, such as ``.tsv``.
    folder : bool
        Whether a folder will do.
    any_case : bool
        Whether ``.PNG`` will do for ``.png``.
    kind : callable
        Makes the value of the text.
    """

    def __init__(
        self, *endings: str, folder: bool = False, any_case: bool = False, kind: Callable = str
    ) -> None:
        self.endings, self.folder, self.any_case, self.kind = endings, folder, any_case, kind

    def __call__(self, text: str) -> Any:
        """The value; ``ArgumentTypeError`` where the command cannot write it."""
        suffix = Path(text).suffix
        is_folder = text.endswith(("/", os.sep)) or Path(text).is_dir()
        if self.folder and (is_folder or not suffix or _VERSION.fullmatch(suffix)):
            return self.kind(text)
        ending = suffix.lower() if self.any_case else suffix
        if ending in self.endings and not is_folder:
            return self.kind(text)
        writes = [f"a file that ends in {' or '.join(self.endings)}"] if self.endings else []
        if self.folder:
            writes += [f"a folder (with an ending such as {suffix}: {text}/)"]
        raise argparse.ArgumentTypeError(f"expected {', or '.join(writes)}, found {text!r}")


def integers(text: str) -> list[int | str]:
    """``type=`` of whole numbers with commas between them; what is none stays text, to be told."""
    return [int(part) if part.strip().isdecimal() else part for part in text.split(",")]
