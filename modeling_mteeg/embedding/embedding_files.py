"""Embeddings in files: a Parquet table or NumPy arrays, and a sidecar that says how they came."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..model.modeling_mteeg import MteegModel
from ..prediction.events import GENERATOR, finding_facts, part_facts
from ..prediction.finished_results import Options, run_key
from ..prediction.many_recordings import Outcome, check_distinct, make_results, result_name
from ..prediction.origins import adapter_fingerprint
from ..prediction.shown_progress import Progress
from ..settings.disk_faults import writing
from ..settings.plain_json import write_json
from .embed_recording import Embeddings, embed
from .window_features import BASE, base_card, extractor_of

FORMATS = ("parquet", "npz")
_NOTE = "last window"


@dataclasses.dataclass(frozen=True)
class EmbeddingTarget:
    """One recording and task (or the base alone), and the file of its features."""

    recording: Path
    task: str
    table: Path

    @property
    def sidecar(self) -> Path:
        """The file that says how the features came about."""
        return sidecar_path(self.table)

    @property
    def files(self) -> list[Path]:
        """Both files, the table last."""
        return [self.sidecar, self.table]


def plan_embeddings(
    recordings: Sequence[str | Path], tasks: Sequence[str], out: str | Path, format: str = ""
) -> list[EmbeddingTarget]:
    """Name the files of every recording and task.

    Parameters
    ----------
    recordings : sequence of str or Path
    tasks : sequence of str
        Empty: the base alone.
    out : str or Path
        ``*.parquet`` or ``*.npz`` for one recording and at most one task; else a folder, which gets
        ``<recording>_desc-<task>_embeddings.parquet``.
    format : {"parquet", "npz"}, optional
        Of files in a folder; default: Parquet.

    Raises
    ------
    ValueError
        One file for several results, several results under one name, or a name with another ending.
    """
    out, tasks = Path(out), list(tasks) or [BASE]
    ending = out.suffix.removeprefix(".")
    is_file = ending in FORMATS and not out.is_dir()
    if ending and not is_file and not out.is_dir():
        raise ValueError(
            f"--out: expected a name that ends in {' or '.join(f'.{one}' for one in FORMATS)}, or "
            f"a folder (make one first where its name has a dot), found {out}."
        )
    if is_file and len(recordings) * len(tasks) > 1:
        raise ValueError(
            f"{len(recordings)} recordings and {len(tasks)} tasks: expected a folder for the "
            f"embeddings, found the file {out}."
        )
    if is_file and format not in ("", ending):
        raise ValueError(f"--format {format}: expected the ending .{format}, found {out}.")
    targets = []
    for path in map(Path, recordings):
        for task in tasks:
            name = f"{result_name(path, task)}_embeddings.{format or FORMATS[0]}"
            targets.append(EmbeddingTarget(path, task, out if is_file else out / name))
    check_distinct(targets)
    return targets


def sidecar_path(table: Path) -> Path:
    """``x.parquet.json`` of ``x.parquet``, so that ``x.npz`` has another one."""
    return table.with_name(f"{table.name}.json")


def embed_files(
    targets: Sequence[EmbeddingTarget],
    model: MteegModel,
    options: Options,
    own: Mapping[str, Any],
    *,
    progress: bool | Progress = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Embed targets into their files, one recording after the other.

    Parameters
    ----------
    targets : sequence of EmbeddingTarget
        Of :func:`plan_embeddings`; those of one recording stand together.
    model : MteegModel
        In evaluation mode, with the tasks.
    options : Options
        How recordings are read, as of predictions; ``merge`` and ``annotations`` do not apply.
    own : mapping
        ``per``, and of the base alone maybe ``window_s``, ``channels``, ``extractor``: see
        :func:`embed`.
    progress : bool or callable
    tell : callable
        Told a sentence about every target.

    Returns
    -------
    Outcome
        As of :func:`~modeling_mteeg.prediction.result_files.predict_files`.
    """
    alone = all(target.task == BASE for target in targets) and BASE not in model.tasks
    return file_embedder(model, options, own, alone, progress=progress)(targets, tell)


