"""MTEEG: one frozen LaBraM, a low-rank adapter and a head a task (paper, section 3)."""

from __future__ import annotations

from typing import Any

from ..model.adapter_options import AdapterOptions
from ..model.modeling_mteeg import MteegModel
from .kept_base import trains_encoder
from .labram import LabramMethod


class Mteeg(LabramMethod):
    """The temporal encoder is shared and trained by all tasks, unless it is frozen too."""

    names = ("mteeg",)
    title = "MTEEG: a low-rank adapter and a head a task"
    has_adapters = True

    @classmethod
    def adapter_options(cls, config: Any) -> AdapterOptions:
        return config.adapter

    @classmethod
    def choose_trained(cls, model: MteegModel, config: Any) -> None:
        model.set_trainable(temporal_encoder=trains_encoder(config))

    @classmethod
    def keeps_base(cls, config: Any) -> bool:
        return not trains_encoder(config)
