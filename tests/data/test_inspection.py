"""``mteeg show``: right numbers, odd corpora named, legible pictures."""

from __future__ import annotations

import dataclasses
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from modeling_mteeg import cli
from modeling_mteeg.data import encode_window, load_corpus, window_features
from modeling_mteeg.data.inspection import (
    corpus_overview,
    overview,
    overview_text,
    prepared_folders,
)
from modeling_mteeg.data.inspection.plausibility import _mains_remarks
from modeling_mteeg.data.inspection.statistics import Amplitudes, ChannelLikeness, window_spectra
from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.pictures import corpus_picture as pictures_of_corpora

CARD = TaskCard(
    "tuev", ("SPSW", "GPED", "BCKG"), ("FP1", "FP2", "C3", "C4", "O1", "O2"), window_s=2,
    split_hash="abc", simulated=True, corpus="simulated noise",
)  # fmt: skip
SIZES = {"train": 30, "validation": 12, "test": 9}


def eeg_like(number: int, seed: int, channels: int = len(CARD.channels)) -> np.ndarray:
    """(number, channels, 400) microvolt; the window of row i has about i + 20 microvolt."""
    noise = np.random.default_rng(seed).normal(0, 1, (number, channels, 400))
    return noise * (np.arange(number) + 20)[:, None, None]


def save(
    folder: Path, change=lambda signal: signal, card: TaskCard = CARD, dtype: str = "float32"
) -> Path:
    """A prepared corpus of noise; ``change`` acts on every window (channels, samples)."""
    splits = {}
    for seed, (name, number) in enumerate(SIZES.items()):
        rows = [
            encode_window(
                change(signal), card.channels, index % len(card.labels), f"{name}-r{index // 5}",
                f"{name}-s{index // 10}", 2.0 * index, dtype,
            )
            for index, signal in enumerate(eeg_like(number, seed, len(card.channels)))
        ]  # fmt: skip
        splits[name] = Dataset.from_list(rows, features=window_features(card.labels))
    DatasetDict(splits).save_to_disk(str(folder))
    card.save(folder)
    (folder / "splits.json").write_text(json.dumps({"hash": "abc"}))
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("shown") / "tuev")


def look(folder: Path, **options):
    return corpus_overview(folder, progress=False, **options)


def test_amplitude_quantiles_are_those_of_numpy_whatever_the_unit():
    for unit in (1e-6, 1.0, 1e5):
        signals = eeg_like(20, 3) * unit
        signals[:, 1] = 0
        amplitudes = Amplitudes(6)
        for part in np.split(signals.astype(np.float32), [3, 11]):
            amplitudes.add(part)
        shares = [0.5, 0.95, 0.99]
        expected = np.quantile(np.abs(signals), shares, axis=(0, 2)).T
        np.testing.assert_allclose(amplitudes.quantiles(shares), expected, rtol=0.01)
        pooled = np.quantile(np.abs(signals), shares)
        np.testing.assert_allclose(amplitudes.pooled(shares), pooled, rtol=0.01)
        np.testing.assert_allclose(amplitudes.highest, np.abs(signals).max(axis=(0, 2)), rtol=1e-6)


def test_likeness_is_the_correlation_about_each_window_s_mean():
    signals = eeg_like(8, 1)
    signals[:, 3] = -2 * signals[:, 2] + 1000 * np.arange(8)[:, None]
    signals[2:4, 5] = 7
    likeness = ChannelLikeness(6)
    likeness.add(signals[:5])
    likeness.add(signals[5:])
    centred = signals - signals.mean(axis=2, keepdims=True)
    expected = np.corrcoef(np.moveaxis(centred, 1, 0).reshape(6, -1))
    np.testing.assert_allclose(likeness.correlations(), expected, atol=1e-9)
    assert likeness.correlations()[2, 3] == pytest.approx(-1)
    assert likeness.flat_windows.tolist() == [0, 0, 0, 0, 0, 2]


def test_spectrum_has_the_power_of_a_sine_at_its_frequency():
    times = np.arange(2000) / 200
    sine = np.tile(10 * np.sqrt(2) * np.sin(2 * np.pi * 12 * times), (2, 3, 1))
    frequencies, density = window_spectra(sine, 200)
    assert density.shape == (2, len(frequencies)) and frequencies[-1] == 100
    assert frequencies[density[0].argmax()] == 12
    assert density[0].sum() * frequencies[1] == pytest.approx(100, rel=0.01)  # rms 10 squared


