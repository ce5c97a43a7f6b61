"""The card of a task: labels, channels, window, results, and the base it stands on."""

from __future__ import annotations

from ..model.head_options import PLAIN_HEAD
from ..model.task_card import TaskCard
from . import sections as parts
from .facts import TaskFacts
from .metadata import adapter_header, repo_id


def adapter_card(facts: TaskFacts, license_id: str, has_picture: bool, repo: str = "") -> str:
    """The whole text; arguments as for :func:`modeling_mteeg.cards.base_card.base_card`.

    Beside a base ``repo`` is that of the base.
    """
    card = facts.card
    title = f"MTEEG adapter {card.name}"
    if not parts.is_mteeg(facts.training):
        title = f"LaBraM head {card.name}, method {facts.training.get('method')}"
    return parts.whole_card(
        adapter_header(facts, title, license_id),
        title,
        facts.training,
        "it was" if card.simulated else "",
        [parts.sentence(card.description), parts.license_text(license_id, [facts])],
        {
            "Task": [parts.facts_table(_task_rows(facts))],
            "Results": parts.results([facts]),
            "Data": [parts.facts_table(parts.data_rows(facts))],
            "Training": parts.training(facts.training, has_picture),
            "Use": _use(card, repo),
            **parts.closing(card.simulated, facts.training),
        },
    )


def _task_rows(facts: TaskFacts) -> list[tuple[str, str]]:
    card = facts.card
    base = card.base or {}
    return [
        ("labels", ", ".join(card.labels)),
        ("channels", f"{len(card.channels)}: {', '.join(card.channels)}" if card.channels
                     else "any montage"),
        ("window", f"{card.window_s:g} s at {card.rate_hz:g} Hz"),
        ("preprocessing", f"{card.filters}; microvolt / {card.scale_uv:g}"),
        ("adapter", facts.options.describe()),
        *([("head", card.head.describe())] if card.head != PLAIN_HEAD else []),
        ("outputs", f"{card.num_outputs} ({card.loss.replace('_', ' ')})"),
        *([] if card.threshold is None else [("decision", card.decision)]),
        *([] if card.label_of == "window" else [("a label is of", f"the whole {card.label_of}")]),
        ("base", f"width {base.get('hidden_size')}, fingerprint "
                 f"{parts.code(base.get('fingerprint'))}"),
    ]  # fmt: skip


def _use(card: TaskCard, repo: str) -> list[str]:
    base = repo_id((card.base or {}).get("name_or_path"))
    place = card.name if repo and repo == base else repo or parts.UNNAMED
    note = "" if repo else f"  # {parts.UNNAMED_NOTE}"
    lines = [
        f'task = model.load_adapter("{place}"){note}',
        f'logits = model(**extractor("{parts.RECORDING}", task=task)).logits  # (windows, outputs)',
    ]
    # The base by its name: a task's repository would say which base's code is to be trusted.
    of = base or "OWNER/BASE", "the base with the fingerprint above; any other is refused"
    return [*parts.label_code(*of, place), parts.load_code(*of, lines)]
