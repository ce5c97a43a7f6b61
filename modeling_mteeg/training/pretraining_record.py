"""What weights had learned from before a training, as far as the files beside them say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..cards.facts import CONVERSION_FILE, RECORD_FILE, converted_from, mapping
from ..data import read_manifest
from ..model.checked_files import MAX_RESULT_BYTES, read_json


def read_beside(place: str | Path | None, name: str) -> dict[str, Any]:
    """A JSON object beside the weights of a folder or Hub id; empty where there is none."""
    from transformers.utils import cached_file

    options = {
        f"_raise_exceptions_for_{what}": False
        for what in ("missing_entries", "gated_repo", "connection_errors")
    }
    try:
        path = cached_file(str(place), name, **options) if place else None
        content = read_json(Path(path), MAX_RESULT_BYTES) if path else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def pretraining_record(*starts: str | Path | None, file: str | None = None) -> dict[str, Any]:
    """What the weights that a training begins from had learned from.

    Parameters
    ----------
    *starts : str, Path or None
        Folders or Hub ids of what it begins from or learns from: a base, a neural tokenizer; None:
        random weights.
    file : str or None
        A file of weights that is no base.

    Returns
    -------
    dict
        ``known``: whether it is known, back to random weights. ``corpora``: those that are, each
        with ``corpus``, ``labels`` (whether they were used) and ``simulated``. ``labram_file``,
        where it began with a converted LaBraM checkpoint: the file's name.
    """
    if file:
        return {"known": False, "corpora": []}
    found: dict[str, Any] = {"known": True, "corpora": []}
    for one in map(_of_one, filter(None, starts)):
        known = found["known"] and one["known"]
        new = [corpus for corpus in one["corpora"] if corpus not in found["corpora"]]
        found = {**found, **one, "known": known, "corpora": found["corpora"] + new}
    return found


def _of_one(start: str | Path) -> dict[str, Any]:
    """What the weights in a folder had learned from."""
    record = read_beside(start, RECORD_FILE)
    if not record:
        return {
            "known": False,
            "corpora": [],
            **converted_from(read_beside(start, CONVERSION_FILE)),
        }
    before = mapping(record.get("pretraining")) or {"known": False, "corpora": []}
    corpora = before.get("corpora")
    corpora = list(corpora) if isinstance(corpora, list) else []
    if record.get("stage") == "one":
        found = record.get("corpora")
        corpora += found if isinstance(found, list) else []
    else:
        corpora += [
            {
                "corpus": str(task),
                "labels": True,
                "simulated": bool(mapping(data).get("simulation")),
            }
            for task, data in mapping(record.get("data")).items()
        ]
    known = before.get("known") is True and (record.get("stage") != "one" or "corpora" in record)
    return {**before, "known": known, "corpora": corpora}


def unlabelled_corpora(folders: Sequence[str], simulated: bool) -> list[dict[str, Any]]:
    """What folders of unlabelled recordings hold, by their manifests, or recordings of the demo."""
    if simulated:
        return [{"corpus": "recordings of the demo", "labels": False, "simulated": True}]
    manifests = [read_manifest(folder) for folder in folders]
    return [
        {
            "corpus": str(manifest.get("source") or "not stated"),
            "labels": False,
            "simulated": manifest.get("simulated") is True,
        }
        for manifest in manifests
    ]
