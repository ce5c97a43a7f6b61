"""A real player and a real stream on this machine, and what goes wrong with streams."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from odd_files import time_stamps, write_odd_edf
from recipe_modules import load_recipe
from tiny_live import ELECTRODES, feed, rows
from tiny_models import model_with_tasks
from tiny_recordings import pink_eeg, raw_of

from modeling_mteeg.prediction.live import LivePredictor, LiveResult
from modeling_mteeg.prediction.live_checks import LiveWindowError
from modeling_mteeg.prediction.lsl import new_samples, open_stream, stream_unit


class FakeStream:
    """Stands for a connected stream: gives what it was told at every look, then nothing."""

    def __init__(self, counts, units=((107, -6),) * 2, n_buffer=1000):
        self.counts, self.units, self.n_buffer = list(counts), units, n_buffer
        self.info, self.n_new_samples, self.given = {"sfreq": 100.0}, 0, 0

    def acquire(self):
        self.n_new_samples = self.counts.pop(0) if self.counts else 0

    def get_data(self, winsize):
        count = int(np.ceil(winsize * 100.0))  # mne-lsl rounds up, so it may give one too many
        self.given += self.n_new_samples
        return np.tile(np.arange(self.given - count, self.given), (2, 1)), None

    def get_channel_units(self):
        return self.units


def test_samples_come_without_gap_or_repeat_until_nothing_new_comes():
    stream = FakeStream([7, 0, 29, 1, 0, 57])
    chunks = list(new_samples(stream, patience_s=0.05, poll_s=0.001))
    assert [chunk.shape for chunk in chunks] == [(2, 7), (2, 29), (2, 1), (2, 57)]
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1)[0], np.arange(94))


def test_the_end_is_where_it_was_asked_for_or_the_source_stopped():
    chunks = list(new_samples(FakeStream([30, 30, 30, 30]), seconds=0.7))
    assert sum(chunk.shape[1] for chunk in chunks) == 70
    stopped = iter([False, True, True, True])
    chunks = list(new_samples(FakeStream([30, 30, 30]), 9.0, 99.0, lambda: next(stopped)))
    assert sum(chunk.shape[1] for chunk in chunks) == 90  # what had arrived is not lost


def test_lost_samples_are_an_error():
    with pytest.raises(BufferError, match="holds 50: samples are lost"):
        list(new_samples(FakeStream([10, 50], n_buffer=50), patience_s=0.05))


@pytest.mark.parametrize("power, unit", [(0, "V"), (-3, "mV"), (-6, "uV")])
def test_the_unit_is_the_announced_one(power, unit):
    assert stream_unit(FakeStream([], units=[(107, power)] * 3)) == unit


@pytest.mark.parametrize("units", [[(-1, 0)], [(107, 0), (107, -6)], [(107, -9)]])
def test_no_unit_or_several_are_an_error(units):
    with pytest.raises(ValueError, match="Expected one unit for all channels"):
        stream_unit(FakeStream([], units=units))


def player_of(raw, name: str):
    player = pytest.importorskip("mne_lsl.player", exc_type=(ImportError, OSError))
    return player.PlayerLSL(
        raw, chunk_size=128, n_repeat=1, name=name, source_id=name, annotations=False
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*End of file reached with an empty chunk")
def test_answers_from_a_stream_are_those_of_what_was_played():
    """60 s at 256 Hz, played 15 times as fast over the loopback."""
    model = model_with_tasks("tuab", "chb-mit")
    signal = pink_eeg(256, 60.0, len(ELECTRODES))
    raw = raw_of(signal, ELECTRODES, 256.0 * 15)
    name = f"mteeg-test-{uuid.uuid4().hex[:8]}"
    chunks, results = [], []
    with player_of(raw, name) as player:
        stream = open_stream(name=name, timeout_s=20)
        try:
            assert stream.ch_names == ELECTRODES and stream.info["sfreq"] == 256 * 15
            unit = stream_unit(stream)
            live = LivePredictor(model, ("tuab", "chb-mit"), stream.ch_names, 256, unit)
            for chunk in new_samples(stream, ended=lambda: not player.running):
                chunks.append(chunk)
                results += live.push(chunk)
            results += live.finish()
        finally:
            stream.disconnect()
    received = np.concatenate(chunks, axis=1) * 1e6
    start = signal.shape[1] - received.shape[1]  # the beginning went by before the connection
    assert start < 256 * 45 and len(chunks) > 5
    np.testing.assert_allclose(received, signal[:, start:], atol=1e-3)
    again = LivePredictor(model, ("tuab", "chb-mit"), ELECTRODES, 256)
    expected = feed(again, signal[:, start:])
    assert len(results) == len(expected) > 10
    for task in ("tuab", "chb-mit"):
        np.testing.assert_allclose(rows(results, task), rows(expected, task), atol=1e-4)


@pytest.mark.slow
def test_a_stream_that_is_not_there_is_named_with_those_that_are():
    with (
        player_of(raw_of(pink_eeg(256, 30.0, 2), ["C3", "C4"], 256.0), "mteeg-test-there"),
        pytest.raises(ConnectionError, match="mteeg-test-there"),
    ):
        open_stream(name="mteeg-test-absent", timeout_s=1.0)
    with pytest.raises(ValueError, match="found neither"):
        open_stream()


def recipe():
    return load_recipe("live")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*End of file reached with an empty chunk")
def test_the_recipe_plays_a_recording_and_prints_answers_and_an_end(tmp_path, capsys):
    pytest.importorskip("mne_lsl.player", exc_type=(ImportError, OSError))
    model = model_with_tasks("tuab", "tuev")
    model.save_pretrained(tmp_path / "base")
    for task in ("tuab", "tuev"):
        model.save_adapter(task, tmp_path / "base" / "adapters" / task)
    raw = raw_of(pink_eeg(256, 60.0, len(ELECTRODES)), ELECTRODES, 256.0)
    raw.save(tmp_path / "played_raw.fif", verbose="error")
    arguments = [str(tmp_path / "played_raw.fif"), "--base", str(tmp_path / "base")]
    arguments += ["--task", "tuab", "--task", "tuev", "--speed", "15"]
    assert recipe().main(arguments) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert "12 channels at 256 Hz" in lines[0] and lines[-1].startswith("End: ")
    answers = [one for one in lines if "  tuab  " in one]
    assert len(answers) >= 5 and all("normal 0." in one or "normal 1." in one for one in answers)


@pytest.mark.parametrize(
    "arguments", [[], ["file.edf", "--stream", "x"], ["--stream", "x", "--speed", "2"],
                  ["file.edf", "--speed", "0"], ["--stream", "x", "--part", "2"]],
)  # fmt: skip
def test_the_recipe_says_what_it_expects(arguments, capsys):
    with pytest.raises(SystemExit):
        recipe().parse_arguments([*arguments, "--base", "b", "--task", "t"])
    assert "expected" in capsys.readouterr().err


def test_the_recipe_plays_one_part_of_a_recording(tmp_path):
    seconds = [*range(20), *range(60, 85)]
    signal = pink_eeg(100, len(seconds), 2) - 3000
    path = write_odd_edf(
        tmp_path / "a.edf", signal, ["C3", "C4"], 100, kind="EDF+D", stamps=time_stamps(seconds)
    )
    with pytest.raises(ValueError, match=r"2 parts, recorded at 0 to 20 s, 60 to 85 s.*--part 2"):
        recipe().played(path, None, 1.0)
    with pytest.raises(ValueError, match=r"--part: expected 1 to 2 .*found 3"):
        recipe().played(path, 3, 1.0)
    played = recipe().played(path, 2, 4.0)
    assert (played.ch_names, played.info["sfreq"]) == (["C3", "C4"], 400.0)
    np.testing.assert_allclose(played.get_data() * 1e6, signal[:, 2000:], atol=0.06)


def test_the_recipe_prints_answers_and_windows_without_one(capsys):
    marks = {"flat": ("C3",), "marked": "constant: C3"}
    found = LiveResult("tuab", 2.0, 2.0, "normal", {"normal": 0.75, "abnormal": 0.25}, **marks)

    def push(chunk):
        error = LiveWindowError("tuab", 4.0, 2.0, "Expected all channels in one unit.")
        error.answers = [found] * chunk
        raise error

    assert recipe().tell(lambda: [found], begun=False) == 1
    assert recipe().tell(push, 1, begun=True) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("normal 0.750  abnormal 0.250  (flat: C3; constant: C3)")
    assert lines[2] == "No answer: Task 'tuab', window from 4 to 6 s: Expected all channels in " \
                       "one unit."  # fmt: skip
    with pytest.raises(LiveWindowError):
        recipe().tell(push, 0, begun=False)
