"""The card of a task: labels, channels, window, results, and the base it stands on."""

from __future__ import annotations

from ..model.task_card import TaskCard
from . import sections as parts
from .facts import TaskFacts
from .metadata import adapter_header, default_license, repo_id


def adapter_card(facts: TaskFacts, license_id: str | None, has_picture: bool) -> str:
    """The whole text; arguments as for :func:`modeling_mteeg.cards.base_card.base_card`."""
    card = facts.card
    title = f"MTEEG adapter {card.name}"
    if not parts.is_mteeg(facts.training):
        title = f"LaBraM head {card.name}, method {facts.training.get('method')}"
    sections = [
        f"# {title}",
        *([parts.SIMULATED.format(what="it was")] if card.simulated else []),
        *parts.simulated_start(facts.training),
        *([parts.sentence(card.description)] if card.description.strip() else []),
        parts.license_text(license_id or default_license([facts], facts.training), [facts]),
        "## Task",
        parts.facts_table(_task_rows(facts)),
        "## Results",
        *parts.results([facts]),
        "## Data",
        parts.facts_table(parts.data_rows(facts)),
        "## Training",
        *parts.training(facts.training, has_picture),
        "## Load",
        _load(card),
        *parts.closing(card.simulated),
    ]
    return parts.joined(adapter_header(facts, title, license_id), sections)


def _task_rows(facts: TaskFacts) -> list[tuple[str, str]]:
    card = facts.card
    base = card.base or {}
    return [
        ("labels", ", ".join(card.labels)),
        ("channels", f"{len(card.channels)}: {', '.join(card.channels)}" if card.channels
                     else "any montage"),
        ("window", f"{card.window_s:g} s at {card.rate_hz:g} Hz"),
        ("preprocessing", preprocessing(card)),
        ("adapter", facts.options.describe()),
        ("outputs", f"{card.num_outputs} ({card.loss.replace('_', ' ')})"),
        ("base", f"width {base.get('hidden_size')}, fingerprint "
                 f"{parts.code(base.get('fingerprint'))}"),
    ]  # fmt: skip


def preprocessing(card: TaskCard) -> str:
    """Filters and unit."""
    return f"{card.filters}; microvolt / {card.scale_uv:g}"


def _load(card: TaskCard) -> str:
    base = repo_id((card.base or {}).get("name_or_path")) or "OWNER/BASE"
    return "\n".join([
        "```python",
        "from transformers import AutoFeatureExtractor, AutoModel",
        "import modeling_mteeg  # or trust_remote_code=True in both calls below",
        "",
        f'base = "{base}"  # the base with the fingerprint above; any other is refused',
        "model = AutoModel.from_pretrained(base).eval()",
        "extractor = AutoFeatureExtractor.from_pretrained(base)",
        'task = model.load_adapter("OWNER/NAME")  # this repository, or a folder',
        "logits = model(**extractor(recording, task=task)).logits  # recording: an mne Raw",
        "```",
    ])  # fmt: skip
