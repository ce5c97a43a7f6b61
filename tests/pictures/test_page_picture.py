"""Pictures of the page: without the words around them, light and dark, and readable in both."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import CARDS

pytest.importorskip("matplotlib", reason="pictures need matplotlib (the plot extra)")

from matplotlib.image import imread
from matplotlib.text import Text

from modeling_mteeg.pictures import draw_prediction
from modeling_mteeg.pictures.drawn_recording import ShownRecording
from modeling_mteeg.pictures.moment import draw_moment
from modeling_mteeg.pictures.page_picture import _contrast, dark, save_for_page
from modeling_mteeg.prediction import Prediction

RATE_HZ, SECONDS = 100, 60
CARD = CARDS["chb-mit"]


@pytest.fixture(scope="module")
def recording():
    noise = np.random.default_rng(0).normal(0, 20, (len(CARD.channels), SECONDS * RATE_HZ))
    return noise, list(CARD.channels), RATE_HZ


@pytest.fixture(scope="module")
def prediction():
    positive = np.linspace(0.05, 0.95, SECONDS // 2, dtype=np.float32)
    return Prediction(
        CARD, np.arange(len(positive)) * 2.0, np.stack([1 - positive, positive], axis=1), 2.0,
        CARD.channels, recording="night.edf", recording_s=SECONDS,
        notes=("Something is odd about the recording.",),
        provenance={"settings": {"unit": None}},
    )  # fmt: skip


@pytest.mark.slow
def test_light_and_dark_are_one_drawing_without_its_words(prediction, recording, tmp_path):
    figure = draw_prediction(prediction, recording)
    over_mesh = [text for text in figure.findobj(Text) if text.get_text() == "median of 3 channels"]
    before = [text.get_color() for text in over_mesh]
    shown = save_for_page(figure, tmp_path / "a.png", tmp_path / "whole.png")
    light, black, whole = (imread(path)[..., :3] for path in (shown.light, shown.dark,
                                                              tmp_path / "whole.png"))  # fmt: skip
    assert light.shape == black.shape == (shown.height, shown.width, 3)
    assert whole.shape[1] == pytest.approx(shown.width, abs=4)
    assert whole.shape[0] > shown.height + 60  # heading and foot
    # Most of the ground is white, and becomes dark.
    assert np.median(light) > 0.95 and np.median(black) < 0.15
    assert [text.get_color() for text in over_mesh] == before == ["white"]
    words = shown.caption
    assert words.startswith("A detection: windows in a row") and "0.5 or more" in words
    assert "Traces: band-pass" in words and "odd about" not in words and "\n" not in words


@pytest.mark.parametrize("colour", ["black", "#666666", "#0072B2", "#0B3C6F", "#005b96", "#D55E00",
                                    "#009E73", "#3D8BC4"])  # fmt: skip
def test_what_is_drawn_can_be_seen_on_the_dark_ground(colour):
    assert _contrast(dark(colour)[:3]) >= 2.99


def test_white_becomes_the_ground_and_nothing_stays_nothing():
    assert max(dark("white")[:3]) < 0.1 and dark("none") == "none"
    assert dark((0, 0, 0, 0.25))[3] == 0.25


def test_traces_say_channels_filter_and_scale_and_read_their_stretch_alone(
    prediction, recording, tmp_path, monkeypatch
):
    asked = []
    read = ShownRecording.read

    def spy(self, channels, start_s, stop_s):
        asked.append((start_s, stop_s))
        return read(self, channels, start_s, stop_s)

    monkeypatch.setattr(ShownRecording, "read", spy)
    shown = save_for_page(draw_moment(prediction, recording, 20, 22, "seizure"), tmp_path / "a.png")
    assert asked == [(10.0, 32.0)]  # 5 s around it, and 5 s for the filter
    for words in (*CARD.channels, "0:15 to 0:27", "band-pass 0.5 to 45 Hz and notch 50 Hz",
                  "µV", "high-pass 0.1 Hz"):  # fmt: skip
        assert words in shown.caption
    asked.clear()
    draw_moment(prediction, recording, 0, 1e9, "all of it")
    assert asked == [(0.0, 35.0)]  # 30 s at most
    with pytest.raises(ValueError, match="60 s long"):
        draw_moment(prediction, recording, 61, 62, "behind its end")
