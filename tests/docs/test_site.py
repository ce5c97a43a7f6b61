"""The site holds together: pages in lists, links to what is there, names with pages, notebooks.

What needs no build is tested on the files. What the build made is tested where ``MTEEG_SITE`` names
its folder, as ``.ci/run`` does after ``sphinx-build -W --keep-going docs site``.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shlex
import tomllib
import zlib
from pathlib import Path

import pytest
from places import ROOT

from modeling_mteeg.cli import build_parser

DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for kind in ("*.md", "*.ipynb")
    for path in DOCS.rglob(kind)
    if "generated" not in path.parts
)
ENTRANCES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
NOTEBOOKS = [path for path in PAGES if path.suffix == ".ipynb"]
SITE = os.environ.get("MTEEG_SITE", "")
built = pytest.mark.skipif(not SITE, reason="MTEEG_SITE names no folder of a built site")


def text_of(path: Path) -> str:
    """The Markdown of a page, of a notebook that of its cells."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    return "\n\n".join(source(cell) for cell in cells(path) if cell["cell_type"] == "markdown")


def cells(notebook: Path) -> list[dict]:
    return json.loads(notebook.read_text("utf-8"))["cells"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def listed(page: Path) -> list[Path]:
    """Pages that the toctrees of a page name."""
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    names = [line for tree in trees for line in tree.splitlines() if re.match(r"[\w/]+$", line)]
    found = []
    for name in names:
        there = [path for end in (".md", ".ipynb") if (path := page.parent / (name + end)).exists()]
        assert len(there) == 1, f"{page.name} lists {name}"
        found += there
    return found


def slugs(page: Path) -> set[str]:
    """The anchors that GitHub and the site give to headings."""
    titles = re.findall(r"^#+ (.*)$", without_code(text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_one_list():
    lists = [path for page in PAGES if page.suffix == ".md" for path in listed(page)]
    missing = set(PAGES) - {DOCS / "index.md"} - set(lists)
    assert not missing, "name them in a toctree of docs/how_to.md, reference.md or evidence.md"
    assert len(lists) == len(set(lists)), "a page is listed twice"


@pytest.mark.parametrize("page", ENTRANCES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(page))):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), target
        assert not anchor or anchor in slugs(there), target


def test_the_readme_is_short_and_has_its_doors():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 170
    assert "pip install -e '.[train]' && accelerate launch recipes/joint.py" in text
    assert "pip install -e '.[test]' && pytest" in text
    assert "](docs/pictures/sleep-edf.png)" in text
    doors = text.partition("## Five doors")[2].partition("##")[0]
    assert re.findall(r"^\| \[[^\]]+\]\(docs/([\w/]+)\.md\)", doors, re.MULTILINE) == [
        "start", "tutorials/index", "how_to", "reference", "evidence"
    ]  # fmt: skip


def test_the_ten_lines_are_the_same_everywhere():
    blocks = [
        [block for block in re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL)
         if "mne.io.read_raw_edf" in block]
        for page in (ROOT / "README.md", DOCS / "start.md")
    ]  # fmt: skip
    assert len(blocks[0]) == 1 and blocks[0] == blocks[1]


def test_figures_of_the_readme_are_those_of_the_demo():
    table = re.search(r"^task  .*?^```", text_of(DOCS / "start.md"), re.M | re.S).group()
    for row in re.findall(r"^\| `([\w-]+)` \|(.*)\|$", text_of(ROOT / "README.md"), re.MULTILINE):
        task, (windows, people, *scores) = row[0], row[1].replace(" ", "").split("|")
        lines = table[table.index(f"\n{task} ") :].splitlines()[1:]
        assert lines[0].split()[2:4] == [windows, people]
        lines = [line for line in lines if "over people" not in line][:3]
        assert [re.search(r"\d\.\d{3}", line).group() for line in lines] == scores


def rooms_with_public_names() -> list[str]:
    """Packages whose ``__init__.py`` has ``__all__``."""
    found = []
    for top in ("modeling_mteeg", "dataset_scripts"):
        for path in (ROOT / top).rglob("__init__.py"):
            body = ast.parse(path.read_text("utf-8")).body
            assigned = [
                ast.unparse(node.targets[0]) for node in body if isinstance(node, ast.Assign)
            ]
            if "__all__" in assigned:
                room = ".".join(path.parent.relative_to(ROOT).parts)
                found.append(room if top == "modeling_mteeg" else f"modeling_mteeg.{room}")
    return found


def reference() -> list[str]:
    names = r"^   (modeling_mteeg[\w.]*)$"
    return re.findall(names, (DOCS / "reference/index.md").read_text("utf-8"), re.MULTILINE)


def test_the_reference_lists_every_room_with_public_names():
    assert len(rooms_with_public_names()) > 12
    assert not [room for room in rooms_with_public_names() if room not in reference()]