def test_counts_and_amplitudes_of_every_split(corpus):
    found = look(corpus)
    assert [one.name for one in found.splits] == list(SIZES)
    for one, number in zip(found.splits, SIZES.values(), strict=True):
        assert sum(one.counts) == one.read == number
        assert one.counts == (number // 3,) * 3
        assert one.hours == pytest.approx(number * 2 / 3600)
        assert one.recordings == -(-number // 5) and one.subjects == -(-number // 10)
        reader = load_corpus(corpus).splits[one.name]
        absolute = np.abs(reader.read(range(number)))
        np.testing.assert_allclose(
            one.quantiles_uv, np.quantile(absolute, overview.SHARES), rtol=0.02
        )
        assert one.highest_uv == pytest.approx(absolute.max())
    assert found.channel_quantiles_uv.shape == (6, len(overview.SHARES))
    assert found.remarks == ()


def test_a_fixed_sample_is_read_and_named(corpus):
    reader = load_corpus(corpus).splits["train"]
    rows = overview.sampled_rows(reader, 3)
    assert [found.tolist() for found in rows] == [[0, 12, 27], [1, 13, 28], [2, 14, 29]]
    found = look(corpus, windows=3, splits=["train"])
    assert [one.read for one in found.splits] == [9] and sum(found.splits[0].counts) == 30
    assert "9 windows" in found.rule and "up to 3" in found.rule
    # Power rises with the row, so the example is the middle one of the three.
    for label, row in zip(CARD.labels, (12, 13, 14), strict=True):
        example = found.examples[label]
        assert (example.split, example.onset_s) == ("train", 2.0 * row)
        assert example.recording == f"train-r{row // 5}"
        np.testing.assert_array_equal(example.signal_uv, reader.read([row])[0])


def test_small_blocks_give_the_same(corpus, monkeypatch):
    whole = look(corpus)
    largest = []
    real = overview.WindowReader.read
    monkeypatch.setattr(
        overview.WindowReader,
        "read",
        lambda self, rows, **more: largest.append(len(rows)) or real(self, rows, **more),
    )
    monkeypatch.setattr(overview, "_BLOCK_BYTES", 4 * 6 * 400 * 3)
    found = look(corpus)
    assert max(largest) == 3
    np.testing.assert_array_equal(found.channel_quantiles_uv, whole.channel_quantiles_uv)
    for label in CARD.labels:
        np.testing.assert_allclose(found.spectra[label], whole.spectra[label])
        np.testing.assert_array_equal(
            found.examples[label].signal_uv, whole.examples[label].signal_uv
        )


def _flat(signal):
    signal[4] = 3.0


def _same(signal):
    signal[4] = signal[1]


def _inverted(signal):
    signal[4] = -0.5 * signal[1]


def _loud(signal):
    signal[4] *= 1000


def _hum(signal):
    signal += 60 * np.sin(2 * np.pi * 60 * np.arange(400) / 200)


def _narrow(signal):
    spectrum = np.fft.rfft(signal)
    spectrum[:, np.fft.rfftfreq(400, 1 / 200) > 40] = 0
    signal[:] = np.fft.irfft(spectrum, 400)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (1e-6, "a million times too small: volts taken for microvolt?"),
        (1e-3, "a thousand times too small: millivolt"),
        (1e-2, "a hundred times too small: the model's unit"),
        (1e3, "a thousand times too large"),
        (1e6, "a million times too large"),
        (_flat, "Flat in every window read: O1."),
        (_same, "the same signal (|r| >= 0.9999): FP2 and O1."),
        (_inverted, "one inverted (|r| >= 0.9999): FP2 and O1."),
        (_loud, "far from the median channel's amplitude: O1 1"),
        (_hum, "notch 50 Hz; --notch 50,60 takes it away when"),
        (_narrow, "No signal above about 4"),
    ],
)
def test_what_is_odd_is_named(spoil, words, tmp_path):
    def change(signal):
        if isinstance(spoil, float):
            return signal * spoil
        spoil(signal)
        return signal

    remarks = look(save(tmp_path / "odd", change)).remarks
    assert len(remarks) == 1 and words in remarks[0], remarks


