"""Reads checkpoint files written by other programs, without running any code they carry.

``torch.save`` writes pickles, and a pickle can name any function and have it called. Here the names
in the file are listed first and compared with the short list below; one name more and the file is
refused. What passes is loaded by PyTorch's restricted unpickler, in which the few harmless types of
other libraries are replaced by :class:`Inert`, which only keeps what the file says.
"""

from __future__ import annotations

import argparse
import hashlib
import pickletools
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

WEIGHT_ENTRIES = ("model", "module", "state_dict", "model_state_dict")
"""Names under which training programs store the state dict, in the order they are tried."""

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # a legacy file starts with this number, pickled
_LEGACY_PICKLES = 5  # magic number, protocol, machine, the object, the list of storages
_TORCH_NAMES = re.compile(
    r"collections\.(OrderedDict|Counter)|argparse\.Namespace|_codecs\.encode"
    r"|(builtins|__builtin__)\.(set|complex|bytearray)"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter)|torch\.(Size|device|Tensor)"
    r"|torch(\.cuda)?\.[A-Z]\w*Storage|torch\.storage\.\w*Storage|torch\.nn\.parameter\.Parameter"
    r"|torch\.(b?float|u?int|complex)\d+|torch\.(bool|float|half|double|long|int|short)"
    r"|torch\.serialization\._get_layout"
)
_INERT_NAMES = (
    *(
        f"{module}.{name}"
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name in ("scalar", "_reconstruct")
    ),
    *("numpy.dtype", "numpy.ndarray", "builtins.frozenset", "builtins.slice", "__builtin__.slice"),
    "__builtin__.frozenset",
    *(
        f"{module}.{name}"
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    ),
)


class CheckpointError(ValueError):
    """A checkpoint file that cannot be read, or that is refused."""


class Inert:
    """Stands in for an object of another library: keeps what the pickle says, does nothing."""

    def __init__(self, *args: Any):
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"Inert{self.args!r}"


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file.

    Parameters
    ----------
    path : Path
        The file.
    layout : str
        ``"torch archive"``, ``"torch legacy"`` or ``"safetensors"``.
    entry : str or None
        Name of the top-level entry that holds the state dict; None where the file is one itself.
    state_dict : dict of str to object
        Keys and values as found; values that are not tensors are the reader's to refuse.
    others : dict of str to str
        The other top-level entries, and in words what each is.
    """

    path: Path
    layout: str
    entry: str | None
    state_dict: dict[str, Any]
    others: dict[str, str] = field(default_factory=dict)

    def sha256(self) -> str:
        """Hash of the file, 64 hexadecimal digits."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint file.

    Parameters
    ----------
    path : str or Path
        A file written by ``torch.save`` (archive or legacy format) or in safetensors format. Its
        content is a state dict, or a dict that holds one under a name of ``WEIGHT_ENTRIES``.

    Returns
    -------
    Checkpoint
        Tensors on the CPU, in the dtype of the file.

    Raises
    ------
    CheckpointError
        No such file; damaged, truncated or of another format; it names functions or classes beyond
        those that tensors and plain values need; or it holds no state dict.
    """
    path = Path(path)
    if path.is_dir():
        kinds = (".pth", ".pt", ".bin", ".safetensors")
        inside = sorted(p.name for p in path.iterdir() if p.suffix in kinds)
        hint = f"it holds {', '.join(inside)}" if inside else "it holds no checkpoint file"
        raise CheckpointError(f"Expected a checkpoint file, found the folder {path}: {hint}.")
    if not path.is_file():
        raise CheckpointError(f"Expected a checkpoint file, found nothing at {path}.")
    layout = _layout(path)
    content = _read_safetensors(path) if layout == "safetensors" else _read_torch(path, layout)
    return _checkpoint(path, layout, content)


def pickled_names(file: BinaryIO, pickles: int = 1) -> list[str]:
    """List the functions and classes that pickles name, without loading them.

    Parameters
    ----------
    file : binary file
        Positioned at the first pickle; the others follow it directly.
    pickles : int
        How many pickles to go through; fewer where the file ends before.

    Returns
    -------
    list of str
        ``module.name``, sorted, each once.

    Raises
    ------
    ValueError
        Not a pickle, or a damaged one.
    """
    names: set[str] = set()
    for _ in range(pickles):
        if not file.read(1):
            break
        file.seek(-1, 1)
        strings: list[str] = []
        for opcode, argument, _position in pickletools.genops(file):
            if isinstance(argument, str) and opcode.name not in ("GLOBAL", "INST"):
                strings.append(argument)
            elif opcode.name in ("GLOBAL", "INST"):
                names.add(argument.replace(" ", ".", 1))
            elif opcode.name == "STACK_GLOBAL":  # module and name were pushed as strings before
                names.add(".".join(strings[-2:]) or "a computed name")
            elif opcode.name in ("EXT1", "EXT2", "EXT4"):
                names.add(f"extension registry entry {argument}")
    return sorted(names)


def _layout(path: Path) -> str:
    """Format of a file, from its first bytes."""
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"PK\x03\x04"):
        return "torch archive"
    if _starts_with_magic(start):
        return "torch legacy"
    if path.suffix == ".safetensors" or start[8:9] == b"{":
        return "safetensors"
    if start[257:262] == b"ustar":
        raise CheckpointError(
            f"{path}: a tar archive, as PyTorch wrote before version 0.2. Load it with an old "
            "PyTorch and save its state dict again."
        )
    if start.startswith(b"\x80"):
        raise CheckpointError(
            f"{path}: refused, a bare pickle and not a file written by torch.save (or the damaged "
            "start of one). Save the state dict with torch.save or in safetensors format."
        )
    raise CheckpointError(
        f"{path}: expected a file written by torch.save or in safetensors format; its first bytes "
        f"are {start[:8]!r}. It is damaged, or a download that did not complete."
    )


def _starts_with_magic(start: bytes) -> bool:
    """Whether the first pickle of a file is the number that marks PyTorch's legacy format."""
    if not start.startswith(b"\x80"):
        return False
    try:
        opcodes = [argument for _, argument, _ in pickletools.genops(start)]
    except ValueError:
        return False
    return _LEGACY_MAGIC in opcodes


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: damaged safetensors file ({error}).") from error


