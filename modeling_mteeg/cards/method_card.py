"""The card of a method that has no base: tasks with their results, how they were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import sections as parts
from .facts import TaskFacts
from .metadata import method_header


def method_card(
    training: Mapping[str, Any], tasks: Sequence[TaskFacts], license_id: str, has_picture: bool,
    repo: str = "",
) -> str:  # fmt: skip
    """The whole text.

    Parameters
    ----------
    training : mapping
        Record of the training (``modeling_mteeg.training.record``).
    tasks : sequence of TaskFacts
    license_id, has_picture, repo
        As for :func:`modeling_mteeg.cards.base_card.base_card`.
    """
    title = f"{training.get('method')}, {len(tasks)} task{'' if len(tasks) == 1 else 's'}"
    simulated = [facts.card.name for facts in tasks if facts.card.simulated]
    chapters = {
        "Results": parts.results(tasks),
        "Data": parts.data(tasks),
        "Training": parts.training(training, has_picture),
        **parts.closing(bool(simulated), training, backbone=parts.has_backbone(training)),
    }
    return parts.whole_card(
        method_header(training, tasks, title, license_id),
        title,
        training,
        f"{', '.join(simulated)} {'was' if len(simulated) == 1 else 'were'}" if simulated else "",
        [
            f"EEG classification by {training.get('method_title')}. `tasks/` has a folder a task.",
            parts.license_text(license_id, tasks),
        ],
        chapters,
    )
