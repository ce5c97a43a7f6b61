"""Cards put beside the weights, so that what a person wrote there is kept."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..model.adapter_files import ADAPTERS
from ..settings.plain_json import write_text
from .adapter_card import adapter_card
from .base_card import base_card
from .curves import can_draw, has_curve, save_curves
from .facts import (
    CURVES_FILE,
    CardError,
    TaskFacts,
    base_facts,
    is_adapter,
    is_base,
    is_method,
    is_tokenizer,
    method_facts,
    task_facts,
)
from .metadata import default_license
from .method_card import method_card
from .tokenizer_card import tokenizer_card

CARD_NAME = "README.md"
_MARK = "<!-- modeling_mteeg {}{}: made from the files beside it; a changed text is kept -->"
_MARKED = re.compile(r"\n" + _MARK.format("([0-9a-f]{16})", "(?: licence ([^ :]+))?") + r"\n\Z")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")


def write_cards(
    folder: str | Path,
    license_id: str | None = None,
    tasks: Collection[str] | None = None,
    repo: str = "",
) -> list[Path]:
    """Write ``README.md`` of a base and of the tasks beside it, of one task, of a tokenizer,
    or of a method without a base.

    Everything in it comes from the files of the folder; what they do not hold is called not
    recorded. Where matplotlib is installed and the epochs of a training are recorded, their curves
    lie beside the card.

    Parameters
    ----------
    folder : str or Path
        A base (``config.json`` and weights, tasks in ``adapters/``), a task's folder, a neural
        tokenizer's, or that of another method (``training.json``, tasks in ``tasks/``).
    license_id : str, optional
        Licence of the weights as the Hub names it (``mit``, ``cc-by-4.0``). Default:
        that of the card that is there, if it was given; else ``apache-2.0`` where weights were
        trained from random values on simulated recordings alone, and ``unknown`` otherwise.
    tasks : collection of str, optional
        Of a base: beside its own card those of these tasks alone; by default of all.
    repo : str
        ``owner/repo`` that the folder goes to, of a task beside its base that of the base: the code
        in the cards names it.

    Returns
    -------
    list of Path
        The cards written. A card that somebody wrote or changed is kept, and is not among them.

    Raises
    ------
    CardError
        Neither a base nor a task, or its files are damaged.
    ValueError
        The licence is no name of the Hub's.
    """
    folder = Path(folder)
    if license_id is not None and not _LICENSE.fullmatch(license_id):
        raise ValueError(
            f"license_id: expected a name such as 'mit' or 'cc-by-4.0' "
            f"(https://hf.co/docs/hub/repositories-licenses), found {license_id!r}."
        )
    if is_adapter(folder) or is_method(folder):
        return _write_one(folder, license_id, repo)
    if not is_base(folder):
        raise CardError(
            f"{folder}: expected a base (config.json, model.safetensors) or a task (task.json, "
            "head.safetensors); found neither."
        )
    places = filter(is_adapter, sorted((folder / ADAPTERS).glob("*")))
    wanted = [place for place in places if tasks is None or place.name in tasks]
    return [path for place in (folder, *wanted) for path in _write_one(place, license_id, repo)]


def is_own_card(text: str) -> bool:
    """Whether a card is as :func:`write_cards` left it."""
    mark = _MARKED.search(text)
    return mark is not None and mark[1] == _digest(text[: mark.start()])


def _write_one(folder: Path, license_id: str | None, repo: str) -> list[Path]:
    """The card of one folder, unless it has one that somebody wrote."""
    path = folder / CARD_NAME
    text = path.read_text("utf-8", errors="replace") if path.exists() else None
    kept = text is not None and not is_own_card(text)
    if kept and not is_base(folder):
        return []
    make, record, tasks = _facts(folder)  # a damaged base is an error also where its card is kept
    if kept:
        return []
    given = license_id or (_MARKED.search(text)[2] if text is not None else None)
    picture = _draw(folder, {facts.card.name: facts for facts in tasks}, record.get("epoch"))
    card = make(given or default_license(tasks, record), picture, repo=repo)
    return [_write(folder, card, given)]


def _facts(folder: Path) -> tuple[Callable[..., str], Mapping[str, Any], Sequence[TaskFacts]]:
    """What makes the card of a folder, the record of its training, and its tasks."""
    if is_adapter(folder):
        task = task_facts(folder)
        return functools.partial(adapter_card, task), task.training, [task]
    if is_method(folder):
        record, tasks = method_facts(folder)
        return functools.partial(method_card, record, tasks), record, tasks
    base = base_facts(folder)
    make = tokenizer_card if is_tokenizer(base.config) else base_card
    return functools.partial(make, base), base.training, base.tasks


def _write(folder: Path, text: str, license_id: str | None) -> Path:
    mark = _MARK.format(_digest(text), f" licence {license_id}" if license_id else "")
    return write_text(folder / CARD_NAME, f"{text}\n{mark}\n")


def _draw(folder: Path, tasks: dict[str, TaskFacts], selected: object) -> bool:
    """Draw the curves if there are any; whether the picture lies there.

    The picture of the same curves stays; that of others, and a stranger's, goes.
    """
    path = folder / CURVES_FILE
    drawn = {name: facts for name, facts in tasks.items() if has_curve(facts.curve)}
    shown = [(name, facts.curve, facts.card.monitor, facts.card.simulated)
             for name, facts in drawn.items()]  # fmt: skip
    mark = _digest(repr((shown, selected)))
    if drawn and path.is_file() and mark.encode() in path.read_bytes():
        return True
    path.unlink(missing_ok=True)
    if not drawn or not can_draw():
        return False
    part = folder / f".{CURVES_FILE}.part.png"
    part.unlink(missing_ok=True)
    save_curves(drawn, selected, part, mark)
    os.replace(part, path)
    return True


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
