"""The README of a folder for braindecode: what it is, how it is loaded, what it wants."""

from __future__ import annotations

from typing import Any

from ..model.mains_notch import notch_text
from ..model.task_card import TaskCard
from .key_report import ConversionReport

_HEADER = """---
library_name: braindecode
pipeline_tag: feature-extraction
tags:
- braindecode
- Labram
- eeg
- mteeg
---

# {title}

{what}

Made by `mteeg convert --to braindecode` (modeling_mteeg {version}) from a base with the fingerprint
`{fingerprint}`; `conversion.json` lists every weight.

## Load

```python
from braindecode.models import Labram

place = "OWNER/NAME"  # this repository, or a folder
model = Labram.from_pretrained(place).eval()
{lines}
```

## Input

(windows, channels, {n_times}) at 200 Hz, {seconds:g} s, in units of {scale:g} microvolt, float32.
{channels}
"""
_BASE_LINES = """names = ["C3", "CZ", "C4"]  # of signal's channels, any of LABRAM_CHANNEL_ORDER
features = model(signal, ch_names=names)  # (windows, {width}): normalised mean of the patch tokens
tokens = model(signal, ch_names=names, return_features=True)["features"]"""
_TASK_LINES = """names = [channel["ch_name"] for channel in model.chs_info]
logits = model(signal, ch_names=names)  # (windows, {outputs}){meaning}"""


def card_text(
    config: dict[str, Any], card: TaskCard | None, channels: dict[str, str],
    report: ConversionReport,
) -> str:  # fmt: skip
    """The whole text.

    Parameters
    ----------
    config : dict
        Of the folder's ``config.json``.
    card : TaskCard or None
        Of the merged task.
    channels : dict of str to str
        Of the task, see :class:`BraindecodeModel`.
    report : ConversionReport
        Its source names the base; its notes are listed.
    """
    patches = config["n_times"] // config["patch_size"]
    facts = {
        "version": report.source["package_version"],
        "fingerprint": report.source["fingerprint"],
        "n_times": config["n_times"],
        "seconds": patches,
        "scale": card.scale_uv if card is not None else 100.0,
    }
    if card is None:
        size = {"own": "of its own size"}.get(report.size, report.size.capitalize())
        facts |= {
            "title": "An MTEEG base for braindecode",
            "what": f"A LaBraM ({size}) as weights of braindecode's `Labram`, without a head.",
            "lines": _BASE_LINES.format(width=config["embed_dim"]),
            "channels": "Any channels of braindecode's table, by name in any order.",
        }
    else:
        facts |= {
            "title": f"The MTEEG task {card.name} for braindecode",
            "what": f"One task of MTEEG, {', '.join(card.labels)}, merged into the weights of "
            "braindecode's `Labram`: its adapter added, its head as `final_layer`.",
            "lines": _TASK_LINES.format(outputs=card.num_outputs, meaning=_meaning(card)),
            "channels": _channels(card, channels),
        }
    notes = "".join(f"- {note}.\n" for note in report.notes)
    return _HEADER.format(**facts) + (f"\n## Notes\n\n{notes}" if notes else "")


def _meaning(card: TaskCard) -> str:
    if card.num_outputs == 1:
        return f": of {card.labels[1]!r}, through a sigmoid"
    return ": in the order " + ", ".join(card.labels)


def _channels(card: TaskCard, channels: dict[str, str]) -> str:
    if not channels:
        return "Any channels of braindecode's table, by name in any order."
    rows = "\n".join(f"| {name} | {given} |" for name, given in channels.items())
    filters = f"{_edge(card.highpass_hz)} to {_edge(card.lowpass_hz)} Hz"
    return (
        f"Filtered {filters}, {notch_text(card.notch_hz)}, as the task was "
        f"trained.\n\n| channel | name to pass |\n|---|---|\n{rows}"
    )


def _edge(value: float | None) -> str:
    return "open" if value is None else f"{value:g}"
