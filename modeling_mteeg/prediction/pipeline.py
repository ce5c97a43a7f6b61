"""``pipeline("eeg-classification")``: from recordings to labelled windows, the transformers way.

Importing :mod:`modeling_mteeg` registers it. Recordings go through
:func:`modeling_mteeg.prediction.predict`, so the numbers are those of ``mteeg predict``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import AutoModel
from transformers.pipelines import PIPELINE_REGISTRY

from ..model.configuration_mteeg import PIPELINE_TASK
from ..model.finding_warnings import warn_of
from ..model.modeling_mteeg import MteegModel
from ..model.pipeline_mteeg import Answer, MteegPipeline, Windows
from .engine import predict


class EegClassificationPipeline(MteegPipeline):
    """Label the windows of recordings with one or several tasks.

    Made by ``transformers.pipeline("eeg-classification", model=...)``.

    Parameters
    ----------
    model, feature_extractor, adapter, adapter_kwargs, stride_s, top_k, unit, allow_missing
        See ``MteegPipeline``.
    rename : mapping of str to str, optional
        Channels that are meant by other names, such as ``{"T7": "T3"}``.
    interpolate : bool or str, optional
        See :func:`modeling_mteeg.prediction.predict`.
    batch_size : int, optional
        Windows of a task in one forward pass (16).

    Raises
    ------
    ValueError
        Another kind of model, an unknown task, or options of the wrong kind.

    Notes
    -----
    The options from ``adapter`` to ``batch_size`` can be given to a call, too. A recording is read
    block by block, once for all tasks. ``stride_s``, ``allow_missing``, ``rename`` and
    ``interpolate`` are not for windows that are cut already; these share one forward pass of all
    tasks.
    """

    options = (*MteegPipeline.options, "rename", "interpolate")

    def __init__(self, model: MteegModel, feature_extractor: Any = None, **kwargs: Any):
        if not isinstance(model, MteegModel):
            raise ValueError(
                f"{PIPELINE_TASK}: expected modeling_mteeg's MteegModel, or the folder or Hub id "
                f"of one, found {type(model).__module__}.{type(model).__name__}. The code beside a "
                "base (trust_remote_code=True) is not needed where this package is installed."
            )
        super().__init__(model=model, feature_extractor=feature_extractor, **kwargs)

    def _sanitize_parameters(
        self,
        rename: Mapping[str, str] | None = None,
        interpolate: bool | str | None = None,
        **options: Any,
    ) -> tuple[dict, dict, dict]:
        before, forward, after = super()._sanitize_parameters(**options)
        own = {"rename": rename, "interpolate": interpolate}
        forward |= {key: value for key, value in own.items() if value is not None}
        return before, forward, after

    def _label(self, recording, names, unit, batch_size: int, options: dict) -> Windows:
        """A continuous recording, block by block."""
        predictions = predict(
            recording, self.model, names, unit=unit, batch_size=batch_size, **options
        )
        tasks_of: dict[str, list[str]] = {}
        for name, prediction in predictions.items():
            for note in prediction.notes:
                tasks_of.setdefault(note, []).append(repr(name))
        where = next(iter(predictions.values())).recording
        for note, tasks in tasks_of.items():
            of = f"{'tasks' if len(tasks) > 1 else 'task'} {', '.join(tasks)}"
            warn_of([note], f"{where}: {of}: " if where else f"{of}: ")
        return {
            name: Answer(one.card, one.onset_s.tolist(), one.probabilities, one.marked,
                         one.findings)
            for name, one in predictions.items()
        }  # fmt: skip


def register() -> None:
    """Make the task known to ``transformers.pipeline``; done when the package is imported."""
    if PIPELINE_TASK not in PIPELINE_REGISTRY.get_supported_tasks():
        PIPELINE_REGISTRY.register_pipeline(
            PIPELINE_TASK,
            pipeline_class=EegClassificationPipeline,
            pt_model=AutoModel,
            type="multimodal",
        )
