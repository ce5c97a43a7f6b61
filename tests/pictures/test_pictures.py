"""Pictures of predictions: the right times, nothing cut off, nothing covered, nothing unsaid."""

from __future__ import annotations

import datetime
from itertools import pairwise

import mne
import numpy as np
import pytest
from picture_checks import assert_apart, assert_nothing_is_cut, texts

from modeling_mteeg.explanation.attribution import ChannelAttribution
from modeling_mteeg.model.channels import ELECTRODES
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.pictures import MissingMatplotlibError, draw_prediction, save_prediction
from modeling_mteeg.pictures.drawn_recording import ShownRecording
from modeling_mteeg.pictures.spans import detections, window_spans
from modeling_mteeg.pictures.spectrogram import spectrogram
from modeling_mteeg.pictures.time_axis import clock_ticks, duration, elapsed
from modeling_mteeg.prediction.result import Prediction

SLEEP = TaskCard("sleep-edf", ("W", "N1", "N2", "N3", "REM"), ("FPZ-CZ", "PZ-OZ"), window_s=30)
SEIZURES = TaskCard(
    "chb-mit", ("background", "seizure"), ("FP1-F7", "F7-T7", "C3-P3"), window_s=10, simulated=True
)
EVENTS = TaskCard("tuev", ("SPSW", "GPED", "EYEM", "BCKG"), ("FP1", "C3", "O1"), window_s=5)
MOVES = TaskCard("physionet-mi", ("left", "right", "feet"), ("C3", "CZ", "C4"), window_s=4)
ELECTRODES_HERE = ("FP1", "F7", "T7", "C3", "P3", "FPZ", "CZ", "PZ", "OZ", "C4", "O1")
BEGAN = datetime.datetime(2024, 3, 9, 23, 58, 30, tzinfo=datetime.UTC)


def recording(seconds: float, rate: float = 100.0, names=ELECTRODES_HERE, began=None, seed=0):
    noise = np.random.default_rng(seed).normal(0, 20e-6, (len(names), round(seconds * rate)))
    raw = mne.io.RawArray(noise, mne.create_info(list(names), rate, "eeg"), verbose="error")
    return raw.set_meas_date(began)


def prediction(card: TaskCard, classes, stride_s=None, sure=0.9, name="night 1.edf", **fields):
    """Windows one after another, each of which is of a class, or has its probabilities given."""
    stride = stride_s or card.window_s
    rows = np.full((len(classes), len(card.labels)), (1 - sure) / (len(card.labels) - 1))
    rows[np.arange(len(classes)), classes] = sure
    onset = stride * np.arange(len(classes))
    found = {"onset_s": onset, "probabilities": rows.astype(np.float32), "channels": card.channels}
    length = float(onset[-1] + card.window_s) if len(onset) else card.window_s
    found |= {"stride_s": stride, "recording": name, "recording_s": length}
    return Prediction(card=card, **(found | fields))


def drawn(found: Prediction, raw=None, **options):
    """The figure, laid out, and its axes by the name of their y axis or title."""
    figure = draw_prediction(found, raw or recording(found.recording_s), **options)
    return figure, panels(figure)


def panels(figure) -> dict:
    figure.draw_without_rendering()
    axes = [one for part in figure.subfigs for one in part.axes]
    return {one.get_ylabel() or one.get_title(loc="left"): one for one in axes}


# Which picture, and what stands in it ----------------------------------------------------------

NIGHT = (0, 0, 1, 2, 2, 3, 3, 2, 4, 4, 0)


def test_a_night_becomes_a_hypnogram_with_probabilities_and_spectrogram():
    figure, axes = drawn(prediction(SLEEP, NIGHT), recording(330, began=BEGAN))
    assert list(axes)[:1] == ["stage"] and {"probability", "frequency (Hz)"} <= set(axes)
    stage = axes["stage"]
    order = [one.get_text() for one in stage.get_yticklabels()]
    assert order == ["W", "REM", "N1", "N2", "N3"]
    heights = [one.get_window_extent().y0 for one in stage.get_yticklabels()]
    assert heights == sorted(heights, reverse=True)
    times, levels = stage.lines[0].get_data()
    expected = [order.index(SLEEP.labels[index]) for index in NIGHT]
    np.testing.assert_array_equal(times[::2], 30 * np.arange(11))
    np.testing.assert_array_equal(-levels[::2], expected)
    (rem,) = [one for one in stage.collections if one.get_label() == "REM"]
    starts = sorted(segment[0, 0] for segment in rem.get_segments())
    assert starts == [240, 270] and rem.get_linewidth()[0] >= 4
    for name in ("stage", "probability", "frequency (Hz)"):
        assert axes[name].get_xlim() == (0, 330)
    assert axes["frequency (Hz)"].get_ylim() == (0.5, 30)
    assert_nothing_is_cut(figure)
    text = texts(figure)
    for part in ("night 1.edf", "sleep-edf", "11 windows of 30 s", "not a medical device",
                 "clock time, from 2024-03-09 23:58:30", "00:00", "1.5 min"):  # fmt: skip
        assert part in text
    assert "SIMULATED" not in text


