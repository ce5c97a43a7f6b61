"""The card of a neural tokenizer (stage one)."""

from __future__ import annotations

from . import sections as parts
from . import stage_one_sections as stage_one
from .facts import BaseFacts
from .metadata import base_header

TITLE = "MTEEG neural tokenizer"
_INTRODUCTION = (
    "A neural tokenizer of EEG (LaBraM's vector-quantised neural spectrum prediction): it turns "
    "every second of every channel into one of {codes:,} codes, from which amplitude and phase of "
    "its spectrum are decoded. Masked pre-training predicts these codes."
)
_LOAD = """```python
from transformers import AutoFeatureExtractor, AutoModel

place = "{place}"{note}
tokenizer = AutoModel.from_pretrained(place, trust_remote_code=True).eval()
extractor = AutoFeatureExtractor.from_pretrained(place, trust_remote_code=True)
codes = tokenizer.get_codebook_indices(**extractor("{recording}"))  # any file that MNE reads
```"""


def tokenizer_card(
    facts: BaseFacts, license_id: str, has_picture: bool = False, repo: str = ""
) -> str:
    """The whole text; as :func:`modeling_mteeg.cards.base_card.base_card`, without the picture."""
    record, config = facts.training, facts.config
    simulated = stage_one.is_simulated(record)
    model = [
        ("codes, width of a code", parts.sizes(config, "num_codes", "code_size")),
        ("layers of encoder and decoder",
         f"{config.get('num_hidden_layers')} and {config.get('num_decoder_layers')}"),
        ("width, heads, feed-forward",
         parts.sizes(config, "hidden_size", "num_attention_heads", "intermediate_size")),
        *parts.parameters_and_input(facts),
    ]  # fmt: skip
    place, note = (repo, "") if repo else (parts.UNNAMED, f"  # {parts.UNNAMED_NOTE}")
    return parts.whole_card(
        base_header(facts, TITLE, license_id),
        TITLE,
        record,
        "it was" if simulated else "",
        [
            _INTRODUCTION.format(codes=int(config.get("num_codes") or 0)),
            parts.license_text(license_id, ()),
        ],
        {
            "Model": [parts.facts_table(model)],
            **stage_one.chapters(record),
            "Use": [_LOAD.format(place=place, note=note, recording=parts.RECORDING)],
            **parts.closing(simulated, record),
        },
    )
