"""The card of a base: the backbone, the tasks beside it, how they were trained together."""

from __future__ import annotations

from ..model.configuration_mteeg import PRESETS
from . import sections as parts
from . import stage_one_sections as stage_one
from .facts import BaseFacts, TaskFacts
from .metadata import base_header, default_license

_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


def base_card(facts: BaseFacts, license_id: str | None, has_picture: bool) -> str:
    """The whole text.

    Parameters
    ----------
    facts : BaseFacts
    license_id : str or None
        Licence of the weights as the Hub names it.
    has_picture : bool
        Whether the curves lie beside the card.
    """
    kind = "MTEEG" if parts.is_mteeg(facts.training) else "LaBraM"
    title = f"{kind} base, {size_name(facts)}"
    tasks = facts.tasks
    pretrained = stage_one.is_stage_one(facts.training)
    simulated = any(task.card.simulated for task in tasks) or stage_one.is_simulated(facts.training)
    sections = [
        f"# {title}",
        *([parts.SIMULATED.format(what=f"{_simulated_names(facts)} was")] if simulated else []),
        *parts.simulated_start(facts.training),
        stage_one.INTRODUCTION if pretrained else _introduction(facts),
        parts.license_text(license_id or default_license(tasks, facts.training), tasks),
        "## Model",
        _model(facts),
        "## Tasks",
        *_tasks(facts),
        *_trained(facts, has_picture),
        "## Load",
        _load(tasks),
        *parts.closing(simulated),
    ]
    return parts.joined(base_header(facts, title, license_id), sections)


def _introduction(facts: BaseFacts) -> str:
    what = (
        "An EEG backbone (LaBraM) and one low-rank adapter with a head for each task; the temporal "
        "encoder is shared."
    )
    if not parts.is_mteeg(facts.training):
        what = f"An EEG backbone (LaBraM), trained as {facts.training.get('method_title')}."
    tasks = f"{_count(len(facts.tasks))} beside it." if facts.tasks else "no task beside it."
    return f"{what} One base, {tasks}"


def _trained(facts: BaseFacts, has_picture: bool) -> list[str]:
    """Results, data and training."""
    tasks, record = facts.tasks, facts.training
    if stage_one.is_stage_one(record):
        results, data, training = (
            part(record) for part in (stage_one.results, stage_one.data, stage_one.training)
        )
    else:
        results, training = parts.results(tasks), parts.training(record, has_picture)
        data = [section for task in tasks for section in _data(task)]
    data = ["## Data", *data] if data else []
    return ["## Results", *results, *data, "## Training", *training]


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
        ("layers, width, heads, feed-forward", ", ".join(
            str(config.get(key)) for key in
            ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
        )),
        ("parameters", f"{facts.parameters:,}"),
        ("input", f"patches of {config.get('patch_size')} samples at 200 Hz, unit 0.1 mV"),
        ("fingerprint", parts.code(config.get("fingerprint"))),
    ])  # fmt: skip


def _tasks(facts: BaseFacts) -> list[str]:
    if not facts.tasks:
        return ["None in this folder. `load_adapter()` takes a folder or `owner/repo`, too."]
    header = ["task", "labels", "channels", "window", "adapter"]
    rows = [
        [card.name, ", ".join(card.labels), str(len(card.channels) or "any"),
         f"{card.window_s:g} s", task.options.describe()]
        for task in facts.tasks for card in [task.card]
    ]  # fmt: skip
    return [parts.table(header, rows, text_columns=5)]


def _data(facts: TaskFacts) -> list[str]:
    return [f"### {facts.card.name}", parts.facts_table(parts.data_rows(facts))]


def _load(tasks: tuple[TaskFacts, ...]) -> str:
    lines = [
        "from transformers import AutoFeatureExtractor, AutoModel",
        "import modeling_mteeg  # or trust_remote_code=True in both calls below",
        "",
        'base = "OWNER/NAME"  # this repository, or a folder',
        "model = AutoModel.from_pretrained(base).eval()",
        "extractor = AutoFeatureExtractor.from_pretrained(base)",
    ]
    if tasks:
        lines += [
            f'task = model.load_adapter("{tasks[0].card.name}")',
            "logits = model(**extractor(recording, task=task)).logits  # recording: an mne Raw",
        ]
    else:
        lines.append("features = model(**extractor(recording)).pooler_output")
    return "\n".join(["```python", *lines, "```"])


def _count(number: int) -> str:
    return f"{number} task{'' if number == 1 else 's'}"


def _simulated_names(facts: BaseFacts) -> str:
    """What was trained on simulated data: everything, or some tasks by name."""
    named = [task.card.name for task in facts.tasks if task.card.simulated]
    if stage_one.is_simulated(facts.training):
        return "everything here"
    return "everything here" if len(named) == len(facts.tasks) else ", ".join(named)
