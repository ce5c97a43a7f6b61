"""Tasks whose tensors lie among the weights of a base, as a Trainer's checkpoint holds them.

To go on from a checkpoint, transformers' Trainer needs all that it trains in one file. What such
tensors mean (classes, channels, ranks) then stands in the configuration, under
``tasks_in_weights``, so that the tasks can be loaded like any other. Tensors without such words are
refused: they would be lost without one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from .adapter_files import ADAPTERS, AdapterError
from .adapter_options import AdapterOptions
from .adapter_sharing import AdapterSharing
from .checked_files import shortened, tensor_shapes
from .task_card import TaskCard
from .weight_names import plain_name, task_of

Claim = tuple[TaskCard, AdapterOptions]
"""What a task is, and what its adapter is made of."""


def claims_of(model: Any, base: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The tasks of a model in plain types, for ``tasks_in_weights`` of a configuration.

    Results stay where the task and its ``base`` (of a card) are those of the results.
    """
    claims = {}
    for name, card in model.tasks.items():
        stale = model.results_are_stale(name, model.adapter_state_dict(name), base)
        card = card.replace(base=None, results=None if stale else card.results)
        options = model.adapter_sharing.get(name) or model.adapter_options[name]
        claims[name] = {"card": card.to_dict(), "options": options.to_dict()}
    return claims


def read_claim(fields: Mapping[str, Any] | None, name: str, where: str) -> Claim:
    """A task of ``tasks_in_weights``, checked.

    Raises
    ------
    AdapterError
        It is not what :func:`claims_of` writes.
    """
    claim = (fields or {}).get(name)
    try:
        card = TaskCard.from_dict(claim["card"])
        options = AdapterSharing(**claim["options"])
        if card.name != name:
            raise ValueError(f"the card is of the task {card.name!r}")
    except (LookupError, TypeError, ValueError) as error:
        raise AdapterError(
            f"{where}: tasks_in_weights: {name}: expected a task card and options of an adapter, "
            f"found something else ({shortened(error)}). Save or download the folder again."
        ) from error
    return card, options


def as_in(model: Any, claims: Iterable[Claim], state: Mapping[str, torch.Tensor]) -> Any:
    """A model like ``model`` that has the tensors of ``state`` itself, and tasks as claimed.

    Nothing is allocated: the shapes are compared first, then the very tensors are taken.

    Parameters
    ----------
    model : MteegModel
        Gives class and configuration.
    claims : iterable of (TaskCard, AdapterOptions)
    state : mapping of str to torch.Tensor
        All weights, of the tasks too, under the names of a model with or without adapters and
        compiled layers; further tensors are left alone.

    Raises
    ------
    ValueError
        A weight is missing or has another shape.
    """
    with torch.device("meta"):
        twin = type(model)(copy.deepcopy(model.config))
        for card, options in claims:
            twin._insert(card, options)
    state = {plain_name(name): tensor for name, tensor in state.items()}
    names = {plain_name(name): name for name in twin.state_dict()}
    shapes = {name: tuple(tensor.shape) for name, tensor in twin.state_dict().items()}
    faults = [
        f"{plain}: expected shape {shapes[name]}, "
        f"found {tuple(state[plain].shape) if plain in state else 'nothing'}"
        for plain, name in names.items()
        if plain not in state or tuple(state[plain].shape) != shapes[name]
    ]
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise ValueError(f"{'; '.join(faults[:3])}{more}")
    twin.load_state_dict({name: state[plain] for plain, name in names.items()}, assign=True)
    return twin.eval()


def write_task_of_weights(model: Any, files: Iterable[Path], name: str, place: Path) -> Path:
    """Write a task that lies among a base's weights as a folder of its own.

    Parameters
    ----------
    model : MteegModel
        Loaded from ``files``.
    files : iterable of Path
        The base's weights, checked.
    name : str
        A task of its configuration's ``tasks_in_weights``.
    place : Path
        Made here.

    Raises
    ------
    AdapterError
        The task is not what the configuration says.
    """
    paths = list(files)
    where = str(paths[0].parent) if paths else str(model.config._name_or_path)
    claim = read_claim(model.config.tasks_in_weights, name, where)
    gone = [path for path in paths if not path.is_file()]
    if gone:  # a Trainer deletes older checkpoints (save_total_limit)
        raise AdapterError(
            f"{gone[0]} is not there any more, and with it the task {name!r}: load a checkpoint "
            "that is, and its tasks with it."
        )
    state = {key: tensor for path in paths for key, tensor in load_file(path).items()}
    try:
        twin = as_in(model, [claim], state)
    except ValueError as error:
        raise AdapterError(
            f"{where}: the tensors of task {name!r} are not those of its card in config.json: "
            f"{error}. Save or download the folder again."
        ) from error
    return twin.save_adapter(name, place, model_card=False)


def task_names(paths: Iterable[str | Path]) -> set[str]:
    """Tasks of which weight files hold tensors, by their headers."""
    owners = (task_of(name) for path in paths for name in tensor_shapes(Path(path)))
    return {owner for owner in owners if owner is not None}


def refuse_unnamed(found: Iterable[str], named: Iterable[str], where: str) -> None:
    """Raise where weights hold tensors of tasks that nothing says anything about.

    Raises
    ------
    AdapterError
        Says what to do.
    """
    lost = sorted(set(found) - set(named))
    if lost:
        raise AdapterError(
            f"{where}: the weights hold tensors of {', '.join(lost)} (adapters, heads), and "
            f"neither config.json nor {ADAPTERS}/ says what these tasks are. As a base alone the "
            "folder would lose them. Make the model that they come from: "
            "MteegModel.from_pretrained(its base), add_adapter() with the same labels and options; "
            "fill it, model.load_state_dict(safetensors.torch.load_file(FILE), strict=False); then "
            "model.save_pretrained(a new folder) writes the base and every task."
        )