def file_embedder(
    model: MteegModel,
    options: Options,
    own: Mapping[str, Any],
    alone: bool,
    *,
    progress: bool | Progress = False,
) -> Callable[[Sequence[EmbeddingTarget], Callable[[str], None]], Outcome]:
    """:func:`embed_files` as a function of targets and ``tell``, to be called for each recording.

    What the weights are is found out once. ``alone``: the base is asked, not its tasks.
    """
    fingerprint = model.fingerprint()
    if alone:
        extractor = own.get("extractor") or extractor_of(None, model.config.patch_size)
        own = {**own, "extractor": extractor}
        cards = {BASE: base_card(extractor, own.get("window_s"), own.get("channels"))}
        adapters = {BASE: None}
    else:
        cards = dict(model.tasks)
        adapters = {task: adapter_fingerprint(model, task) for task in cards}

    def run_of(target: EmbeddingTarget) -> dict[str, Any]:
        card, adapter = cards[target.task], adapters[target.task]
        run = run_key(target.recording, card, fingerprint, adapter, options)
        return run | {"per": own["per"], "format": target.table.suffix}

    def make(recording: Path, tasks: list[str]) -> dict[str, Embeddings]:
        asked = None if alone else tasks
        return embed(recording, model, asked, progress=progress, **own, **options.reading())

    def write(target: EmbeddingTarget, found: Embeddings, run: dict[str, Any]) -> str:
        write_embeddings(found, target.table, run=run)
        what = target.task if found.task else "the base alone"
        lines = [f"{target.table}: {what}, {len(found.onset_s)} windows of {found.window_s:g} s, "
                 f"{_shape_text(found)}"]  # fmt: skip
        return "\n".join(lines + [f"  {note}" for note in found.notes])

    return lambda targets, tell: make_results(targets, run_of, make, write, options.overwrite, tell)


def _shape_text(found: Embeddings) -> str:
    vector = f"{found.width} features"
    if found.per == "channel":
        return f"{len(found.channels)} channels, each {vector}"
    return f"{vector} of each" if found.per == "window" else f"{vector} of their mean"


def write_embeddings(
    found: Embeddings, path: str | Path, *, run: dict[str, Any] | None = None
) -> list[Path]:
    """Write features and their sidecar; files that are there are replaced.

    Parameters
    ----------
    found : Embeddings
    path : str or Path
        Ends in ``.parquet`` or ``.npz``; its folder is made.
    run : dict, optional
        What identifies the run, to know it again.

    Returns
    -------
    list of Path
        The sidecar and the table, each written whole or not at all, the table last.

    Raises
    ------
    ValueError
        Another ending.
    """
    path = Path(path)
    save = {".parquet": _save_parquet, ".npz": _save_npz}.get(path.suffix)
    if save is None:
        raise ValueError(f"Embeddings: expected a name in .parquet or .npz, found {path}.")
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # where it stands, the sidecar beside it is its own
    sidecar = write_json(sidecar_path(path), embeddings_sidecar(found, run))
    try:
        with writing(path):
            with part.open("wb") as stream:
                save(found, stream)
            os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return [sidecar, path]


