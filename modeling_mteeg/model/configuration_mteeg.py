"""Sizes and options of a LaBraM backbone for MTEEG."""

import copy
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.utils import TRANSFORMERS_DYNAMIC_MODULE_NAME

from .base_settings import check_config, read_settings
from .checked_files import UnsafeFileError, shortened

_COLUMNS = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("temporal_channels", "layer_scale_init"),
)
_SIZES = {
    "tiny": (100, 3, 5, 400, 4, 0.1),
    "base": (200, 12, 10, 800, 8, 0.1),
    "large": (400, 24, 16, 1600, 16, 1e-5),
    "huge": (800, 48, 16, 3200, 32, 1e-6),
}
PRESETS: dict[str, dict[str, Any]] = {
    name: dict(zip(_COLUMNS, sizes, strict=True)) for name, sizes in _SIZES.items()
}
"""Published sizes (LaBraM, table of configurations), and ``tiny`` for the demo and the tests."""
PRESETS["tiny"]["num_codes"] = 256

_LARGEST = {
    "hidden_size": 16_384,
    "num_hidden_layers": 1024,
    "num_attention_heads": 1024,
    "intermediate_size": 65_536,
    "patch_size": 16_384,
    "temporal_channels": 1024,
    "num_spatial": 65_536,
    "num_temporal": 65_536,
    "num_codes": 1_048_576,
}
"""Sizes, and the largest that a configuration may claim, twenty times those of Huge or more. The
modules are made before the weights are read, so a number in a file must not decide alone."""
PIPELINE_TASK = "eeg-classification"
PIPELINES = {
    PIPELINE_TASK: {
        "impl": "pipeline_mteeg.MteegPipeline",
        "pt": ["AutoModel"],
        "type": "multimodal",
    }
}
"""What ``config.json`` says of pipelines: by it transformers finds the code beside the weights."""
_BESIDE_WEIGHTS = __name__.partition(".")[0] == TRANSFORMERS_DYNAMIC_MODULE_NAME
# Fields of every transformers configuration that are not declared as dataclass fields.
_INHERITED = {"attn_implementation", "output_attentions"}


