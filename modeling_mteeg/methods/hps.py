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

    @classmethod
    def check(cls, config: Any) -> Iterator[str]:
        if config.adapter != type(config.adapter)():
            yield f"adapter: method {config.method} has no adapters; leave the section out"
        if not config.train_temporal_encoder:
            yield (f"train_temporal_encoder: method {config.method} trains everything, found false")

    @classmethod
    def choose_trained(cls, model: MteegModel, config: Any) -> None:
        model.set_trainable(everything=True)

    def facts(self) -> dict[str, Any]:
        several = len(self.cards) > 1
        title = (
            "hard parameter sharing (HPS): the whole LaBraM trained by all tasks, a head a task"
            if several
            else "full fine-tuning: the whole LaBraM trained for one task"
        )
        return {**super().facts(), "method_title": title}
