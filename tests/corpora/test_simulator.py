"""Simulated corpora: equal by seed, in the original layouts, with each task's physiology."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import mne
import numpy as np
import pytest

from modeling_mteeg.dataset_scripts.demo import MARKER, TASKS, folder_bytes, main, simulate
from modeling_mteeg.dataset_scripts.prepare import corpus_class
from modeling_mteeg.dataset_scripts.simulator import (
    chb_mit,
    physionet_mi,
    seed_v,
    sleep_edf,
    tuab,
    tuev,
)
from modeling_mteeg.dataset_scripts.simulator.cnt import STEP_UV, write_cnt
from modeling_mteeg.dataset_scripts.simulator.head import Head, electrode_positions
from modeling_mteeg.dataset_scripts.simulator.signals import (
    Subject,
    band_noise,
    coloured_noise,
    generator,
)
from modeling_mteeg.dataset_scripts.splits import SPLITS


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated")
    simulate(out, seed=3, size="small", progress=False)
    return out


def power(signal: np.ndarray, rate_hz: float, low_hz: float, high_hz: float) -> np.ndarray:
    """Power (channels,) of signal (channels, samples) between two frequencies."""
    tapered = signal * np.hanning(signal.shape[-1])
    spectrum = np.abs(np.fft.rfft(tapered, axis=-1)) ** 2
    frequency = np.fft.rfftfreq(signal.shape[-1], 1.0 / rate_hz)
    inside = (frequency >= low_hz) & (frequency < high_hz)
    return spectrum[..., inside].sum(-1) / np.sum(np.hanning(signal.shape[-1]) ** 2)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# Files ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_equal_seeds_give_equal_bytes_and_others_do_not(corpora: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "again", seed=3, size="small", progress=False)
    first, again = digests(corpora), digests(tmp_path / "again")
    assert first == again
    simulate(tmp_path / "other", seed=4, tasks=["physionet-mi"], size="small", progress=False)
    other = digests(tmp_path / "other" / "physionet-mi")
    same = [name for name, digest in other.items() if first[f"physionet-mi/{name}"] == digest]
    assert len(other) > 5 and same == []


def test_a_corpus_does_not_depend_on_which_others_are_written(
    corpora: Path, tmp_path: Path
) -> None:
    simulate(tmp_path, seed=3, tasks=["tuev"], size="small", progress=False)
    assert digests(tmp_path / "tuev") == digests(corpora / "tuev")


def test_small_corpora_are_small(corpora: Path) -> None:
    assert folder_bytes(corpora) < 20e6


@pytest.mark.slow
def test_demo_corpora_are_tens_of_megabytes(tmp_path: Path) -> None:
    simulate(tmp_path, size="demo", progress=False)
    assert 20e6 < folder_bytes(tmp_path) < 100e6


@pytest.mark.parametrize("task", TASKS)
def test_readers_of_the_real_corpora_fill_every_split(corpora: Path, task: str) -> None:
    corpus = corpus_class(task)(corpora / task)
    assert corpus.simulated
    recordings = corpus.find_recordings()
    assert recordings and all(
        not recording.left_out and not recording.fault for recording in recordings
    )
    labels: dict[str, set[str]] = {}
    assigned = corpus.assign(recordings)
    for recording in recordings:
        for segment, signal in corpus.windows(recording):
            unit = f"{recording.key}/{segment.unit}" if segment.unit else recording.key
            labels.setdefault(assigned[unit], set()).add(segment.label)
            assert signal.shape == (len(corpus.card.channels), corpus.window_samples)
    # Every class occurs in every split, so that every metric is defined.
    assert labels == {split: set(corpus.card.labels) for split in SPLITS}


def test_layouts(corpora: Path) -> None:
    expected = {
        "tuab": "edf/*/*/01_tcp_ar/*_s001_t000.edf",
        "tuev": "edf/*/*/*.rec",
        "seed-v": "[0-9]*_[123]_[0-9]*.cnt",
        "chb-mit": "chb[0-9][0-9]/chb[0-9][0-9]-summary.txt",
        "sleep-edf": "sleep-cassette/SC4[0-9][0-9][12]E[CHJV]-Hypnogram.edf",
        "physionet-mi": "S[0-9][0-9][0-9]/S[0-9][0-9][0-9]R[0-9][0-9].edf",
    }
    for task, pattern in expected.items():
        assert list((corpora / task).glob(pattern)), task
        marker = json.loads((corpora / task / MARKER).read_text())
        assert marker["complete"] and marker["seed"] == 3
    parts = {path.parts[-4:-1] for path in (corpora / "tuab").rglob("*.edf")}
    wanted = {
        (part, label, "01_tcp_ar") for part in ("train", "eval") for label in ("normal", "abnormal")
    }
    assert parts == wanted


def read(path: Path) -> mne.io.BaseRaw:
    return mne.io.read_raw_edf(path, preload=True, verbose="ERROR")


def test_recordings_look_like_the_originals_to_mne(corpora: Path) -> None:
    raw = read(next((corpora / "tuab").rglob("*.edf")))
    assert raw.info["sfreq"] in (250, 256) and len(raw.ch_names) == 23
    assert raw.ch_names[0] in ("EEG FP1-REF", "EEG FP1-LE")
    raw = read(corpora / "physionet-mi" / "S001" / "S001R04.edf")
    assert raw.info["sfreq"] == 160 and raw.ch_names == list(physionet_mi.LABELS)
    assert raw.annotations.description[0] == "T0"
    assert set(raw.annotations.description) == {"T0", "T1", "T2"}
    np.testing.assert_allclose(np.diff(raw.annotations.onset), physionet_mi.CUE_S)
    raw = read(corpora / "sleep-edf" / "sleep-cassette" / "SC4001E0-PSG.edf")
    assert raw.info["sfreq"] == 100
    assert {"EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal"} <= set(raw.ch_names)
    hypnogram = next((corpora / "sleep-edf" / "sleep-cassette").glob("SC4001E?-Hypnogram.edf"))
    stages = mne.read_annotations(hypnogram)
    known = {f"Sleep stage {stage}" for stage in "W1234R?"} | {"Movement time"}
    assert set(stages.description) == known
    assert stages.onset[-1] + stages.duration[-1] == raw.n_times / 100
    (path,) = (corpora / "seed-v").glob("1_1_*.cnt")
    cnt = mne.io.read_raw_cnt(path, preload=True, verbose="ERROR")
    assert cnt.info["sfreq"] == 1000 and len(cnt.ch_names) == 66
    assert {"M1", "M2", "VEO", "HEO"} <= set(cnt.ch_names)
    for original in (raw.copy().pick(["EEG Fpz-Cz"]), cnt):
        rms_uv = float(np.sqrt(np.mean(original.get_data() ** 2)) * 1e6)
        assert 3 < rms_uv < 100


def test_chb_mit_has_the_doubled_channel_and_both_spellings(corpora: Path) -> None:
    folder = corpora / "chb-mit"
    with pytest.warns(RuntimeWarning, match="not unique"):
        raw = mne.io.read_raw_edf(folder / "chb01" / "chb01_16.edf", verbose="WARNING")
    assert len(raw.ch_names) == 23 and raw.info["sfreq"] == 256
    assert {"T8-P8-0", "T8-P8-1"} <= set(raw.ch_names)
    summaries = "".join(path.read_text() for path in folder.rglob("*-summary.txt"))
    assert "\nSeizure Start Time: " in summaries and "\nSeizure 1 Start Time: " in summaries
    assert "Number of Seizures in File: 0" in summaries
    assert (folder / "chb02" / "chb02_16+.edf").is_file()


def test_cnt_keeps_values_and_events(tmp_path: Path) -> None:
    uv = np.random.default_rng(0).uniform(-1500, 1500, (3, 700))
    write_cnt(
        tmp_path / "a.cnt",
        uv,
        ["FP1", "CZ", "O2"],
        1000,
        [(0, 5), (250, 9)],
        electrode_positions(["FP1", "CZ", "O2"]),
    )
    raw = mne.io.read_raw_cnt(tmp_path / "a.cnt", preload=True, verbose="ERROR")
    assert raw.ch_names == ["FP1", "CZ", "O2"] and raw.info["bads"] == []
    np.testing.assert_allclose(raw.get_data() * 1e6, uv, atol=0.51 * STEP_UV)
    assert list(raw.annotations.description) == ["5", "9"]
    np.testing.assert_allclose(raw.annotations.onset, [0.0, 0.25])
    with pytest.raises(ValueError, match="at most 9"):
        write_cnt(tmp_path / "b.cnt", uv, ["FP1", "CZ", "MUCHTOOLONG"], 1000)
    with pytest.raises(ValueError, match="expected 3"):
        write_cnt(tmp_path / "b.cnt", uv, ["FP1"], 1000)


# The command ------------------------------------------------------------------------------------


def test_finished_corpora_are_kept_and_interrupted_ones_are_written_again(tmp_path: Path) -> None:
    settings = {"tasks": ["seed-v"], "size": "small", "progress": False}
    simulate(tmp_path, **settings)
    before = digests(tmp_path)
    (path,) = tmp_path.rglob("*.cnt")
    changed = path.stat().st_mtime_ns
    simulate(tmp_path, **settings)
    assert path.stat().st_mtime_ns == changed
    # As left behind by a process that was killed while it wrote.
    marker = tmp_path / "seed-v" / MARKER
    marker.write_text(marker.read_text().replace("true", "false"))
    path.write_bytes(path.read_bytes()[:1000])
    simulate(tmp_path, **settings)
    assert digests(tmp_path) == before


def test_a_folder_with_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tuab").mkdir()
    (tmp_path / "tuab" / "real.edf").write_bytes(b"0")
    with pytest.raises(FileExistsError, match="no SIMULATED file"):
        simulate(tmp_path, tasks=["seed-v", "tuab"], size="small", progress=False)
    assert not (tmp_path / "seed-v").exists()  # noticed before any work
    simulate(tmp_path, tasks=["seed-v"], size="small", progress=False)
    with pytest.raises(FileExistsError, match="Delete it or choose another"):
        simulate(tmp_path, seed=1, tasks=["seed-v"], size="small", progress=False)


def test_wrong_settings_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown seed-iv.*expected one of small, demo.*at least"):
        simulate(tmp_path, tasks=["seed-iv"], size="huge", subjects=1)
    assert list(tmp_path.iterdir()) == []


def test_command_says_that_it_simulates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(tmp_path), "--tasks", "sleep-edf", "--size", "small"]
    assert main([*arguments, "--subjects", "5"]) == 0
    shown = capsys.readouterr().out
    assert "simulated" in shown and "sleep-edf" in shown
    assert len(list(tmp_path.rglob("*-PSG.edf"))) == 10


# Physiology -------------------------------------------------------------------------------------


def test_electrodes_lie_where_they_belong() -> None:
    names = ["FP1", "O2", "C3", "C4", "CZ", "T3", "M2"]
    place = dict(zip(names, electrode_positions(names), strict=True))
    x, y, z = range(3)
    np.testing.assert_allclose(np.linalg.norm(list(place.values()), axis=1), 1.0)
    np.testing.assert_allclose(place["C3"], place["C4"] * [-1, 1, 1], atol=1e-12)
    assert place["FP1"][y] > 0.8 and place["FP1"][x] < 0 and place["O2"][y] < -0.8
    np.testing.assert_allclose(place["CZ"], [0, 0, 1], atol=1e-12)
    assert place["T3"][x] < -0.9 and place["M2"][x] > 0.8 and place["M2"][z] < 0
    with pytest.raises(ValueError, match="XYZ"):
        electrode_positions(["CZ", "XYZ"])


def test_neighbouring_electrodes_are_correlated() -> None:
    raw = physionet_mi.simulate_signal(generator(0), Subject.draw(generator(1)), ["rest"] * 6)
    correlation = np.corrcoef(raw)
    positions = Head(physionet_mi.CHANNELS).positions
    angle = np.arccos(np.clip(positions @ positions.T, -1, 1))
    near, far = (angle > 0) & (angle < 0.4), angle > 1.2
    assert correlation[near].mean() > 0.3 > correlation[far].mean()


def test_noise_has_unit_variance_and_its_spectrum() -> None:
    pink = coloured_noise(generator(0), 8, 20000, 200.0, 1.6)
    alpha = band_noise(generator(1), 8, 20000, 200.0, 10.0, 0.8)
    assert pink.std() == pytest.approx(1.0, abs=0.1) == alpha.std()
    ratio = power(pink, 200, 4, 8).mean() / power(pink, 200, 16, 32).mean()
    # Power in an octave falls as f ** (1 - slope): two octaves at slope 1.6.
    assert ratio == pytest.approx(4**0.6, rel=0.25)
    assert power(alpha, 200, 7, 13).sum() > 0.98 * power(alpha, 200, 0.1, 100).sum()


def test_tuab_abnormal_is_slower() -> None:
    slow = {False: [], True: []}
    for abnormal, values in slow.items():
        for seed in range(6):
            uv = tuab.simulate_signal(generator(seed), abnormal, 5000, 250.0)
            rows = [tuab.CHANNELS.index(name) for name in ("F3", "C3", "C4", "T3", "T4", "P3")]
            part = power(uv[rows], 250, 1.5, 7.5).sum() / power(uv[rows], 250, 1.5, 30).sum()
            values.append(part)
    assert np.median(slow[True]) > 1.15 * np.median(slow[False])


def test_tuev_events_have_their_shapes() -> None:
    index = {name: row for row, name in enumerate(tuab.CHANNELS)}
    windows_of: dict[str, list[np.ndarray]] = {label: [] for label in tuev.LABELS}
    for seed in range(4):
        uv, rows = tuev.simulate_signal(generator(seed), 9, 250.0)
        assert {code for *_, code in rows} == {1, 2, 3, 4, 5, 6}
        for _, start, end, code in rows:
            assert end - start == pytest.approx(1.0)
            window = uv[:, round(start * 250) : round(end * 250)]
            windows_of[tuev.LABELS[code - 1]].append(window - window.mean(1, keepdims=True))

    def mean_range(label: str, *names: str) -> float:
        rows = [index[name] for name in names]
        return float(np.mean([np.ptp(window[rows], axis=1).mean() for window in windows_of[label]]))

    def fast(label: str) -> float:
        return float(np.mean([power(window, 250, 25, 58).max() for window in windows_of[label]]))

    def asymmetry(label: str) -> float:
        left, right = ([index[name] for name in side] for side in tuev.SIDES.values())
        sides = [(np.ptp(w[left], axis=1), np.ptp(w[right], axis=1)) for w in windows_of[label]]
        return float(np.mean([np.max(np.abs(a - b) / (a + b)) for a, b in sides]))

    assert asymmetry("PLED") > 1.3 * max(asymmetry("GPED"), asymmetry("BCKG"))
    assert mean_range("GPED", "C3", "C4", "FZ") > 1.5 * mean_range("BCKG", "C3", "C4", "FZ")
    assert mean_range("EYEM", "FP1", "FP2") > 1.5 * mean_range("BCKG", "FP1", "FP2")
    assert fast("ARTF") > 3 * max(fast(label) for label in tuev.LABELS if label != "ARTF")
    peaks = {
        label: np.mean([np.ptp(w, axis=1).max() for w in windows_of[label]]) for label in windows_of
    }
    assert peaks["SPSW"] > 1.5 * peaks["BCKG"]


def test_seed_v_emotions_differ_in_band_power() -> None:
    times = seed_v.trial_times(2.0)
    index = {name: row for row, name in enumerate(seed_v.CHANNELS)}
    powers: dict[str, list[list[float]]] = {emotion: [] for emotion in seed_v.EMOTIONS}
    uv = seed_v.simulate_signal(0, 1, 1, times)
    for trial, (start, end) in enumerate(zip(times["start"], times["end"], strict=True)):
        window = uv[:, round(start * 1000) : round(end * 1000)]
        gamma = power(window[[index["T7"], index["T8"]]], 1000, 30, 45).mean()
        theta = power(window[[index["FZ"]]], 1000, 4, 8).mean()
        alpha = power(window[[index["PZ"]]], 1000, 8, 13).mean()
        left, right = power(window[[index["F3"], index["F4"]]], 1000, 8, 13)
        emotion = seed_v.EMOTIONS[seed_v.LABELS[1][trial]]
        powers[emotion].append([gamma, theta, alpha, np.log(right / left)])
    mean = {emotion: np.mean(values, axis=0) for emotion, values in powers.items()}
    assert max(mean, key=lambda emotion: mean[emotion][0]) == "happy"
    assert max(mean, key=lambda emotion: mean[emotion][1]) == "fear"
    assert max(mean, key=lambda emotion: mean[emotion][2]) == "neutral"
    assert mean["happy"][3] > max(mean["disgust"][3], mean["fear"][3], mean["sad"][3])


def test_chb_mit_seizures_grow_and_slow_down() -> None:
    for case in (1, 4, 22):
        (file,) = chb_mit.plan_files(0, case, "demo")
        ((start, end),) = file.seizures
        uv = chb_mit.simulate_signal(0, case, file)
        np.testing.assert_array_equal(uv[14], uv[22])  # T8-P8 twice
        third = (end - start) // 3
        spans = [(2, start), (start, start + third), (end - third, end)]
        parts = [uv[:, a * 256 : b * 256] for a, b in spans]
        before, early, late = (float(np.median(part.std(axis=1))) for part in parts)
        assert late > early and late > 1.2 * before
        # The strongest rhythm of the derivation in which the seizure ends up strongest.
        peaks_hz = []
        for part in parts[1:]:
            row = part[np.argmax(parts[2].std(axis=1))]
            spectrum = np.abs(np.fft.rfft(row * np.hanning(len(row)))) ** 2
            frequency = np.fft.rfftfreq(len(row), 1 / 256)
            inside = (frequency > 2) & (frequency < 15)
            peaks_hz.append(frequency[inside][np.argmax(spectrum[inside])])
        assert peaks_hz[1] < peaks_hz[0] - 1


def test_chb_mit_case_21_is_the_girl_of_case_1() -> None:
    """The known leak of the published split is in the simulation too."""
    assert chb_mit.person(0, 21) == chb_mit.person(0, 1) != chb_mit.person(0, 20)


def test_sleep_stages_have_their_rhythms() -> None:
    epochs = ["W", "1", "2", "3", "4", "R"] * 6
    uv = sleep_edf.simulate_signal(generator(0), Subject.draw(generator(1)), epochs)
    windows = uv.reshape(3, len(epochs), 3000).transpose(1, 0, 2)

    def mean_power(stage: str, row: int, low: float, high: float) -> float:
        chosen = [w[row] for w, label in zip(windows, epochs, strict=True) if label == stage]
        return float(np.median(power(np.stack(chosen), 100, low, high)))

    assert min(mean_power(s, 0, 0.5, 2) for s in "34") > 1.5 * max(
        mean_power(s, 0, 0.5, 2) for s in "1R"
    )
    assert mean_power("4", 0, 0.5, 2) > 1.2 * mean_power("W", 0, 0.5, 2)
    assert mean_power("W", 1, 8, 12) > 1.5 * max(mean_power(s, 1, 8, 12) for s in "234R")
    assert mean_power("2", 0, 12, 14.5) > 1.5 * max(mean_power(s, 0, 12, 14.5) for s in "1R34")
    # Slow eye movements of falling asleep.
    assert mean_power("1", 2, 0.3, 0.8) > 1.5 * mean_power("W", 2, 0.3, 0.8)


def test_imagery_quenches_the_rhythm_of_the_right_places() -> None:
    labels = ["rest", "left", "right", "both fists", "feet"] * 8
    subject = Subject.draw(generator(1))
    uv = physionet_mi.simulate_signal(generator(0), subject, labels)
    rows = [physionet_mi.CHANNELS.index(name) for name in ("C3", "C4", "CZ")]
    size = 4 * 160
    mu: dict[str, list[np.ndarray]] = {}
    for index, label in enumerate(labels):
        first = round(index * physionet_mi.CUE_S * 160)
        window = uv[rows, first : first + size]
        mu.setdefault(label, []).append(np.log(power(window, 160, 8, 14)))
    mean = {label: np.mean(values, axis=0) for label, values in mu.items()}
    c3, c4, cz = range(3)
    assert mean["left"][c4] < mean["left"][c3] - 1  # the other side
    assert mean["right"][c3] < mean["right"][c4] - 1
    for side in (c3, c4):
        assert mean["both fists"][side] < mean["rest"][side] - 1
        assert mean["feet"][side] > mean["rest"][side] - 0.5
    assert mean["feet"][cz] == min(mean[label][cz] for label in mean)