@pytest.mark.slow
def test_probabilities_are_stacked_in_the_order_of_the_stages():
    shares = np.array([[0.1, 0.2, 0.3, 0.15, 0.25]], dtype=np.float32)  # W N1 N2 N3 REM
    _, axes = drawn(prediction(SLEEP, [0], probabilities=shares))
    areas = axes["probability"].collections
    edges = [(one.get_paths()[0].vertices[:, 1].min(), one.get_paths()[0].vertices[:, 1].max())
             for one in areas]  # fmt: skip
    expected = [(0.9, 1.0), (0.65, 0.9), (0.45, 0.65), (0.15, 0.45), (0.0, 0.15)]
    np.testing.assert_allclose(edges, expected, atol=1e-6)


def test_labels_of_other_names_in_any_order_are_stages_too():
    card = TaskCard("nights", ("REM", "Wake", "S2", "S1"), ("FPZ-CZ",), window_s=30)
    _, axes = drawn(prediction(card, [0, 1, 2, 3]))
    names = [one.get_text() for one in axes["stage"].get_yticklabels()]
    assert names == ["Wake", "REM", "S1", "S2"]
    other = TaskCard("nights", ("REM", "NREM", "Wake"), ("FPZ-CZ",), window_s=30)
    assert "stage" not in drawn(prediction(other, [0, 1, 2]))[1]


def test_seizures_are_drawn_where_they_are_with_their_traces():
    classes = [0, 0, 0, 1, 1, 0, 0, 0, 0, 1]
    figure, axes = drawn(prediction(SEIZURES, classes))
    curve = axes["probability\nof seizure"]
    spans = [(one.get_x(), one.get_width()) for one in curve.patches]
    assert spans == [(30, 20), (90, 10)]
    bars = axes["detected"].collections[0].get_paths()
    assert [path.vertices[:, 0].min() for path in bars] == [30, 90]
    (line,) = [one for one in curve.lines if len(one.get_xdata()) == 20]
    np.testing.assert_allclose(line.get_ydata()[::2], np.where(classes, 0.9, 0.1), atol=1e-6)
    assert 0.5 in [one.get_ydata()[0] for one in curve.lines]
    first = axes["1: seizure from 0:30 to 0:50, up to 0.90"]
    last = axes["2: seizure from 1:30 to 1:40, up to 0.90"]
    assert first.get_xlim() == (25, 55) and last.get_xlim() == (85, 100)
    for panel, (start, width) in ((first, (30, 20)), (last, (90, 10))):
        assert [one.get_text() for one in panel.get_yticklabels()] == list(SEIZURES.channels)
        assert (panel.patches[0].get_x(), panel.patches[0].get_width()) == (start, width)
        assert any("µV" in one.get_text() for one in panel.texts)
    assert_nothing_is_cut(figure)
    text = texts(figure)
    for part in ("SIMULATED data", "threshold 0.5", "2 detections", "30 s in all", "mean 0.34"):
        assert part in text


def test_traces_are_the_recording_s_own_in_microvolt():
    raw = recording(100, names=("FP1", "F7", "T7", "C3", "P3"))
    seconds = raw.times
    raw._data[:] = 0
    raw._data[0] = 60e-6 * np.sin(2 * np.pi * 10 * seconds) * (seconds > 50)  # FP1, late
    raw._data[3] = 40e-6 * np.sin(2 * np.pi * 8 * seconds)  # C3
    _, axes = drawn(prediction(SEIZURES, [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]), raw)
    panel = axes["1: seizure from 0:40 to 1:00, up to 0.90"]
    traces = panel.collections[0].get_segments()
    assert len(traces) == 3
    bar = next(float(one.get_text().split()[0]) for one in panel.texts if "µV" in one.get_text())
    times, first = traces[0].T
    assert times[0] == pytest.approx(35) and times[-1] == pytest.approx(65, abs=0.02)
    assert np.abs(bar * first[times < 49]).max() < 1
    assert np.abs(bar * first[times > 52]).max() == pytest.approx(60, rel=0.05)  # FP1 - F7
    np.testing.assert_allclose(traces[1][:, 1], -1, atol=1e-6)  # F7 - T7: nothing
    assert bar * (traces[2][:, 1] + 2).max() == pytest.approx(40, rel=0.05)


