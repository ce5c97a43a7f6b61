"""What a result was made of, by which a finished one is known again and is not made twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..model.bids_sidecars import find_sidecars
from ..model.checked_files import MAX_RESULT_BYTES, read_json
from ..model.file_choice import absent_text, named_by
from ..model.task_card import TaskCard
from ..recordings.bids_electrodes import electrode_files
from .cues import ANNOTATIONS, EVENTS, own_table
from .engine import BATCH_SIZE
from .events import GENERATOR, MERGED_CUES
from .task_plan import Asked

_COMPANIONS = (".eeg", ".dat", ".vmrk", ".fdt")
_PIECE = 2**16  # bytes from the start and the end of a file by which it is known again
_NOT_OF_A_RUN = ("results", "base")
_MOST_READ = 256  # files of a folder that are read; of all, names and sizes count


@dataclasses.dataclass(frozen=True)
class Options:
    """How recordings are predicted; see :func:`engine.predict` and :func:`events.event_spans`."""

    stride_s: float | None = None
    last_window: bool = False
    at: str | None = None
    at_offset_s: float = 0.0
    at_labels: Sequence[str] | None = None
    bad: str = "mark"
    batch_size: int = BATCH_SIZE
    allow_missing: int | None = None
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unit: str | None = None
    interpolate: bool | str = False
    merge: bool = False
    annotations: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        cues = None if self.at is None else ()
        Asked(self.stride_s, self.last_window, self.allow_missing, self.rename, self.bad, cues,
              self.at_offset_s)  # fmt: skip
        if self.at is None and (self.at_labels is not None or self.at_offset_s):
            raise ValueError("--at-labels and --at-offset go with --at.")
        if self.at is not None and self.merge:
            raise ValueError(MERGED_CUES)

    def reading(self) -> dict[str, Any]:
        """The keywords of :func:`engine.predict` among them."""
        files = ("merge", "annotations", "overwrite")
        fields = (field.name for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name in fields if name not in files}


def run_key(
    recording: Path, card: TaskCard, base: str, adapter: str | None, options: Options
) -> dict[str, Any]:
    """What a result depends on, by which a finished one is known again.

    Parameters
    ----------
    recording : pathlib.Path
    card : TaskCard
    base, adapter : str or None
        Fingerprints of the weights; None: the base alone.
    options : Options
    """
    fields = card.to_dict()
    text = json.dumps({key: fields[key] for key in sorted(fields) if key not in _NOT_OF_A_RUN})
    return {
        "recording": _file_key(recording),
        "base": base,
        "adapter": adapter,
        "task": card.name,
        "card": hashlib.sha256(text.encode()).hexdigest(),
        "stride_s": options.stride_s,
        "last_window": options.last_window,
        "at": _cues_key(own_table(options.at, recording)),
        "at_offset_s": options.at_offset_s,
        "at_labels": None if options.at_labels is None else list(options.at_labels),
        "bad": options.bad,
        "allow_missing": options.allow_missing,
        "rename": dict(options.rename),
        "unit": options.unit,
        "interpolate": _positions_key(recording, options.interpolate),
        "merge": options.merge,
        "version": version(GENERATOR),
    }


def _cues_key(at: str | None) -> str | None:
    """Hash of a table of events; of the recording's own annotations their name."""
    if at is None or at == ANNOTATIONS:
        return at
    try:
        return hashlib.sha256(Path(at).read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"at (--at): expected {ANNOTATIONS!r}, {EVENTS!r} or a table of events, found no file "
            f"{at}."
        ) from error


def _positions_key(path: Path, interpolate: bool | str) -> bool | str:
    """What tells where electrodes are: a montage, or a hash of BIDS's files, if there are any."""
    files = electrode_files(path) if interpolate is True else []
    if not files:
        return interpolate
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _file_key(path: Path) -> str:
    """Hash of sizes, starts and ends of a recording's files, and of its BIDS sidecars.

    Of a recording that is a folder (``.mff``, ``.ds``) also of the names of the files in it.
    """
    if not path.exists():
        raise FileNotFoundError(absent_text(path))
    digest = hashlib.sha256()
    beside = [path.with_suffix(ending) for ending in _COMPANIONS]
    if path.suffix.lower() in (".vhdr", ".ahdr"):  # its files may have other names
        named = (path.parent / name for name in named_by(path))
        beside += [file for file in named if os.path.isfile(file)]  # False of impossible names
    beside += find_sidecars(path, "channels")
    for file in dict.fromkeys([path, *beside]):
        if file.is_file():
            _add_file(digest, file, file.suffix)
    for number, (name, file) in enumerate(_files_below(path)):
        _add_file(digest, file, name, read=number < _MOST_READ)
    return digest.hexdigest()


def _files_below(folder: Path) -> list[tuple[str, Path]]:
    """Files of a recording that is a folder, by name in it; hidden ones are no part of it."""
    files = ((file.relative_to(folder), file) for file in folder.rglob("*") if file.is_file())
    return sorted(
        (name.as_posix(), file)
        for name, file in files
        if not any(part.startswith(".") for part in name.parts)
    )


def _add_file(digest: Any, file: Path, name: str, read: bool = True) -> None:
    """Add a file's name and size to a hash, and its start and end if it is read."""
    size = file.stat().st_size
    digest.update(f"{name} {size} ".encode())
    if read:
        with file.open("rb") as stream:
            digest.update(stream.read(_PIECE))
            stream.seek(max(0, size - _PIECE))
            digest.update(stream.read(_PIECE))


def is_finished(files: Sequence[Path], sidecar: Path, run: dict[str, Any], overwrite: bool) -> bool:
    """Whether all files of a result are there, made by the same run.

    Parameters
    ----------
    files : sequence of pathlib.Path
        All that are asked for, the sidecar too.
    sidecar : pathlib.Path
        Names the run that it was made by.
    run : dict
        Of :func:`run_key`.
    overwrite : bool
        Whether files of another run may be replaced.

    Raises
    ------
    ValueError
        Files of another run, or of something else, are there and may not be overwritten.
    """
    existing = [file for file in files if file.exists()]
    if not existing:
        return False
    noted = _noted_run(sidecar)
    if noted == run:
        return len(existing) == len(files)
    left_over = noted is not None and existing == [sidecar]  # of a run that was interrupted
    if overwrite or left_over:
        return False
    text = ""
    if noted:
        differing = [key for key in run if noted.get(key) != run[key]]
        text = f", made with another {', '.join(differing)}"
    raise ValueError(
        f"{', '.join(map(str, existing))} there already{text}. Pass --overwrite to replace, or "
        "another --out."
    )


def _noted_run(sidecar: Path) -> dict[str, Any] | None:
    """The run that a sidecar of this package names; None where there is none."""
    try:
        fields = read_json(sidecar, MAX_RESULT_BYTES)
        ours = fields["GeneratedBy"][0]["Name"] == GENERATOR
        return dict(fields["Run"]) if ours else None
    except (OSError, ValueError, LookupError, TypeError):
        return None