def test_a_mains_line_knows_what_was_notched():
    frequencies = np.arange(0, 100.5, 0.5)
    spectra = {"GPED": 1 + 40.0 * (frequencies == 60), "BCKG": np.ones(201)}
    said = {
        notch_hz: " ".join(_mains_remarks(frequencies, spectra, notch_hz))
        for notch_hz in (None, 50.0, 60.0, (50.0, 60.0))
    }
    assert "60 Hz stands out of its surroundings: GPED 41 times (prepared" in said[None]
    assert "with no notch; --notch 60 takes" in said[None]
    assert "with notch 50 Hz; --notch 50,60 takes" in said[50.0]
    for notched in (60.0, (50.0, 60.0)):
        assert "wider than the notch" in said[notched]
    ends = np.where(frequencies <= 51, 1.0, 1e-6)  # recorded at 100 Hz: no line where it ends
    assert _mains_remarks(frequencies, {"GPED": ends}, None) == []


def test_windows_of_coarse_counts_are_named(tmp_path):
    def change(signal):
        signal[4] *= 5000
        return signal

    coarse = "In 51 of 51 windows values are so large that int16 counts are steps of more than 1"
    assert coarse in "\n".join(look(save(tmp_path / "int16", change, dtype="int16")).remarks)
    assert "counts" not in "\n".join(look(save(tmp_path / "float32", change)).remarks)


def test_odd_splits_are_named(corpus, tmp_path):
    data = load_corpus(corpus).splits
    train = data["train"]._dataset
    parts = {"train": train, "validation": train.select(range(0, 12, 3)), "test": train}
    DatasetDict(parts).save_to_disk(str(tmp_path / "odd"))
    CARD.save(tmp_path / "odd")
    (tmp_path / "odd" / "splits.json").write_text('{"hash": "other"}')
    text = "\n".join(look(tmp_path / "odd").remarks)
    assert "validation has no window of: GPED, BCKG." in text
    assert "train and test share 3 of 3 subjects (train-s0, train-s1, train-s2)." in text
    assert "(other) is not the task card's (abc)" in text
    (tmp_path / "odd" / "splits.json").unlink()
    assert "splits.json is missing" in "\n".join(look(tmp_path / "odd").remarks)


def test_a_corpus_of_zeros_has_a_text_and_a_picture(tmp_path):
    found = look(save(tmp_path / "zero", lambda signal: 0 * signal))
    assert "exactly zero" in overview_text(found) and "Flat in every window" in overview_text(found)
    assert pictures_of_corpora.save_overview(found, tmp_path / "zero.png").stat().st_size


def test_text_names_splits_classes_channels_and_simulation(corpus):
    text = overview_text(look(corpus))
    for part in ("SIMULATED", "split hash abc", *SIZES, *CARD.labels, *CARD.channels, "( 33%)"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 100
    real = look(corpus, splits=["test"])
    assert "validation" not in overview_text(real).replace("validation and", "")


# Pictures ------------------------------------------------------------------------------------


def shown(figure) -> dict[str, object]:
    """Axes by title or label, laid out."""
    figure.draw_without_rendering()
    axes = [one for part in figure.subfigs for one in part.axes if one.get_visible()]
    return {one.get_title() or one.get_xlabel(): one for one in axes}


def test_picture_has_every_class_every_channel_a_bar_and_the_notch(corpus):
    found = look(corpus)
    panels = shown(pictures_of_corpora.draw_overview(found))
    spacing = pictures_of_corpora.trace_spacing_uv(found)
    assert spacing in {20, 50, 100}
    for label in CARD.labels:
        axes = panels[f"{label} (17 windows)"]
        traces = axes.collections[0].get_segments()
        assert len(traces) == 6 and axes.get_xlim() == (0, 2)
        example = found.examples[label].signal_uv
        within = np.abs(example) < 2 * spacing
        heights = np.stack([trace[:, 1] for trace in traces]) + np.arange(6)[:, None]
        np.testing.assert_allclose(heights[within] * spacing, example[within], atol=1e-3)
        assert np.abs(heights).max() <= 2 + 1e-9
        assert f"{spacing:g} µV" in [text.get_text() for text in axes.texts]
    first = panels["SPSW (17 windows)"]
    assert [one.get_text() for one in first.get_yticklabels()] == list(CARD.channels)
    spectra = panels["frequency (Hz)"]
    lines = [one for one in spectra.lines if one.get_label() in CARD.labels]
    assert [one.get_label() for one in lines] == list(CARD.labels)
    assert len({(one.get_color(), one.get_linestyle()) for one in lines}) == 3
    assert "notch 50 Hz" in [text.get_text() for text in spectra.texts]
    assert spectra.get_yscale() == "log" and spectra.get_xlim() == (0, 100)
    both = dataclasses.replace(found, card=CARD.replace(notch_hz=[50, 60]))
    pictures_of_corpora._draw_spectra(spectra, both)
    assert {"notch 50 Hz", "notch 60 Hz"} <= {text.get_text() for text in spectra.texts}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["physionet-mi", "tuev", "sleep-edf"])
