"""Presets have the published sizes, and configurations check themselves."""

from __future__ import annotations

import pytest
import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from transformers import AutoConfig

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.model.configuration_mteeg import PRESETS

PUBLISHED = {  # layers, width, feed-forward, heads, conv channels, layer scale, parameters
    "base": (12, 200, 800, 10, 8, 0.1, 5_820_338),
    "large": (24, 400, 1600, 16, 16, 1e-5, 46_259_522),
    "huge": (48, 800, 3200, 16, 32, 1e-6, 369_237_314),
}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_presets_are_the_published_sizes(preset):
    config = MteegConfig.from_preset(preset)
    found = (
        config.num_hidden_layers,
        config.hidden_size,
        config.intermediate_size,
        config.num_attention_heads,
        config.temporal_channels,
        config.layer_scale_init,
    )
    assert found == PUBLISHED[preset][:-1]
    assert (config.num_spatial, config.num_temporal, config.patch_size) == (128, 16, 200)
    assert config.layer_norm_eps == 1e-6 and not config.qkv_bias


@pytest.mark.parametrize("preset", PUBLISHED)
def test_parameters_with_a_head_of_two_classes_are_the_published_number(preset):
    # fc_norm takes the place of the pre-training's norm, so it is counted once.
    with torch.device("meta"):
        model = MteegModel(MteegConfig.from_preset(preset))
        model.add_adapter("tuab", ["normal", "abnormal"], loss="cross_entropy", location="none")
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[preset][-1]


def test_bias_on_query_and_value_is_an_option():
    with torch.device("meta"):
        sizes = [
            sum(
                p.numel()
                for p in MteegModel(MteegConfig.from_preset("base", qkv_bias=b)).parameters()
            )
            for b in (False, True)
        ]
    assert sizes[1] - sizes[0] == 12 * 2 * 200


def test_saved_and_loaded_is_equal(tmp_path):
    config = MteegConfig.from_preset("tiny", drop_path_rate=0.1, fingerprint="a" * 64)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is MteegConfig
    skip = {"_name_or_path", "transformers_version", "auto_map"}
    first, second = config.to_dict(), loaded.to_dict()
    assert {k: v for k, v in first.items() if k not in skip} == {
        k: v for k, v in second.items() if k not in skip
    }


def test_presets_can_be_changed():
    config = MteegConfig.from_preset("tiny", num_hidden_layers=1, drop_path_rate=0)
    assert (config.num_hidden_layers, config.hidden_size, config.drop_path_rate) == (1, 100, 0)
    assert MteegConfig.from_preset("tiny").num_hidden_layers == PRESETS["tiny"]["num_hidden_layers"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_attention_heads": 3}, "multiple of num_attention_heads; found 100 and 3"),
        ({"hidden_size": 200}, "temporal_channels x patch_size / 8; found 200 and 4 x 200 / 8"),
        ({"temporal_channels": 6, "hidden_size": 150}, "multiple of 4 .*found 6"),
        ({"patch_size": 201}, "found 100 and 4 x 201 / 8"),
        ({"num_attention_heads": 0}, "num_attention_heads: expected at least 1, found 0"),
        ({"num_hidden_layers": -1}, "num_hidden_layers: expected at least 1, found -1"),
        ({"num_temporal": 0}, "num_temporal: expected at least 1, found 0"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate: expected a number in \[0, 1\), found 1.0"),
        ({"attention_dropout": -0.1}, "attention_dropout: expected .* found -0.1"),
        ({"drop_path": 0.1}, r"Unknown fields \['drop_path'\]; expected some of .*drop_path_rate"),
    ],
)
def test_impossible_configurations_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        MteegConfig.from_preset("tiny", **fields)


def test_wrong_types_are_refused():
    with pytest.raises(StrictDataclassFieldValidationError, match=r"(?s)hidden_size.*int.*'100'"):
        MteegConfig.from_preset("tiny", hidden_size="100")


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'base', 'huge', 'large', 'tiny'.*found 'small'"):
        MteegConfig.from_preset("small")
