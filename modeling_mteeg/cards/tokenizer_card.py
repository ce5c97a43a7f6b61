"""The card of a neural tokenizer (stage one)."""

from __future__ import annotations

from . import sections as parts
from . import stage_one_sections as stage_one
from .facts import BaseFacts
from .metadata import base_header, default_license

TITLE = "MTEEG neural tokenizer"
_INTRODUCTION = (
    "A neural tokenizer of EEG (LaBraM's vector-quantised neural spectrum prediction): it turns "
    "every second of every channel into one of {codes:,} codes, from which amplitude and phase of "
    "its spectrum are decoded. Masked pre-training predicts these codes."
)
_LOAD = """```python
from transformers import AutoFeatureExtractor, AutoModel
import modeling_mteeg  # or trust_remote_code=True in both calls below

place = "OWNER/NAME"  # this repository, or a folder
tokenizer = AutoModel.from_pretrained(place).eval()
extractor = AutoFeatureExtractor.from_pretrained(place)
codes = tokenizer.get_codebook_indices(**extractor(recording))  # recording: an mne Raw
```"""


def tokenizer_card(facts: BaseFacts, license_id: str | None) -> str:
    """The whole text; arguments as for :func:`modeling_mteeg.cards.base_card.base_card`."""
    record, config = facts.training, facts.config
    simulated = stage_one.is_simulated(record)
    sections = [
        f"# {TITLE}",
        *([parts.SIMULATED.format(what="it was")] if simulated else []),
        *parts.simulated_start(record),
        _INTRODUCTION.format(codes=int(config.get("num_codes") or 0)),
        parts.license_text(license_id or default_license((), record), ()),
        "## Model",
        parts.facts_table([
            ("codes, width of a code", f"{config.get('num_codes')}, {config.get('code_size')}"),
            ("layers of encoder and decoder",
             f"{config.get('num_hidden_layers')} and {config.get('num_decoder_layers')}"),
            ("width, heads, feed-forward", ", ".join(
                str(config.get(key)) for key in
                ("hidden_size", "num_attention_heads", "intermediate_size")
            )),
            ("parameters", f"{facts.parameters:,}"),
            ("input", f"patches of {config.get('patch_size')} samples at 200 Hz, unit 0.1 mV"),
        ]),
        "## Results",
        *stage_one.results(record),
        "## Data",
        *stage_one.data(record),
        "## Training",
        *stage_one.training(record),
        "## Load",
        _LOAD,
        *parts.closing(simulated),
    ]  # fmt: skip
    return parts.joined(base_header(facts, TITLE, license_id), sections)
