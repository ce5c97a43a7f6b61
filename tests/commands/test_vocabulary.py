"""One vocabulary: a name means one thing in every command line, and a thing has one name."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from pathlib import Path

import pytest
from command_lines import RECIPES, SCRIPTS, all_parsers
from places import ROOT

from modeling_mteeg.commands import convert, shared_arguments
from modeling_mteeg.conversion import KINDS
from modeling_mteeg.pictures.style import FORMATS
from modeling_mteeg.prediction.result_files import PICTURES
from modeling_mteeg.settings.command_line import CommandParser, Names, Place
from modeling_mteeg.settings.vocabulary import VOCABULARY

PARSERS = all_parsers()
SPELLED = {name: first for first, one in VOCABULARY.items() for name in (first, *one.also)}
OTHER_TYPES = {
    ("--raw", "dataset_scripts.exclusions"): "TASK=FOLDER pairs",
    ("--config", "mteeg train"): "or the name of a shipped one",
    ("--config", "recipes/joint.py"): "or the name of a shipped one",
    ("--config", "recipes/cross_validate.py"): "or the name of a shipped one",
    ("--config", "recipes/comparison.py"): "or the name of a shipped one",
    ("--config", "recipes/pretrain.py"): "or the name of a shipped one",
    ("--config", "recipes/pretrain_tokenizer.py"): "or the name of a shipped one",
}
"""Where a value is read in another way than elsewhere, and why."""
REFINED = ("--out", "--channels", "--highpass", "--notch")
"""Options whose values are checked by what a command does with them."""
LABELLED = {"--column": "--event-column", "--table": "--label-table", "--windows": "--windows-by",
            "--corpus": "--corpus-name"}  # fmt: skip
OLD = {
    "mteeg predict": {"--merge": "--merge-events"},
    "mteeg explain": {"--method": "--attribution"},
    "mteeg evaluate": {"--split": "--on"},
    "mteeg show": {"--split": "--on"},
    "mteeg push": {"--check": "--dry-run"},
    "mteeg train": LABELLED,
    "dataset_scripts.annotated": LABELLED,
    "dataset_scripts.bids": {**LABELLED, "--task-name": "--task"},
    "recipes/cross_validate.py": {"--table": "--show-table"},
    "recipes/comparison.py": {"--table": "--show-table"},
    "recipes/pretrain.py": {"--unlabelled": "--data"},
    "recipes/pretrain_tokenizer.py": {"--unlabelled": "--data"},
    "dataset_scripts.demo": {"--subjects": "--subjects-each"},
    "dataset_scripts.plan_file": {"--overwrite": "--again"},
    "dataset_scripts.unlabelled": {"--subject": "--subject-from"},
}  # fmt: skip


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings]


def test_every_command_line_is_walked_through():
    """Whatever makes a parser is here, so that a new one cannot speak another language."""
    makers = set()
    for folder in ("recipes", "dataset_scripts", "modeling_mteeg"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            names = {getattr(node.func, "attr", getattr(node.func, "id", ""))
                     for node in ast.walk(ast.parse(path.read_text("utf-8")))
                     if isinstance(node, ast.Call)}  # fmt: skip
            assert "ArgumentParser" not in names, f"{path}: CommandParser has the rules"
            if "CommandParser" in names:
                makers.add(path.relative_to(ROOT).with_suffix("").as_posix())
    shared = {"dataset_scripts/command", "modeling_mteeg/cli", "modeling_mteeg/training/arguments",
              "modeling_mteeg/comparison/comparison_arguments"}  # fmt: skip
    own = {f"recipes/{name}" for name in RECIPES}
    own |= {f"dataset_scripts/{name.replace('.', '/')}" for name in SCRIPTS}
    assert makers - shared <= own and shared <= makers


@pytest.mark.parametrize("name", PARSERS)
def test_shared_options_are_the_vocabularys(name):
    for action in options(PARSERS[name]):
        first = SPELLED.get(action.option_strings[0])
        if first is None:
            assert not {*action.option_strings} & {*SPELLED}, (name, action.option_strings)
            continue
        shared = VOCABULARY[first]
        assert action.option_strings == [first, *shared.also], name
        assert action.help.startswith(shared.meaning), (name, first)
        assert (action.nargs == 0) == (not shared.metavar), (name, first)
        assert bool(action.metavar or action.choices) == bool(shared.metavar), (name, first)
        if shared.options.get("action") is Names:
            assert isinstance(action, Names), (name, first)
        wanted = shared.options.get("type")
        if first == "--out":
            assert isinstance(action.type, Place), name
        elif (first, name) not in OTHER_TYPES and first not in REFINED:
            assert action.type is wanted, (name, first)


def test_other_options_mean_the_same_wherever_they_are():
    meanings, names = {}, {}
    for name, parser in PARSERS.items():
        for action in options(parser):
            if action.option_strings[0] in SPELLED or isinstance(action, argparse._HelpAction):
                continue
            key = tuple(action.option_strings)
            told = (action.help, action.type, action.nargs, action.choices, action.metavar)
            assert meanings.setdefault(key, told) == told, (name, key)
            assert names.setdefault(action.help, key) == key, (name, key, "one meaning, two names")
    single = [spelled for key in meanings for spelled in key]
    assert len(single) == len(set(single))


def test_what_several_commands_share_is_in_the_vocabulary_once():
    told = [one.meaning for one in VOCABULARY.values()]
    assert len(told) == len(set(told))
    spelled = [name for first, one in VOCABULARY.items() for name in (first, *one.also)]
    assert len(spelled) == len(set(spelled))
    used = [action.option_strings[0] for one in PARSERS.values() for action in options(one)]
    assert not [first for first in VOCABULARY if used.count(first) < 2]


@pytest.mark.parametrize("name", PARSERS)
def test_old_spellings_are_taken_and_not_shown(name):
    parser = PARSERS[name]
    shown = {spelled for action in options(parser) for spelled in action.option_strings}
    hidden = {*parser._option_string_actions} - shown
    assert hidden == {*OLD.get(name, {})}
    for old, new in OLD.get(name, {}).items():
        assert parser._option_string_actions[old] is parser._option_string_actions[new]


def test_documents_and_examples_have_no_old_spellings():
    files = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]
    lines = [(path, line) for path in files for line in _commands(path.read_text("utf-8"))]
    lines += [(name, line) for name, parser in PARSERS.items() for line in parser.examples]
    named = [(place, line, name) for place, line in lines if (name := _parser_of(line))]
    wrong = [f"{place}: {OLD[name][old]} is {old} in {line}" for place, line, name in named
             for old in OLD.get(name, ()) if re.search(rf"\s{old}\b(?!-)", line)]  # fmt: skip
    assert len(named) > 200 and not wrong


def _commands(text: str) -> list[str]:
    """Command lines of a document or notebook, each whole."""
    return re.findall(r"(?:mteeg|python|launch) [^\n`|&\"]+", text.replace("\\\n", " "))


def _parser_of(line: str) -> str | None:
    """Name of the parser that a command line is for; None: of another program."""
    if found := re.match(r"mteeg ([a-z]+)\b", line):
        name = f"mteeg {found[1]}"
    elif found := re.search(r"\b(recipes|dataset_scripts)[./]([a-z_]+)", line):
        name = f"recipes/{found[2]}.py" if found[1] == "recipes" else f"{found[1]}.{found[2]}"
    else:
        return None
    return name if name in PARSERS else None


@pytest.mark.parametrize("name", PARSERS)
def test_quiet_and_out_are_wherever_they_belong(name):
    taken = {spelled for action in options(PARSERS[name]) for spelled in action.option_strings}
    # The page says where it is served; a completion is all that its command prints.
    assert ("--quiet" in taken) == (name not in ("mteeg app", "mteeg completion"))
    assert ("--task" in taken) == ("--tasks" in taken)
    assert ("--out" in taken) == ("--output" in taken)


@pytest.mark.parametrize("name", PARSERS)
def test_help_ends_with_examples_that_the_parser_takes(name):
    parser = PARSERS[name]
    assert parser.examples and parser.format_help().endswith(f"  {parser.examples[-1]}\n")
    for example in parser.examples:
        words = [word for word in shlex.split(example) if word != ">"]
        program = name.replace("dataset_scripts.plan_file", "dataset_scripts.prepare").split()[-1]
        place = next(i for i, word in enumerate(words) if word == program)
        if name == "mteeg completion":
            words = words[:-1]  # where the shell puts it
        parser.parse_args(words[place + 1 :])


def test_the_document_has_the_table():
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    rows = re.findall(r"^\| `(--[a-z-]+)`([^|]*)\| ([^|]+) \|$", text, re.MULTILINE)
    told = {first: (tuple(re.findall(r"`(--[a-z-]+)`", also)), meaning)
            for first, also, meaning in rows}  # fmt: skip
    assert told == {first: (one.also, one.meaning) for first, one in VOCABULARY.items()}
    for command, pairs in OLD.items():
        for old, new in pairs.items():
            assert re.search(rf"^\| .*`{old}` \| .*`{new}`", text, re.MULTILINE), (command, old)


def test_light_copies_of_heavy_constants_are_equal():
    assert convert.KINDS == KINDS
    assert {*shared_arguments.PICTURES} == {*PICTURES} == {*FORMATS}


def parser_of_names(**changes) -> CommandParser:
    parser = CommandParser(prog="x")
    parser.add_argument("--task", "--tasks", action=Names, **changes)
    return parser


@pytest.mark.parametrize("words", [
    ["--task", "b,a", "--tasks", "c"], ["--tasks=b", "--task", "a, c"], ["--task", "b,a,c"],
])  # fmt: skip
def test_commas_and_repeats_mix_and_the_order_is_kept(words):
    assert parser_of_names().parse_args(words).task == ["b", "a", "c"]


def test_a_default_is_replaced_not_added_to():
    parser = parser_of_names(default=["a"])
    assert parser.parse_args([]).task == ["a"]
    assert parser.parse_args(["--task", "b"]).task == ["b"] and parser.get_default("task") == ["a"]


@pytest.mark.parametrize(("changes", "words", "said"), [
    ({}, ["--task", "a,b", "--task", "a"], "every task once, found a twice"),
    ({}, ["--task", "a,,b"], "names with commas"),
    ({}, ["--task", ""], "names with commas"),
    ({}, ["--task", "all", "--task", "a"], "'all' alone"),
    ({"one": True}, ["--task", "a", "--tasks", "b"], "one task, found 2: a, b"),
    ({"one": True, "every": False}, ["--task", "all"], "choose another name"),
    ({"known": ("tuab", "tuev")}, ["--task", "tuap"], "unknown task 'tuap' (did you mean tuab?)"),
])  # fmt: skip
def test_wrong_names_are_usage_errors(changes, words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        parser_of_names(**changes).parse_args(words)
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_a_folder_may_have_commas(tmp_path):
    folder = tmp_path / "a,b"
    assert parser_of_names().parse_args(["--task", str(folder)]).task == [f"{tmp_path}/a", "b"]
    folder.mkdir()
    assert parser_of_names().parse_args(["--task", f"{folder}"]).task == [str(folder)]


@pytest.mark.parametrize(("place", "text", "fits"), [
    (Place(".tsv", folder=True), "events.tsv", True),
    (Place(".tsv", folder=True), "events.csv", False),
    (Place(".tsv", folder=True), "events.TSV", False),
    (Place(".tsv", folder=True), "results", True),
    (Place(".tsv", folder=True), "results.csv/", True),
    (Place(".tsv", folder=True), "a.b/results-1.5", True),
    (Place(".tsv", folder=True), "labram.v2", True),
    (Place(".json"), "figures", False),
    (Place(".json"), "figures.json", True),
    (Place(".png", any_case=True), "map.PNG", True),
    (Place(folder=True), "model.safetensors", False),
    (Place(folder=True), ".", True),
])  # fmt: skip
def test_what_can_be_written(place, text, fits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if fits:
        assert place(text) == text
        return
    with pytest.raises(argparse.ArgumentTypeError) as error:
        place(text)
    assert all(ending in str(error.value) for ending in place.endings) and text in str(error.value)
    if place.folder:  # one of that name may be there, or be wanted all the same
        Path(text).mkdir()
        assert place(text) == text


def wrong_places() -> list[tuple[str, str]]:
    """Every command with ``--out``, and a name that it cannot write."""
    found = []
    for name, parser in PARSERS.items():
        action = parser._option_string_actions.get("--out")
        if action is not None:
            assert ".csv" not in action.type.endings
            found.append((name, "result.csv"))
    return found


@pytest.mark.parametrize(("name", "text"), wrong_places())
def test_an_ending_that_cannot_be_written_is_a_usage_error(name, text, capsys):
    parser = PARSERS[name]
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([f"--output={text}"])
    err = capsys.readouterr().err
    assert ended.value.code == 2 and "argument --out/--output: expected a" in err
    assert text in err and not Path(text).exists()


@pytest.mark.parametrize("name", PARSERS)
def test_an_unknown_option_is_named_before_missing_ones(name, capsys):
    parser = PARSERS[name]
    known = max((one for action in options(parser) for one in action.option_strings), key=len)
    wrong = f"{known[:-2]}x{known[-1]}"
    for words in ([wrong, "1"], [f"{wrong}=1"]):
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(words)
        err = capsys.readouterr().err
        assert ended.value.code == 2
        assert f"unknown option {wrong} (did you mean --" in err and "required" not in err


@pytest.mark.parametrize("name", PARSERS)
def test_options_are_not_abbreviated(name, capsys):
    parser = PARSERS[name]
    assert not parser.allow_abbrev
    with pytest.raises(SystemExit):
        parser.parse_args(["--hel"])
    assert "unknown option --hel (did you mean --help?)" in capsys.readouterr().err
