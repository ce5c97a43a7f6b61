"""MTEEG: one frozen LaBraM, a low-rank adapter and a head a task (paper, section 3)."""

from __future__ import annotations

from typing import Any

from ..model.adapter_options import AdapterOptions
from ..model.adapter_sharing import AdapterSharing
from ..model.modeling_mteeg import MteegModel
from .kept_base import trains_encoder
from .labram import LabramMethod


class Mteeg(LabramMethod):
    """The temporal encoder is shared and trained by all tasks, unless it is frozen too.

    Adapters are each task's own, or shared (:mod:`modeling_mteeg.model.adapter_sharing`).
    """

    names = ("mteeg",)
    has_adapters = True

    @property
    def title(self) -> str:
        sharing = self._sharing
        adapters = "a low-rank adapter" if sharing is None else f"{sharing.describe_sharing()},"
        return f"MTEEG: {adapters} and a head a task"

    @property
    def _sharing(self) -> AdapterSharing | None:
        """How adapters are shared; None: each task's own."""
        return next(iter(self.module.adapter_sharing.values()), None)

    def settings(self) -> dict[str, str]:
        if self._sharing is None:
            return {}
        alone = " (here one task, so nothing is shared)" if len(self.cards) == 1 else ""
        return {"adapters": self._sharing.describe_sharing() + alone}

    @classmethod
    def adapter_options(cls, config: Any) -> AdapterOptions:
        return config.adapter

    @classmethod
    def choose_trained(cls, model: MteegModel, config: Any) -> None:
        model.set_trainable(temporal_encoder=trains_encoder(config))

    @classmethod
    def keeps_base(cls, config: Any) -> bool:
        return not trains_encoder(config)
