"""Real recordings (PhysioNet) through the readers, and one subject to a trained and tested task.

The files are not part of the repository; where they are absent, these tests are skipped and say so.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from pathlib import Path

import datasets
import edfio
import mne
import numpy as np
import pytest
import torch
from recipe_modules import load_recipe
from transformers import AutoFeatureExtractor, AutoModel

from modeling_mteeg import MteegFeatureExtractor
from modeling_mteeg.data import WindowReader, encode_window, window_features
from modeling_mteeg.dataset_scripts.chb_mit import ChbMit, read_summary
from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.corpus import Recording
from modeling_mteeg.dataset_scripts.physionet_mi import PhysionetMi
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.sleep_edf import SleepEdf, read_stages
from modeling_mteeg.dataset_scripts.writer import prepare
from modeling_mteeg.model.recording_files import read_recording


def joint_recipe():
    return load_recipe("joint")


@pytest.mark.slow
def test_one_subject_is_prepared_trained_evaluated_and_predicted(recordings_dir, tmp_path, capsys):
    raw, data, out = recordings_dir / "eegmmidb", tmp_path / "data", tmp_path / "out"
    arguments = ["--raw", str(raw), "--out", str(data), "--split", "within-subject"]
    assert run_command(PhysionetMi, [*arguments, "--subjects", "S001"]) == 0
    report = (data / "physionet-mi" / "report.tsv").read_text("utf-8")
    left_out = next(line for line in report.splitlines() if "S088R10" in line)
    assert "left-out" in left_out and "protocol" in left_out
    options = ["model.preset=tiny", "optimization.epochs=2", "optimization.batch_size=16"]
    command = ["--data", str(data), "--output", str(out), "--tasks", "physionet-mi"]
    for option in options:
        command += ["--set", option]
    assert joint_recipe().main(command) == 0
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert results["simulated"] == {"physionet-mi": False}
    scores = results["test"]["physionet-mi"]
    assert scores["num_samples"]["mean"] == 24
    assert 0 <= scores["balanced_accuracy"]["mean"] <= 1
    assert "simulated" not in capsys.readouterr().out.rpartition("Test results")[2]
    model = AutoModel.from_pretrained(out / "model").eval()
    card = model.load_adapter("physionet-mi")
    extractor = AutoFeatureExtractor.from_pretrained(out / "model")
    with torch.no_grad():
        logits = model(**extractor(read_recording(raw / "S002R04.edf"), task=card)).logits
    assert logits.shape == (30, 5) and bool(logits.isfinite().all())


def windows_of(folder: Path) -> dict[str, list[tuple[float, str, np.ndarray]]]:
    """Onset, class and signal of every window of a prepared corpus, in order, by recording."""
    windows: dict[str, list[tuple[float, str, np.ndarray]]] = {}
    for rows in datasets.load_from_disk(str(folder)).values():
        reader = WindowReader(rows)
        for index, signal in enumerate(reader.read(range(len(reader)))):
            entry = (float(reader.onsets_s[index]), reader.label_names[reader.labels[index]])
            windows.setdefault(str(reader.recordings[index]), []).append((*entry, signal))
    return {key: sorted(value, key=lambda window: window[0]) for key, value in windows.items()}


def plain_mne(raw: mne.io.BaseRaw, channels: list[str]) -> np.ndarray:
    """The published scripts' calls; microvolt at 200 Hz."""
    raw = raw.copy().pick(channels)
    raw.filter(0.1, 75.0, verbose="ERROR").notch_filter(50.0, verbose="ERROR")
    return raw.resample(200, verbose="ERROR").get_data() * 1e6


# PhysioNet MI ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def motor_windows(recordings_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("motor")
    corpus = PhysionetMi(recordings_dir / "eegmmidb")
    return windows_of(prepare(corpus, folder, Settings(progress=False)))


