"""What cards of stage one say: a base pre-trained on codes of hidden patches, and a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import sections as parts
from .facts import mapping
from .pretraining_overlap import learned_before, listed

INTRODUCTION = (
    "An EEG backbone (LaBraM), pre-trained on recordings without labels: it predicts the codes "
    "that a neural tokenizer gives to hidden patches. It knows no task; joint tuning (MTEEG) or a "
    "head of your own begins with it. The prediction layer is among the weights "
    "(`AutoModelForPreTraining`)."
)
_VALUES = (
    ("loss", "loss", ".4f"),
    ("amplitude_loss", "amplitudes", ".4f"),
    ("phase_loss", "phases", ".4f"),
    ("commitment_loss", "commitment", ".4f"),
    ("accuracy", "codes found in masked patches", ".3f"),
    ("accuracy_complement", "codes found in the other patches", ".3f"),
)
_USE = (
    ("codes_used", "codes that held-out patches take", "d"),
    ("code_perplexity", "their perplexity", ".1f"),
    ("commonest_code", "share of the commonest code", ".3f"),
    ("bits_delta", "bits a code tells of delta power, of 3", ".2f"),
    ("bits_theta", "of theta power", ".2f"),
    ("bits_alpha", "of alpha power", ".2f"),
    ("bits_beta", "of beta power", ".2f"),
    ("bits_gamma", "of gamma power", ".2f"),
    ("bits_electrode", "of the electrode", ".2f"),
)
_CODES = (("dead_codes", "dead codes", "d"), ("perplexity", "perplexity of the codes", ".1f"))


def is_stage_one(record: Mapping[str, Any]) -> bool:
    """Whether a record is one of masked pre-training."""
    return record.get("stage") == "one"


def is_simulated(record: Mapping[str, Any]) -> bool:
    """Whether recordings of a training of stage one were simulated."""
    return is_stage_one(record) and record.get("simulated") is True


def chapters(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """Results, data and training."""
    return {"Results": results(record), "Data": data(record), "Training": training(record)}


def results(record: Mapping[str, Any]) -> list[str]:
    """Figures of the last epoch, on the subjects held out where there are any."""
    last = _last(record)
    split = "validation" if "validation" in last else "train"
    rows = [(title, format(values[key], form))
            for values, table in ((mapping(last.get(split)), _VALUES),
                                  (mapping(last.get(split)), _USE),
                                  (mapping(last.get("model")), _CODES))
            for key, title, form in table if isinstance(values.get(key), int | float)]  # fmt: skip
    if not rows:
        return ["Not stated: the files hold no results."]
    where = {"validation": "On subjects held out", "train": "On the training windows"}[split]
    return [f"{where}, after the last epoch.", parts.facts_table(rows)]


def data(record: Mapping[str, Any]) -> list[str]:
    """Number of windows of each shape."""
    rows = [(split, parts.settings({f"{shape}:": number for shape, number in counts.items()}))
            for split, counts in mapping(record.get("windows")).items()
            if isinstance(counts, Mapping)]  # fmt: skip
    return [parts.facts_table(rows) if rows else "Not stated."]


def training(record: Mapping[str, Any]) -> list[str]:
    """Command, settings and versions."""
    if not record.get("command"):
        return ["Not stated: the files hold no record of a training."]
    config = mapping(record.get("config"))
    model, options = mapping(config.get("model")), mapping(config.get("optimization"))
    preset = model.get("preset")
    start = f"{preset}, random weights" if preset else str(model.get("init") or "not stated")
    kept = "those after the last epoch"
    if options.get("ema_decay") is not None:
        kept = f"exponential average of the steps' weights, decay {options['ema_decay']}"
    where = f"{record.get('device')}, precision {record.get('precision')}, processes"
    if "mask_ratio" in model:
        rows = [
            ("method", f"symmetric masking, ratio {model['mask_ratio']}"),
            ("tokenizer", parts.code(config.get("tokenizer"))),
        ]
    else:
        rows = [("codes that no patch takes", "revived" if model.get("revive_dead") else "kept")]
    rows += [
        ("start", start),
        ("what the start had learned from", learned_before(record)[0]),
        ("corpora", listed(record["corpora"]) if record.get("corpora") else "not stated"),
        ("epochs", str(options.get("epochs") or len(record.get("history") or ()))),
        ("windows a step", str(options.get("batch_size"))),
        ("highest learning rate", str(options.get("lr"))),
        ("seed", str(config.get("seed"))),
        ("weights kept", kept),
        ("where", f"{where} {record.get('processes')}"),
        ("versions", parts.settings(record.get("packages") or {})),
    ]
    return [f"```bash\n{record.get('command')}\n```", parts.facts_table(rows)]


def _last(record: Mapping[str, Any]) -> Mapping[str, Any]:
    history = record.get("history")
    return mapping(history[-1]) if isinstance(history, list) and history else {}
