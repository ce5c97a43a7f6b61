"""Sizes and options of the neural tokenizer of LaBraM's first stage."""

from typing import Any

from huggingface_hub.dataclasses import strict

from .configuration_mteeg import MteegConfig

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 100,
        "num_hidden_layers": 2,
        "num_decoder_layers": 1,
        "num_attention_heads": 5,
        "intermediate_size": 400,
        "temporal_channels": 4,
        "num_codes": 256,
        "code_size": 32,
    },
    "base": {},
}
"""``base`` is the published size, which serves students of every size; ``tiny`` is for the demo and
the tests."""


@strict
class MteegTokenizerConfig(MteegConfig):
    """Configuration of :class:`MteegTokenizerModel`; the defaults are the published ones.

    Parameters
    ----------
    num_hidden_layers, num_decoder_layers : int
        Transformer layers of the encoder and of the decoder, which share all other sizes.
    num_codes, code_size : int
        Codes in the codebook, and their width.
    code_decay : float
        Decay of the codes' moving average, and of their usage.
    commitment_weight : float
        Weight of the commitment loss.
    amplitude_target : {"linear", "log"}
        What the decoder tells of amplitudes: as published, standardised over a sample; or their
        logarithm, every bin standardised over the corpus first
        (``LogAmplitudes``).
    phase_weight : float
        Weight of the phase loss; 1 as published.
    kmeans_start, kmeans_iterations : bool, int
        Whether the first training step sets the codes by k-means, and how many rounds it takes.
    continuous_steps : int
        Training steps before the codebook starts: until then the decoder gets the tokens as they
        are, of unit length. 0, as published: the codebook is there from the first step. Needs
        ``kmeans_start``.
    dead_below : float
        A code is dead once its usage, the moving average of tokens a step, is lower than this. At
        0.01 that is fewer than one token in about a hundred steps.
    revive_dead : bool
        Whether a training step gives dead codes the values of tokens drawn from it. The published
        code has no such thing, so it is off by default.

    Notes
    -----
    Every other field is :class:`MteegConfig`'s. The published tokenizer has biases on query and
    value, no LayerNorm on queries and keys, and no layer scale.
    """

    model_type = "mteeg_tokenizer"
    _pipelines = {}  # noqa: RUF012 (as of the base's)

    layer_scale_init: float | int | None = None
    qkv_bias: bool = True
    qk_norm: bool = False
    num_decoder_layers: int = 3
    code_size: int = 64
    code_decay: float = 0.99
    commitment_weight: float | int = 1.0
    amplitude_target: str = "linear"
    phase_weight: float | int = 1.0
    kmeans_start: bool = True
    kmeans_iterations: int = 10
    continuous_steps: int = 0
    dead_below: float | int = 0.01
    revive_dead: bool = False

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        counts = ("num_decoder_layers", "code_size", "kmeans_iterations")
        self._check(counts, lambda v: v >= 1, "at least 1")
        self._check(("amplitude_target",), lambda v: v in ("linear", "log"), "linear or log")
        self._check(("phase_weight", "continuous_steps"), lambda v: v >= 0, "0 or above")
        self._check(("code_decay", "dead_below"), lambda v: 0 <= v < 1, "a number in [0, 1)")

    @classmethod
    def presets(cls) -> dict[str, dict[str, Any]]:
        """Sizes by name."""
        return PRESETS

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as saved in ``config.json``.

        Notes
        -----
        transformers takes a class with "Tokenizer" in its name for a text tokenizer, and notes a
        pair of classes (slow, fast) as its remote code, which no model can be loaded from.
        """
        values = super().to_dict()
        if values.get("auto_map"):
            values["auto_map"] = {
                auto: name if isinstance(name, str) else name[0]
                for auto, name in values["auto_map"].items()
            }
        return values
