"""What a task says of a recording as a whole: figures, and a sentence that says what they mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..model.task_card import TaskCard
from ..pictures.multiclass import BACKGROUND
from ..pictures.sleep import stage_order
from ..pictures.spans import THRESHOLD, detections, runs, window_spans
from ..prediction import Prediction
from .examine import length_text

_NOT_CALIBRATED = (
    "Neither is the probability that the recording as a whole is {label}: from which share or mean "
    "on it is so was not calibrated, and the task's card has no such decision."
)


@dataclasses.dataclass(frozen=True)
class Summary:
    """The answer on a recording.

    Parameters
    ----------
    headline : str
        The answer in a few words.
    figures : mapping of str to str
        By name.
    meaning : str
        What the figures are, and what they are not.
    """

    headline: str
    figures: Mapping[str, str]
    meaning: str


def threshold_of(prediction: Prediction) -> float:
    """Probability from which on the positive class of two is the answer."""
    return prediction.threshold or prediction.card.threshold or THRESHOLD


def summarize(prediction: Prediction) -> Summary:
    """What a task says of a whole recording.

    Of a task whose labels are of whole recordings (``label_of`` of its card) share and mean of
    every class, of sleep stages the time in each, of a task of two classes the stretches in which
    the positive one is the answer, of any other the windows or events of every class.
    """
    card = prediction.card
    if card.label_of == "recording":
        return _of_recording(prediction)
    if stage_order(card):
        return _of_stages(prediction)
    if len(card.labels) == 2:
        return _of_stretches(prediction)
    return _of_classes(prediction)


def _of_recording(prediction: Prediction) -> Summary:
    card, classes = prediction.card, prediction.classes
    mean = prediction.probabilities.mean(axis=0, dtype=float)
    counts = np.bincount(classes, minlength=len(card.labels))
    shown = [1] if len(card.labels) == 2 else np.argsort(-counts, kind="stable").tolist()
    figures = {}
    for index in shown:
        label = card.labels[index]
        figures[f"Windows that are {label}"] = (
            f"{counts[index] / len(classes):.0%} ({counts[index]:,} of {len(classes):,})"
        )
        figures[f"Mean probability of {label}"] = f"{mean[index]:.2f}"
    first = card.labels[shown[0]]
    rule = "that have the highest probability for it"
    if len(card.labels) == 2:
        rule = f"with a probability of {threshold_of(prediction):.3g} or more"
    meaning = (
        "In training every window had its recording's label, so these figures speak of the whole "
        f"recording: the share of its windows {rule}, and the mean over all windows. "
        + _NOT_CALIBRATED.format(label=first)
    )
    headline = f"{first} in {counts[shown[0]] / len(classes):.0%} of the windows"
    return Summary(f"{headline}, {mean[shown[0]]:.2f} in the mean", figures, meaning)


def _of_stages(prediction: Prediction) -> Summary:
    card, order = prediction.card, stage_order(prediction.card)
    spans = window_spans(prediction)
    seconds = np.bincount(
        prediction.classes, weights=spans[:, 1] - spans[:, 0], minlength=len(card.labels)
    )
    total = float(seconds.sum())
    figures = {
        card.labels[index]: f"{length_text(seconds[index])} ({seconds[index] / total:.0%})"
        for index in order.values()
    }
    asleep = total - (float(seconds[order["W"]]) if "W" in order else 0.0)
    meaning = (
        f"Every window of {card.window_s:g} s counts for its most probable stage, none is weighed "
        "by its neighbours. The times are the model's, not a scorer's."
    )
    return Summary(f"Asleep for {length_text(asleep)} of {length_text(total)}", figures, meaning)


def _of_stretches(prediction: Prediction) -> Summary:
    card, threshold = prediction.card, threshold_of(prediction)
    label, spans = card.labels[1], window_spans(prediction)
    found = detections(prediction, threshold)
    lengths = [part.stop_s - part.start_s for part in found]
    looked_h = float((spans[:, 1] - spans[:, 0]).sum()) / 3600
    figures = {"Events": f"{len(found):,}", "Time in them": length_text(sum(lengths))}
    if found:
        longest = found[int(np.argmax(lengths))]
        figures["The longest"] = (
            f"{length_text(longest.stop_s - longest.start_s)}, from {clock_text(longest.start_s)}"
        )
    if looked_h >= 1:
        figures["Events an hour"] = f"{len(found) / looked_h:.2g}"
    positive = prediction.probabilities[:, 1]
    figures["Windows above the threshold"] = f"{np.mean(positive >= threshold):.0%}"
    figures["Mean probability"] = f"{positive.mean(dtype=float):.2f}"
    meaning = (
        f"An event is windows in a row with a probability of {label} of {threshold:.3g} or more. "
        "The task's card does not say that its labels are of whole recordings, so of the recording "
        "nothing more is said."
    )
    events = f"{len(found):,} event{'s' if len(found) != 1 else ''} of {label}"
    return Summary(f"{events}, {length_text(sum(lengths))} in all", figures, meaning)


def _of_classes(prediction: Prediction) -> Summary:
    """Windows of every class, and the events that those in a row are where one is background."""
    card, classes = prediction.card, prediction.classes
    counts = np.bincount(classes, minlength=len(card.labels))
    order = [index for index in np.argsort(-counts, kind="stable").tolist() if counts[index]]
    background = {index for index, label in enumerate(card.labels) if label.upper() in BACKGROUND}
    events = _run_counts(prediction)
    figures, total = {}, 0
    for index in order:
        share = f"{counts[index] / len(classes):.0%} of the windows"
        if background and index not in background:
            total += events[index]
            share = f"{events[index]:,} event{'s' if events[index] != 1 else ''}, {share}"
        figures[card.labels[index]] = share
    meaning = "Every window counts for its most probable class."
    if not background:
        first = card.labels[order[0]]
        return Summary(f"{first} most often, {figures[first]}", figures, meaning)
    meaning += " An event is windows of one class in a row."
    return Summary(f"{total:,} event{'s' if total != 1 else ''}", figures, meaning)


def _run_counts(prediction: Prediction) -> np.ndarray:
    """int64 (classes,), how often windows in a row begin to be a class."""
    counts = np.zeros(len(prediction.card.labels), np.int64)
    for run in runs(window_spans(prediction)):
        classes = prediction.classes[run]
        begins = np.concatenate([[True], np.diff(classes) != 0])
        counts += np.bincount(classes[begins], minlength=len(counts))
    return counts


def clock_text(seconds: float) -> str:
    """``1:01:05`` from the start of the recording."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def question(card: TaskCard) -> str:
    """What a task asks, in words: its description up to the question mark, else its classes.

    What a long question lists after a colon is left out; the list of tasks names the classes.
    """
    asks, mark, _ = card.description.partition("?")
    asks = asks.partition(":")[0] if len(asks) > 60 else asks
    if mark and len(asks) < 120:
        return asks + "?"
    if len(card.labels) <= 8:
        return f"Which of {', '.join(card.labels[:-1])} or {card.labels[-1]}?"
    return f"Which of {len(card.labels)} classes?"
