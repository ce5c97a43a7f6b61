"""Variables of MATLAB files, parsed in a process of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .isolated_reading import ask_reader, exchange_folder, read_signal


def mat_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of all variables by name.

    Raises
    ------
    ValueError
        It is no such file, or the reader died: see :func:`isolated_reading.ask_reader`.
    """
    with exchange_folder() as folder:
        shapes = ask_reader("mat_shapes", path, folder)["shapes"]
    return {name: tuple(shape) for name, shape in shapes.items()}


def mat_variable(path: Path, name: str) -> np.ndarray:
    """A variable of numbers; errors as of :func:`mat_shapes`."""
    with exchange_folder() as folder:
        ask_reader("mat_variable", path, folder, name=name)
        return read_signal(folder)