@strict
class MteegConfig(PreTrainedConfig):
    """Configuration of :class:`MteegModel` and :class:`MteegForPreTraining`.

    Parameters
    ----------
    hidden_size : int
        Width d of a token; equal to ``temporal_channels`` times 25 time steps.
    num_hidden_layers, num_attention_heads, intermediate_size : int
        Transformer sizes.
    patch_size : int
        Samples in a patch: one second at 200 Hz.
    temporal_channels : int
        Output channels of the temporal encoder's convolutions.
    num_spatial : int
        Electrodes (and bipolar names) with a row in the spatial table, without the cls row.
    num_temporal : int
        Rows of the temporal table; longer inputs interpolate it linearly.
    layer_norm_eps : float
        Epsilon of every LayerNorm.
    layer_scale_init : float or None
        Start value of the layer scales gamma_1 and gamma_2; None for no layer scale.
    qkv_bias : bool
        Whether attention has biases on query and value (a published option, off by default).
    qk_norm : bool
        Whether attention normalises queries and keys.
    num_codes : int
        Codes of the neural tokenizer that masked pre-training predicts.
    mask_ratio : float
        Share of the patches that masked pre-training hides; the rest is hidden in the same step.
    attention_dropout, drop_path_rate : float
        Dropout on attention weights; stochastic depth, growing linearly over the layers.
    initializer_range : float
        Standard deviation of the truncated normal start values.
    fingerprint : str or None
        SHA-256 of the base's weights, written by ``save_pretrained``; see
        :meth:`MteegModel.fingerprint`.
    rounded_fingerprints : list of str or None
        The same of the weights rounded to bf16 and to fp16, by which a base that was loaded in
        half precision is recognised.
    tasks_in_weights : dict or None
        Of a checkpoint of transformers' Trainer, whose weights hold tasks too: the card and the
        adapter's options of each (``modeling_mteeg.model.tasks_in_weights``).

    Notes
    -----
    Source: the LaBraM paper's configurations and published code. The MTEEG paper (section 4.2)
    takes Base and Large.
    """

    model_type = "mteeg"
    _pipelines = PIPELINES
    # A Trainer's predictions are the logits alone.
    keys_to_ignore_at_inference = [  # noqa: RUF012 (transformers' protocol)
        "last_hidden_state",
        "pooler_output",
        "hidden_states",
        "attentions",
    ]

    hidden_size: int = 200
    num_hidden_layers: int = 12
    num_attention_heads: int = 10
    intermediate_size: int = 800
    patch_size: int = 200
    temporal_channels: int = 8
    num_spatial: int = 128
    num_temporal: int = 16
    layer_norm_eps: float = 1e-6
    layer_scale_init: float | int | None = 0.1
    qkv_bias: bool = False
    qk_norm: bool = True
    num_codes: int = 8192
    mask_ratio: float = 0.5
    attention_dropout: float | int = 0.0
    drop_path_rate: float | int = 0.0
    initializer_range: float = 0.02
    fingerprint: str | None = None
    rounded_fingerprints: list[str] | None = None
    tasks_in_weights: dict | None = None

    def __post_init__(self, **kwargs):
        kwargs.pop("custom_pipelines", None)  # of a file; to_dict() writes them anew
        super().__post_init__(**kwargs)
        model_type = type(self).model_type
        if self.model_type != model_type:  # transformers would go on, with random weights
            raise ValueError(
                f"Expected the configuration of a model of type {model_type!r}, found one of "
                f"type {shortened(self.model_type)!r}. AutoConfig and AutoModel choose the class "
                "that fits."
            )
        for name, largest in _LARGEST.items():
            if not 1 <= getattr(self, name) <= largest:
                raise ValueError(
                    f"{name}: expected at least 1, found {shortened(getattr(self, name))} (at most "
                    f"{largest:,})."
                )
        scales = ("layer_norm_eps", "layer_scale_init", "initializer_range")
        self._check(scales, lambda v: v is None or 0 <= v < 1e6, "a number of 0 or above")
        rates = ("attention_dropout", "drop_path_rate")
        self._check(rates, lambda v: 0 <= v < 1, "a number in [0, 1)")
        self._check(("mask_ratio",), lambda v: 0 < v < 1, "a number between 0 and 1")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size must be a multiple of num_attention_heads; found "
                f"{self.hidden_size} and {self.num_attention_heads}."
            )
        steps = self.patch_size // 8
        if self.patch_size % 8 or self.temporal_channels * steps != self.hidden_size:
            raise ValueError(
                f"hidden_size must be temporal_channels x patch_size / 8; found {self.hidden_size} "
                f"and {self.temporal_channels} x {self.patch_size} / 8."
            )
        if self.temporal_channels % 4:
            raise ValueError(
                f"temporal_channels must be a multiple of 4 (the groups of GroupNorm); found "
                f"{self.temporal_channels}."
            )

    def _check(self, names: Iterable[str], fits: Callable[[Any], bool], expected: str) -> None:
        for name in names:
            if not fits(getattr(self, name)):
                raise ValueError(f"{name}: expected {expected}, found {getattr(self, name)}.")

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Configuration of plain values, such as of a ``config.json``; as in transformers.

        Raises
        ------
        UnsafeFileError
            A value of another type or size than a base can have; the message names the key.
        """
        place = kwargs.get("name_or_path")
        where = f"config.json of {place}" if place else "config.json"
        check_config(config_dict, cls, where)
        try:
            return super().from_dict(config_dict, **kwargs)
        except UnsafeFileError:
            raise
        except ValueError as error:
            raise UnsafeFileError(f"{where}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as in ``config.json``; what only a checkpoint has is left out elsewhere."""
        fields = super().to_dict()
        if fields.get("tasks_in_weights") is None:
            fields.pop("tasks_in_weights", None)
        if self._pipelines:
            fields["custom_pipelines"] = copy.deepcopy(self._pipelines)
        return fields

    @classmethod
    def _dict_from_json_file(cls, json_file: str | Path) -> dict[str, Any]:
        """What transformers reads a file by: within bounds, and checked before it is used."""
        fields = read_settings(Path(json_file))
        check_config(fields, cls, str(json_file))
        return fields

    @property
    def custom_pipelines(self) -> dict[str, Any]:
        """Pipelines whose code transformers takes from beside the weights.

        None where this package is installed, which registers its own: transformers would ask for
        trust in the code at every load. New at every call, since transformers writes into it.
        """
        return copy.deepcopy(self._pipelines) if _BESIDE_WEIGHTS else {}

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @classmethod
    def presets(cls) -> dict[str, dict[str, Any]]:
        """Sizes by name."""
        return PRESETS

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> "MteegConfig":
        """Configuration of a published size.

        Parameters
        ----------
        preset : {"tiny", "base", "large", "huge"}
            Name of the size.
        **overrides
            Fields that differ.

        Raises
        ------
        ValueError
            The preset is not known, or a field.
        """
        presets = cls.presets()
        if preset not in presets:
            raise ValueError(f"preset: expected one of {sorted(presets)}, found {preset!r}.")
        known = {field.name for field in dataclasses.fields(cls)} | _INHERITED
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ValueError(
                f"Unknown fields {unknown}; expected some of {sorted(known - {'fingerprint'})}."
            )
        return cls(**{**presets[preset], **overrides})
