"""The card of a method that has no base: tasks with their results, how they were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import sections as parts
from .facts import TaskFacts
from .metadata import default_license, method_header


def method_card(
    training: Mapping[str, Any],
    tasks: Sequence[TaskFacts],
    license_id: str | None,
    has_picture: bool,
) -> str:
    """The whole text.

    Parameters
    ----------
    training : mapping
        Record of the training (:mod:`modeling_mteeg.training.record`).
    tasks : sequence of TaskFacts
    license_id, has_picture
        As for :func:`modeling_mteeg.cards.base_card.base_card`.
    """
    title = f"{training.get('method')}, {len(tasks)} task{'' if len(tasks) == 1 else 's'}"
    simulated = [facts.card.name for facts in tasks if facts.card.simulated]
    data = [
        section
        for facts in tasks
        for section in (f"### {facts.card.name}", parts.facts_table(parts.data_rows(facts)))
    ]
    sections = [
        f"# {title}",
        *([parts.SIMULATED.format(what=f"{', '.join(simulated)} was")] if simulated else []),
        f"EEG classification by {training.get('method_title')}. `tasks/` has a folder a task.",
        parts.license_text(license_id or default_license(tasks, training), tasks),
        "## Results",
        *parts.results(tasks),
        "## Data",
        *data,
        "## Training",
        *parts.training(training, has_picture),
        *parts.closing(bool(simulated))[:2],  # sources of the method stand in its file
    ]
    return parts.joined(method_header(training, tasks, title, license_id), sections)
