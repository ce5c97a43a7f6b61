"""The task card: what a task is, in one small file beside its adapter and its data."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch import nn

from .adapter_options import LOCATIONS
from .channels import BIPOLAR_RULES, channel_ids, clean_name
from .checked_files import read_json, shortened
from .head_options import PLAIN_HEAD, HeadOptions
from .json_fields import checked
from .mains_notch import NotchHz, checked_notch, notch_text
from .visible_text import PlainError

CARD_FILE = "task.json"
ADAPTERS = ("lora", "none")
LABEL_OF = ("window", "recording")
LOSSES = ("binary_cross_entropy", "cross_entropy")
BINARY_METRICS = ("balanced_accuracy", "auc_pr", "auroc")
MULTICLASS_METRICS = ("balanced_accuracy", "cohen_kappa", "weighted_f1")
PATCH_S = 1.0
MAX_NAMES = {"labels": 4096, "channels": 1024, "metrics": 64}
"""Most entries of a list; a head is as wide as it has labels, before any weight is read."""
MAX_NAME_LENGTH = 200
TASK_NAME = re.compile(rf"[a-z][a-z0-9-]{{0,{MAX_NAME_LENGTH - 1}}}")
MAX_RATE_HZ, MAX_WINDOW_S = 1e5, 86_400.0
"""Signals are resampled to a card's rate and cut to its windows, so both decide about memory."""
LEAST_SCALE_UV = 1e-9
"""Less would make infinity of microvolts."""
_SMALLEST = {"scale_uv": LEAST_SCALE_UV}
_LARGEST = {"rate_hz": MAX_RATE_HZ, "window_s": MAX_WINDOW_S}
_TEXTS = (
    "name", "loss", "monitor", "bipolar", "corpus", "license", "description", "label_of",
)  # fmt: skip
_TYPES = (
    (_TEXTS, str, "a string"),
    (("base", "results"), (dict, NoneType), "a mapping or null"),
    (("simulated",), bool, "true or false"),
    (("split_hash",), (str, NoneType), "a string or null"),
)
"""Fields of a card, the types of their values, and these in words."""
_BASE = {"fingerprint": str | None, "hidden_size": int | None, "name_or_path": str | None}
_EMPTY = nn.ModuleDict()


class TaskCardError(PlainError):
    """A task card that is damaged or contradicts itself."""


def check_task_name(name: str) -> str:
    """Return ``name`` if it can name a task, else raise ``ValueError``.

    Names become module names, file names and parts of tensor names, so only lower-case letters,
    digits and dashes are taken, a letter first (dots and bare digits break saved adapters). Names
    of the layers that carry adapters would themselves be taken for such layers, and attributes of
    PyTorch's modules (``train``, ``type``, ``keys`` ...) cannot name a part of one.
    """
    if not isinstance(name, str) or not TASK_NAME.fullmatch(name):
        raise ValueError(
            f"Task name: expected lower-case letters, digits and dashes, a letter first "
            f"(such as 'seed-v'), at most {MAX_NAME_LENGTH} characters, found {name!r}."
        )
    if name in LOCATIONS["both"] or hasattr(_EMPTY, name):
        raise ValueError(
            f"Task name: {name!r} is the name of a part of the model; choose another one, such as "
            f"'{name}-task'."
        )
    return name


def probability_columns(labels: tuple[str, ...]) -> list[str]:
    """Column names of the classes: ``probability_N1``, ``probability_both_fists``."""
    names = [f"probability_{re.sub(r'[^0-9a-zA-Z]+', '_', label).strip('_')}" for label in labels]
    if len({name.lower() for name in names}) < len(names):  # such as "+" and "-"
        names = [f"probability_{number}" for number in range(len(labels))]
    return names


