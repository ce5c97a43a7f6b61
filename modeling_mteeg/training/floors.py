"""The two floors of every training: the commonest class, and log band power.

A figure without them says little: a model that is not above the one has learned nothing, and one
that is not above the other nothing that five numbers a channel do not tell.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from accelerate import Accelerator

from ..data.loading import Corpus, training_mixes
from ..evaluation import (
    Predictions,
    WindowPredictions,
    choose_threshold,
    predict_task,
    score,
)
from ..methods import METHODS
from ..methods.band_power import BandPower, BandPowerOptions
from ..model.task_card import TaskCard
from .fitted_training import window_features
from .joint_config import JointConfig
from .selected_training import is_better

COMMONEST, BAND_POWER = "the commonest class", "log band power"
FLOOR_NAMES = (COMMONEST, BAND_POWER)
FLOOR_WINDOWS = 20_000
"""Most windows of a split that band power is fitted to, or chosen on."""
_LEAST_SHARE = 1e-12


def fit_floors(
    config: JointConfig, corpora: Mapping[str, Corpus], accelerator: Accelerator
) -> dict[str, dict[str, WindowPredictions]]:
    """What the floors say of the test windows of every task; the same in all processes.

    Parameters
    ----------
    config : JointConfig
        Its sampling rules and first seed choose the training windows: those of the first epoch.
    corpora : mapping of str to Corpus
    accelerator : Accelerator
        The test windows are shared out over its processes; fitting is done in each.

    Returns
    -------
    dict
        Task to floor to predictions. Empty where ``config.floor`` is false. Band power is left out
        where the training itself is of it.

    Notes
    -----
    Band power is what the method of that name fits, with its strength chosen on validation by the
    task's monitor metric. It is fitted to at most 20,000 training windows and chosen on at most
    20,000 of validation, evenly taken in their order; up to there it is that method to the last
    digit. With ``threshold: validation`` it has a threshold chosen there, too. The test is always
    whole. So a corpus of any size costs minutes, a small one seconds.
    """
    if not config.floor:
        return {}
    floors: dict[str, dict[str, WindowPredictions]] = {}
    for mix in training_mixes(corpora, config.sampling_of(corpora)):
        corpus, rows = corpora[mix.name], np.sort(mix.draw(config.seeds[0], 0))
        reader, card = corpus.splits["test"], corpus.card
        shares = _commonest(corpus.splits["train"].labels[rows], card)
        said = Predictions(np.repeat(shares, len(reader), 0), reader.labels)
        floors[mix.name] = {COMMONEST: WindowPredictions.of(said, reader, card)}
        if METHODS[config.method] is not BandPower:
            method, threshold = _fitted(corpus, _evenly(rows))
            said = predict_task(
                method, reader, card, config.optimization.eval_batch_size, accelerator
            )
            if config.threshold is not None:
                card = card.replace(threshold=threshold)
            floors[mix.name][BAND_POWER] = WindowPredictions.of(said, reader, card)
    return floors


def _commonest(labels: np.ndarray, card: TaskCard) -> np.ndarray:
    """Logits (1, outputs) float32 of the shares of the classes: the commonest is the answer."""
    counts = np.bincount(labels, minlength=len(card.labels))
    logits = np.log((counts / counts.sum()).clip(_LEAST_SHARE)).astype(np.float32)
    return (logits[1:] - logits[:1] if card.is_binary else logits)[None]


def _fitted(corpus: Corpus, rows: np.ndarray) -> tuple[BandPower, float | None]:
    """Band power fitted to training rows, and the threshold that validation would choose.

    Its strength is chosen there, too (the first of equals).
    """
    card, task = corpus.card, corpus.card.name
    method = BandPower({task: card.replace(results=None)}, BandPowerOptions())
    held_out = corpus.splits["validation"]
    chosen_on = _evenly(np.arange(len(held_out)))
    features, labels = window_features(method, corpus.splits["train"], card, rows)
    held_features, held_labels = window_features(method, held_out, card, chosen_on)
    best, kept, threshold = None, None, None
    for strength in method.candidates:
        method.fit(task, features, labels, strength)
        logits = method.predict_features(task, held_features).float().numpy()
        said = Predictions(logits, held_labels)
        value = score(said, card)[card.monitor]
        if best is None or is_better(value, best):
            best, kept, threshold = value, method.state(task), choose_threshold(said, card)
    method.load_state(task, kept)
    return method, threshold


def _evenly(rows: np.ndarray) -> np.ndarray:
    """At most :data:`FLOOR_WINDOWS` of ``rows``, at equal steps."""
    most = min(len(rows), FLOOR_WINDOWS)
    return rows[np.arange(most) * len(rows) // most]
