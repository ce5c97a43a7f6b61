"""Pictures of a comparison: the numbers are those given, and nothing is cut or covered."""

from __future__ import annotations

import numpy as np
import pytest
from picture_checks import assert_apart, assert_nothing_is_cut, texts

pytest.importorskip("matplotlib")
from modeling_mteeg.pictures.ablation import Panel, draw_ablation
from modeling_mteeg.pictures.confusion import draw_confusions
from modeling_mteeg.pictures.radar import draw_radar

LONG = "a $model$ with a name that goes on and on, and on"


def test_a_radar_has_every_value_between_its_rings():
    values = {"best": [0.9, 0.5, 0.8], LONG: [0.7, 0.35, float("nan")], "bad": [0.4, 0.3, 0.5]}
    figure = draw_radar(values, ["tuab", "a task of a long name", "c"], [0.5, 0.2, 0.5], "title")
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 4][-3:]
    radii = [list(line.get_ydata()[:3]) for line in lines]
    assert radii[0] == pytest.approx([1, 1, 1])
    assert radii[1][:2] == pytest.approx([0.12 + 0.88 * 0.5] * 2) and np.isnan(radii[1][2])
    assert radii[2][0] == pytest.approx(0.12)  # below chance
    assert "0.500 to 0.900" in texts(figure)
    assert_nothing_is_cut(figure)
    with pytest.raises(ValueError, match="3 axes or more"):
        draw_radar({"a": [1, 2]}, ["x", "y"], [0, 0], "title")


@pytest.mark.parametrize("numbers", [True, False])
def test_an_ablation_shows_means_deviations_and_gaps(numbers):
    values = ["4", "8", "16"] if numbers else ["attention", "feed-forward layers alone", "both"]
    by_seed = ((0.5, 0.6, 0.7), (), (0.8,))
    panels = [Panel("a", "AUROC", by_seed), Panel("a", "kappa", by_seed), Panel("b", "f", by_seed)]
    figure = draw_ablation("rank", values, panels, "title", "remark")
    axes = figure.axes[0]
    line = next(line for line in axes.lines if len(line.get_xdata()) == 2)
    assert list(line.get_ydata()) == pytest.approx([0.6, 0.8]) and list(line.get_xdata()) == [0, 2]
    assert (line.get_linestyle() == "-") == numbers
    assert "no\nresult" in texts(figure) and len(axes.collections) == 2
    bar = axes.collections[0].get_segments()[0]
    assert bar[:, 1] == pytest.approx([0.5, 0.7])
    assert_nothing_is_cut(figure)


@pytest.mark.parametrize(("models", "classes"), [(1, 2), (7, 3), (2, 9)])
def test_confusion_matrices_stand_apart(models, classes):
    labels = [f"class {number} of a long name" for number in range(classes)]
    counts = {f"{number} {LONG}": np.eye(classes) * 8 + 2 for number in range(models)}
    figure = draw_confusions(counts, labels, "a title")
    assert_nothing_is_cut(figure)
    figure.draw_without_rendering()
    matrices = [axes for axes in figure.axes if axes.images and len(axes.images[0].get_array()) > 1]
    assert len(matrices) >= models
    assert_apart(axes.title.get_window_extent() for axes in matrices[:models])
    share = round(100 * 10 / (10 + 2 * (classes - 1)))
    assert (str(share) in texts(figure).splitlines()) == (classes <= 6)
