"""Channels on the head: where they are, none lost, none cut off."""

from __future__ import annotations

import numpy as np
import pytest
from picture_checks import assert_nothing_is_cut, texts

from modeling_mteeg.explanation.attribution import ChannelAttribution, LabelledWindows
from modeling_mteeg.model.channels import ELECTRODES
from modeling_mteeg.pictures import draw_scalp, save_scalp
from modeling_mteeg.pictures.scalp import positions


def values(channels, method="integrated-gradients", **fields) -> ChannelAttribution:
    numbers = np.linspace(-1, 2, len(channels))
    return ChannelAttribution(tuple(channels), numbers, method, "task", **fields)


def test_electrodes_lie_where_they_are_on_the_head():
    names = ("FPZ", "CZ", "OZ", "T7", "T8", "C3", "C4", "FP1", "CB1", "Q7")
    place = positions(names)
    assert set(names) - set(place) == {"CB1", "Q7"}
    assert np.hypot(*place["CZ"]) < 0.1 and place["FPZ"][1] > 0.85 and place["OZ"][1] < -0.85
    assert place["T7"][0] < -0.9 and place["C3"][0] == pytest.approx(-place["C4"][0], abs=0.05)
    assert place["FP1"][0] < 0 < place["FP1"][1]


def head_and_bars(attribution):
    figure = draw_scalp(attribution)
    assert_nothing_is_cut(figure)
    head, bars, scale = figure.subfigs[1].axes
    return figure, head, bars, scale


@pytest.mark.parametrize("count", [3, 23, 62, len(ELECTRODES)])
def test_every_electrode_is_drawn_or_named(count):
    channels = ELECTRODES[:count]
    figure, head, bars, scale = head_and_bars(
        values(channels, label="seizure", onset_s=(30.0, 50.0))
    )
    assert scale.get_ylabel() == "integrated gradients (logit of seizure)"
    least, most = scale.get_ylim()
    assert least == -most == pytest.approx(-np.abs(np.linspace(-1, 2, count)).max())
    lost = [name for name in channels if name not in positions(channels)]
    names = [one.get_text() for one in head.texts]
    assert set(channels) - set(lost) <= set(names)
    if lost:
        assert f"{len(lost)} without a place on the head" in texts(figure)
    assert "mean over 2 windows, from 30 s, 50 s" in texts(figure) and "seizure" in bars.get_title(
        loc="left"
    )
    largest = [one.get_text().split()[0] for one in bars.get_yticklabels()]
    order = np.argsort(-np.abs(np.linspace(-1, 2, count)), kind="stable")[:16]
    assert largest == [channels[i] for i in order]
    widths = [one.get_width() for one in bars.patches]
    np.testing.assert_allclose(widths, np.linspace(-1, 2, count)[order])


def test_bipolar_channels_are_lines_between_their_electrodes():
    channels = ("FPZ-CZ", "PZ-OZ", "C3-Q7")
    figure, head, _, _ = head_and_bars(values(channels, simulated=True, recording="a/b.edf"))
    place = positions(("FPZ", "CZ"))
    ends = [tuple(map(tuple, one.get_xydata())) for one in head.lines]
    assert ends.count((place["FPZ"], place["CZ"])) == 2  # the line and its rim
    text = texts(figure)
    assert "1 without a place on the head: C3-Q7" in text and "C3-Q7 †" in text
    assert "SIMULATED" in text and "b.edf" in text


def test_rollout_knows_no_sign_and_zeros_are_drawn():
    zeros = ChannelAttribution(("C3", "C4"), np.zeros(2), "attention-rollout", "task")
    figure, _, bars, scale = head_and_bars(zeros)
    assert scale.get_ylabel() == "attention rollout (share)" and scale.get_ylim()[0] == 0
    assert "attention" in bars.get_title(loc="left") and "mean over windows" in texts(figure)


def test_the_picture_says_how_many_windows_are_the_label():
    labelled = LabelledWindows("seizure", 2, 1360, "the most probable class")
    figure, *_ = head_and_bars(values(("C3", "C4"), label="seizure", labelled=labelled))
    assert "2 of 1,360 windows are seizure (the most probable class)" in texts(figure)
    nothing = LabelledWindows("seizure", 0, 1, "its probability 0.9 or more")
    assert str(nothing) == "none of 1 windows is seizure (its probability 0.9 or more)"


def test_a_map_is_saved_in_every_format_and_under_no_other_name(tmp_path):
    for ending in (".png", ".pdf", ".svg"):
        path = save_scalp(values(("C3", "C4")), tmp_path / "new" / f"head{ending}")
        assert path.stat().st_size > 1000
    with pytest.raises(ValueError, match=r"ends in \.png"):
        save_scalp(values(("C3", "C4")), tmp_path / "head.doc")
