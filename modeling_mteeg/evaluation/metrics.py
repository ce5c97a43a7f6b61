"""The metrics: one function each, with its title. A new one is written here and nowhere else.

The name of the function is the metric's name in task cards and configurations, its title heads the
column of tables and model cards, and the order below is the order of the columns. A metric is
reported for a task whose card names it, or for which a training chooses it (``metrics`` and
``monitor`` of its configuration). Higher must be better, for the highest mean over the tasks
selects the model. One of your own may lie in any file: decorate it with :func:`metric` and import
it before the training or evaluation begins.

Each is scikit-learn's definition (section 4.2 of the paper names the first five). Where the
references hold a single class, AUROC, AUC-PR and Cohen's kappa say nothing about a model. They are
then NaN, with a :class:`DegenerateMetricWarning` that names the class, whatever the predictions
are; so a task has a value in all evaluations of a split or in none of them.

Model cards take the titles from here, so scikit-learn is imported inside the functions.
"""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Callable, Iterable

import numpy as np

PROBABILITY, CLASS, PROBABILITIES = "probability", "class", "probabilities"
"""What a metric is computed from: the probability of the positive class, the predicted class, or
the probabilities of all classes."""
BESIDE = ("loss", "num_samples")
"""What stands beside the metrics in a task's results, and can be no metric's name."""

MetricFunction = Callable[[np.ndarray, np.ndarray], float]