def test_without_a_detection_the_surest_window_is_shown():
    shares = np.array([[0.9, 0.1], [0.7, 0.3], [0.8, 0.2]], dtype=np.float32)
    _, axes = drawn(prediction(SEIZURES, [0, 0, 0], probabilities=shares))
    assert axes["no detection; highest probability 0.30 at 0:10"].patches[0].get_x() == 10
    figure, axes = drawn(prediction(SEIZURES, [0, 0, 0], probabilities=shares), threshold=0.25)
    assert "1: seizure from 0:10 to 0:20, up to 0.30" in axes and "threshold 0.25" in texts(figure)


@pytest.mark.slow
def test_of_many_detections_the_surest_are_shown_and_all_are_counted():
    classes = [0, 1] * 30
    found = prediction(SEIZURES, classes)
    shares = found.probabilities.copy()
    for index in (5, 21, 23, 59):  # of these the probability is highest
        shares[index] = (0.02, 0.98)
    figure, axes = drawn(prediction(SEIZURES, classes, probabilities=shares))
    shown = [name for name in axes if "seizure from" in name]
    assert [name.partition(":")[0] for name in shown] == ["3", "11", "12", "30"]
    text = texts(figure)
    assert "Traces of 4 of 30 detections" in text and "30 detections" in text
    assert len(axes["detected"].collections[0].get_paths()) == 30
    assert_nothing_is_cut(figure)
    assert_apart(one.get_window_extent() for one in axes["detected"].texts)


def test_events_of_several_classes_show_the_surest_of_each():
    shares = np.array(
        [[0.6, 0.2, 0.1, 0.1], [0.9, 0.05, 0.03, 0.02], [0, 0, 0.1, 0.9], [0.1, 0.1, 0.7, 0.1]],
        dtype=np.float32,
    )
    figure, axes = drawn(prediction(EVENTS, [0] * 4, probabilities=shares))
    assert {"SPSW at 0:05, 0.90", "EYEM at 0:15, 0.70"} <= set(axes)
    assert not any(name.startswith(("BCKG", "GPED")) for name in axes)
    assert_nothing_is_cut(figure)


def test_other_tasks_show_their_classes():
    figure, axes = drawn(prediction(MOVES, [0, 2, 2, 1, 2]))
    strip = axes["class"]
    assert [len(one.get_paths()) for one in strip.collections] == [1, 1, 3]
    assert strip.collections[0].get_paths()[0].vertices[:, 0].max() == 4
    text = texts(figure)
    for part in ("left", "1 window", "feet", "3 windows", "median of 3 channels"):
        assert part in text
    assert axes["class"].get_xlim() == axes["probability"].get_xlim() == (0, 20)
    colours = {tuple(one.get_facecolor()[0]) for one in strip.collections}
    assert len(colours) == 3
    assert_nothing_is_cut(figure)


# Odd recordings and predictions ---------------------------------------------------------------


@pytest.mark.filterwarnings("error:Glyph")
@pytest.mark.parametrize("card", [SLEEP, SEIZURES, EVENTS, MOVES], ids=lambda card: card.name)
@pytest.mark.parametrize("length", [1, pytest.param(300, marks=pytest.mark.slow)])
def test_short_and_long_all_of_one_class_nothing_is_cut(card, length):
    found = prediction(card, [0] * length, name="ø" * 300 + " $x_1$ 夜.edf")
    found.provenance.update(base={"name": "b" * 200, "revision": "r" * 40})
    figure, _ = drawn(found, recording(found.recording_s, rate=50, began=BEGAN))
    assert_nothing_is_cut(figure)
    assert f"{length:,} window" in texts(figure)


@pytest.mark.slow
@pytest.mark.parametrize("count", [16, 62])
def test_channel_names_do_not_cover_one_another(count):
    names = ELECTRODES[:count]
    card = SEIZURES.replace(channels=names)
    figure, axes = drawn(prediction(card, [1, 0, 1]), recording(30, names=names))
    panel = axes["1: seizure from 0:00 to 0:10, up to 0.90"]
    labels = panel.get_yticklabels()
    assert [one.get_text() for one in labels] == list(names)
    boxes = sorted((one.get_window_extent() for one in labels), key=lambda box: -box.y0)
    assert all(low.y1 <= high.y0 + 1 for high, low in pairwise(boxes))
    assert_nothing_is_cut(figure)


