"""Readers of the paper's nine corpora, on files that the tests make in their layouts."""

from __future__ import annotations

import shutil
from pathlib import Path

import mne
import numpy as np
import pytest
from recording_files import write_recording
from scipy.io import savemat
from test_unlabelled_preparation import noise, report

from modeling_mteeg.data import load_unlabelled, read_manifest
from modeling_mteeg.dataset_scripts.seed_v import CARD as SEED_V
from modeling_mteeg.dataset_scripts.tuab import CARD as TUAB
from modeling_mteeg.dataset_scripts.unlabelled import Source, UnlabelledSettings, prepare_unlabelled
from modeling_mteeg.dataset_scripts.unlabelled import __main__ as command
from modeling_mteeg.dataset_scripts.unlabelled.excluded import Entry, Exclusions
from modeling_mteeg.dataset_scripts.unlabelled.known_sources import SOURCES
from modeling_mteeg.dataset_scripts.unlabelled.trujillo import CAP
from modeling_mteeg.model.channels import is_known
from modeling_mteeg.model.preprocessing import preprocess

SHORT = UnlabelledSettings(max_seconds=2)
TUH_PLACES = {
    "tusz": "edf/train/aaaaaaac/s001_2002/02_tcp_le/aaaaaaac_s001_t000.edf",
    "tuep": "00_epilepsy/aaaaaaac/s001_2002/02_tcp_le/aaaaaaac_s001_t000.edf",
    "tuar": "edf/01_tcp_ar/aaaaaaac_s001_t000.edf",
    "tusl": "edf/aaaaaaac/s001_2002/aaaaaaac_s001_t000.edf",
}


TUEV_ENTRY = Entry("tuev", "aaaaaaad_00000001.edf", "1" * 64)


def prepare(raw: Path, name: str, out: Path, **options):
    source = SOURCES[name]()
    return prepare_unlabelled(raw, out, source, SHORT, progress=False, **options)


def test_there_are_the_nine_and_any_folder():
    assert set(SOURCES) == {
        "folder", "tusz", "tuep", "tuar", "tusl", "seed", "seed-iv", "seed-ger", "seed-fra",
        "trujillo",
    }  # fmt: skip
    hours = [source.known_hours for source in SOURCES.values() if source.known_hours]
    assert sum(hours) + 166.75 == pytest.approx(2043.66)
    assert all(source.homepage.startswith("https://") for source in SOURCES.values()
               if source is not Source)  # fmt: skip


@pytest.mark.parametrize("name", TUH_PLACES)
def test_tuh(name, tmp_path):
    raw = tmp_path / "raw"
    place = raw / TUH_PLACES[name]
    names = [f"EEG {channel}-LE" for channel in TUAB.channels] + [
        "EEG EKG1-LE",
        "PHOTIC-REF",
        "EEG 31-LE",
    ]
    write_recording(place.parent, place.name, noise(1, len(names), 250 * 20), names, 250)
    write_recording(raw, "other.edf", noise(2, 2, 250 * 20), ["EEG CZ-LE", "EEG C3-LE"], 250)
    exclusions = Exclusions(without_tuh_lists=True)
    rows = report(prepare(raw, name, tmp_path / "out", exclusions=exclusions))
    row = rows[TUH_PLACES[name]]
    assert row["status"] == "used" and row["subject"] == "tuh-aaaaaaac"
    assert set(row["channels"].split()) == set(TUAB.channels)
    assert row["channels_left_out"].count("no place in the table") == 3
    assert rows["other.edf"]["status"] == "left-out"
    assert "its name is none of" in rows["other.edf"]["reason"]
    assert read_manifest(tmp_path / "out")["source"] == name


def test_a_tuh_session_of_a_downstream_test_recording_stays_out(tmp_path):
    raw = tmp_path / "raw"
    for session in ("s001", "s002"):
        name = f"aaaaaaac_{session}_t000.edf"
        write_recording(raw, name, noise(int(session[1:]), 2, 250 * 20), ["C3", "C4"], 250)
    rules = Exclusions((Entry("tuab", "aaaaaaac_s001_t003.edf", "0" * 64), TUEV_ENTRY))
    rows = report(prepare(raw, "tusz", tmp_path / "out", exclusions=rules))
    assert rows["aaaaaaac_s001_t000.edf"]["status"] == "excluded"
    assert rows["aaaaaaac_s002_t000.edf"]["status"] == "used"
    (note,) = read_manifest(tmp_path / "out")["notes"]
    assert "TUEV's evaluation files" in note