def _read_torch(path: Path, layout: str) -> Any:
    """Content of a ``torch.save`` file, after its names have been checked."""
    try:
        names = _archive_names(path) if layout == "torch archive" else _legacy_names(path)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a damaged file makes the parsers trip over
        raise CheckpointError(f"{path}: damaged or truncated checkpoint ({error}).") from error
    refused = [n for n in names if not _TORCH_NAMES.fullmatch(n) and n not in _INERT_NAMES]
    if refused:
        raise CheckpointError(
            f"{path}: refused, because loading it would run code or build objects beyond tensors "
            f"and plain values. It names: {', '.join(refused)}. Save the bare state dict with "
            "torch.save, or in safetensors format, where you trust the file."
        )
    allowed = [argparse.Namespace, *((Inert, name) for name in _INERT_NAMES)]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # as above; nothing of the file has been run
        raise CheckpointError(
            f"{path}: damaged or truncated checkpoint, or one of an unknown kind "
            f"({type(error).__name__}: {_reason(error)})."
        ) from None


def _reason(error: Exception) -> str:
    """The telling line of PyTorch's message, without its advice to switch the protection off."""
    text = str(error).split("WeightsUnpickler error:")[-1].strip()
    return text.split("\n")[0][:200]


def _archive_names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        if any(m.endswith("/constants.pkl") or "/code/" in m for m in members):
            raise CheckpointError(
                f"{path}: a TorchScript program, which is code. Expected a state dict."
            )
        pickles = [m for m in members if m.count("/") == 1 and m.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError(
                f"{path}: a zip archive, but not one written by torch.save (no single data.pkl)."
            )
        damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"{path}: damaged, the checksum of its part {damaged} is wrong.")
        with archive.open(pickles[0]) as file:
            return pickled_names(file)


def _legacy_names(path: Path) -> list[str]:
    with path.open("rb") as file:
        return pickled_names(file, _LEGACY_PICKLES)


def _checkpoint(path: Path, layout: str, content: Any) -> Checkpoint:
    """Find the state dict in what a file holds."""
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: expected a state dict or a dict that holds one, found {_words(content)}."
        )
    content = {str(name): value for name, value in content.items()}
    holders = [n for n in WEIGHT_ENTRIES if isinstance(content.get(n), Mapping) and content[n]]
    if not holders and any(isinstance(value, torch.Tensor) for value in content.values()):
        return Checkpoint(path, layout, None, content)
    if not holders:
        raise CheckpointError(
            f"{path}: expected a state dict, or one under {', '.join(WEIGHT_ENTRIES)}; found "
            f"{', '.join(content) or 'an empty dict'}."
        )
    weights = {str(name): value for name, value in content.pop(holders[0]).items()}
    others = {name: _words(value) for name, value in content.items()}
    return Checkpoint(path, layout, holders[0], weights, others)


def _words(value: Any) -> str:
    """What a value is, for messages."""
    if isinstance(value, argparse.Namespace):
        return f"command-line arguments ({len(vars(value))} values)"
    if isinstance(value, Mapping):
        return f"a dict of {len(value)} entries"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, Inert):
        return "an object of another library, not loaded"
    return f"a value of type {type(value).__name__}"
