"""Parts of the text that the cards of a base and of a task share."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from .._shown_text import shown, unmarked
from ..evaluation.metrics import in_order, title_of
from ..model.configuration_mteeg import PIPELINE_TASK
from .citation import citation
from .facts import CURVES_FILE, BaseFacts, Score, TaskFacts, finite, mapping
from .pretraining_overlap import learned_before, overlap

NOT_A_DEVICE = (
    "Research on methods only. It is no medical device and no part of one: nothing it puts out may "
    "guide the diagnosis, monitoring or treatment of a person."
)
NOT_OF_PEOPLE = " Results on simulated data say nothing about people."
SIMULATED = (
    "**Simulated data**: {what} trained on recordings that a program made. No person was recorded, "
    "and the results say nothing about people."
)
SIMULATED_START = (
    "**Simulated start**: the weights that the training began from had been trained on recordings "
    "that a program made."
)
_MTEEG = (
    "MTEEG, A Multi-Task Learning Framework for Enhanced Electroencephalography Analysis Using "
    "Low-Rank Adaptation"
)
_BACKBONE = (
    "Backbone: LaBraM (Jiang, Zhao, Lu, Large Brain Model for Learning "
    "Generic Representations with Tremendous EEG Data in BCI, 2024)."
)


UNNAMED = "OWNER/NAME"
"""Where a card lies in no repository yet."""
UNNAMED_NOTE = "the repository, or a folder"
RECORDING = "recording.edf"
LABEL = (
    "Labels of a recording, without anything but transformers, peft and mne: the code lies beside "
    "the base, and `trust_remote_code=True` runs it. Where this package is installed and imported "
    "(`import modeling_mteeg`) its own code is run, which reads long recordings block by block."
)
_ENCODER = {True: "trained", False: "frozen"}


def is_mteeg(record: Mapping[str, Any]) -> bool:
    """Whether a training was one of low-rank adapters; without a record it is taken for one."""
    return record.get("method", "mteeg") == "mteeg"


def has_backbone(record: Mapping[str, Any]) -> bool:
    """Whether a training was one of a LaBraM: it then says what became of its temporal encoder."""
    return record.get("train_temporal_encoder") is not None


def closing(
    simulated: bool, record: Mapping[str, Any], backbone: bool = True
) -> dict[str, list[str]]:
    """The last chapters of every card: what it is not for, and where it comes from."""
    limits = NOT_A_DEVICE + (NOT_OF_PEOPLE if simulated else "")
    source = _MTEEG if is_mteeg(record) else record.get("method_source")
    sources = [f"Method: {source}."] if source else []
    sources += [_BACKBONE] if backbone else []
    return {
        "What it is not for": [limits],
        "Sources": [" ".join(sources)] if sources else [],
        "Citation": citation(is_mteeg(record), backbone),
    }


def results(tasks: Sequence[TaskFacts]) -> list[str]:
    """The table of test results and what is needed to read it."""
    scored = [facts for facts in tasks if facts.scores]
    if not scored:
        return ["Not stated: the files hold no results."]
    metrics = in_order(score.metric for facts in scored for score in facts.scores)
    people = any(facts.judgement for facts in scored)
    header = ["task", "data", "test windows", *(["people"] if people else []), "seeds",
              *map(title_of, metrics)]  # fmt: skip
    rows = []
    for facts in scored:
        by_name = {score.metric: score for score in facts.scores}
        seeds = ", ".join(map(str, facts.seeds)) or "not stated"
        windows = "not stated" if facts.test_windows is None else f"{facts.test_windows:,}"
        cells = [score_text(by_name[name]) if name in by_name else "" for name in metrics]
        number = [grouped(facts.judgement.get("people"))] if people else []
        rows.append([facts.card.name, kind_of_data(facts), windows, *number, seeds, *cells])
    several = any(len(facts.seeds) > 1 for facts in scored)
    reading = (
        "Mean ± standard deviation (of a sample, n - 1) over the seeds, each tested once."
        if several
        else "One training, tested once: no deviation."
    )
    left_out = [facts.card.name for facts in tasks if not facts.scores]
    without = f" Without recorded results: {', '.join(left_out)}." if left_out else ""
    return [
        table(header, rows, text_columns=2),
        f"Test split. {reading}{without}",
        *_judged([facts for facts in scored if facts.judgement], metrics),
    ]


def _judged(tasks: Sequence[TaskFacts], metrics: Sequence[str]) -> list[str]:
    """Intervals over people and the floors, and a sentence a task."""
    rows = []
    for facts in tasks:
        intervals = mapping(facts.judgement.get("intervals"))
        bounds = [mapping(intervals.get(metric)) for metric in metrics]
        cells = [_bounds(each.get("low"), each.get("high")) for each in bounds]
        if any(cells):
            rows.append([facts.card.name, "95 % over people", *cells])
        for name, floor in mapping(facts.judgement.get("floors")).items():
            scores = mapping(mapping(floor).get("scores"))
            cells = [score_text(Score(metric, finite(scores[metric]), None, ()))
                     if metric in scores else "" for metric in metrics]  # fmt: skip
            rows.append([facts.card.name, str(name), *cells])
    if not rows:
        return [_sentences(tasks)] if tasks else []
    return [
        "Intervals are bootstraps over the people of the test split; the floors are tested on the "
        "same windows.",
        table(["task", "", *map(title_of, metrics)], rows, text_columns=2),
        _sentences(tasks),
    ]


def _sentences(tasks: Sequence[TaskFacts]) -> str:
    said = {facts.card.name: str(facts.judgement.get("sentence") or "") for facts in tasks}
    return "\n".join(f"- {task}: {' '.join(text.split()) or 'not stated'}"
                     for task, text in said.items())  # fmt: skip


def _bounds(low: Any, high: Any) -> str:
    """``0.512 to 0.730``; empty where there is no interval."""
    given = finite(low) is not None and finite(high) is not None
    return f"{low:.3f} to {high:.3f}" if given else ""


def score_text(score: Score) -> str:
    """``0.533 ± 0.012``."""
    if score.mean is None:
        return "undefined"
    return f"{score.mean:.3f}" + ("" if score.std is None else f" ± {score.std:.3f}")


def kind_of_data(facts: TaskFacts) -> str:
    """``simulated``, ``recorded``, or that nobody said what the data are."""
    if facts.card.simulated:
        return "simulated"
    return "recorded" if facts.card.corpus else "not stated"


def data(tasks: Sequence[TaskFacts]) -> list[str]:
    """A heading and a table for each of several tasks."""
    tables = [(f"### {facts.card.name}", facts_table(data_rows(facts))) for facts in tasks]
    return [section for pair in tables for section in pair]


def label_code(base: str, base_note: str, adapter: str) -> list[str]:
    """Python that labels a recording by transformers' pipeline, and what stands before it."""
    note, named = f"  # {base_note}" if base_note else "", f', adapter="{adapter}"'
    code = [
        "```python",
        "from transformers import pipeline",
        "",
        f'base = "{base}"{note}',
        f'label = pipeline("{PIPELINE_TASK}", model=base{named}, trust_remote_code=True)',
        f'windows = label("{RECORDING}")  # any file that MNE-Python reads',
        "print(windows[0])  # onset and duration in seconds, label, score, scores",
        "```",
    ]
    return [LABEL, "\n".join(code)]


