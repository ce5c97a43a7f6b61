"""``pipeline("eeg-classification")`` where this package is not installed, and what both share.

It lies beside the weights of a base, and transformers finds it by ``custom_pipelines`` of
``config.json``. A recording is read as a whole; the package itself reads it block by block, can
rename and interpolate channels, and gives the same numbers
(:class:`modeling_mteeg.prediction.pipeline.EegClassificationPipeline`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
from transformers.pipelines.base import Pipeline

from .adapter_files import AdapterError
from .adapter_places import tasks_beside
from .configuration_mteeg import PIPELINE_TASK
from .feature_extraction_mteeg import MteegFeatureExtractor
from .file_choice import plain_path
from .findings import Finding
from .recording_sources import open_source
from .task_card import TaskCard

DEFAULT_BATCH_SIZE = 16
_KEYS = ("array", "channels", "sampling_rate")
_CONTINUOUS = ("stride_s", "allow_missing", "rename", "interpolate")
_OF_THE_PACKAGE = ("rename", "interpolate")


class LabelledWindows(list):
    """A recording's windows, each a dict, and what is odd about the recording.

    Attributes
    ----------
    findings : tuple of Finding
    """

    findings: tuple[Finding, ...] = ()


@dataclasses.dataclass(frozen=True)
class Answer:
    """A task's windows: where each starts, probabilities (windows, classes), what marks it."""

    card: TaskCard
    onset_s: Sequence[float | None]
    probabilities: np.ndarray
    marked: Sequence[str] = ()
    findings: tuple[Finding, ...] = ()


Windows = dict[str, Answer]


