"""``dataset_scripts`` as a name of ``modeling_mteeg.dataset_scripts``: no second copy of a module.

At the top of a clone, ``python -m dataset_scripts.tuab`` finds this folder by its own name; and
corpora of users import ``dataset_scripts.corpus``, as the guide of before had it. A class of one
copy is none of the other, so every module that is asked for by the bare name is the package's own.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec, spec_from_file_location
from types import ModuleType

BARE = "dataset_scripts"
PACKAGE = f"modeling_mteeg.{BARE}"


class _SameModule(SourceFileLoader):
    """Gives the package's module; its code, where it is run as ``__main__``, is the file's."""

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(f"modeling_mteeg.{module.__name__}")


class _BareName(MetaPathFinder):
    """Finds ``dataset_scripts`` and what is in it, unless another package has that name."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        top, _, inner = fullname.partition(".")
        if top != BARE:
            return None
        if inner:
            ours = sys.modules.get(BARE) is sys.modules.get(PACKAGE)
        else:
            ours = PathFinder.find_spec(BARE) is None  # a clone's own names itself
        found = find_spec(f"modeling_mteeg.{fullname}") if ours else None
        if found is None or found.origin is None:
            return None
        return spec_from_file_location(
            fullname,
            found.origin,
            loader=_SameModule(fullname, found.origin),
            submodule_search_locations=found.submodule_search_locations,
        )


def share_bare_name() -> None:
    """Let the bare name mean the package, once it is imported."""
    if not any(isinstance(finder, _BareName) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BareName())