def load_code(base: str, base_note: str, lines: Sequence[str]) -> str:
    """Python that loads a base and its extractor, then ``lines``."""
    note = f"  # {base_note}" if base_note else ""
    return "\n".join([
        "```python",
        "from transformers import AutoFeatureExtractor, AutoModel",
        "",
        f'base = "{base}"{note}',
        "model = AutoModel.from_pretrained(base, trust_remote_code=True).eval()",
        "extractor = AutoFeatureExtractor.from_pretrained(base, trust_remote_code=True)",
        *lines,
        "```",
    ])  # fmt: skip


def data_rows(facts: TaskFacts) -> list[tuple[str, str]]:
    """Where a task's data come from and how they were split, a fact a row."""
    card, data = facts.card, facts.data
    windows = mapping(data.get("windows"))
    sizes = " / ".join(grouped(number) for number in windows.values())
    return [
        ("corpus", card.corpus or "not stated"),
        _version(facts),
        ("kind", kind_of_data(facts)),
        ("licence of the data", card.license or "not stated"),
        (f"windows ({' / '.join(windows)})" if sizes else "windows", sizes or "not stated"),
        ("split", str(data.get("rule") or "not stated")),
        ("split hash", code(card.split_hash)),
        *_leaks(mapping(data.get("split"))),
        (
            "overlap of the test data with what the weights had learned from",
            overlap(card, facts.training),
        ),
        ("fingerprint of the prepared data", code(data.get("fingerprint"))),
    ]