def test_labels_do_not_overlap_with_any_montage(task, tmp_path):
    from modeling_mteeg.dataset_scripts.prepare import corpus_class

    card = corpus_class(task).card.replace(window_s=2, split_hash="abc")
    panels = shown(
        pictures_of_corpora.draw_overview(look(save(tmp_path / task, card=card), windows=4))
    )
    first = next(iter(panels.values()))
    names = first.get_yticklabels()
    assert [name.get_text() for name in names] == list(card.channels)
    boxes = sorted((name.get_window_extent() for name in names), key=lambda box: -box.y0)
    assert all(low.y1 <= high.y0 + 1 for high, low in pairwise(boxes))  # pixels of 100 per inch
    titles = [axes.title.get_window_extent() for axes in panels.values() if axes.get_title()]
    assert len(titles) == len(card.labels) + 1
    assert all(one.x1 < two.x0 for one, two in pairwise(titles))


def test_many_classes_wrap_into_rows(tmp_path):
    card = CARD.replace(labels=tuple(f"class {i}" for i in range(8)), metrics=(), monitor="")
    panels = shown(pictures_of_corpora.draw_overview(look(save(tmp_path / "many", card=card))))
    assert sum(title.startswith("class ") for title in panels) == 8
    bottoms = {round(panels[title].get_position().y0, 2) for title in panels if "class " in title}
    assert len(bottoms) >= 2


# Command line --------------------------------------------------------------------------------


def test_command_prints_and_draws(corpus, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["show", str(corpus)]) == 0
    assert "picture: tuev.png\n" in capsys.readouterr().out
    assert Path("tuev.png").read_bytes().startswith(b"\x89PNG")
    first = Path("tuev.png").read_bytes()
    again = ["show", str(corpus), "--out", "tuev.png", "--on", "test"]
    assert cli.main(again) == 2
    printed = capsys.readouterr()
    assert not printed.out and "tuev.png there already" in printed.err
    assert "--overwrite" in printed.err and Path("tuev.png").read_bytes() == first
    assert cli.main([*again, "--overwrite", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "9 windows were read" in out and "picture:" not in out
    assert Path("tuev.png").read_bytes() != first
    assert cli.main(["show", str(corpus), "--no-picture", "--windows", "1"]) == 0
    assert "Signals of 9 windows" in capsys.readouterr().out


@pytest.mark.slow
def test_several_corpora_get_a_folder_of_pictures(tmp_path, capsys):
    for name in ("one", "two"):
        save(tmp_path / "data" / name)
    assert prepared_folders(tmp_path / "data") == [tmp_path / "data/one", tmp_path / "data/two"]
    assert cli.main(["show", str(tmp_path / "data"), "--out", str(tmp_path / "a.png")]) == 2
    assert "2 corpora need a folder" in capsys.readouterr().err
    assert cli.main(["show", str(tmp_path / "data"), "--out", str(tmp_path / "pictures")]) == 0
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["one.png", "two.png"]


def test_without_matplotlib_the_text_is_there_and_the_remedy(corpus, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["show", str(corpus)]) == 2
    printed = capsys.readouterr()
    assert "Absolute signal per channel" in printed.out
    assert "pip install 'modeling-mteeg[plot]'" in printed.err and "Traceback" not in printed.err
    assert cli.main(["show", str(corpus), "--no-picture"]) == 0


def test_wrong_folders_and_options_are_named(corpus, tmp_path, capsys):
    cases = {
        "does not exist": [str(tmp_path / "gone")],
        "found none": [str(tmp_path)],
        "windows: expected 1 or more, found 0": [str(corpus), "--windows", "0"],
    }
    for words, arguments in cases.items():
        assert cli.main(["show", *arguments]) == 2
        printed = capsys.readouterr()
        assert words in printed.err and not printed.out
    with pytest.raises(SystemExit) as ended:
        cli.main(["show", str(corpus), "--out", str(tmp_path / "a.doc")])
    assert ended.value.code == 2 and "ends in .png" in capsys.readouterr().err
    with pytest.raises(ValueError, match="splits"):
        look(corpus, splits=["dev"])
