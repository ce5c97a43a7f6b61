"""Linear probe: the frozen base's features with a head, and nothing else that is trained."""

from __future__ import annotations

from typing import Any

from ..model.modeling_mteeg import MteegModel
from .labram import LabramMethod


class LinearProbe(LabramMethod):
    """What a base's features tell without any tuning; tasks share nothing that is trained.

    ``train_temporal_encoder`` does not apply: the temporal encoder is frozen like the rest.
    """

    names = ("linear-probe",)
    title = "linear probe: a head a task on the frozen base's features"
    selection = "task"

    @classmethod
    def choose_trained(cls, model: MteegModel, config: Any) -> None:
        model.set_trainable(temporal_encoder=False)

    @classmethod
    def keeps_base(cls, config: Any) -> bool:
        return True