class DegenerateMetricWarning(UserWarning):
    """A metric is undefined for these references and was set to NaN."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """An entry of :data:`~modeling_mteeg.evaluation.METRICS`; :func:`metric` makes them.

    Parameters
    ----------
    key : str
        Name in task cards, configurations and results.
    title : str
        For people: the head of a column.
    function : callable
        Predictions (n,) and references (n,) to a number.
    wants : {"class", "probability", "probabilities"}
        What the predictions are: class numbers int64; the probability of the positive class
        float64, which is for two classes; or the probabilities of all classes float64, (n,
        classes).
    needs_two_classes : bool
        Whether it is undefined where the references hold a single class.
    quick : callable, optional
        Another way to the same number, but for rounding, for the thousands of values behind an
        interval.
    """

    key: str
    title: str
    function: MetricFunction
    wants: str = CLASS
    needs_two_classes: bool = False
    quick: MetricFunction | None = None

    @property
    def resampled(self) -> MetricFunction:
        """The function for resamples: ``quick`` where there is one."""
        return self.quick or self.function

    @property
    def description(self) -> str:
        """What it is, from the first paragraph of the function's docstring."""
        return (inspect.getdoc(self.function) or self.title).partition("\n\n")[0]

    def __call__(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """The value; NaN with a :class:`DegenerateMetricWarning` where it is undefined.

        Parameters
        ----------
        predictions : np.ndarray, (n,), or (n, classes)
            See ``wants``.
        references : np.ndarray, (n,), int64
            True classes.

        Raises
        ------
        ValueError
            No sample, or values that are no classes or probabilities.
        """
        fault = self._fault(predictions, references)
        if fault:
            raise ValueError(f"{self.key}: expected {fault}.")
        classes = np.unique(references)
        if self.needs_two_classes and len(classes) < 2:
            warnings.warn(
                f"{self.key} is not defined: all {len(references)} references are of class "
                f"{classes[0]}; it is NaN here.",
                DegenerateMetricWarning,
                stacklevel=3,
            )
            return float("nan")
        return float(self.function(predictions, references))

    def _fault(self, predictions: np.ndarray, references: np.ndarray) -> str | None:
        """What was expected and what was found, where the metric would count nonsense."""
        if len(references) == 0:
            return "one sample or more, found none"
        if references.min() < 0:
            return f"true classes of 0 or above, found {references.min()}"
        least, most = predictions.min(), predictions.max()
        if self.wants == CLASS:
            return f"classes of 0 or above, found {least}" if least < 0 else None
        if not (np.isfinite(predictions).all() and 0 <= least <= most <= 1):
            whose = "the positive class" if self.wants == PROBABILITY else "every class"
            return f"the probability of {whose}, found values from {least} to {most}"
        if self.wants == PROBABILITIES:
            columns = predictions.shape[-1] if predictions.ndim == 2 else 0
            if references.max() < columns:
                return None
            return f"a column for every class, found {columns} and class {references.max()}"
        if references.max() > 1:
            return f"two classes, 0 and 1, found class {references.max()}"
        return None


METRICS: dict[str, Metric] = {}
"""All metrics by name, in the order of the columns of a table."""


def metric(
    title: str,
    wants: str = CLASS,
    needs_two_classes: bool = False,
    quick: MetricFunction | None = None,
) -> Callable[[MetricFunction], MetricFunction]:
    """Make a function of predictions and references a metric, under the function's name.

    Parameters
    ----------
    title, wants, needs_two_classes, quick
        See :class:`Metric`.

    Returns
    -------
    callable
        The decorator; it leaves the function as it is.

    Raises
    ------
    ValueError
        ``wants`` is none of ``CLASS``, ``PROBABILITY`` and ``PROBABILITIES``, or
        another module has a metric of that name, or the name is one of ``BESIDE``.
    """
    known = (CLASS, PROBABILITY, PROBABILITIES)
    if wants not in known:
        raise ValueError(f"wants: expected one of {known}, found {wants!r}.")

    def register(function: MetricFunction) -> MetricFunction:
        key = function.__name__
        if key in BESIDE:
            raise ValueError(f"{key!r} can be no metric's name: results hold another value so.")
        earlier = METRICS.get(key)
        # The same module again is a reload, or the cell of a notebook run a second time.
        if earlier is not None and earlier.function.__module__ != function.__module__:
            raise ValueError(
                f"There is a metric {key!r} already, in {earlier.function.__module__}: give the "
                "function another name."
            )
        METRICS[key] = Metric(key, title, function, wants, needs_two_classes, quick)
        return function

    return register


def title_of(name: str) -> str:
    """A metric's title; the name itself where it is none of ours, as in a stranger's card."""
    return METRICS[name].title if name in METRICS else name


def in_order(names: Iterable[str]) -> list[str]:
    """Names of metrics as ``METRICS`` has them, the columns of a table; unknown ones last."""
    given = set(names)
    return [name for name in METRICS if name in given] + sorted(given.difference(METRICS))


@metric("bal. accuracy")
def balanced_accuracy(predictions: np.ndarray, references: np.ndarray) -> float:
    """Mean of the recalls of the classes that occur in the references."""
    # By hand, for scikit-learn warns of every predicted class that has no reference.
    hits = predictions == references
    return float(np.mean([hits[references == label].mean() for label in np.unique(references)]))


@metric("AUC-PR", wants=PROBABILITY, needs_two_classes=True)
def auc_pr(predictions: np.ndarray, references: np.ndarray) -> float:
    """Area under the precision-recall curve, as average precision."""
    from sklearn.metrics import average_precision_score

    return average_precision_score(references, predictions)


def _area_by_ranks(predictions: np.ndarray, references: np.ndarray) -> float:
    """AUROC as Mann and Whitney's U, a tenth of ``auroc``'s time on hundreds of windows."""
    from scipy.stats import rankdata

    positive = references == 1
    count = int(positive.sum())
    above = rankdata(predictions)[positive].sum() - count * (count + 1) / 2
    return float(above / (count * (len(references) - count)))


@metric("AUROC", wants=PROBABILITY, needs_two_classes=True, quick=_area_by_ranks)
def auroc(predictions: np.ndarray, references: np.ndarray) -> float:
    """Area under the receiver operating characteristic."""
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(references, predictions)


@metric("Cohen's kappa", needs_two_classes=True)
def cohen_kappa(predictions: np.ndarray, references: np.ndarray) -> float:
    """Agreement of predicted and true classes beyond chance."""
    from sklearn.metrics import cohen_kappa_score

    return cohen_kappa_score(references, predictions)


@metric("weighted F1")
def weighted_f1(predictions: np.ndarray, references: np.ndarray) -> float:
    """Mean of the F1 scores of the classes, weighted by their numbers of references."""
    from sklearn.metrics import f1_score

    return f1_score(references, predictions, average="weighted", zero_division=0)


@metric("macro AUROC", wants=PROBABILITIES, needs_two_classes=True)
def macro_auroc(predictions: np.ndarray, references: np.ndarray) -> float:
    """Mean of the AUROCs of every class that occurs against the rest, for any number of classes."""
    occur = np.unique(references)
    return float(np.mean([auroc(predictions[:, one], references == one) for one in occur]))
