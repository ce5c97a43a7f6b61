"""The console script ``mteeg``: help, usage errors and completion without importing torch.

``import modeling_mteeg`` registers its classes with transformers at once, and imports torch for
that: seconds, before a word of help. So this module lies beside the package. It puts the package
into its place without running its ``__init__``, reads the command line by those of its modules that
are light, and lets ``__init__`` run before a subcommand begins (:mod:`modeling_mteeg.cli`). Who
imports ``modeling_mteeg`` meets nothing of this.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

PACKAGE = "modeling_mteeg"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line as :func:`modeling_mteeg.cli.main` does; returns its exit code."""
    if PACKAGE not in sys.modules:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {PACKAGE!r}", name=PACKAGE)
        package = sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
        from modeling_mteeg._clone import CLONE

        if CLONE is not None:  # as __init__ does
            package.__path__.append(str(CLONE))
    from modeling_mteeg.cli import main

    return main(argv)


if __name__ == "__main__":
    sys.exit(main())
