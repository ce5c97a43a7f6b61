"""Customized gate control (CGC): experts that all tasks share, and a task's own beside them."""

from __future__ import annotations

import dataclasses

from ..settings.schema import setting
from .expert_method import ExpertMethod, ExpertOptions


@dataclasses.dataclass(frozen=True)
class CgcOptions(ExpertOptions):
    """The paper's six shared and one own; without own ones it is MMoE."""

    own: int = setting(1, ">= 0")


class Cgc(ExpertMethod):
    """The paper's baseline of six shared experts and one of every task's own (section 4.2)."""

    names = ("cgc",)
    label = "customized gate control (CGC)"
    source = (
        "CGC (Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model "
        "for Personalized Recommendations, 2020), in the form of LibMTL"
    )
    Options = CgcOptions
