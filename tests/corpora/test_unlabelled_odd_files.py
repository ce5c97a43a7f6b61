"""Unlabelled recordings as folders really hold them: long, damaged, linked, in mixed units."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import edfio
import numpy as np
import pytest
from places import ROOT
from test_unlabelled_preparation import noise, report, write_edf, write_mixed

from modeling_mteeg.data import cut_stretches, load_unlabelled, read_manifest
from modeling_mteeg.dataset_scripts.unlabelled import (
    Source,
    UnlabelledSettings,
    digests,
    prepare_unlabelled,
)
from modeling_mteeg.dataset_scripts.unlabelled import __main__ as command
from modeling_mteeg.dataset_scripts.unlabelled import stretch_parts as parts
from modeling_mteeg.dataset_scripts.unlabelled import stretch_reading as reading
from modeling_mteeg.dataset_scripts.unlabelled import stretch_writer as writer
from modeling_mteeg.dataset_scripts.unlabelled.sound_time import SoundPart


@pytest.fixture
def raw(tmp_path) -> Path:
    return write_mixed(tmp_path / "raw")


def test_long_recordings_are_read_and_filtered_in_blocks(tmp_path, monkeypatch):
    """What comes of a recording that is too large to be held is what comes of it as a whole."""
    names = ["C3", "CZ", "C4", "PZ"]
    signal = noise(0, 4, 250 * 1300)
    signal[1, 250 * 700] = 190.0
    write_edf(tmp_path / "raw" / "a.edf", names, 250, 1300, signal=signal)
    signal[3] = 0.0
    signal[2] = signal[0]
    write_edf(tmp_path / "raw" / "b.edf", ["C3", "CZ", "C3", "PZ"], 250, 1300, signal=signal)
    signal[2, -1] += 50.0
    write_edf(tmp_path / "raw" / "c.edf", ["C3", "CZ", "C3", "PZ"], 250, 1300, signal=signal)
    settings = UnlabelledSettings(dtype="float32")
    whole = prepare_unlabelled(tmp_path / "raw", tmp_path / "whole", settings=settings,
                               progress=False)  # fmt: skip
    monkeypatch.setattr(reading, "_HELD_VALUES", 0)
    monkeypatch.setattr(reading, "_BLOCK_VALUES", 4 * 250 * 30)
    sizes = []
    read = reading.Blocks._read
    monkeypatch.setattr(
        reading.Blocks, "_read",
        lambda self, names, places, a, b: sizes.append(b - a) or read(self, names, places, a, b),
    )  # fmt: skip
    blocks = prepare_unlabelled(tmp_path / "raw", tmp_path / "parts", settings=settings,
                               progress=False)  # fmt: skip
    assert max(sizes) <= 250 * 40
    assert (whole / "report.csv").read_text() == (blocks / "report.csv").read_text()
    rows = report(blocks)
    assert rows["b.edf"]["channels_left_out"] == "PZ (flat)"
    assert "C3 2 times with different signals" in rows["c.edf"]["reason"]
    for a, b in zip(
        load_unlabelled(whole, 4.0)["train"], load_unlabelled(blocks, 4.0)["train"], strict=True
    ):
        assert a.channels == b.channels and len(a) == len(b) > 300
        np.testing.assert_allclose(
            a.read(range(len(a)), unit_uv=1.0), b.read(range(len(b)), unit_uv=1.0), atol=5e-3
        )


def test_one_stretch_is_held_at_a_time():
    whole = noise(0, 2, 200 * 2000).astype(np.float32)
    signal = SimpleNamespace(
        channels=("C3", "C4"),
        parts=(SoundPart(0, 0, 0.0, whole.shape[1], ((0, 1300 * 200 + 7), (1400 * 200, 400_000))),),
        filtered=lambda *_: (whole[:, at : at + 1000] for at in range(0, whole.shape[1], 1000)),
        amplitude_check=lambda: SimpleNamespace(finish=lambda: None),
    )
    stretches = list(parts._stretches(signal, 4))
    cuts = list(cut_stretches(1300 * 200 + 7, 4))
    cuts += [(1400 * 200 + a, 1400 * 200 + b, own) for a, b, own in cut_stretches(600 * 200, 4)]
    assert [(start * 200, own) for start, own, _ in stretches] == [(a, own) for a, _, own in cuts]
    for (_, _, values), (start, stop, _) in zip(stretches, cuts, strict=True):
        assert np.array_equal(values, whole[:, start:stop])
        assert values.base.shape[1] <= (300 + 2 * 4) * 200 + 1000


def test_channels_of_another_unit_are_left_out(tmp_path):
    raw = tmp_path / "raw"
    names = ["C3", "CZ", "C4", "PZ", "OZ", "FZ"]
    units = ["uV", "mV", "uV", "", "uV", "UV"]
    signal = noise(0, 6, 250 * 30)
    signals = [
        edfio.EdfSignal(row, 250, label=name, physical_dimension=unit, physical_range=(-200, 200))
        for name, row, unit in zip(names, signal, units, strict=True)
    ]
    raw.mkdir()
    edfio.Edf(signals).write(raw / "a.edf")
    row = report(prepare_unlabelled(raw, tmp_path / "out", progress=False))["a.edf"]
    assert row["channels"] == "C3 C4 OZ"
    for name in ("PZ", "FZ"):  # MNE would take both for volt
        assert f"{name} (no unit of voltage in the header)" in row["channels_left_out"]
    assert "CZ (its amplitude is 1e+03 times that of the others)" in row["channels_left_out"]
    group = load_unlabelled(tmp_path / "out", 4.0)["train"][0]
    assert np.abs(group.read(range(len(group)), unit_uv=1.0)).max() < 200


def test_channels_of_several_units_are_left_out_one_after_the_other(tmp_path):
    """Without the largest channels, others stand out from what is left."""
    raw = tmp_path / "raw"
    raw.mkdir()
    names = ["FP1", "FP2", "C3", "CZ", "C4", "O1", "O2", "PZ"]
    sizes = np.array([3] * 5 + [100] * 3 + [1500, 45000])
    names += ["F3", "F4"]
    signal = np.random.default_rng(0).normal(0, 1, (10, 250 * 30)) * sizes[:, None]
    signals = [
        edfio.EdfSignal(row, 250, label=name, physical_dimension="uV",
                        physical_range=(-6.0 * size, 6.0 * size))
        for name, row, size in zip(names, signal.clip(-5 * sizes[:, None], 5 * sizes[:, None]),
                                   sizes, strict=True)
    ]  # fmt: skip
    edfio.Edf(signals).write(raw / "a.edf")
    write_edf(raw / "good.edf", ["C3", "C4"], 250, 30, 2)
    rows = report(prepare_unlabelled(raw, tmp_path / "out", progress=False))
    assert rows["good.edf"]["status"] == "used"
    assert {"F3", "F4"}.isdisjoint(rows["a.edf"]["channels"].split())
    assert rows["a.edf"]["channels_left_out"].count("times that of the others") >= 2


def test_channels_are_renamed_and_subjects_found_anew(tmp_path, monkeypatch):
    raw, out = tmp_path / "raw", tmp_path / "out"
    write_edf(raw / "p1_a.edf", ["EEG 1", "EEG 2", "CZ"], 250, 30, 1)
    write_edf(raw / "p2_a.edf", ["C3", "C4"], 250, 30, 2)
    words = ["--raw", str(raw), "--out", str(out)]
    assert command.main([*words, "--rename", "EEG 1=C3", "--rename", "EEG 2=C4"]) == 0
    rows = report(out)
    assert rows["p1_a.edf"]["channels"] == "C3 CZ C4" and rows["p2_a.edf"]["channels"] == "C3 C4"
    with pytest.raises(FileExistsError, match="other channel names"):
        prepare_unlabelled(raw, out, progress=False)
    named = Source(r"(p\d)", {"EEG 1": "C3", "EEG 2": "C4"})
    with pytest.raises(FileExistsError, match="other subjects"):
        prepare_unlabelled(raw, out, named, progress=False)
    # Parts of a preparation that was cut short are not taken for those of another subject.
    monkeypatch.setattr(writer, "_finish", lambda *_: None)
    prepare_unlabelled(raw, tmp_path / "new", progress=False)
    monkeypatch.undo()
    prepare_unlabelled(raw, tmp_path / "new", Source(r"(p\d)"), progress=False)
    assert [row["subject"] for row in report(tmp_path / "new").values()] == ["p1", "p2"]
    (group, other) = load_unlabelled(tmp_path / "new", 4.0)["train"]
    assert set(group.subjects([0]) + other.subjects([0])) == {"p1", "p2"}


def test_hidden_folders_links_and_what_cannot_be_read(raw, tmp_path, monkeypatch):
    """A dataset under git-annex: files are links into .git, some of which are not there yet."""
    store = raw / ".git" / "annex"
    store.mkdir(parents=True)
    (raw / "sub-a/one.edf").rename(store / "MD5E-1.edf")
    (raw / "sub-a/one.edf").symlink_to(store / "MD5E-1.edf")
    (raw / "sub-a/gone.edf").symlink_to(store / "MD5E-2.edf")
    (raw / "sub-a/round.edf").symlink_to("round.edf")
    (raw / "linked").symlink_to(raw)
    write_edf(raw / "sub-d/locked.edf", ["CZ", "FP1"], 250, 40, 7)
    real = digests.digest_of

    def denied(files, bar=None):
        if files[0].name == "locked.edf":
            raise PermissionError(13, "Permission denied")
        return real(files, bar)

    monkeypatch.setattr(digests, "digest_of", denied)
    rows = report(prepare_unlabelled(raw, tmp_path / "out", progress=False))
    assert not any(".git" in key or key.startswith("linked") for key in rows)
    assert rows["sub-a/one.edf"]["status"] == "used" and rows["sub-a/one.edf"]["subject"] == "sub-a"
    assert "a link to nothing" in rows["sub-a/gone.edf"]["reason"]
    assert rows["sub-a/round.edf"]["reason"].startswith("round.edf: a link")
    assert "Permission denied" in rows["sub-d/locked.edf"]["reason"]
    assert {rows[key]["status"] for key in ("sub-a/gone.edf", "sub-d/locked.edf")} == {"skipped"}


def test_recordings_that_are_folders_are_known_by_what_is_in_them(tmp_path):
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / f"{name}.mff").mkdir()
        (tmp_path / f"{name}.mff" / "signal1.bin").write_bytes(content)
    recordings = Source().find(tmp_path)
    assert [recording.key for recording in recordings] == ["a.mff", "b.mff", "c.mff"]
    known, faults = digests.read_digests(recordings, tmp_path / "known", progress=False)
    assert (
        not faults
        and known[recordings[0].path] == known[recordings[2].path] != known[recordings[1].path]
    )


def test_files_are_hashed_once(raw, tmp_path, monkeypatch):
    recordings, remembered = Source().find(raw), tmp_path / "known.jsonl"
    first = digests.read_digests(recordings, remembered, 2, progress=False)
    with open(remembered, "a", encoding="utf-8") as file:
        file.write('["cut sh')
    hashed, real = [], digests.digest_of
    monkeypatch.setattr(
        digests, "digest_of", lambda files, bar: hashed.append(files[0].name) or real(files, bar)
    )
    assert digests.read_digests(recordings, remembered, progress=False) == first and not hashed
    (raw / "short.edf").write_bytes((raw / "short.edf").read_bytes()[::-1])
    again, _ = digests.read_digests(recordings, remembered, progress=False)
    assert hashed == ["short.edf"] and again[raw / "short.edf"] != first[0][raw / "short.edf"]


def test_a_full_disk_ends_the_preparation_and_skips_no_recording(raw, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(parts, "encode_stretch", full)
        prepare_unlabelled(raw, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    out = prepare_unlabelled(raw, tmp_path / "out", progress=False)
    assert read_manifest(out)["recordings"]["used"] == 3


def test_strict_ends_at_the_first_skip(raw, tmp_path, capsys):
    words = ["--raw", str(raw), "--out", str(tmp_path / "out")]
    assert command.main([*words, "--strict"]) == 1
    assert "broken.edf" in capsys.readouterr().err and not (tmp_path / "out").exists()
    for name in ("broken.edf", "short.edf", "nobody.edf"):
        (raw / name).unlink()
    assert command.main([*words, "--strict"]) == 0


@pytest.mark.slow
def test_real_recordings(recordings_dir, tmp_path):
    """Two corpora of PhysioNet in two formats and at three rates, and a file of annotations."""
    settings = UnlabelledSettings(max_seconds=4)
    for name in ("chb-mit", "eegmmidb", "sleep-edf"):
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "raw" / name).symlink_to(recordings_dir / name)
    out = prepare_unlabelled(tmp_path / "raw", tmp_path / "out", None, settings, progress=False)
    rows = report(out)
    used = {key: row for key, row in rows.items() if row["status"] == "used"}
    assert {key.partition("/")[0] for key in used} == {"chb-mit", "eegmmidb"}
    assert {row["rate_hz"] for row in used.values()} == {"128", "160", "256"}
    skipped = {row["reason"] for row in rows.values() if row["status"] == "skipped"}
    (reason,) = skipped
    assert reason.startswith("SC4001EC-Hypnogram.edf: no signal in it, only annotations.")
    groups = load_unlabelled(out, 4.0, max_seconds=4)["train"]
    windows = sum(len(group) for group in groups)
    hours = sum(float(row["hours"]) for row in used.values())
    assert 0.8 * hours * 900 < windows <= hours * 900
    for group in groups:
        values = group.read(range(min(len(group), 50)), unit_uv=1.0)
        assert np.isfinite(values).all() and 1 < values.std() < 300


def test_plain_datasets_and_numpy_read_what_is_documented(raw, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "unlabelled.md").read_text("utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
               if "load_from_disk" in block]  # fmt: skip
    prepare_unlabelled(raw, tmp_path / "unlabelled", progress=False)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    group = next(candidate for candidate in load_unlabelled("unlabelled", 4.0)["train"]
                 if list(candidate.channels) == names["row"]["channels"])  # fmt: skip
    place = group.recordings(range(len(group))).index(names["row"]["recording"])
    window = group.read([place], unit_uv=1.0)[0].reshape(len(group.channels), -1)
    np.testing.assert_allclose(names["microvolt"][:, : window.shape[1]], window, rtol=1e-6)


def test_what_is_odd_about_a_file_is_noted_in_the_report(tmp_path):
    for seed, name in enumerate(("a", "b")):
        write_edf(tmp_path / "raw" / f"{name}.edf", ["C3", "C4"], 250, 40, seed)
    path = tmp_path / "raw" / "b.edf"
    content = path.read_bytes()
    path.write_bytes(content[:236] + b"-1      " + content[244:])
    (tmp_path / "raw" / "eego.cnt").write_bytes(b"RF64" + bytes(5000))
    rows = report(prepare_unlabelled(tmp_path / "raw", tmp_path / "out", progress=False))
    assert rows["a.edf"]["notes"] == "" and rows["b.edf"]["status"] == "used"
    assert "does not count the data records (-1)" in rows["b.edf"]["notes"]
    assert "pip install antio" in rows["eego.cnt"]["reason"]


def test_of_two_copies_the_one_whose_header_counts_its_records_is_used(tmp_path):
    path = write_edf(tmp_path / "raw" / "a_as_recorded.edf", ["C3", "C4"], 250, 40, 1)
    content = path.read_bytes()
    path.with_name("b_repaired.edf").write_bytes(content)
    path.with_name("c_again.edf").write_bytes(content)
    path.write_bytes(content[:236] + b"-1      " + content[244:])
    rows = report(prepare_unlabelled(tmp_path / "raw", tmp_path / "out", progress=False))
    assert rows["b_repaired.edf"]["status"] == "used" and not rows["b_repaired.edf"]["notes"]
    for name in ("a_as_recorded.edf", "c_again.edf"):
        assert rows[name]["reason"] == "a copy of b_repaired.edf"
