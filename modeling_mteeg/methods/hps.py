"""Hard parameter sharing (HPS): one LaBraM trained whole by all tasks, a head a task.

With one task it is plain full fine-tuning, and usually called ``full`` then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..model.modeling_mteeg import MteegModel
from .labram import LabramMethod


class Hps(LabramMethod):
    """The paper's baseline of shared weights (section 4.2): gradients of all tasks meet in them."""

    names = ("hps", "full")
    source = "hard parameter sharing (Caruana, Multitask Learning, 1997)"

    @classmethod
    def check(cls, config: Any) -> Iterator[str]:
        yield from super().check(config)
        if config.train_temporal_encoder is False:
            yield (f"train_temporal_encoder: method {config.method} trains everything, found false")

    @classmethod
    def choose_trained(cls, model: MteegModel, config: Any) -> None:
        model.set_trainable(everything=True)

    @property
    def title(self) -> str:
        if len(self.cards) == 1:
            return "full fine-tuning: the whole LaBraM trained for one task"
        return "hard parameter sharing (HPS): the whole LaBraM trained by all tasks, a head a task"
