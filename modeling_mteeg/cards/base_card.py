"""The card of a base: the backbone, the tasks beside it, how they were trained together."""

from __future__ import annotations

from ..model.configuration_mteeg import PRESETS
from ..model.head_options import PLAIN_HEAD
from ..model.task_card import TaskCard
from . import sections as parts
from . import stage_one_sections as stage_one
from .facts import BaseFacts, TaskFacts
from .metadata import base_header

_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


def base_card(facts: BaseFacts, license_id: str, has_picture: bool, repo: str = "") -> str:
    """The whole text.

    Parameters
    ----------
    facts : BaseFacts
    license_id : str
        Licence of the weights as the Hub names it.
    has_picture : bool
        Whether the curves lie beside the card.
    repo : str
        ``owner/repo`` that the card goes to, for the code in it; empty: none yet.
    """
    kind = "MTEEG" if parts.is_mteeg(facts.training) else "LaBraM"
    title = f"{kind} base, {size_name(facts)}"
    tasks = facts.tasks
    pretrained = stage_one.is_stage_one(facts.training)
    simulated = any(task.card.simulated for task in tasks) or stage_one.is_simulated(facts.training)
    return parts.whole_card(
        base_header(facts, title, license_id),
        title,
        facts.training,
        f"{_simulated_names(facts)} was" if simulated else "",
        [
            stage_one.INTRODUCTION if pretrained else _introduction(facts),
            parts.license_text(license_id, tasks),
        ],
        {
            "Model": [_model(facts)],
            "Tasks": _tasks(facts),
            **(stage_one.chapters(facts.training) if pretrained else {
                "Results": parts.results(tasks),
                "Data": parts.data(tasks),
                "Training": parts.training(facts.training, has_picture),
            }),
            "Use": _use(tasks, repo),
            **parts.closing(simulated, facts.training),
        },
    )  # fmt: skip


def _introduction(facts: BaseFacts) -> str:
    what = (
        "An EEG backbone (LaBraM) and one low-rank adapter with a head for each task; the temporal "
        "encoder is shared."
    )
    if not parts.is_mteeg(facts.training):
        what = f"An EEG backbone (LaBraM), trained as {facts.training.get('method_title')}."
    number = len(facts.tasks)
    return f"{what} One base, {number or 'no'} task{'s' if number > 1 else ''} beside it."


def size_name(facts: BaseFacts) -> str:
    """``tiny``, ``base`` ... where the sizes are a preset's, else the sizes."""
    sizes = {key: facts.config.get(key) for key in _SIZES}
    for name, preset in PRESETS.items():
        if sizes == {key: preset[key] for key in _SIZES}:
            return f"LaBraM size {name!r}"
    return f"{sizes['num_hidden_layers']} layers of width {sizes['hidden_size']}"


def _model(facts: BaseFacts) -> str:
    config = facts.config
    return parts.facts_table([
        ("layers, width, heads, feed-forward", parts.sizes(
            config, "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size"
        )),
        *parts.parameters_and_input(facts),
        ("fingerprint", parts.code(config.get("fingerprint"))),
    ])  # fmt: skip


def _tasks(facts: BaseFacts) -> list[str]:
    if not facts.tasks:
        return ["None in this folder. `load_adapter()` takes a folder or `owner/repo`, too."]
    header = ["task", "labels", "channels", "window", "adapter"]
    rows = [
        [card.name, ", ".join(card.labels), str(len(card.channels) or "any"),
         f"{card.window_s:g} s", task.options.describe() + _head(card)]
        for task in facts.tasks for card in [task.card]
    ]  # fmt: skip
    return [parts.table(header, rows, text_columns=5)]


def _head(card: TaskCard) -> str:
    """The head where it is another one than the paper's."""
    return "" if card.head == PLAIN_HEAD else f"; head: {card.head.describe()}"


def _use(tasks: tuple[TaskFacts, ...], repo: str) -> list[str]:
    place, note = (repo, "") if repo else (parts.UNNAMED, parts.UNNAMED_NOTE)
    lines = [
        f'features = model(**extractor("{parts.RECORDING}")).pooler_output  # (windows, width)'
    ]
    if not tasks:
        return [parts.load_code(place, note, lines)]
    name = tasks[0].card.name
    lines = [
        f'task = model.load_adapter("{name}")',
        f'logits = model(**extractor("{parts.RECORDING}", task=task)).logits  # (windows, outputs)',
    ]
    return [*parts.label_code(place, note, name), parts.load_code(place, note, lines)]


def _simulated_names(facts: BaseFacts) -> str:
    """What was trained on simulated data: everything, or some tasks by name."""
    named = [task.card.name for task in facts.tasks if task.card.simulated]
    everything = stage_one.is_simulated(facts.training) or len(named) == len(facts.tasks)
    return "everything here" if everything else ", ".join(named)