def embeddings_columns(found: Embeddings) -> dict[str, np.ndarray]:
    """What stands beside every window's features, a value a window; of the recording one.

    ``recording``, ``onset`` and ``duration`` in seconds from the recording's start; ``cue``, where
    windows begin at cues; ``note``, where any is marked or was added to end with its part. Of the
    recording ``windows``, how many the mean is over, instead of the latter two.
    """
    name = Path(found.recording).name
    if found.per == "recording":
        end_s = found.onset_s[-1:] + found.window_s
        return {
            "recording": np.array([name]), "onset": found.onset_s[:1],
            "duration": end_s - found.onset_s[:1], "windows": np.array([len(found.onset_s)]),
        }  # fmt: skip
    count = len(found.onset_s)
    columns = {
        "recording": np.array([name] * count),
        "onset": found.onset_s,
        "duration": np.full(count, float(found.window_s)),
    }
    if found.cues is not None:
        columns["cue"] = np.array(found.cues)
    ends = np.zeros(count, bool) if found.ends is None else found.ends
    if found.marked or ends.any():
        marked = found.marked or [""] * count
        columns["note"] = np.array([
            "; ".join(text for text in (mark, _NOTE * bool(end)) if text)
            for mark, end in zip(marked, ends, strict=True)
        ])  # fmt: skip
    return columns


def _save_parquet(found: Embeddings, stream: Any) -> None:
    """A row a window, a channel of a window, or a recording; the vector is one column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = embeddings_columns(found)
    if found.per == "channel":
        count = len(found.channels)
        columns = {name: np.repeat(values, count) for name, values in columns.items()}
        columns["channel"] = np.tile(np.array(found.channels), len(found.onset_s))
    flat = pa.array(found.values.reshape(-1), pa.float32())
    vectors = pa.FixedSizeListArray.from_arrays(flat, found.width)
    arrays = {name: pa.array(values) for name, values in columns.items()}
    pq.write_table(pa.table(arrays | {"embedding": vectors}), stream, compression="zstd")


def _save_npz(found: Embeddings, stream: Any) -> None:
    np.savez(
        stream,
        embeddings=found.values,
        channels=np.array(found.channels),
        **embeddings_columns(found),
    )


_COLUMNS = {
    "recording": {"Description": "File of the recording."},
    "onset": {"Description": "Start, from the start of the recording.", "Units": "s"},
    "duration": {"Description": "Length of the window, or from the first to the last.",
                 "Units": "s"},
    "windows": {"Description": "Windows that the mean is over."},
    "channel": {"Description": "Channel of the window."},
    "cue": {"Description": "Text of the event that the window begins at."},
    "note": {"Description": "What is wrong with the window; empty: nothing. bad: under an "
             "annotation of a bad stretch. constant: these channels keep one value. last window: "
             "it ends with its part of the recording, and overlaps the one before."},
}  # fmt: skip
_VECTORS = {
    "window": "Mean over the patch tokens of the window, normalised (pooler_output).",
    "channel": "Mean over the patch tokens of the channel in the window, normalised.",
    "recording": "Mean over the windows of the recording of their vectors.",
}


def embeddings_sidecar(found: Embeddings, run: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the JSON file beside the features says: columns, and how they came about."""
    facts, settings = found.provenance, found.provenance.get("settings", {})
    made = {
        "Name": GENERATOR,
        "Version": __version__,
        "Description": "Features by a model. For research; not a diagnosis.",
        "Task": {"Name": found.task, "Simulated": found.simulated} if found.task else None,
        "Base": facts.get("base"),
        "Adapter": facts.get("adapter"),
        "PackageVersions": facts.get("package_versions"),
        "Device": facts.get("device"),
        "Settings": settings,
    }
    present = [*embeddings_columns(found), *(["channel"] if found.per == "channel" else [])]
    vector = {"Description": _VECTORS[found.per], "Shape": list(found.values.shape)}
    return {
        **{name: _COLUMNS[name] for name in present},
        "embedding": vector,
        "GeneratedBy": [made],
        "Sources": [Path(found.recording).name] if found.recording else [],
        "RecordingDuration": found.recording_s,
        "Windows": len(found.onset_s),
        "Channels": list(found.channels),
        "DerivedChannels": list(found.derived),
        "MissingChannels": list(found.missing),
        "Parts": [part_facts(part, found.recorded_rate_hz) for part in found.parts],
        "Findings": [finding_facts(one, settings.get("bad")) for one in found.findings],
        "Notes": list(found.notes),
        "Run": run or {},
    }