@pytest.mark.parametrize("source", ["tuep", "folder"])
def test_tuh_is_refused_without_lists_of_what_is_cut_from_it(source, tmp_path, capsys):
    raw, out = tmp_path / "raw", tmp_path / "out"
    name = "aaaaaaac_s001_t000.edf"
    write_recording(raw, name, noise(1, 2, 250 * 20), ["C3", "C4"], 250)
    for entries, missing in (((), "tuab and tuev"), ((TUEV_ENTRY,), "tuab")):
        with pytest.raises(ValueError, match=f"test recordings of {missing} ") as caught:
            prepare(raw, source, out, exclusions=Exclusions(entries))
        assert name in str(caught.value) and "--without-tuh-lists" in str(caught.value)
        assert "dataset_scripts.exclusions --raw tuab=DOWNLOAD" in str(caught.value)
    assert not out.exists()
    asked = ["--raw", str(raw), "--out", str(out), "--source", source]
    assert command.main(asked) == 1
    assert "--without-tuh-lists" in capsys.readouterr().err
    assert command.main([*asked, "--without-tuh-lists"]) == 0
    (note,) = read_manifest(out)["notes"]
    assert "tuab and tuev" in note and note in (out / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["seed", "seed-iv", "seed-ger", "seed-fra"])
def test_seed(name, tmp_path):
    raw = tmp_path / "raw"
    names = [*SEED_V.channels, "M1", "M2", "VEO", "HEO"]
    write_recording(raw / "1", "3_2_x.cnt", noise(1, len(names), 1000 * 5), names, 1000)
    row = report(prepare(raw, name, tmp_path / "out"))["1/3_2_x.cnt"]
    assert row["status"] == "used" and row["subject"] == f"{name}-3"
    assert len(row["channels"].split()) == 62
    assert set(row["channels"].split()) == set(SEED_V.channels)
    (group,) = load_unlabelled(tmp_path / "out", 1.0, max_seconds=2)["train"]
    assert (len(group.channels), group.patches) == (62, 2)


def test_the_trials_of_seed_iv(tmp_path):
    raw = tmp_path / "raw"
    folder = raw / "eeg_raw_data" / "1"
    folder.mkdir(parents=True)
    trials = {f"cz_eeg{number}": noise(number, 62, 200 * (5 + number)) for number in (1, 2, 3)}
    other = {"cz_eeg9": noise(9, 61, 1000), "note": np.zeros((62, 1000))}
    savemat(folder / "2_20150915.mat", trials | other, do_compression=True)
    shutil.copy(folder / "2_20150915.mat", folder / "3_20150919.mat")
    savemat(folder / "4_20151111.mat", {"de_LDS1": np.zeros((62, 5, 5))})
    (folder / "5_20160406.mat").write_bytes(b"no MATLAB file")
    (folder / "label.mat").write_bytes(b"of another name")
    rows = report(prepare(raw, "seed-iv", tmp_path / "out"))
    used = {key: row for key, row in rows.items() if row["status"] == "used"}
    first = "eeg_raw_data/1/2_20150915.mat"
    assert set(used) == {f"{first}/{name}" for name in trials}
    assert {row["subject"] for row in used.values()} == {"seed-iv-2"}
    reasons = {key.removeprefix("eeg_raw_data/1/"): row["reason"] for key, row in rows.items()}
    assert "found (61, 1000)" in reasons["2_20150915.mat/cz_eeg9"]
    assert reasons["3_20150919.mat/cz_eeg2"] == f"a copy of {first}/cz_eeg2"
    assert "no trial" in reasons["4_20151111.mat"]
    assert "cannot be read" in reasons["5_20160406.mat"]
    assert len(rows) == 10
    (group,) = load_unlabelled(tmp_path / "out", 1.0, max_seconds=2)["train"]
    key = f"{first}/cz_eeg3"
    row = group.recordings(range(len(group))).index(key) + 1  # from its second 1
    values = group.read([row], unit_uv=1.0)[0].reshape(62, -1)
    place = [group.channels.index(name) for name in SEED_V.channels]
    wanted = preprocess(trials["cz_eeg3"], 200.0)[:, 200:600]
    np.testing.assert_allclose(values[place], wanted, atol=0.05)


def test_trujillo_and_the_names_of_biosemi(tmp_path):
    assert mne.channels.make_standard_montage("biosemi64").ch_names == [
        name.replace("FP", "Fp").replace("Z", "z") for name in CAP
    ]
    assert all(is_known(name) for name in CAP) and len(set(CAP)) == 64
    raw = tmp_path / "raw"
    names = [f"{letter}{number}" for letter in "AB" for number in range(1, 33)] + ["EXG1"]
    signal = noise(1, len(names), 256 * 20)
    write_recording(raw, "one.bdf", signal, names, 256)
    row = report(prepare(raw, "trujillo", tmp_path / "out"))["one.bdf"]
    assert row["status"] == "used" and row["subject"] == "trujillo-one"
    assert set(row["channels"].split()) == set(CAP)
    (group,) = load_unlabelled(tmp_path / "out", 1.0, max_seconds=2)["train"]
    first = group.read([5], unit_uv=1.0)[0][group.channels.index("CZ")].reshape(-1)
    recorded = signal[names.index("B16")][5 * 256 : 7 * 256]
    resampled = np.interp(np.arange(400) / 200, np.arange(512) / 256, recorded)
    assert np.corrcoef(first, resampled)[0, 1] > 0.6  # filtered, yet this channel and no other
    with pytest.raises(Exception, match="BioSemi's own names"):
        prepare_unlabelled(raw, tmp_path / "any", settings=SHORT, progress=False)