def _leaks(split: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What train, validation and test share, and what else is to be known of the split."""
    leaks, notes = split.get("leaks"), split.get("notes") or []
    rows = [] if leaks is None else [("leaks of the split", "; ".join(leaks) or "none")]
    return [*rows, *([("of the split", "; ".join(notes))] if notes else [])]


def _version(facts: TaskFacts) -> tuple[str, str]:
    """The corpus's version: found by its counts, else in its name; of what is simulated, how."""
    if facts.card.simulated:
        simulation = facts.data.get("simulation")
        return "simulation", settings(simulation) if simulation else "not stated"
    named = re.search(r"\bv?\d+(\.\d+)+\b", facts.card.corpus)
    version = facts.data.get("version") or (named[0] if named else None)
    return "version", str(version or "not stated")


def settings(value: Any) -> str:
    """A mapping's values that are set, as text."""
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(f"{key} {part}" for key, part in value.items() if part is not None)


def training(record: Mapping[str, Any], has_picture: bool) -> list[str]:
    """Command, figures, versions and picture of a training."""
    if not record.get("command"):
        told = [("what the weights had learned from", learned_before(record)[0])]
        return [
            "Not stated: the files hold no record of a training.",
            *([facts_table(told)] if record.get("pretraining") else []),
        ]
    where = [str(record.get("device") or ""), f"precision {record.get('precision')}"]
    number = record.get("processes")
    where.append(f"{number} process{'' if number == 1 else 'es'}")
    encoder = record.get("train_temporal_encoder")  # a method without a LaBraM has none
    tried = record.get("candidates")  # of a method that is fitted at once
    kept = f"epoch {_next(record.get('epoch'))} of {record.get('epochs')}, the best on validation"
    if isinstance(record.get("epoch"), Mapping):
        chosen = ", ".join(f"{task} epoch {_next(n)}" for task, n in record["epoch"].items())
        kept = f"{chosen} of {record.get('epochs')}, each its best on validation"
    rows = [
        ("method", str(record.get("method_title") or record.get("method"))),
        ("start", str(record.get("start"))),
        ("what the start had learned from", learned_before(record)[0]),
        *([] if encoder is None else [("temporal encoder", _ENCODER.get(encoder, encoder))]),
        *([("tried, one an epoch", ", ".join(tried))] if tried else []),
        *_search(mapping(record.get("search"))),
        ("trained parameters", grouped(record.get("trainable_parameters"))),
        *_all_parameters(mapping(record.get("parameters"))),
        ("seed of these weights", str(record.get("seed"))),
        ("weights kept", kept),
        *((str(name), str(text)) for name, text in mapping(record.get("settings")).items()),
        ("where", ", ".join(part for part in where if part)),
        ("versions", settings(record.get("packages") or {})),
    ]  # fmt: skip
    command = str(record["command"]).replace("```", "` ` `")
    parts = [f"```bash\n{command}\n```", facts_table(rows)]
    if has_picture:
        parts.append(f"![Loss and validation over the epochs]({CURVES_FILE})")
    return parts


def _all_parameters(counts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A row, where they are recorded."""
    text = parameters_text(counts)
    return [("all parameters", text)] if text else []


def parameters_text(counts: Mapping[str, Any]) -> str:
    """``1,234 in all, 56 trained, 78 run for one task``, of a method's counts; empty: none."""
    run = [number for number in mapping(counts.get("run_for_one_task")).values()
           if finite(number) is not None]  # fmt: skip
    if not run:
        return ""
    least, most = min(run), max(run)
    one = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    total, trained = grouped(counts.get("total")), grouped(counts.get("trained"))
    return f"{total} in all, {trained} trained, {one} run for one task"


def _search(search: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a search tried, and what validation chose."""
    if not search:
        return []
    grid = "; ".join(
        f"{name}: {', '.join(map(str, values))}" for name, values in search["grid"].items()
    )
    budget = search["budget"]
    return [(
        "search",
        f"{settings(search['chosen'])}, chosen by validation of {budget['tries']} tries "
        f"({budget['epochs']} epochs in all) of {grid}; tested once",
    )]  # fmt: skip


def license_text(license_id: str, tasks: Sequence[TaskFacts]) -> str:
    """Licence of the weights, and that the data have their own."""
    unknown = license_id == "unknown"
    weights = "not stated by who made them" if unknown else license_id
    text = f"Licence of the weights: {weights}."
    return f"{text} The data have their own licence, named under Data." if tasks else text


def table(header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int) -> str:
    """Markdown; columns after the first ``text_columns`` are set to the right."""
    rule = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    lines = [[*map(cell, header)], rule, *([*map(cell, row)] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def sizes(config: Mapping[str, Any], *keys: str) -> str:
    """Values of a configuration, separated by commas."""
    return ", ".join(str(config.get(key)) for key in keys)


def parameters_and_input(facts: BaseFacts) -> list[tuple[str, str]]:
    """What bases and tokenizers state alike."""
    return [
        ("parameters", f"{facts.parameters:,}"),
        ("input", f"patches of {facts.config.get('patch_size')} samples at 200 Hz, unit 0.1 mV"),
    ]


def facts_table(rows: Sequence[tuple[str, str]]) -> str:
    """A fact a row."""
    return "\n".join(["| | |", "|---|---|", *(f"| {cell(k)} | {cell(v)} |" for k, v in rows)])


def cell(text: Any) -> str:
    """``text`` on one line and without markup, so that it stays within its cell."""
    return unmarked(str(text)).replace("|", "\\|")


def sentence(text: str) -> str:
    """``text`` as one paragraph that is no heading, table, list or HTML."""
    plain = unmarked(text)
    return f"\\{plain}" if plain and not plain[0].isalnum() and plain[0] != "\\" else plain


def code(value: Any) -> str:
    """``value`` as code, or that there is none."""
    return f"`{value}`" if value else "not stated"


def grouped(value: Any) -> str:
    """``1,234``."""
    return f"{value:,}" if isinstance(value, int) else "not stated"


def whole_card(
    header: str,
    title: str,
    record: Mapping[str, Any],
    simulated: str,
    lead: Sequence[str],
    chapters: Mapping[str, Sequence[str]],
) -> str:
    """The text of a card: prose wrapped at 100; tables, headings and code as they are.

    ``simulated`` is what was trained on simulated recordings, with its verb, such as ``it was``, or
    empty; ``lead`` stands before the first of the ``chapters``. What is empty is left out.
    """
    sections = [f"# {title}", SIMULATED.format(what=simulated) if simulated else ""]
    sections += [SIMULATED_START if record.get("start_simulated") is True else "", *lead]
    for heading, chapter in chapters.items():
        sections += [f"## {heading}", *chapter] if chapter else []
    body = "\n\n".join(_wrap(section) for section in sections if section)
    return f"---\n{header.strip()}\n---\n\n{shown(body)}\n"


def _wrap(section: str) -> str:
    if "\n" in section or section.startswith(("#", "|", "!", "```")):
        return section
    return textwrap.fill(section, 100, break_long_words=False, break_on_hyphens=False)


def _next(epoch: Any) -> Any:
    return epoch + 1 if isinstance(epoch, int) else epoch