def imports_of_documents() -> set[str]:
    """What code in pages and notebooks imports from here."""
    found = set()
    for page in ENTRANCES:
        text = page.read_text("utf-8")
        if page.suffix == ".ipynb":
            text = "\n".join(source(cell) for cell in cells(page))
        pattern = r"^from (modeling_mteeg[\w.]*) import (\([^)]*\)|.+)$"
        for room, names in re.findall(pattern, text, re.MULTILINE):
            names = names.partition("#")[0].strip("()\n ")
            found |= {f"{room}.{name.strip()}" for name in names.split(",") if name.strip()}
    return found


def test_what_documents_import_has_a_page():
    homes = {}
    for name in reference():
        try:
            room, names = name, importlib.import_module(name).__all__
        except ModuleNotFoundError:
            room, _, last = name.rpartition(".")
            names = [last]
        homes |= {id(getattr(importlib.import_module(room), last)): name for last in names}
    assert len(imports_of_documents()) > 15
    for name in imports_of_documents():
        room, _, last = name.rpartition(".")
        assert id(getattr(importlib.import_module(room), last)) in homes, name


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda page: page.stem)
def test_a_notebook_lies_here_without_outputs_and_says_what_is_simulated(notebook):
    assert [path.stem for path in NOTEBOOKS] == ["own_task", "publish", "recording_to_answer"]
    code = [cell for cell in cells(notebook) if cell["cell_type"] == "code"]
    assert len(code) >= 8
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None]
    first = source(cells(notebook)[0])
    assert re.search(r"\*\*[^*]*recordings[^*]*simulated\*\*", first)
    assert "simulate" in source(code[0]) or "SIMULATED" in source(code[0])
    assert "## With your own" in source(cells(notebook)[-1])


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda page: page.stem)
def test_commands_of_a_notebook_are_understood(notebook):
    text = "\n".join(source(cell) for cell in cells(notebook)).replace("\\\n", " ")
    commands = re.findall(r"^!?(mteeg [^|\n#]*)", text, re.MULTILINE)
    assert commands
    for command in commands:
        build_parser().parse_args(shlex.split(command.partition(" 2>")[0])[1:])


def test_the_docs_extra_has_every_extension():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    have = {re.split(r"[<>=]", name)[0] for name in extra["optional-dependencies"]["docs"]}
    config = (DOCS / "conf.py").read_text("utf-8")
    names = re.search(r"^extensions = \[(.*?)^\]", config, re.M | re.S).group(1)
    wanted = {name.replace("_", "-") for name in re.findall(r'"([\w.]+)"', names)}
    wanted -= {"reference-pages"} | {name for name in wanted if name.startswith("sphinx.")}
    assert wanted | {"sphinx", "furo", "ipykernel"} <= have


def inventory() -> dict[str, str]:
    """Kinds of the Python names that the built site documents, canonical ones included."""
    data = (Path(SITE) / "objects.inv").read_bytes()
    body = zlib.decompress(data.split(b"\n", 4)[4]).decode()
    rows = re.findall(r"^(\S+) py:(\w+) ", body, re.MULTILINE)
    return dict(rows)


@built
def test_every_public_name_has_a_page():
    documented = inventory()
    for name in reference():
        try:
            names = [f"{name}.{last}" for last in importlib.import_module(name).__all__]
        except ModuleNotFoundError:
            names = [name]
        for full in names:
            if full.rpartition(".")[2].startswith("_"):
                continue
            assert full in documented, full
            page = Path(SITE) / "reference/generated" / f"{full}.html"
            assert page.is_file(), full
            described = re.search(r"<dd>\s*(<p>|<dl)", page.read_text("utf-8"))
            assert described, f"{full} has no docstring"


@built
def test_methods_of_tasks_are_on_the_models_page():
    names = {name for name in inventory() if name.startswith("modeling_mteeg.MteegModel.")}
    for method in ("forward", "add_adapter", "load_adapter", "save_adapter", "set_adapter",
                   "set_trainable", "push_adapter", "fingerprint"):  # fmt: skip
        assert f"modeling_mteeg.MteegModel.{method}" in names, method
    assert "modeling_mteeg.MteegModel.resize_token_embeddings" not in names  # transformers' own


SHOWN = {
    "own_task": ("log band power", "is the same to the bit: True", "<img"),
    "publish": ("Simulated data", "would go:", "the same answers, to the bit: True"),
    "recording_to_answer": ("marked-bad", "simulated windows have the stage", "<img"),
}
"""What the output of a notebook's cells has, not their source."""


@built
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda page: page.stem)
def test_the_site_shows_what_a_notebook_computed(notebook):
    page = (Path(SITE) / "tutorials" / f"{notebook.stem}.html").read_text("utf-8")
    outputs = [part.partition('class="cell docutils')[0]
               for part in page.split('class="cell_output')[1:]]  # fmt: skip
    assert len(outputs) >= 5
    for text in SHOWN[notebook.stem]:
        assert text in "".join(outputs), text
