"""Reads checkpoint files written by other programs, without running any code they carry.

``torch.save`` writes pickles, and a pickle can name any function and have it called. Here nothing
that a pickle names is called (:mod:`~modeling_mteeg.conversion.pickle_values`), and a file that
names more than the short list below is refused. Its tensors are made once they are known to be no
larger than the file (:mod:`~modeling_mteeg.conversion.claimed_tensors`).
"""

from __future__ import annotations

import hashlib
import pickletools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..model.checked_files import COUNTS, FLOATS, shortened, tensor_shapes
from ..model.visible_text import PlainError
from .claimed_tensors import ClaimError, read_tensors
from .pickle_values import Inert, PickleReader, TensorClaim
from .torch_files import LEGACY_MAGIC, open_archive, open_legacy

WEIGHT_ENTRIES = ("model", "module", "state_dict", "model_state_dict")
"""Names under which training programs store the state dict, in the order they are tried."""

_NAMES = re.compile(
    r"collections\.(OrderedDict|Counter)|argparse\.Namespace|_codecs\.encode"
    r"|(builtins|__builtin__)\.(set|frozenset|slice|complex|bytearray)"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter)|torch\.(Size|device|Tensor)"
    r"|torch(\.cuda)?\.[A-Z]\w*Storage|torch\.storage\.\w*Storage|torch\.nn\.parameter\.Parameter"
    r"|torch\.(b?float|u?int|complex)\d\w*|torch\.(bool|float|half|double|long|int|short)"
    r"|torch\.serialization\._get_layout"
    r"|numpy\.(dtype|ndarray|_?core\.multiarray\.(scalar|_reconstruct))"
    r"|pathlib\.(_local\.)?(Pure)?(Posix|Windows)?Path"
)
"""Functions and classes that stand for tensors and plain values."""
_INTEGERS = ("I8", "U8", "I16", "U16", "I32", "U32", "U64")
_LONGEST_NAME = 1000
_MOST = 4  # lengths of the file that its tensors may have together; some lie in the same numbers


class CheckpointError(PlainError):
    """A checkpoint file that cannot be read, or that is refused."""


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
        return sha256_of(self.path)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
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
        those that tensors and plain values need; it claims more than it has; or it holds no state
        dict.
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
    if layout == "safetensors":
        return _checkpoint(path, layout, _read_safetensors(path))
    return _read_torch(path, layout)


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
    return LEGACY_MAGIC in opcodes


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        tensor_shapes(path.resolve(), (*FLOATS, *COUNTS, *_INTEGERS))  # the header, of bounded size
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: damaged safetensors file ({error}).") from error


def _read_torch(path: Path, layout: str) -> Checkpoint:
    """Content of a ``torch.save`` file; its names are checked before its numbers are read."""
    reader = PickleReader()
    opened = open_archive if layout == "torch archive" else open_legacy
    try:
        with opened(path, reader) as (content, storages):
            _check_names(path, reader)
            found = _checkpoint(path, layout, content)
            claims = {n: v for n, v in found.state_dict.items() if type(v) is TensorClaim}
            found.state_dict.update(read_tensors(claims, storages, _MOST * path.stat().st_size))
            return found
    except CheckpointError:
        raise
    except Exception as error:  # whatever a damaged file makes the parsers trip over
        _check_names(path, reader)
        raise CheckpointError(
            f"{path}: damaged or truncated checkpoint, or not one of torch.save: {_reason(error)}."
        ) from error


def _check_names(path: Path, reader: PickleReader) -> None:
    refused = sorted(name for name in reader.names if not _NAMES.fullmatch(name))
    if refused:
        more = f" and {len(refused) - 10} more" if len(refused) > 10 else ""
        raise CheckpointError(
            f"{path}: refused, because loading it would run code or build objects beyond tensors "
            f"and plain values. It names: {', '.join(map(shortened, refused[:10]))}{more}. Save "
            "the bare state dict with torch.save, or in safetensors format, where you trust the "
            "file."
        )


def _reason(error: Exception) -> str:
    """An error in one line; another one's, with its type."""
    text = shortened(error).partition("\n")[0].rstrip(".")
    if "Bad CRC-32" in text:
        return f"a checksum is wrong ({text})"
    return (
        text
        if type(error) in (ValueError, ClaimError)
        else f"{text or 'stopped'} ({type(error).__name__})"
    )


def _checkpoint(path: Path, layout: str, content: Any) -> Checkpoint:
    """Find the state dict in what a file holds."""
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: expected a state dict or a dict that holds one, found {_words(content)}."
        )
    _check_keys(path, content)
    holders = [n for n in WEIGHT_ENTRIES if isinstance(content.get(n), Mapping) and content[n]]
    if not holders and any(isinstance(v, (torch.Tensor, TensorClaim)) for v in content.values()):
        return Checkpoint(path, layout, None, dict(content))
    if not holders:
        raise CheckpointError(
            f"{path}: expected a state dict, or one under {', '.join(WEIGHT_ENTRIES)}; found "
            f"{shortened(', '.join(content) or 'an empty dict')}."
        )
    _check_keys(path, content[holders[0]])
    others = {name: _words(value) for name, value in content.items() if name != holders[0]}
    return Checkpoint(path, layout, holders[0], dict(content[holders[0]]), others)


def _check_keys(path: Path, content: Mapping[Any, Any]) -> None:
    """Names of tensors, and of what lies beside them, are text of bounded length."""
    for name in content:
        if type(name) is not str or len(name) > _LONGEST_NAME:
            raise CheckpointError(
                f"{path}: expected names that are text of at most {_LONGEST_NAME} characters, "
                f"found {shortened(repr(name), 80)}."
            )


def _words(value: Any) -> str:
    """What a value is, for messages."""
    if isinstance(value, Inert) and value.name == "argparse.Namespace":
        number = len(value.state) if isinstance(value.state, Mapping) else 0
        return f"command-line arguments ({number} values)"
    if isinstance(value, Mapping):
        return f"a dict of {len(value)} entries"
    if value is None or isinstance(value, (bool, int, float)):
        return shortened(repr(value))
    if isinstance(value, Inert):
        return "an object of another library, not loaded"
    if isinstance(value, (torch.Tensor, TensorClaim)):
        return "a tensor"
    return f"a value of type {type(value).__name__}"