@dataclasses.dataclass(frozen=True)
class TaskCard:
    """What the model, the feature extractor and the evaluation need to know of a task.

    Parameters
    ----------
    name : str
        Task and adapter name, ``[a-z][a-z0-9-]*``.
    labels : tuple of str
        Class names; class ``i`` is ``labels[i]``. With two classes ``labels[1]`` is the positive
        one.
    channels : tuple of str
        Channel names in the order the task was trained with; empty: any montage.
    window_s : float
        Length of a window in seconds, a whole number of one-second patches.
    rate_hz : float
        Sampling rate of the model's input.
    scale_uv : float
        Microvolt per unit of the model's input (paper, section 4.2: 0.1 mV).
    loss : {"binary_cross_entropy", "cross_entropy"}
        Empty: binary cross-entropy (one logit) for two classes, else cross-entropy (section 4.2).
    monitor : str
        Metric that selects the model; empty: AUROC (binary) or Cohen's kappa (section 4.2).
    metrics : tuple of str
        All metrics that are reported; empty: the paper's three.
    highpass_hz, lowpass_hz : float or None
        Preprocessing (section 4.2); None leaves the filter out.
    notch_hz : float, sequence of float or None
        One mains frequency, or several such as ``[50, 60]``; kept as a number or an ascending
        tuple (``modeling_mteeg.model.mains_notch.checked_notch``).
    bipolar : {"mean", "table"}
        See :func:`modeling_mteeg.model.channels.channel_ids`.
    corpus, license, description : str
        Where the data come from, and what may be done with them.
    simulated : bool
        Whether the data were simulated.
    split_hash : str or None
        Hash of the split manifest of the data.
    base : dict or None
        The base an adapter belongs to: ``fingerprint``, ``hidden_size``, ``name_or_path``.
    results : dict or None
        Test results written by the training.
    adapter : {"lora", "none"}
        Whether the task has low-rank adapters, or is a head alone.
    max_missing_channels : int
        How many of ``channels`` a recording may lack; the task then runs on the others and says
        so. Cards that do not name it mean 0.
    head : HeadOptions
        What the head reads of the tokens, and its layers; also a kind's name or a mapping. Cards
        that do not name it mean the paper's: linear on the mean of all patch tokens.
    threshold : float or None
        Two classes only: probability of ``labels[1]`` from which on it is the answer, as chosen on
        validation. None: the class with the highest probability.
    label_of : {"window", "recording"}
        What a label was given to in the training data; ``"recording"``: every window has its
        recording's. Cards that do not name it mean, or do not know, the former.

    Raises
    ------
    TaskCardError
        A field has the wrong type or contradicts another one.
    """

    name: str
    labels: tuple[str, ...]
    channels: tuple[str, ...] = ()
    window_s: float = 10.0
    rate_hz: float = 200.0
    scale_uv: float = 100.0
    loss: str = ""
    monitor: str = ""
    metrics: tuple[str, ...] = ()
    highpass_hz: float | None = 0.1
    lowpass_hz: float | None = 75.0
    notch_hz: NotchHz = 50.0
    bipolar: str = "mean"
    corpus: str = ""
    license: str = ""
    description: str = ""
    simulated: bool = False
    split_hash: str | None = None
    base: dict[str, Any] | None = None
    results: dict[str, Any] | None = None
    adapter: str = "lora"
    max_missing_channels: int = 0
    head: HeadOptions = PLAIN_HEAD
    threshold: float | None = None
    label_of: str = "window"

    def __post_init__(self) -> None:
        put = lambda key, value: object.__setattr__(self, key, value)  # noqa: E731
        self._check_types()
        put("labels", tuple(self.labels))
        put("channels", tuple(clean_name(name) for name in self.channels))
        put("head", HeadOptions.read(self.head))
        put("notch_hz", checked_notch(self.notch_hz))
        two = len(self.labels) == 2
        put("loss", self.loss or ("binary_cross_entropy" if two else "cross_entropy"))
        put("metrics", tuple(self.metrics) or (BINARY_METRICS if two else MULTICLASS_METRICS))
        put("monitor", self.monitor or ("auroc" if two else "cohen_kappa"))
        self._check_values()

    def _check_types(self) -> None:
        wrong = []
        for keys, types, expected in _TYPES:
            for key in keys:
                if not isinstance(getattr(self, key), types):
                    wrong.append(f"{key}: expected {expected}, found {getattr(self, key)!r}")
        for key in ("labels", "channels", "metrics"):
            value = getattr(self, key)
            if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
                wrong.append(f"{key}: expected a list of strings, found {value!r}")
            elif len(value) > MAX_NAMES[key] or any(len(v) > MAX_NAME_LENGTH for v in value):
                wrong.append(f"{key}: expected at most {MAX_NAMES[key]} names of at most "
                             f"{MAX_NAME_LENGTH} characters, found {len(value)}, the longest of "
                             f"{max(map(len, value))}")  # fmt: skip
        optional = ("highpass_hz", "lowpass_hz", "threshold")
        for key in ("window_s", "rate_hz", "scale_uv", *optional):
            value = getattr(self, key)
            if value is None and key in optional:
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            least, largest = _SMALLEST.get(key, 0), _LARGEST.get(key, 1e9)
            if not number or not least < value <= largest:
                wrong.append(
                    f"{key}: expected a number above {least:g}, found {value!r} (at most "
                    f"{largest:g})"
                )
        missing = self.max_missing_channels
        if type(missing) is not int:
            wrong.append(f"max_missing_channels: expected a whole number, found {missing!r}")
        for check, *values in (
            (checked_notch, self.notch_hz),
            (HeadOptions.read, self.head),
            (checked, self.base or {}, _BASE, "base"),
        ):
            try:
                check(*values)
            except (ValueError, TypeError) as error:
                wrong.append(shortened(error).rstrip("."))
        if wrong:
            raise TaskCardError("Task card: " + "; ".join(wrong) + ".")

    def _check_values(self) -> None:
        check_task_name(self.name)
        self._check(
            len(self.labels) >= 2 and len(set(self.labels)) == len(self.labels),
            f"expected two or more different labels, found {list(self.labels)}",
        )
        words = {"loss": LOSSES, "adapter": ADAPTERS, "bipolar": BIPOLAR_RULES}
        words["label_of"] = LABEL_OF
        for key, known in words.items():
            value = getattr(self, key)
            self._check(value in known, f"{key}: expected one of {known}, found {value!r}")
        self._check(
            not self.is_binary or len(self.labels) == 2,
            f"binary cross-entropy needs two labels, found {len(self.labels)}",
        )
        self._check(
            self.monitor in self.metrics,
            f"monitor {self.monitor!r} is not among its metrics {list(self.metrics)}",
        )
        self._check(
            self.window_s % PATCH_S == 0,
            f"window_s: expected a whole number of {PATCH_S:g} s patches, found {self.window_s}",
        )
        if self.channels:
            channel_ids(self.channels, self.bipolar)
        most = max(len(self.channels) - 1, 0)
        self._check(
            0 <= self.max_missing_channels <= most,
            f"max_missing_channels: expected 0 to {most} of {len(self.channels)} channels, "
            f"found {self.max_missing_channels}",
        )
        self._check(
            self.head.kind != "channels" or (self.channels and not self.max_missing_channels),
            "a channels head has weights of its own for every channel: expected channels, none of "
            f"which may be missing, found {len(self.channels)} channels and max_missing_channels "
            f"{self.max_missing_channels}. Choose head mean or attention, or name all channels",
        )
        self._check(
            self.threshold is None or (len(self.labels) == 2 and self.threshold < 1),
            "threshold: expected a probability below 1, and two labels, found "
            f"{self.threshold} and {len(self.labels)} labels",
        )

    def _check(self, fits: bool, what: str) -> None:
        if not fits:
            raise TaskCardError(f"Task {self.name!r}: {what}.")

    @property
    def is_binary(self) -> bool:
        """Whether the head has one logit (binary cross-entropy)."""
        return self.loss == "binary_cross_entropy"

    @property
    def num_outputs(self) -> int:
        """Outputs of the head: 1 for a binary task, else the number of classes."""
        return 1 if self.is_binary else len(self.labels)

    def head_shapes(self, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of the task's head on a backbone of a width."""
        return self.head.shapes(hidden_size, len(self.channels), self.num_outputs)

    @property
    def patches(self) -> int:
        """One-second patches per window."""
        return round(self.window_s / PATCH_S)

    @property
    def filters(self) -> str:
        """The filters in words; a recording's rate may forbid one."""
        kinds = (("high-pass", self.highpass_hz), ("low-pass", self.lowpass_hz))
        named = [f"{kind} {edge_hz:g} Hz" for kind, edge_hz in kinds if edge_hz is not None]
        if self.notch_hz is not None:
            named.append(notch_text(self.notch_hz))
        return ", ".join(named) or "no filters"

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Class probabilities (batch, classes) from logits (batch, outputs)."""
        if logits.ndim != 2 or logits.shape[1] != self.num_outputs:
            raise ValueError(
                f"Task {self.name!r}: expected logits (batch, {self.num_outputs}), "
                f"found {tuple(logits.shape)}."
            )
        if self.is_binary:
            positive = logits.float().sigmoid()
            return torch.cat([1 - positive, positive], dim=1)
        return logits.float().softmax(dim=1)

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Class numbers (n,) int64 from class probabilities (n, classes).

        The class with the highest probability (of equals the first), or with a ``threshold``
        ``labels[1]`` from it on.
        """
        if self.threshold is None:
            return probabilities.argmax(axis=1)
        return (probabilities[:, 1] >= self.threshold).astype(np.int64)

    @property
    def decision(self) -> str:
        """How a class is chosen, in words."""
        if self.threshold is None:
            return "The class with the highest probability."
        return (
            f"{self.labels[1]} from a probability of {self.threshold:.3g} on, else "
            f"{self.labels[0]} (threshold {self.threshold:.3g}, chosen on validation)."
        )

    def replace(self, **changes: Any) -> TaskCard:
        """A copy with some fields changed, checked again."""
        self._check_known(changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as they stand in ``task.json``.

        ``max_missing_channels`` is left out where it is 0, ``threshold`` where there is none,
        ``head`` where it is the paper's, and ``label_of`` where it is the window: such cards, and
        hashes of them, are those of versions that did not know them. NaN and infinity among the
        results, which JSON does not have, become null.
        """
        text = json.dumps(dataclasses.asdict(self))
        fields = json.loads(text, parse_constant=lambda name: None)
        if not self.max_missing_channels:
            del fields["max_missing_channels"]
        if self.head == PLAIN_HEAD:
            del fields["head"]
        else:
            fields["head"] = self.head.to_dict()
        if self.threshold is None:
            del fields["threshold"]
        if self.label_of == "window":
            del fields["label_of"]
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TaskCard:
        """The inverse of :meth:`to_dict`; unknown or missing fields are an error."""
        if not isinstance(fields, Mapping):
            raise TaskCardError(f"Task card: expected a mapping, found {type(fields).__name__}.")
        cls._check_known(fields, needed=("labels", "name"))
        return cls(**dict(fields))

    @classmethod
    def _check_known(cls, fields: Mapping[str, Any], needed: Sequence[str] = ()) -> None:
        """Raise where fields are unknown, or needed ones missing."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown, missing = sorted(set(fields) - known), [key for key in needed if key not in fields]
        if unknown or missing:
            raise TaskCardError(
                f"Task card: unknown fields {unknown}, missing fields {missing}; known are "
                f"{sorted(known)}."
            )

    def save(self, folder: str | Path) -> Path:
        """Write ``task.json`` into ``folder`` and return its path."""
        path = Path(folder) / CARD_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> TaskCard:
        """Read ``task.json`` of ``folder`` (or the file itself)."""
        path = Path(folder)
        path = path / CARD_FILE if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(f"No task card: expected {path}.")
        try:
            fields = read_json(path)
        except ValueError as error:
            raise TaskCardError(f"{path} is not a task card: {error}") from error
        try:
            return cls.from_dict(fields)
        except ValueError as error:
            raise TaskCardError(f"{path}: {shortened(error, 1000)}") from error
