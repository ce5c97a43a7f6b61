"""The weights of a base, checked before they are read: safetensors alone, complete, in place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .base_settings import check_base_files
from .checked_files import FLOATS, UnsafeFileError, pickled_beside, tensor_shapes

_COUNTERS = {torch.int64: "I64", torch.bool: "BOOL"}
"""Types of a model's buffers that are no weights, such as counts of a codebook."""
_NO_CONVERSION = "DISABLE_SAFETENSORS_CONVERSION"


@contextmanager
def refuse_pickles(place: str | Path | None, options: dict[str, Any]) -> Iterator[None]:
    """Let transformers look for safetensors alone, in files that were checked; explain errors.

    Parameters
    ----------
    place : str, Path or None
        Folder or Hub repository.
    options : dict
        Keywords of ``from_pretrained``; ``use_safetensors`` is set in it.

    Raises
    ------
    ValueError
        Pickled weights were asked for.
    UnsafeFileError
        There are none but pickled weights, or a JSON file beside them is not what it should be.
    """
    if options.get("use_safetensors") is False or options.get("gguf_file"):
        raise ValueError(
            f"{place}: expected safetensors weights, found use_safetensors="
            f"{options.get('use_safetensors')!r}, gguf_file={options.get('gguf_file')!r}. Pickled "
            "weights are never loaded; published LaBraM weights become a base by `mteeg convert`."
        )
    check_base_files(place, options)
    options["use_safetensors"] = True
    # Without this, transformers asks a service on the Hub to convert pickled weights.
    before = os.environ.get(_NO_CONVERSION)
    os.environ[_NO_CONVERSION] = "1"
    try:
        yield
    except OSError as error:
        beside = pickled_beside(Path(place)) if place is not None else ""
        if "no file named" in str(error) and beside:
            raise UnsafeFileError(f"{place}: expected model.safetensors.{beside}") from error
        if "use_safetensors=True" in str(error):
            raise UnsafeFileError(
                f"{place}: expected model.safetensors, found none. Pickled weights can run code "
                "and are never loaded; published LaBraM weights become a base by `mteeg convert`."
            ) from error
        raise
    except UnsafeFileError as error:
        if str(place) in str(error):
            raise
        raise UnsafeFileError(f"{place}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        check_base_files(place, options)  # of the Hub: they are in the cache only now
        raise
    finally:
        if before is None:
            os.environ.pop(_NO_CONVERSION, None)
        else:
            os.environ[_NO_CONVERSION] = before


def check_weights(model: nn.Module, files: Iterable[str | Path], complete: bool) -> None:
    """Check the weight files of a model that has no memory yet.

    Parameters
    ----------
    model : torch.nn.Module
        As its configuration says, on the meta device.
    files : iterable of str or Path
        What transformers is about to read.
    complete : bool
        Whether the files must hold every weight of the model, in its shape.

    Raises
    ------
    UnsafeFileError
        Another kind of file, a link out of the folder, a header that lies; or weights that are
        missing or of another shape than the configuration says.
    """
    paths = [Path(file) for file in files]
    expected = model.state_dict()
    kinds = {_COUNTERS.get(tensor.dtype, FLOATS[0]) for tensor in expected.values()}
    kinds = (*FLOATS, *sorted(kinds - set(FLOATS)))
    shapes: dict[str, tuple[int, ...]] = {}
    for path in paths:
        if path.suffix != ".safetensors":
            raise UnsafeFileError(
                f"{path}: expected a .safetensors file; other kinds can run code and are never "
                "loaded."
            )
        if path.parent.resolve() != paths[0].parent.resolve():
            raise UnsafeFileError(f"{path} lies outside the folder of {paths[0]}; it is not read.")
        shapes |= tensor_shapes(path, kinds)
    if complete:
        prefix = f"{getattr(model, 'base_model_prefix', '')}."
        wanted = {name: tuple(tensor.shape) for name, tensor in expected.items()}
        _check_complete(wanted, shapes, prefix, paths[0].parent if paths else None)


def _check_complete(
    expected: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    prefix: str,
    folder: Path | None,
) -> None:
    if not expected.keys() & shapes.keys():  # the base inside a larger model's file
        shapes = {name.removeprefix(prefix): shape for name, shape in shapes.items()}
    faults = [f"{name} is missing" for name in expected if name not in shapes]
    faults += [
        f"{name}: expected {shape}, found {shapes[name]}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise UnsafeFileError(
            f"{folder}: the weights are not those of config.json: {'; '.join(faults[:3])}{more}. "
            "Save or download the base again."
        )