def test_runs_of_two_subjects_have_the_published_cues(motor_windows):
    """30 cues a run, 15 of them rest; S001's trials last 4.2 and 4.1 s, S002's all 4.1 s."""
    assert sorted(motor_windows) == ["S001R04", "S001R06", "S001R08", "S001R10", "S002R04"]
    for key, windows in motor_windows.items():
        counts = Counter(label for _, label, _ in windows)
        movement = ("both fists", "feet") if key[-2:] in ("06", "10") else ("left", "right")
        assert counts["rest"] == 15 and len(windows) == 30 and set(counts) == {"rest", *movement}
        assert sorted(counts[code] for code in movement) == [7, 8]
        rest_s = 4.2 if key.startswith("S001") else 4.1
        expected = [k // 2 * (rest_s + 4.1) + k % 2 * rest_s for k in range(30)]
        np.testing.assert_allclose([onset for onset, *_ in windows], expected, atol=0.005)
        assert [label == "rest" for _, label, _ in windows] == [True, False] * 15


def test_first_cues_of_a_run_by_the_file(motor_windows):
    """S001R04 is T0 T2 T0 T1 T0 T1 T0 T2, S002R04 T0 T1 T0 T2: T1 is the left fist, T2 the right"""
    labels = {key: [label for _, label, _ in windows] for key, windows in motor_windows.items()}
    assert labels["S001R04"][1:8:2] == ["right", "left", "left", "right"]
    assert labels["S001R06"][1:8:2] == ["feet", "both fists", "both fists", "feet"]
    assert labels["S002R04"][1:8:2] == ["left", "right", "left", "right"]


@pytest.mark.parametrize("key", ["S001R04", "S001R06", "S001R08", "S001R10", "S002R04"])
def test_signal_of_a_run_is_the_plain_chain(motor_windows, recordings_dir, key):
    path = recordings_dir / "eegmmidb" / f"{key}.edf"
    raw = mne.io.read_raw_edf(path, preload=True, verbose="ERROR")
    assert len(raw.ch_names) == 64
    whole = plain_mne(raw, raw.ch_names)
    for onset_s, _, signal in motor_windows[key]:
        start = round(onset_s * 200)
        error = signal - whole[:, start : start + 800]
        assert np.sqrt(np.mean(error**2, axis=1)).max() < 0.1
        assert 5 < np.median(signal.std(axis=1)) < 200


# CHB-MIT -----------------------------------------------------------------------------------------


def read_wfdb_seizures(path: Path) -> list[tuple[float, float]]:
    """Seizures of a ``.seizures`` file: WFDB annotations, `[` at the start and `]` at the end.

    A 16-bit word holds a code (6 bits) and a time since the last annotation (10 bits); code 59 is
    followed by such a time of 32 bits, high word first; code 63 by so many bytes of text. Source:
    the WFDB Applications Guide, annotation file format (MIT).
    """
    data, place, sample, marks = path.read_bytes(), 0, 0, []
    while word := struct.unpack_from("<H", data, place)[0]:
        place += 2
        code, number = word >> 10, word & 1023
        if code == 59:
            high, low = struct.unpack_from("<hH", data, place)
            sample, place = sample + (high << 16) + low, place + 4
        elif code == 63:
            assert data[place : place + number] == b"## time resolution: 256"
            place += number + number % 2
        else:
            sample += number
            marks.append((code, sample / 256))
    marks = [mark for mark in marks if mark[0] in (32, 33)]
    assert [code for code, _ in marks] == [32, 33] * (len(marks) // 2)
    times = [time for _, time in marks]
    return list(zip(times[::2], times[1::2], strict=True))


def test_summary_and_annotation_files_name_the_same_seizures(recordings_dir):
    folder = recordings_dir / "chb-mit"
    summary = read_summary(folder / "chb01-summary.txt")
    with_seizures = {name for name, seizures in summary.items() if seizures}
    files = {path.name.removesuffix(".seizures"): path for path in folder.glob("chb01*.seizures")}
    assert with_seizures == set(files) and len(files) == 7
    for name, path in files.items():
        assert summary[name] == read_wfdb_seizures(path)


def test_summary_of_case_5_gives_its_five_seizures_and_no_others(recordings_dir):
    summary = read_summary(recordings_dir / "chb-mit" / "chb05-summary.txt")
    assert len(summary) == 39
    assert {name: seizures for name, seizures in summary.items() if seizures} == {
        "chb05_06.edf": [(417, 532)],
        "chb05_13.edf": [(1086, 1196)],
        "chb05_16.edf": [(2317, 2413)],
        "chb05_17.edf": [(2451, 2571)],
        "chb05_22.edf": [(2348, 2465)],
    }


def as_case(raw: mne.io.BaseRaw, folder: Path, name: str) -> None:
    """An excerpt as a recording of its own, with a summary of the seizure that it is marked with.

    Channels are named as in the original files, which have T8-P8 twice.
    """
    data = raw.get_data()[:, :-1] * 1e6  # the excerpts have one sample more than whole seconds
    signals = [
        edfio.EdfSignal(
            row, 256, label=label.removesuffix("-0").removesuffix("-1"),
            physical_dimension="uV", physical_range=(-3276.8, 3276.7),
        )
        for row, label in zip(data, raw.ch_names, strict=True)
    ]  # fmt: skip
    seizures = [
        annotation for annotation in raw.annotations if annotation["description"] == "seizure"
    ]
    lines = [f"File Name: {name}.edf", f"Number of Seizures in File: {len(seizures)}"]
    for annotation in seizures:
        start, end = round(annotation["onset"]), round(annotation["onset"] + annotation["duration"])
        lines += [f"Seizure Start Time: {start} seconds", f"Seizure End Time: {end} seconds"]
    (folder / name[:5]).mkdir(parents=True, exist_ok=True)
    edfio.Edf(signals, data_record_duration=1).write(folder / name[:5] / f"{name}.edf")
    with (folder / name[:5] / f"{name[:5]}-summary.txt").open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n\n")


def test_excerpts_with_seizures_are_read_and_cut(recordings_dir, tmp_path):
    """10 s before the onset, then the seizure: one background window, one a second of seizure."""
    excerpts = {"chb01_03": "chb01_03_t2986-3036", "chb20_04": "chb01_04_t1457-1494",
                "chb22_15": "chb01_15_t1722-1772"}  # fmt: skip
    raws = {}
    for name, excerpt in excerpts.items():
        path = recordings_dir / "chb-mit" / f"{excerpt}_raw.fif"
        raws[name] = mne.io.read_raw_fif(path, preload=True, verbose="ERROR")
        as_case(raws[name], tmp_path / "raw", name)
    quiet = Settings(progress=False)
    windows = windows_of(prepare(ChbMit(tmp_path / "raw"), tmp_path / "out", quiet))
    for name, seizure_s in (("chb01_03", 40), ("chb20_04", 27), ("chb22_15", 40)):
        expected = [(0.0, "background")]
        expected += [(10.0 + k, "seizure") for k in range(seizure_s - 10 + 1)]
        assert [(onset, label) for onset, label, _ in windows[name]] == expected
        raw = raws[name]
        picks = [next(name for name in raw.ch_names if name.startswith(channel))
                 for channel in ChbMit.card.channels]  # fmt: skip
        whole = plain_mne(raw.crop(0, raw.times[-1], include_tmax=False), picks)
        for onset_s, _, signal in windows[name]:
            start = round(onset_s * 200)
            error = np.sqrt(np.mean((signal - whole[:, start : start + 2000]) ** 2, axis=1))
            assert error.max() < 0.1
        spread = {
            label: np.median([w.std(axis=1) for _, other, w in windows[name] if other == label])
            for label in ("background", "seizure")
        }
        assert 5 < spread["background"] < spread["seizure"] < 500


def test_excerpts_of_ten_seconds_go_through_the_feature_extractor(recordings_dir):
    extractor = MteegFeatureExtractor()
    paths = sorted((recordings_dir / "chb-mit").glob("*seizure_raw.fif"))
    assert len(paths) == 10
    for path in paths:
        with pytest.warns(UserWarning, match="shorter than"):
            inputs = extractor(read_recording(path), task=ChbMit.card)
        assert inputs["input_values"].shape == (1, 16, 10, 200)
        spread_uv = 100 * float(inputs["input_values"].std(dim=(2, 3)).median())
        assert 5 < spread_uv < 500, path.name


# Sleep-EDF ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hypnogram(recordings_dir):
    return recordings_dir / "sleep-edf" / "SC4001EC-Hypnogram.edf"


def test_stages_of_the_original_hypnogram(hypnogram, tmp_path):
    """Counts as in the file's annotations: stages 3 and 4 are merged, the unknown end leaves."""
    raw = Counter()
    for annotation in mne.read_annotations(hypnogram):
        raw[annotation["description"]] += annotation["duration"] / 30
    asleep = {"Sleep stage 1": 58, "Sleep stage 2": 250, "Sleep stage 3": 101,
              "Sleep stage 4": 119, "Sleep stage R": 125}  # fmt: skip
    assert {stage: raw[stage] for stage in asleep} == asleep
    seconds = sum(duration for _, duration, _ in read_stages(hypnogram))
    recording = Recording("SC4001E0", "SC400", tmp_path / "SC4001E0-PSG.edf", (hypnogram,))
    segments, left_out = SleepEdf(tmp_path).segments(recording, round(seconds * 200))
    counts = Counter(segment.label for segment in segments)
    assert counts == {"W": raw["Sleep stage W"], "N1": 58, "N2": 250, "N3": 220, "REM": 125}
    assert dict(left_out) == {"UNKNOWN": raw["Sleep stage ?"]}


def test_labelled_windows_agree_with_the_hypnogram_and_keep_their_numbers(
    recordings_dir, hypnogram, tmp_path
):
    windows = np.load(recordings_dir / "sleep-edf" / "sleep_physionet_windows_30s.npz")
    names = dict(zip(windows["stage_names"], ("W", "N1", "N2", "N3", "REM"), strict=True))
    labels = [names[windows["stage_names"][index]] for index in windows["y"]]
    recording = Recording("SC4001E0", "SC400", tmp_path / "SC4001E0-PSG.edf", (hypnogram,))
    segments, _ = SleepEdf(tmp_path).segments(recording, 79500 * 200)
    stages = {segment.start / 200: segment.label for segment in segments}
    of_night = windows["recording_index"] == 0  # SC4001
    onsets_s = windows["onset_sample"] / windows["sfreq"]
    assert [stages[onset] for onset in onsets_s[of_night]] == [
        label for label, taken in zip(labels, of_night, strict=True) if taken
    ]
    assert sum(of_night) == 5 and set(labels) == {"W", "N1", "N2", "N3", "REM"}

    signals = windows["X_uV"]  # (9, 2, 3000) at 100 Hz, band-passed before
    source = (signals, list(windows["ch_names"]), float(windows["sfreq"]))
    inputs = MteegFeatureExtractor()(source, task=SleepEdf.card)["input_values"]
    assert inputs.shape == (9, 2, 30, 200)
    resampled_uv = 100 * inputs.flatten(2).numpy()  # samples lie half as far apart
    inner = slice(100, -100)
    assert np.abs(resampled_uv[:, :, ::2] - signals)[:, :, inner].max() < 0.1
    rows = [
        encode_window(signal, SleepEdf.card.channels, label, "SC4001E0", "SC400", onset)
        for signal, label, onset in zip(resampled_uv, labels, onsets_s, strict=True)
    ]
    features = window_features(SleepEdf.card.labels)
    reader = WindowReader(datasets.Dataset.from_list(rows, features=features))
    assert [reader.label_names[label] for label in reader.labels] == labels
    assert np.sqrt(np.mean((reader.read(range(9)) - resampled_uv) ** 2)) < 0.01
