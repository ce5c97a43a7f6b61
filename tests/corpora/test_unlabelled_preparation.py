"""Any folder of recordings becomes a pre-training corpus: known channels, reported skips, no test
recording."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import edfio
import mne
import numpy as np
import pytest
from recording_files import WRITERS, write_recording

from modeling_mteeg.data import load_unlabelled, read_manifest
from modeling_mteeg.dataset_scripts import exclusions as exclusions_command
from modeling_mteeg.dataset_scripts.demo import simulate
from modeling_mteeg.dataset_scripts.locking import PreparationError
from modeling_mteeg.dataset_scripts.physionet_mi import PhysionetMi
from modeling_mteeg.dataset_scripts.simulator.unlabelled import simulate_unlabelled
from modeling_mteeg.dataset_scripts.unlabelled import (
    Source,
    UnlabelledRecording,
    UnlabelledSettings,
    prepare_unlabelled,
)
from modeling_mteeg.dataset_scripts.unlabelled import __main__ as command
from modeling_mteeg.dataset_scripts.unlabelled import stretch_writer as writer
from modeling_mteeg.dataset_scripts.unlabelled.excluded import (
    TEST_MI_SUBJECTS,
    TEST_NIGHTS,
    Entry,
    Exclusions,
    rule_by_name,
)
from modeling_mteeg.model.preprocessing import preprocess


def noise(seed: int, channels: int, samples: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 20, (channels, samples))


def write_edf(path: Path, names, rate: int, seconds: int, seed: int = 0, signal=None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    signal = noise(seed, len(names), rate * seconds) if signal is None else signal
    signals = [
        edfio.EdfSignal(row, rate, label=name, physical_dimension="uV", physical_range=(-200, 200))
        for name, row in zip(names, signal, strict=True)
    ]
    edfio.Edf(signals).write(path)
    return path


def report(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "report.csv", newline="", encoding="utf-8") as file:
        return {row["recording"]: row for row in csv.DictReader(file)}


def write_mixed(folder: Path) -> Path:
    """Recordings of three montages, three rates, two formats, and some that cannot be used."""
    write_edf(folder / "sub-a/one.edf", ["EEG FP1-REF", "EEG CZ-REF", "EKG1"], 256, 40, 1)
    write_edf(folder / "sub-a/two.edf", ["CZ", "FP1"], 250, 40, 2)
    signal = noise(3, 3, 500 * 40)
    write_recording(folder, "b_raw.fif", signal, ["C3", "C4", "NONSENSE"], 500)
    write_edf(folder / "short.edf", ["CZ", "FP1"], 250, 3, 4)
    write_edf(folder / "nobody.edf", ["X1", "X2"], 250, 40, 5)
    (folder / "broken.edf").write_bytes(b"0       no recording")
    copy = bytearray((folder / "sub-a/one.edf").read_bytes())
    copy[8:15], copy[168:176] = b"P01 F X", b"02.03.99"  # another name and date
    (folder / "z_copy.edf").write_bytes(copy)
    (folder / "notes.txt").write_text("not a recording")
    return folder


@pytest.fixture
def raw(tmp_path) -> Path:
    return write_mixed(tmp_path / "raw")


def test_a_folder_of_mixed_recordings(raw, tmp_path, capsys):
    out = prepare_unlabelled(raw, tmp_path / "out", progress=False)
    rows = report(out)
    status = {key: row["status"] for key, row in rows.items()}
    assert status == {
        "sub-a/one.edf": "used", "sub-a/two.edf": "used", "b_raw.fif": "used",
        "short.edf": "skipped", "nobody.edf": "skipped", "broken.edf": "skipped",
        "z_copy.edf": "left-out",
    }  # fmt: skip
    assert "shorter than a window of 16 s" in rows["short.edf"]["reason"]
    assert "no channel has a name of the table, found X1, X2" in rows["nobody.edf"]["reason"]
    assert "shorter than an EDF header" in rows["broken.edf"]["reason"]
    assert rows["z_copy.edf"]["reason"] == "a copy of sub-a/one.edf"
    assert rows["sub-a/one.edf"]["channels_left_out"] == "EKG1 (no place in the table)"
    assert rows["b_raw.fif"]["channels_left_out"] == "NONSENSE (no place in the table)"
    groups = load_unlabelled(out, 1.0)["train"]
    assert [(g.channels, g.patches, len(g)) for g in groups] == [
        (("C3", "C4"), 16, 25), (("FP1", "CZ"), 16, 50),
    ]  # fmt: skip
    assert set(groups[1].subjects(range(50))) == {"sub-a"}
    assert set(groups[0].subjects(range(25))) == {"b_raw.fif"}
    manifest = read_manifest(out)
    assert not manifest["simulated"] and manifest["subjects"] == 2
    assert manifest["recordings"] == {"used": 3, "skipped": 3, "left-out": 1}


def test_signals_are_those_of_the_filtered_recording_in_the_order_of_the_table(raw, tmp_path):
    settings = UnlabelledSettings(dtype="float32")
    out = prepare_unlabelled(raw, tmp_path / "out", settings=settings, progress=False)
    group = load_unlabelled(out, 16.0)["train"][1]
    recording = mne.io.read_raw_edf(raw / "sub-a/two.edf", preload=True, verbose=False)
    wanted = preprocess(recording.get_data(["FP1", "CZ"]) * 1e6, 250.0)
    place = group.recordings(range(len(group))).index("sub-a/two.edf")
    stored = group.read([place], unit_uv=1.0)[0].reshape(2, -1)
    np.testing.assert_allclose(stored, wanted[:, : 16 * 200], atol=1e-3)


def test_formats_that_mne_reads(tmp_path):
    raw = tmp_path / "raw"
    for seed, name in enumerate(WRITERS):
        write_recording(raw / f"{seed}", name, noise(seed, 2, 250 * 30), ["C3", "C4"], 250)
    out = prepare_unlabelled(raw, tmp_path / "out", progress=False)
    rows = report(out)
    assert len(rows) == len(WRITERS) == 6
    assert {(row["status"], row["channels"]) for row in rows.values()} == {("used", "C3 C4")}
    assert len(load_unlabelled(out, 16.0)["train"][0]) == len(WRITERS)


def test_flat_and_doubled_channels(tmp_path):
    raw = tmp_path / "raw"
    signal = noise(0, 3, 250 * 30)
    signal[1] = 0.0
    write_edf(raw / "flat.edf", ["C3", "CZ", "C4"], 250, 30, signal=signal)
    signal[1] = signal[0]
    write_edf(raw / "same.edf", ["C3", "C3", "C4"], 250, 30, signal=signal)
    signal[1] = signal[2]
    write_edf(raw / "other.edf", ["C3", "C3", "C4"], 250, 30, signal=signal)
    rows = report(prepare_unlabelled(raw, tmp_path / "out", progress=False))
    assert rows["flat.edf"]["channels"] == "C3 C4"
    assert rows["flat.edf"]["channels_left_out"] == "CZ (flat)"
    assert rows["same.edf"]["channels"] == "C3 C4"
    assert rows["other.edf"]["status"] == "skipped"
    assert "C3 2 times with different signals" in rows["other.edf"]["reason"]


def test_a_second_start_does_what_is_missing(raw, tmp_path, monkeypatch):
    whole = prepare_unlabelled(raw, tmp_path / "whole", progress=False)
    done, real = [], writer.write_part

    def dying(source, recording, *rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(recording.key)
        return real(source, recording, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writer, "write_part", dying)
        prepare_unlabelled(raw, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    reads = []
    from modeling_mteeg.dataset_scripts.unlabelled import stretch_parts as parts

    read = parts.read_signal
    monkeypatch.setattr(
        parts, "read_signal", lambda s, r, *n: reads.append(r.key) or read(s, r, *n)
    )
    out = prepare_unlabelled(raw, tmp_path / "out", progress=False)
    used = {key for key, row in report(out).items() if row["status"] == "used"}
    assert used & set(done) and not used & set(done) & set(reads)
    assert (out / "report.csv").read_text() == (whole / "report.csv").read_text()
    pairs = zip(
        load_unlabelled(out, 1.0)["train"], load_unlabelled(whole, 1.0)["train"], strict=True
    )
    assert all(a.digest() == b.digest() for a, b in pairs)
    assert prepare_unlabelled(raw, out, progress=False) == out


@pytest.mark.slow
def test_two_processes_write_what_one_writes(raw, tmp_path):
    alone = prepare_unlabelled(raw, tmp_path / "one", progress=False)
    two = prepare_unlabelled(raw, tmp_path / "two", num_proc=2, progress=False)
    assert (alone / "report.csv").read_text() == (two / "report.csv").read_text()
    for a, b in zip(
        load_unlabelled(alone, 1.0)["train"], load_unlabelled(two, 1.0)["train"], strict=True
    ):
        assert np.array_equal(a.read(range(len(a))), b.read(range(len(b))))


def test_nothing_is_overwritten_unasked(raw, tmp_path):
    out = prepare_unlabelled(raw, tmp_path / "out", progress=False)
    other = UnlabelledSettings(notch_hz=60.0)
    with pytest.raises(FileExistsError, match="prepared from other settings"):
        prepare_unlabelled(raw, out, settings=other, progress=False)
    assert read_manifest(out)["notch_hz"] == 50
    prepare_unlabelled(raw, out, settings=other, overwrite=True, progress=False)
    assert read_manifest(out)["notch_hz"] == 60
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="no prepared folder"):
            prepare_unlabelled(raw, mine, overwrite=overwrite, progress=False)
    assert (mine / "thesis.txt").exists()


def test_nothing_usable_is_an_error(tmp_path):
    raw = tmp_path / "raw"
    write_edf(raw / "x.edf", ["X1"], 250, 30)
    with pytest.raises(PreparationError, match="none of 1 recordings can be used"):
        prepare_unlabelled(raw, tmp_path / "out", progress=False)
    with pytest.raises(FileNotFoundError, match="expected recordings that MNE reads"):
        (tmp_path / "empty").mkdir()
        prepare_unlabelled(tmp_path / "empty", tmp_path / "out", progress=False)


def test_the_command(raw, tmp_path, capsys):
    out = tmp_path / "out"
    pattern = r"(sub-\w+|b)"
    words = ["--raw", str(raw), "--out", str(out), "--max-seconds", "3", "--subject", pattern]
    assert command.main(words) == 0
    shown = capsys.readouterr().out
    assert "4 of 7 recordings used" in shown and "2 skipped: see report.csv" in shown
    counts = re.findall(r"(\d+) recordings? ha(?:s|ve) \d+ channels \(windows up to", shown)
    assert sum(map(int, counts)) == 4
    assert report(out)["b_raw.fif"]["subject"] == "b"
    assert command.main([*words, "--notch", "60"]) == 1
    assert "choose another --out" in capsys.readouterr().err
    assert command.main([*words, "--strict"]) == 1  # the folder is done, but not all was used
    assert "2 recordings were skipped" in capsys.readouterr().err
    assert command.main([*words[:-1], "("]) == 1
    assert "expected a regular expression" in capsys.readouterr().err


def test_later_parts_of_a_recording_are_read_with_the_first(tmp_path):
    names = ["sub-01_split-01_eeg.fif", "sub-01_split-02_eeg.fif", "sub-01_split-10_eeg.fif",
             "sub-02_split-02_eeg.fif", "raw.fif", "raw-1.fif", "raw-2.fif",
             "other-1.fif"]  # fmt: skip
    for name in names:
        (tmp_path / name).touch()
    left_out = {recording.key for recording in Source().find(tmp_path) if recording.left_out}
    assert left_out == {names[1], names[2], names[5], names[6]}


def test_a_recording_of_curry_7_is_found_by_its_header_with_its_other_files(tmp_path):
    for name in ("a.dap", "a.dat", "a.rs3", "a.cef"):
        (tmp_path / name).touch()
    (recording,) = Source().find(tmp_path)
    assert recording.key == "a.dap" and len(recording.files) == 4


def test_patients_of_tuh_are_subjects_in_any_folder(tmp_path):
    for name in ("aaaaaaac_s001_t000.edf", "aaaaaaac_s002_t000.edf", "x.edf"):
        (tmp_path / name).touch()
    subjects = [recording.subject for recording in Source().find(tmp_path)]
    assert subjects == ["tuh-aaaaaaac", "tuh-aaaaaaac", ""]
    by_pattern = [recording.subject for recording in Source(r"_(t\d+)").find(tmp_path)]
    assert by_pattern == ["t000", "t000", ""]


def test_a_training_tells_folders_of_other_filters_apart(raw, tmp_path):
    digests = set()
    for notch in (50.0, 60.0):
        settings = UnlabelledSettings(max_seconds=3, dtype="float32", notch_hz=notch)
        out = prepare_unlabelled(raw, tmp_path / f"{notch:g}", None, settings, progress=False)
        digests.add(
            tuple(group.digest() for group in load_unlabelled(out, 1.0, max_seconds=3)["train"])
        )
    assert len(digests) == 2


# Exclusions


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("chb22/chb22_20.edf", "CHB-MIT case 22"), ("any/CHB23_06.edf", "case 23"),
        ("SC4822G0-PSG.edf", "Sleep-EDF night SC4822"), ("files/S109R01.edf", "S109"),
        ("EEG_raw/16_3_20180714.cnt", "SEED-V"), ("SEED-V/x.cnt", "SEED-V"),
        ("edf/eval/abnormal/01_tcp_ar/aaaaaaaa_s001_t000.edf", "TUAB"),
        ("tuev/edf/eval/bcke/x.edf", "TUEV"), ("any/bckg_000_a_.edf", "TUEV"),
        ("pled_012_a_1.edf", "TUEV"), ("eval/tusz/eval/normal/x.edf", "TUAB"),
        ("chb24/chb24_01.edf", "CHB-MIT case 24"), ("S092R04.edf", "S092"),
        ("chb21/chb21_20.edf", None), ("SC4001E0-PSG.edf", None), ("S001R01.edf", None),
        ("edf/train/normal/01_tcp_ar/aaaaaaaa_s001_t000.edf", None),
        ("tusz/edf/eval/aaaaaaaa/s001_2002/02_tcp_le/aaaaaaaa_s001_t000.edf", None),
        ("1_1.cnt", None), ("eval/tuev/edf/train/aaaaaaar/aaaaaaar_00000001.edf", None),
    ],
)  # fmt: skip
def test_rules_by_name(key, said):
    rule = rule_by_name(key)
    assert rule is None if said is None else said in rule


@pytest.mark.parametrize(
    ("raw", "key", "said"),
    [
        ("tuab/edf/eval", "abnormal/01_tcp_ar/aaaaaaaa_s001_t000.edf", "TUAB"),
        ("tuab/edf/eval/normal/01_tcp_ar", "aaaaaaaa_s001_t000.edf", "TUAB"),
        ("tuev/edf", "eval/000/x.edf", "TUEV"), ("tuev/edf/eval/000", "x.edf", "TUEV"),
        ("SEED-V/EEG_raw", "x.cnt", "SEED-V"),
        ("tuab/edf/train/normal", "aaaaaaaa_s001_t000.edf", None),
        ("tusz/edf/eval", "aaaaaaaa_s001_t000.edf", None),
    ],
)  # fmt: skip
def test_a_test_set_stays_out_where_the_raw_folder_lies_inside_it(raw, key, said, tmp_path):
    raw = tmp_path / raw
    (raw / key).parent.mkdir(parents=True)
    (raw / key).touch()
    link = tmp_path / "harmless"
    link.symlink_to(raw)
    for folder in (raw, link):
        rule = Exclusions().reason(UnlabelledRecording(key, folder / key), "0" * 64)
        assert rule is None if said is None else said in rule


def test_a_folder_made_with_weaker_rules_is_not_taken_for_this_one(raw, tmp_path, monkeypatch):
    from modeling_mteeg.dataset_scripts.unlabelled import excluded as exclusions

    out = tmp_path / "out"
    monkeypatch.setattr(exclusions, "_RULES", exclusions._RULES - 1)
    prepare_unlabelled(raw, out, progress=False)
    monkeypatch.undo()
    with pytest.raises(FileExistsError, match="other exclusions"):
        prepare_unlabelled(raw, out, progress=False)


def test_the_rules_are_the_readers_own_splits():
    assert len(TEST_NIGHTS) == 31 and "SC4822" in TEST_NIGHTS and "SC4001" not in TEST_NIGHTS
    assert len(TEST_MI_SUBJECTS) == 26 and {"S083", "S109"} <= TEST_MI_SUBJECTS
    assert {f"S{number:03d}" for number in range(90, 110)} <= TEST_MI_SUBJECTS  # four-class


def test_a_test_recording_is_found_under_another_name_and_a_session_under_another_corpus():
    entries = (
        Entry("tuab", "aaaaaaab_s002_t001.edf", "f" * 64, "aaaaaaab"),
        Entry("sleep-edf", "SC4001E0-PSG.edf", "e" * 64),
    )
    exclusions = Exclusions(entries)

    def reason(key, digest="0" * 64, rules=exclusions):
        return rules.reason(UnlabelledRecording(key, Path(key)), digest)

    assert "content is that of aaaaaaab_s002_t001.edf" in reason("renamed.edf", "f" * 64)
    assert "name of SC4001E0-PSG.edf" in reason("elsewhere/sc4001e0-psg.edf")
    assert "session s002 of TUH" in reason("tusz/aaaaaaab_s002_t009.edf")
    assert reason("tusz/aaaaaaab_s003_t000.edf") is None
    assert reason("tusz/aaaaaaac_s002_t000.edf") is None
    wide = Exclusions(entries, whole_subjects=True)
    assert "subject aaaaaaab" in reason("tusz/aaaaaaab_s003_t000.edf", rules=wide)
    assert reason("other.edf") is None
    numbered = Exclusions((Entry("tuab", "00000016_s004_t000.edf", "d" * 64),))
    assert "session s004 of TUH" in reason("x/00000016_s004_t001.edf", rules=numbered)
    assert reason("x/00000016_s005_t001.edf", rules=numbered) is None


@pytest.mark.parametrize(
    ("recorded", "listed", "refused"),
    [
        ("aaaaaaac_s001_t000.edf", "aaaaaaab_s001_t000.edf", False),
        ("00000016_s004_t000.edf", "00000017_s001_t000.edf", False),
        ("00000016_s004_t000.edf", "aaaaaaab_s001_t000.edf", True),
        ("aaaaaaac_s001_t000.edf", "00000017_s001_t000.edf", True),
    ],
)
def test_lists_must_name_patients_as_the_recordings_do(recorded, listed, refused):
    rules = Exclusions((Entry("tuab", listed, "d" * 64), Entry("tuev", "x.edf", "e" * 64)))
    recordings = [UnlabelledRecording("any.edf", Path("any.edf")),
                  UnlabelledRecording(recorded, Path(recorded))]  # fmt: skip
    if refused:
        with pytest.raises(ValueError, match=f"{recorded} .* of tuab in releases"):
            rules.check_tuh(recordings)
    else:
        (note,) = rules.check_tuh(recordings)
        assert "do not tell their session" in note
    assert rules.check_tuh(recordings[:1]) == ()


def test_every_protocol_of_a_download_is_listed(tmp_path):
    simulate(tmp_path, tasks=["physionet-mi"], size="small", progress=False)
    raw = tmp_path / "physionet-mi"
    listed = {entry.name for entry in exclusions_command.test_recordings(
        {"physionet-mi": raw}, progress=False).entries}  # fmt: skip
    for protocol in PhysionetMi.protocols:
        corpus = PhysionetMi(raw, protocol)
        wanted = [recording for recording in corpus.find_recordings() if not recording.left_out]
        splits = corpus.assign(wanted)
        tested = {recording.path.name for recording in wanted
                  if splits.get(recording.key) == "test"}  # fmt: skip
        assert tested <= listed, protocol


def test_no_test_recording_of_a_download_is_ever_prepared(tmp_path):
    raw = tmp_path / "download"
    simulate(raw, tasks=["physionet-mi"], size="small", progress=False)
    corpus = PhysionetMi(raw / "physionet-mi")
    recordings = corpus.find_recordings()
    splits = corpus.assign([recording for recording in recordings if not recording.left_out])
    tested = {key for key, split in splits.items() if split == "test"}
    assert tested
    listed = tmp_path / "exclusions.json"
    words = ["--raw", f"physionet-mi={raw / 'physionet-mi'}", "--out", str(listed)]
    assert exclusions_command.main(words) == 0
    assert exclusions_command.main(words) == 1  # a list is not replaced unasked
    assert exclusions_command.main([*words, "--overwrite"]) == 0
    hidden = tmp_path / "mine"  # the same signals under names that say nothing, de-identified
    hidden.mkdir()
    names = {}
    for number, recording in enumerate(recordings):
        names[f"r{number}.edf"] = recording.key
        content = bytearray(recording.path.read_bytes())
        content[8:15] = b"P01 F X"  # the patient, as de-identification changes it
        (hidden / f"r{number}.edf").write_bytes(content)
    rules = Exclusions.load([listed])
    settings = UnlabelledSettings(max_seconds=1)
    out = prepare_unlabelled(hidden, tmp_path / "out", None, settings, rules, progress=False)
    used = {names[key] for key, row in report(out).items() if row["status"] == "used"}
    excluded = {names[key] for key, row in report(out).items() if row["status"] == "excluded"}
    assert excluded == tested
    assert used == {recording.key for recording in recordings} - tested
    groups = load_unlabelled(out, 1.0, max_seconds=1)["train"]
    inside = {names[key] for group in groups for key in group.recordings(range(len(group)))}
    assert inside == used
    assert any("physionet-mi: " in line for line in read_manifest(out)["exclusions"])


def test_a_list_that_is_none_is_refused(tmp_path):
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"version": 1, "entries": []}))
    with pytest.raises(ValueError, match="no exclusion list"):
        Exclusions.load([path])
    with pytest.raises(FileNotFoundError):
        Exclusions.load([tmp_path / "none.json"])


# Simulated recordings


@pytest.mark.slow
def test_simulated_unlabelled_recordings_are_marked_and_of_other_subjects(tmp_path):
    raw = simulate_unlabelled(tmp_path / "raw", size="small", progress=False)
    assert simulate_unlabelled(raw, size="small", progress=False) == raw
    with pytest.raises(FileExistsError, match="something else"):
        simulate_unlabelled(raw, size="small", seed=7, progress=False)
    settings = UnlabelledSettings(max_seconds=2)
    out = prepare_unlabelled(raw, tmp_path / "out", settings=settings, progress=False)
    assert read_manifest(out)["simulated"]
    assert {row["status"] for row in report(out).values()} == {"used"}
    assert len(read_manifest(out)["montages"]) >= 4
    simulate(tmp_path / "demo", size="small", progress=False)
    demo = {path.read_bytes() for path in (tmp_path / "demo").rglob("*.edf")}
    assert not demo & {path.read_bytes() for path in raw.glob("*.edf")}


def test_sources_say_where_subjects_stand():
    with pytest.raises(ValueError, match="pattern with one group"):
        Source("sub-.*")
