"""Heads that begin as linear probes of the start's features.

A training from random heads first bends the backbone after what the heads say by chance. Fitted
first, they do not (linear probing, then fine-tuning: Kumar et al., Fine-Tuning can Distort
Pretrained Features and Underperform Out-of-Distribution, 2022).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast

from ..data.loading import Corpus, model_inputs
from ..data.mixing import TaskMix
from ..evaluation import Predictions, score
from ..evaluation.metrics import title_of
from ..methods.logistic import fit_logistic
from ..methods.method import GradientMethod, TrainingError
from ..model.task_card import TaskCard

STRENGTHS = (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0)
FOLDS = 5
WINDOWS, VALUES = 20_000, 50_000_000
"""Most windows that a head is fitted to, and most of their features."""
_FLAT = 1e-6


@dataclasses.dataclass(frozen=True)
class Probe:
    """A linear layer ``features @ weight.T + bias``, and how its strength was found, in words."""

    weight: np.ndarray
    bias: np.ndarray
    told: str


def start_heads(
    method: GradientMethod,
    corpora: Mapping[str, Corpus],
    mixes: Iterable[TaskMix],
    seed: int,
    accelerator: Accelerator,
    batch_size: int,
    class_weights: Mapping[str, torch.Tensor],
) -> dict[str, str]:
    """Put logistic regression into the output layer of every task's head.

    Parameters
    ----------
    method : GradientMethod
        At its start, the same in every process. Nothing but output layers is changed.
    corpora : mapping of str to Corpus
    mixes : iterable of TaskMix
        The training windows; those of the first epoch's draw are fitted to, at most 20,000 of them
        and 50 million features, evenly taken in their order.
    seed : int
        Of the draw.
    accelerator : Accelerator
        Its main process computes, the others get the result.
    batch_size : int
        Windows in one pass.
    class_weights : mapping of str to torch.Tensor
        Of the training's loss, which the regression has, too.

    Returns
    -------
    dict of str to str
        What was found for each task, in words; empty in other processes.

    Raises
    ------
    TrainingError
        The method has no linear output layer.
    """
    told = {}
    for mix in mixes:
        layer = method.output_layer(mix.name)
        if layer is None:
            raise TrainingError(
                "optimization.head_start: expected a method whose heads end in a linear layer; "
                f"{method.title or type(method).__name__} has none. Use head_start: random."
            )
        if accelerator.is_main_process:
            corpus = corpora[mix.name]
            rows = np.sort(mix.draw(seed, 0))
            most = min(len(rows), WINDOWS, VALUES // layer.in_features)
            rows = rows[np.arange(most) * len(rows) // most]
            with accelerator.autocast():
                features = _features(method, corpus, rows, batch_size)
            reader, weights = corpus.splits["train"], class_weights.get(mix.name)
            probe = fit_probe(
                features, reader.labels[rows], reader.subjects[rows], corpus.card,
                None if weights is None else dict(enumerate(weights.tolist())),
                method.output_blocks(mix.name),
            )  # fmt: skip
            told[mix.name] = probe.told
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(probe.weight))
                layer.bias.copy_(torch.from_numpy(probe.bias))
        if accelerator.num_processes > 1:
            with torch.no_grad():
                for parameter in (layer.weight, layer.bias):
                    parameter.copy_(broadcast(parameter.detach()))
    return told


def _features(
    method: GradientMethod, corpus: Corpus, rows: np.ndarray, batch_size: int
) -> np.ndarray:
    """What the output layer gets of training windows, (n, f) float64."""
    card, reader = corpus.card, corpus.splits["train"]
    parts = [
        method.output_features(card.name, model_inputs(reader, card, some)).float().cpu().numpy()
        for some in np.array_split(rows, -(-len(rows) // batch_size))
    ]
    return np.concatenate(parts).astype(np.float64)


def fit_probe(
    features: np.ndarray,
    labels: np.ndarray,
    subjects: np.ndarray,
    card: TaskCard,
    class_weight: Mapping[int, float] | None = None,
    blocks: Sequence[int] = (),
) -> Probe:
    """Logistic regression on standardised features, its strength chosen over people.

    Parameters
    ----------
    features : np.ndarray, (n, f), float64
    labels : np.ndarray, (n,), int64
    subjects : np.ndarray, (n,), str
    card : TaskCard
        Its monitor, on what is said of the people left out of five folds, chooses the strength (of
        equals the smallest). With a single person the smallest but two is taken.
    class_weight : mapping of int to float, optional
    blocks : sequence of int, optional
        Numbers of features by source, in their order: sources count equally, however many features
        they have, so that many tokens do not drown a few powers.

    Returns
    -------
    Probe
        The standardisation is folded into weight (outputs, f) and bias (outputs,).
    """
    deviation = features.std(0)
    features = np.where(deviation > _FLAT * deviation.max(initial=0.0), features, 0.0)
    weighting = None if class_weight is None else dict(class_weight)
    sizes = np.array(blocks or (features.shape[1],))
    scale = np.repeat(np.sqrt(sizes.max() / sizes), sizes)  # of every feature, (f,)
    folds = _folds(labels, subjects)
    strength, how = STRENGTHS[2], "one person: no folds to choose by"
    if folds:
        values = [
            _held_out(features, labels, folds, card, one, weighting, scale)[card.monitor]
            for one in STRENGTHS
        ]
        best = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
        strength = STRENGTHS[best]
        how = f"{title_of(card.monitor)} {values[best]:.3f} on people left out, {len(folds)} folds"
    fit = fit_logistic(features, labels, card.num_outputs, strength, weighting, scale)
    weight = fit["weight"] / fit["deviation"]
    return Probe(weight, fit["bias"] - weight @ fit["mean"], f"strength {strength:g}, {how}")


def _folds(labels: np.ndarray, subjects: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit and rows left out, (n,) each, for up to five parts of the people.

    The classes are spread over the parts, which matters where a person has one class alone.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    people = len(set(subjects))
    if people < 2:
        return []
    parts = min(FOLDS, people)
    if np.bincount(labels).max() < parts:  # too few windows to spread
        return list(GroupKFold(parts).split(subjects, groups=subjects))
    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=0)
    with warnings.catch_warnings():  # a class with fewer windows than parts
        warnings.simplefilter("ignore", UserWarning)
        return list(folds.split(subjects, labels, subjects))


def _held_out(features, labels, folds, card, strength, weighting, scale) -> dict[str, float]:
    """Metrics of what is said of the people left out, all folds together."""
    logits = np.zeros((len(labels), card.num_outputs))
    for fitted, left_out in folds:
        part = features[fitted], labels[fitted], card.num_outputs
        fit = fit_logistic(*part, strength, weighting, scale)
        scaled = (features[left_out] - fit["mean"]) / fit["deviation"]
        logits[left_out] = scaled @ fit["weight"].T + fit["bias"]
    return score(Predictions(logits, labels), card)
