"""What the pages of the API reference show: every public name, and nothing of other packages.

``docs/reference/index.md`` lists the rooms, whose public names are their ``__all__``, and single
names that lie deeper. autosummary writes the pages; this extension tells it

- names that a room imports when they are first asked for,
- documentation of constants, which stands where they are defined,
- which inherited members and bases are ours,
- where a name is found that a docstring gives by the module that defines it,
- what types in signatures are that are imported for type checkers alone.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

LIST = Path(__file__).resolve().parents[1] / "reference" / "index.md"
OURS = ("modeling_mteeg", "dataset_scripts", "recipes")


def listed() -> list[str]:
    """What the reference's list names: rooms and single names."""
    names = rf"^   ((?:{'|'.join(OURS)})[\w.]*)$"
    return re.findall(names, LIST.read_text("utf-8"), re.MULTILINE)


def public_names() -> dict[str, str]:
    """Public names; the keys are the names under which the objects are defined.

    Names that are imported when they are first asked for are put in their place on the way, since
    autosummary looks only at what is there.
    """
    public = {}
    for name in listed():
        try:
            room, names = name, importlib.import_module(name).__all__
        except ModuleNotFoundError:
            room, _, last = name.rpartition(".")
            names = [last]
        module = importlib.import_module(room)
        for name in names:
            thing = getattr(module, name)
            setattr(module, name, thing)
            public[home_of(thing, room, name)] = f"{room}.{name}"
    return public


def home_of(thing: Any, room: str, name: str) -> str:
    """The full name under which an object is defined."""
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    module = importlib.import_module(room)
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ImportFrom) and name in [part.name for part in node.names]:
            package = room if hasattr(module, "__path__") else room.rpartition(".")[0]
            return f"{importlib.util.resolve_name('.' * node.level + node.module, package)}.{name}"
    return f"{room}.{name}"


def import_types() -> None:
    """Run what stands below ``if TYPE_CHECKING`` in our modules: now no import is a circle."""
    for name, module in list(sys.modules.items()):
        if name.startswith(OURS) and getattr(module, "__file__", None):
            for node in ast.parse(Path(module.__file__).read_text("utf-8")).body:
                if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                    code = compile(ast.Module(node.body, []), module.__file__, "exec")
                    exec(code, vars(module))


PUBLIC = public_names()
import_types()
HOMES = {page: home for home, page in PUBLIC.items()}


def document_constant(app: Sphinx, what: str, name: str, thing, options, lines: list[str]) -> None:
    """Give a constant the text that stands below it where it is defined."""
    if what == "data" and (home := HOMES.get(name)):
        module, _, last = home.rpartition(".")
        text = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", last))
        lines[:] = text or lines


def leave_out_foreign(app: Sphinx, what: str, name: str, thing, skip: bool, options) -> bool:
    """Leave out what a class inherits from other packages."""
    thing = getattr(thing, "fget", thing)
    home = getattr(thing, "__module__", None) or ""
    home = home or getattr(getattr(thing, "__objclass__", None), "__module__", "")
    return skip or (what == "class" and callable(thing) and not home.startswith(OURS))


def show_public_bases(app: Sphinx, name: str, thing, options, bases: list[Any]) -> None:
    """Leave out bases that have no page: what they bring is shown as the class's own."""
    known = [(base, f"{base.__module__}.{base.__qualname__}") for base in bases]
    bases[:] = [
        base for base, home in known if home in PUBLIC or not home.startswith(OURS)
    ] or [object]  # fmt: skip


def resolve(app: Sphinx, env, node, shown: nodes.Element) -> nodes.Node | None:
    """Find a name by its home; in signatures, types that have no page stay text."""
    if page := PUBLIC.get(node.get("reftarget", "")):
        domain = env.domains.python_domain
        return domain.resolve_xref(
            env, node["refdoc"], app.builder, node["reftype"], page, node, shown
        )
    in_signature = node.get("refdomain") == "py" and "refwarn" not in node
    return shown if in_signature else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it."""
    app.connect("autodoc-process-docstring", document_constant, priority=100)
    app.connect("autodoc-skip-member", leave_out_foreign)
    app.connect("autodoc-process-bases", show_public_bases)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
