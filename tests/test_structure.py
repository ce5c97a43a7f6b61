"""The structure that docs/architecture.md promises: rooms, imports downwards, names that tell."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

PACKAGES = ("modeling_mteeg", "dataset_scripts", "recipes")
ABOVE = ("modeling_mteeg.recipes", "modeling_mteeg.dataset_scripts")
"""Subpackages that lie at the top of the repository, and above all rooms; the first on top."""
DOCUMENT = (ROOT / "docs/architecture.md").read_text("utf-8")


def files() -> dict[str, Path]:
    """Every module by its dotted name."""
    names = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            name = name if package == PACKAGES[0] else f"{PACKAGES[0]}.{name}"
            names[name.removesuffix(".__init__")] = path
    return names


FILES = files()


def imported(name: str) -> Iterator[str]:
    """Modules that a module imports, inside functions too, but not for types alone."""
    path = FILES[name]
    folder = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in running(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = folder.split(".")[: len(folder.split(".")) - node.level + 1]
            module = ".".join(
                [*(start if node.level else []), *([node.module] if node.module else [])]
            )
            targets = [f"{module}.{alias.name}" for alias in node.names]
            targets = [target if target in FILES else module for target in targets]
        else:
            continue
        yield from (target for target in targets if target in FILES and target != name)


def running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those below ``if TYPE_CHECKING``."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from running(child)


RECIPES = {name.split(".")[2] for name in FILES if name.startswith(f"{ABOVE[0]}.")}
GRAPH = {name: sorted(set(imported(name))) for name in FILES}


def rooms() -> list[str]:
    """The rooms of the document's list, from the top."""
    block = DOCUMENT.partition("```\nrecipes/")[2].partition("```")[0]
    return re.findall(r"^  (\w+) ", block, re.MULTILINE)


def room_of(name: str) -> str:
    return name.split(".")[1] if name.count(".") else ""


def test_the_document_names_every_room_once():
    there = {
        path.stem for path in (ROOT / "modeling_mteeg").iterdir() if not path.stem.startswith("_")
    }
    assert sorted(rooms()) == sorted(there) and len(rooms()) <= 19


def test_imports_go_downwards():
    order = {room: floor for floor, room in enumerate(rooms())}
    upwards = [
        f"{name} -> {target}"
        for name, targets in GRAPH.items()
        for target in targets
        if name.count(".") and target.count(".") and name.startswith("modeling_mteeg.")
        and room_of(name) in order and order.get(room_of(target), 99) < order[room_of(name)]
    ]  # fmt: skip
    assert not upwards
    assert len([name for name in GRAPH if name.startswith(ABOVE)]) > 100
    for name, targets in GRAPH.items():
        above = {target for target in targets if target.startswith(ABOVE)}
        if name == "modeling_mteeg.commands.train":  # it is told in a recipe
            assert above <= {"modeling_mteeg.recipes", "modeling_mteeg.recipes.train"}
        elif name.startswith(ABOVE[1]):
            assert not [target for target in above if target.startswith(ABOVE[0])], name
        elif not name.startswith(ABOVE[0]):
            assert not above, name


def test_recipes_and_corpora_are_imported_by_one_name():
    """A second name would make a second copy, whose classes are others."""
    names = "|".join(sorted({"dataset_scripts", *RECIPES}))
    other = re.compile(rf"^ *(from|import) ({names})(\.\w+)*( import |$)", re.MULTILINE)
    relative = re.compile(r"^ *from \.", re.MULTILINE)
    assert {"joint", "train", "benchmarks"} <= RECIPES
    for path in [*FILES.values(), *(ROOT / "tests").rglob("*.py")]:
        text = path.read_text("utf-8")
        assert not other.search(text), path
        if path.relative_to(ROOT).parts[0] in PACKAGES[1:]:
            assert not relative.search(text), path


def test_no_module_imports_itself_by_a_circle():
    done, path = set(), []

    def visit(name: str) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for target in GRAPH[name]:
            visit(target)
        done.add(path.pop())

    for name in GRAPH:
        visit(name)


def test_what_is_copied_beside_a_base_is_flat_and_alone():
    for name in GRAPH:
        if name.startswith("modeling_mteeg.model."):
            assert name.count(".") == 2
            assert all(room_of(target) == "model" for target in GRAPH[name]), name


DOOR = (
    "modeling_mteeg.model.recording_files", "modeling_mteeg.model.recording_sources",
    "modeling_mteeg.model.eeglab_files",
)  # fmt: skip
"""Every recording is opened and read here, and checked on the way."""
MNE_ITSELF = {
    "modeling_mteeg.recipes.benchmarks.preparation": "times MNE's own chain beside this one",
    "modeling_mteeg.recipes.benchmarks.recording": "likewise, before the plain forward pass",
}
OTHER_DATA = {
    "modeling_mteeg.prediction.lsl": "the samples of a stream",
    "modeling_mteeg.recordings.interpolation": "a Raw that it made itself",
}
_READER = re.compile(r"read_(raw|epochs|annotations)")


def mne_readers(tree: ast.AST) -> Iterator[str]:
    """Readers of MNE that a module calls or imports, under any name of the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _READER.match(node.attr):
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mne":
            yield from (alias.name for alias in node.names if _READER.match(alias.name))


def test_recordings_are_opened_and_read_by_one_door():
    opened, read = {}, {}
    for name, path in FILES.items():
        tree = ast.parse(path.read_text("utf-8"))
        if readers := sorted(set(mne_readers(tree))):
            opened[name] = readers
        if any(isinstance(node, ast.Attribute) and node.attr == "get_data"
               for node in ast.walk(tree)):  # fmt: skip
            read[name] = path
    assert set(opened) <= {*DOOR, *MNE_ITSELF}, opened
    assert set(read) <= {*DOOR, *MNE_ITSELF, *OTHER_DATA}, sorted(read)
    assert DOOR[0] in opened and DOOR[1] in read  # the search finds what is there


def test_no_two_files_share_a_name_that_does_not_tell():
    mirrors = ("commands", "simulator", "benchmarks", "recipes")  # named after what they are of
    plain = [path.stem for path in FILES.values() if path.parent.name not in mirrors]
    twice = {name for name, number in Counter(plain).items() if number > 1}
    assert twice <= {"__init__", "__main__", "app"}


@pytest.mark.parametrize("document", ["docs/architecture.md", "README.md", "CONTRIBUTING.md"])
def test_files_that_documents_name_are_there(document):
    text = (ROOT / document).read_text("utf-8")
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|md|yaml))`", text))
    places = (ROOT, ROOT / "modeling_mteeg", ROOT / "modeling_mteeg/training", ROOT / "docs")
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    assert not missing


def test_modules_on_the_ways_through_the_rooms_are_there():
    room = "|".join(rooms())
    named = set(re.findall(rf"^ +((?:{room})\.\w+)", DOCUMENT, re.MULTILINE))
    assert len(named) > 20
    for name in named:
        room, module = name.split(".")
        text = (ROOT / "modeling_mteeg" / room / "__init__.py").read_text("utf-8")
        assert f"modeling_mteeg.{name}" in FILES or module in text, name
