"""The picture of a confusion matrix."""

from __future__ import annotations

import numpy as np
import pytest
from picture_checks import assert_nothing_is_cut, texts

pytest.importorskip("matplotlib")
from modeling_mteeg.pictures.confusion import draw_confusion


@pytest.mark.parametrize("labels", [("rest", "a $name$ with a long end and more"), tuple("abcdef")])
def test_a_confusion_matrix_shows_every_number_and_name(labels):
    counts = np.arange(len(labels) ** 2).reshape(len(labels), -1) * 1000
    counts[1] = 0  # a class without a window
    figure = draw_confusion(counts, labels, "a task")
    shown = texts(figure).splitlines()
    assert {"0", f"{counts[-1, -1]:,}", "true", "predicted", "a task", labels[0]} <= set(shown)
    assert_nothing_is_cut(figure)


def test_many_classes_have_no_numbers():
    counts = np.full((20, 20), 7)
    assert "7" not in texts(draw_confusion(counts, ["a class"] * 20)).splitlines()