def test_what_differs_from_the_task_is_said():
    found = prediction(
        SEIZURES, [0, 1, 0, 0], stride_s=5.0, recording_s=27.0, channels=SEIZURES.channels[:2],
        derived=("FP1-F7",), missing=("C3-P3",), notes=("The 75 Hz low-pass is left out.",),
    )  # fmt: skip
    figure, _ = drawn(found)
    text = texts(figure)
    for part in (
        "electrodes: FP1-F7.", "lacks: C3-P3.", "The 75 Hz low-pass is left out.", "one every 5 s",
        "each stands for the 5 s around its centre", "The last 2 s do not fill a window.",
    ):  # fmt: skip
        assert part in text
    assert "clock" not in text


def test_windows_that_overlap_stand_for_the_middle_and_gaps_stay_gaps():
    spans = window_spans(prediction(SEIZURES, [0] * 4, stride_s=2.0))
    np.testing.assert_allclose(spans, [[0, 6], [6, 8], [8, 10], [10, 16]])
    apart = prediction(SEIZURES, [1, 1, 1], onset_s=np.array([0.0, 10.0, 60.0]))
    assert [(one.start_s, one.stop_s) for one in detections(apart)] == [(0, 20), (60, 70)]
    _, axes = drawn(apart, recording(70))
    lines = [one for one in axes["probability\nof seizure"].lines if one.get_xdata()[0] in (0, 60)]
    assert {tuple(one.get_xdata()) for one in lines} >= {(0, 10, 10, 20), (60, 70)}


@pytest.mark.slow
def test_recordings_of_zeros_and_of_one_channel_are_drawn():
    raw = recording(40, names=("FPZ-CZ",))
    raw._data[:] = 0
    figure, _ = drawn(prediction(SLEEP, [0], channels=("FPZ-CZ",)), raw)
    assert_nothing_is_cut(figure)
    card = SEIZURES.replace(channels=("FPZ-CZ",))
    assert_nothing_is_cut(drawn(prediction(card, [0]), raw)[0])


# Reading --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_only_what_is_shown_is_read(tmp_path, monkeypatch):
    path = tmp_path / "long_raw.fif"
    recording(2000, rate=64).save(path, verbose="error")
    read, plain = [], mne.io.BaseRaw.get_data

    def get_data(self, picks=None, start=0, stop=None, **options):
        assert not self.preload and stop is not None
        read.append((len(picks), stop - start))
        return plain(self, picks=picks, start=start, stop=stop, **options)

    monkeypatch.setattr(mne.io.BaseRaw, "get_data", get_data)
    found = prediction(SEIZURES, [0] * 200, name=path.name)
    save_prediction(found, path, tmp_path / "a.png")
    assert max(samples for _, samples in read) <= 70 * 64
    assert max(channels for channels, _ in read) == 5  # electrodes of three derivations
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_part_is_the_recording_s_and_derived_channels_are_differences():
    raw = recording(60, names=("EEG FP1-REF", "F7", "T7"), began=BEGAN)
    shown = ShownRecording(raw)
    data = 1e6 * raw.get_data()
    found = shown.read(("T7", "FP1-F7"), 10, 12.5)
    np.testing.assert_allclose(found, [data[2, 1000:1250], (data[0] - data[1])[1000:1250]])
    assert shown.started == BEGAN
    late = ShownRecording(raw.copy().crop(20))
    assert late.started == BEGAN + datetime.timedelta(seconds=20) and late.length_s == 40
    with pytest.raises(SignalError, match=r"missing: O1.* Found: FP1, F7, T7"):
        shown.read(("O1",), 0, 1)
    array = ShownRecording((data, raw.ch_names, 100.0))
    np.testing.assert_allclose(array.read(("T7",), 0, 60), data[2:3])
    with pytest.raises(FileNotFoundError, match="No recording"):
        ShownRecording("gone.edf")
    with pytest.raises(TypeError, match="Expected an mne Raw"):
        ShownRecording(3)
    milli = ShownRecording((data, raw.ch_names, 100.0), unit="mV")
    np.testing.assert_allclose(milli.read(("T7",), 0, 60), 1e3 * data[2:3])


def paused(first_s=30.0, pause_s=30.0, second_s=40.0):
    """A recording of two parts, of which EEGLAB says how long the pause between them was."""
    raw = recording(first_s + second_s, names=("C3", "FPZ-CZ", "PZ-OZ"))
    return raw.set_annotations(mne.Annotations([first_s], [pause_s], ["boundary"]))