class MteegPipeline(Pipeline):
    """Label the windows of recordings with one or several tasks.

    Made by ``transformers.pipeline("eeg-classification", model=..., trust_remote_code=True)``.

    Parameters
    ----------
    model : MteegModel
        In ``pipeline()`` also a folder or Hub id of a base, or a task's own folder.
    feature_extractor : MteegFeatureExtractor, optional
        Default: the one beside the model, else the default one. A task's card replaces its
        settings either way.
    adapter : str or sequence of str, optional
        What to label with: a task the model holds, a task beside the base, a folder, or
        ``owner/repo``. A string gives a list of windows; a sequence gives one by task. Default: the
        model's active task, else the task beside the base where that is only one.
    adapter_kwargs : dict, optional
        Keywords of ``load_adapter``, such as ``token``, for adapters that are loaded.
    stride_s : float, optional
        Seconds from the start of one window to the next; default: the task's window.
    top_k : int, optional
        How many labels ``scores`` holds, the most probable first; default: all.
    unit : {"uV", "mV", "V"}, optional
        As in :meth:`MteegFeatureExtractor.__call__`.
    allow_missing : int, optional
        How many of a task's channels a recording may lack; default: as many as its card allows.
    batch_size : int, optional
        Windows of a task in one forward pass (16).
    device, dtype, revision, token, trust_remote_code ...
        As everywhere in transformers.

    Raises
    ------
    ValueError
        Another kind of model, an unknown task, or options of the wrong kind.

    Notes
    -----
    The options from ``adapter`` to ``batch_size`` can be given to a call, too. A recording is read
    as a whole, once for every task. ``stride_s`` and ``allow_missing`` are not for windows that are
    cut already; these share one forward pass of all tasks.
    """

    options: tuple[str, ...] = (
        "adapter", "adapter_kwargs", "stride_s", "top_k", "unit", "allow_missing",
    )  # fmt: skip
    """What can be given besides ``batch_size`` and the options of every pipeline."""

    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_tokenizer = False
    _load_feature_extractor = None

    def __init__(self, model: Any, feature_extractor: Any = None, **kwargs: Any):
        if not hasattr(model, "load_adapter") or not hasattr(model, "tasks"):
            raise ValueError(
                f"{PIPELINE_TASK}: expected an MteegModel, found {type(model).__module__}."
                f"{type(model).__name__}."
            )
        if feature_extractor is None:
            feature_extractor = MteegFeatureExtractor(
                rate_hz=float(model.config.patch_size), patch_size=model.config.patch_size
            )
        self._names: dict[str, str] = {}  # as they were asked for, to tasks of the model
        super().__init__(model=model, feature_extractor=feature_extractor, **kwargs)

    def __call__(self, inputs: Any, *, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Label recordings.

        Parameters
        ----------
        inputs : recording, or a list, generator or dataset of recordings
            A recording is a path, an mne Raw or Epochs, ``(array, channel names, rate in Hz)``, or
            a dict with ``array`` (channels, samples), ``channels``, ``sampling_rate`` and maybe
            ``unit`` (default: microvolt).
        batch_size : int, optional
            Windows of a task in one forward pass.
        **kwargs
            The class's ``options``, for this call.

        Returns
        -------
        list of dict, or dict of str to list of dict
            Of one recording: its windows in order, each with ``onset`` (seconds from the
            recording's start; None where the windows were cut already), ``duration`` (seconds),
            ``label`` (the most probable one, or what the card's threshold decides), ``score`` (its
            probability) and ``scores`` (label to probability, the largest first). Where windows
            lie under bad annotations or channels are constant, every window has a ``note``, too,
            empty where nothing is wrong with it. The list has an attribute ``findings``: what is
            odd about the recording. With a sequence as ``adapter``: such a list for every task. A
            list of recordings gives a list of these; a generator or dataset an iterator that reads
            one recording at a time.

        Raises
        ------
        SignalError, UnknownChannelError, TypeError, ValueError
            As the feature extractor raises them; of several recordings a note says which one.

        Warns
        -----
        RecordingWarning
            Every finding, and what differs from the task's card: parts, ends without a window,
            channels that were missing or derived, filters that cannot be applied.
        """
        if isinstance(inputs, list) and not inputs:
            return []
        batch_size = self._batch_size if batch_size is None else batch_size
        batch_size = DEFAULT_BATCH_SIZE if batch_size is None else batch_size
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size: expected a whole number above 0, found {batch_size!r}.")
        return super().__call__(inputs, batch_size=batch_size, windows=batch_size, **kwargs)

    def _sanitize_parameters(
        self,
        adapter: str | Sequence[str] | None = None,
        adapter_kwargs: Mapping[str, Any] | None = None,
        stride_s: float | None = None,
        top_k: int | None = None,
        unit: str | None = None,
        allow_missing: int | None = None,
        windows: int | None = None,
        **unknown: Any,
    ) -> tuple[dict, dict, dict]:
        if unknown:
            needs = sorted(set(unknown).intersection(_OF_THE_PACKAGE))
            hint = f" {' and '.join(needs)}: pip install modeling-mteeg." if needs else ""
            raise ValueError(
                f"{PIPELINE_TASK}: unknown options {sorted(unknown)}; known are "
                f"{', '.join(self.options)}, batch_size, and those of every pipeline.{hint}"
            )
        for key, value, kinds in (("stride_s", stride_s, (int, float)), ("top_k", top_k, (int,))):
            if value is None:
                continue
            number = isinstance(value, kinds) and not isinstance(value, bool)
            if not number or not 0 < value < math.inf:
                kind = "whole number" if key == "top_k" else "number"
                raise ValueError(f"{key}: expected a {kind} above 0, found {value!r}.")
        forward = {
            "stride_s": stride_s,
            "unit": unit,
            "allow_missing": allow_missing,
            "batch_size": windows,
        }
        forward = {key: value for key, value in forward.items() if value is not None}
        if adapter is not None:
            forward["tasks"] = self._tasks(adapter, dict(adapter_kwargs or {}))
        return {}, forward, {} if top_k is None else {"top_k": top_k}

    def _tasks(self, adapter: Any, options: dict[str, Any]) -> str | tuple[str, ...]:
        """Names of tasks that the model holds, loading those that it does not."""
        if isinstance(adapter, (str, Path)):
            return self._load(str(adapter), options)
        if not isinstance(adapter, Sequence) or not adapter:
            raise ValueError(
                f"adapter: expected a task's name, or a list of some, found {adapter!r}."
            )
        names = tuple(self._load(str(name), options) for name in adapter)
        if len(set(names)) < len(names):
            raise ValueError(f"adapter: expected every task once, found {list(names)}.")
        return names

    def _load(self, name: str, options: dict[str, Any]) -> str:
        name = self._names.get(name, name)
        if name in self.model.tasks:
            return name
        active = self.model.active_adapter
        loaded = self.model.load_adapter(name, **options).name
        if active is not None:
            self.model.set_adapter(active)
        self._names[name] = loaded
        return loaded

    def get_iterator(
        self, inputs, num_workers, batch_size, preprocess_params, forward_params, postprocess_params
    ) -> Iterator[Any]:
        """Results of one recording after the other; batches are made of windows, not of them."""
        recordings = inputs
        if isinstance(inputs, Sized):
            recordings = (inputs[index] for index in range(len(inputs)))
        parameters = preprocess_params, forward_params, postprocess_params
        for number, recording in enumerate(recordings):
            try:
                yield self.run_single(recording, *parameters)
            except (ValueError, TypeError, OSError) as error:
                name = recording if isinstance(recording, (str, Path)) else "no path"
                error.add_note(f"This was recording {number} ({name}); counted from 0.")
                raise

    def preprocess(self, recording: Any) -> dict[str, Any]:
        """One recording in a form that the extractor takes, not read yet."""
        if not isinstance(recording, Mapping):
            return {"recording": plain_path(recording)}
        missing = [key for key in _KEYS if key not in recording]
        extra = sorted(set(recording) - {*_KEYS, "unit"})
        if missing or extra:
            raise ValueError(
                f"Recording as a dict: expected {', '.join(_KEYS)} and maybe unit, found "
                f"{sorted(recording)}."
            )
        unit = {"unit": recording["unit"]} if recording.get("unit") else {}
        return {"recording": tuple(recording[key] for key in _KEYS)} | unit

    def forward(self, model_inputs: dict[str, Any], **forward_params: Any) -> Any:
        """As transformers' own, but windows go to the device batch by batch."""
        training = self.model.training
        self.model.eval()
        try:
            with self.device_placement(), self.get_inference_context()():
                return self._forward(model_inputs, **forward_params)
        finally:
            self.model.train(training)

    def _forward(
        self,
        model_inputs: dict[str, Any],
        tasks: str | tuple[str, ...] | None = None,
        unit: str | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        **options: Any,
    ) -> tuple[bool, Windows]:
        """Whether one task was asked for, and all windows' probabilities by task."""
        tasks = self._default_task() if tasks is None else tasks
        names = (tasks,) if isinstance(tasks, str) else tasks
        recording, unit = model_inputs["recording"], model_inputs.get("unit", unit)
        if open_source(recording, unit, preload=False).cut:
            windows = self._label_cut(recording, names, unit, batch_size, options)
        else:
            windows = self._label(recording, names, unit, batch_size, options)
        return isinstance(tasks, str), windows

    def _default_task(self) -> str:
        """The active task, else the only one beside the base."""
        if self.model.active_adapter is not None:
            return self.model.active_adapter
        base, beside = self.model.config._name_or_path, []
        try:
            beside = tasks_beside(base, self.model.base_commit) if base else []
            there = ", ".join(beside) or "none"
        except AdapterError as error:
            there = f"not known: {error}"
        if len(beside) == 1:
            return self._load(beside[0], {})
        raise ValueError(
            f"Expected a task to label with: pass adapter=..., a task beside the base "
            f"({base or 'unnamed'}; beside it: {there}), a folder or owner/repo. The model holds "
            f"{sorted(self.model.tasks) or 'none'}."
        )

    def _label(self, recording, names, unit, batch_size: int, options: dict) -> Windows:
        """A continuous recording, read as a whole."""
        cards = {name: self.model.tasks[name] for name in names}
        allowed = options.get("allow_missing")
        if allowed is not None:
            cards = {
                name: card.replace(max_missing_channels=allowed) for name, card in cards.items()
            }
        inputs = {
            name: self.feature_extractor(
                recording, task=card, unit=unit, stride_s=options.get("stride_s")
            )
            for name, card in cards.items()
        }
        return {
            name: Answer(
                cards[name],
                inputs[name].onset_s.tolist(),
                probabilities,
                inputs[name].marked,
                inputs[name].findings,
            )
            for name, probabilities in self._probabilities(inputs, batch_size).items()
        }

    def _label_cut(self, windows, names, unit, batch_size: int, options: dict) -> Windows:
        """Windows that are cut already."""
        given = [key for key in _CONTINUOUS if key in options]
        if given:
            raise ValueError(
                f"{', '.join(given)}: for continuous recordings, found windows cut already."
            )
        cards = {name: self.model.tasks[name] for name in names}
        inputs = {
            name: self.feature_extractor(windows, task=card, unit=unit)
            for name, card in cards.items()
        }
        return {
            name: Answer(
                cards[name],
                [None] * len(probabilities),
                probabilities,
                findings=inputs[name].findings,
            )
            for name, probabilities in self._probabilities(inputs, batch_size).items()
        }

    def _probabilities(self, inputs: dict[str, Any], batch_size: int) -> dict[str, np.ndarray]:
        """Probabilities (windows, classes) by task; one pass for the batches of all tasks."""
        batches: dict[str, list[np.ndarray]] = {name: [] for name in inputs}
        most = max(len(batch["input_values"]) for batch in inputs.values())
        for start in range(0, most, batch_size):
            part = {
                name: {
                    "input_values": batch["input_values"][start : start + batch_size].to(
                        self.device
                    ),
                    "channel_ids": batch["channel_ids"].to(self.device),
                }
                for name, batch in inputs.items()
                if len(batch["input_values"]) > start
            }
            for name, output in self.model(tasks=part).items():
                probabilities = self.model.tasks[name].probabilities(output.logits)
                batches[name].append(probabilities.cpu().numpy())
        return {name: np.concatenate(parts) for name, parts in batches.items()}

    def postprocess(self, model_outputs: tuple[bool, Windows], top_k: int | None = None) -> Any:
        """Plain Python: windows as dicts."""
        single, tasks = model_outputs
        windows = {name: _dicts(answer, top_k) for name, answer in tasks.items()}
        return next(iter(windows.values())) if single else windows

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Save base, feature extractor and all tasks, as ``pipeline()`` finds them again."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.feature_extractor.save_pretrained(save_directory)


def _dicts(answer: Answer, top_k: int | None) -> LabelledWindows:
    """A task's windows as they are returned."""
    card, windows = answer.card, LabelledWindows()
    windows.findings = answer.findings
    classes = card.decide(answer.probabilities)
    places = zip(answer.onset_s, answer.probabilities, classes, strict=True)
    for number, (onset, row, index) in enumerate(places):
        order = np.argsort(-row, kind="stable")[:top_k]
        window = {
            "onset": None if onset is None else float(onset),
            "duration": float(card.window_s),
            "label": card.labels[index],
            "score": float(row[index]),
            "scores": {card.labels[place]: float(row[place]) for place in order},
        }
        if answer.marked:
            window["note"] = answer.marked[number]
        windows.append(window)
    return windows
