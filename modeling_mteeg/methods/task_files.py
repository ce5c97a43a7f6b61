"""What a method without a LaBraM leaves of its tasks: a folder each, of card and weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ..cards import RECORD_FILE, write_cards
from ..model.checked_files import COUNTS, FLOATS, tensor_shapes
from ..model.finite_weights import check_finite
from ..model.task_card import TaskCard
from ..settings.plain_json import plain, write_json
from .method import Method

WEIGHTS_FILE = "weights.safetensors"


def save_tasks(
    folder: Path,
    cards: Mapping[str, TaskCard],
    states: Mapping[str, Mapping[str, torch.Tensor]],
    results: Mapping[str, Mapping[str, Any]],
    record: Mapping[str, Any] | None,
) -> None:
    """Write ``tasks/<task>`` with card and weights, the record and the model card.

    Parameters
    ----------
    folder : Path
    cards : mapping of str to TaskCard
    states : mapping of str to mapping of str to torch.Tensor
        Every task's weights.
    results, record : mapping
        As of :meth:`~modeling_mteeg.methods.Method.save`.
    """
    for task, card in cards.items():
        place = Method.task_folder(folder, task)
        place.mkdir(parents=True)
        # Copies, since tensors may be views of one another, which safetensors refuses.
        state = {name: tensor.cpu().contiguous().clone() for name, tensor in states[task].items()}
        save_file(state, place / WEIGHTS_FILE)
        card.replace(results=plain(results[task]), adapter="none").save(place)
    if record is not None:
        write_json(folder / RECORD_FILE, record)
        write_cards(folder)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """What :func:`save_tasks` left of a task, or another safetensors file of a method's folder.

    Raises
    ------
    UnsafeFileError
        A link out of the folder, damaged, or with numbers that are not finite.
    OSError
        It cannot be read.
    """
    tensor_shapes(path, (*FLOATS, *COUNTS))
    weights = load_file(path)
    check_finite(weights, path)
    return weights