def test_between_parts_there_is_nothing():
    raw = paused()
    shown = ShownRecording(raw)
    assert shown.length_s == 100
    data = 1e6 * raw.get_data()
    found = shown.read(("C3",), 20, 70)[0]
    np.testing.assert_allclose(found[:1000], data[0, 2000:3000])
    np.testing.assert_allclose(found[4000:], data[0, 3000:4000])
    assert np.isnan(found[1000:4000]).all()
    times, filtered = shown.read_filtered(("C3",), 55, 70)
    np.testing.assert_array_equal(np.isfinite(filtered[0]), times >= 60)
    power = spectrogram(shown, ("C3",), 40.0)
    middle = (power.edges_s[1:] + power.edges_s[:-1]) / 2
    nothing = np.isnan(power.power_db).all(axis=0)
    assert nothing[(middle > 32) & (middle < 58)].all()
    assert not nothing[(middle < 28) | (middle > 62)].any()


def test_a_pause_is_a_gap_of_the_picture():
    onsets = np.array([0.0, 60.0])
    found = prediction(SLEEP, [0, 2], onset_s=onsets, recording_s=100.0)
    figure, axes = drawn(found, paused())
    assert axes["stage"].get_xlim() == (0, 100)
    drawn_lines = [tuple(line.get_xdata()) for line in axes["stage"].lines]
    assert (0, 30) in drawn_lines and (60, 90) in drawn_lines
    assert_nothing_is_cut(figure)


def test_a_tone_is_found_at_its_time_frequency_and_power():
    raw = recording(120, rate=128, names=("C3",), seed=1)
    seconds = raw.times
    raw._data[0] = 1e-6 * np.random.default_rng(2).normal(0, 1, len(seconds))
    raw._data[0] += 20e-6 * np.sqrt(2) * np.sin(2 * np.pi * 12 * seconds) * (seconds >= 60)
    found = spectrogram(ShownRecording(raw), ("C3",), 40.0)
    centres = (found.edges_s[1:] + found.edges_s[:-1]) / 2
    assert found.edges_s[0] == 0 and found.edges_s[-1] == 120
    assert found.power_db.shape == (len(found.frequencies_hz), len(centres))
    assert found.frequencies_hz[0] >= 0.5 and found.frequencies_hz[-1] <= 40
    power = 10 ** (found.power_db / 10)
    late = power[:, centres > 63].mean(1)
    step = found.frequencies_hz[1] - found.frequencies_hz[0]
    assert abs(found.frequencies_hz[late.argmax()] - 12) <= 1  # within the tapers' bandwidth
    assert late.sum() * step == pytest.approx(20**2, rel=0.05)  # microvolt squared
    early = power[:, centres < 57].mean(1)
    assert early.mean() == pytest.approx(1 / 64, rel=0.15)  # white noise over half the rate


def test_a_threshold_a_recording_or_a_name_that_does_not_fit_is_named(tmp_path):
    found = prediction(SEIZURES, [0, 1])
    with pytest.raises(ValueError, match="last window ends at 20 s; found one of 12 s"):
        draw_prediction(found, recording(12))
    with pytest.raises(ValueError, match="threshold"):
        draw_prediction(found, recording(20), threshold=0)
    with pytest.raises(ValueError, match="at least one window"):
        draw_prediction(prediction(SEIZURES, []), recording(20))
    with pytest.raises(ValueError, match=r"ends in \.png"):
        save_prediction(found, recording(20), tmp_path / "a.doc")
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setitem(__import__("sys").modules, "matplotlib.figure", None)
        with pytest.raises(MissingMatplotlibError, match=r"modeling-mteeg\[plot\]"):
            draw_prediction(found, recording(20))


def test_times_in_words():
    assert [elapsed(one) for one in (5, 65, 3665)] == ["0:05", "1:05", "1:01:05"]
    assert elapsed(59.97, whole=False) == "1:00" and elapsed(29.5, whole=False) == "0:29.5"
    assert [duration(one) for one in (30, 150, 3540, 3600 * 3 + 420)] == [
        "30 s", "2.5 min", "59 min", "3 h 07 min",
    ]  # fmt: skip
    places, names = clock_ticks(180, BEGAN, 60)
    assert places == [30, 90, 150] and names == ["23:59", "00:00", "00:01"]


@pytest.mark.slow
def test_a_prediction_with_attribution_has_the_head_too():
    names = SEIZURES.channels
    attribution = ChannelAttribution(names, np.arange(3.0), "integrated-gradients", "a", "seizure")

    for card, classes in ((SLEEP, NIGHT), (SEIZURES, [0, 1]), (MOVES, [0, 1, 2])):
        plain, _ = drawn(prediction(card, classes))
        figure, axes = drawn(prediction(card, classes), attribution=attribution)
        assert "for seizure" in axes and figure.get_figheight() > plain.get_figheight() + 3
        assert_nothing_is_cut(figure)
