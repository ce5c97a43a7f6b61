"""Multi-gate mixture of experts (MMoE): whole LaBraMs that all tasks share, a gate a task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .expert_method import ExpertMethod


class Mmoe(ExpertMethod):
    """The paper's baseline with six shared experts (section 4.2)."""

    names = ("mmoe",)
    label = "multi-gate mixture of experts (MMoE)"
    source = (
        "MMoE (Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate "
        "Mixture-of-Experts, 2018), in the form of LibMTL"
    )

    @classmethod
    def check(cls, config: Any) -> Iterator[str]:
        yield from super().check(config)
        if own := config.method_options.get("own", 0):
            yield (
                "method_options.own: a task's own experts are method cgc's; expected 0, found "
                f"{own!r}"
            )
