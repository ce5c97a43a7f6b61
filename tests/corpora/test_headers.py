"""Headers that lie are refused at once, and named, before anything is allocated by them."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import mne  # noqa: F401 (what importing it allocates is not the header's)
import numpy as np
import pytest
from tiny_runs import RATE, SECONDS, write_run

from modeling_mteeg.dataset_scripts.physionet_mi import CARD
from modeling_mteeg.dataset_scripts.reading import read_cnt, read_edf
from modeling_mteeg.dataset_scripts.simulator.cnt import write_cnt
from modeling_mteeg.model.cnt_header import read_cnt_header
from modeling_mteeg.model.recording_headers import RecordingError, read_edf_header

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("edf") / "S001R04.edf"
    write_run(path, 1)
    return path.read_bytes()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("cnt") / "1_1_20180804.cnt"
    signal = np.random.default_rng(0).normal(0, 20, (3, 2000))
    write_cnt(path, signal, ("FP1", "FPZ", "FP2"), 1000, events=[(10, 1)])
    return path.read_bytes()


def field(content: bytes, start: int, text: str, width: int = 8) -> bytes:
    return content[:start] + text.encode().ljust(width) + content[start + width :]


def of_signal(content: bytes, offset: int, text: str, signal: int = 0) -> bytes:
    """Change an eight-byte field of one signal; ``offset`` as in the table of a single signal."""
    signals = int(content[252:256])
    return field(content, 256 + offset * signals + 8 * signal, text)


def test_a_sound_header_says_what_was_written(run: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.edf"
    path.write_bytes(run)
    header = read_edf_header(path)
    assert header.duration_s == SECONDS
    assert header.labels[0] == "Fc5." and header.labels[-1] == "EDF Annotations"
    assert header.units[0] == "uV" and header.samples[0] == RATE * header.record_s
    assert len(header.labels) == len(CARD.channels) + 1
    assert header.header_bytes + header.records * header.record_bytes == len(run)
    assert header.physical[0] == (-200, 200) and header.digital[0] == (-32768, 32767)


HOSTILE = {
    "empty": (lambda run: b"", "shorter than an EDF header"),
    "cut in the header": (lambda run: run[:1000], "shorter than its header"),
    "another format": (lambda run: b"RIFF" + run[4:], "expected the version 0"),
    "a thousand million records": (lambda run: field(run, 236, "99999999"), "promises 99999999"),
    "records counted down": (lambda run: field(run, 236, "-2"), "number of data records.*-2"),
    "no records": (lambda run: field(run, 236, "0"), "number of data records.*found 0"),
    "records are no number": (lambda run: field(run, 236, "many"), "whole number, found 'many'"),
    "a million signals": (lambda run: field(run, 252, "9999", 4), "number of signals.*9999"),
    "minus one signal": (lambda run: field(run, 252, "-1", 4), "number of signals.*-1"),
    "header of another size": (lambda run: field(run, 184, "512"), "says it has 512 bytes"),
    "negative header": (lambda run: field(run, 184, "-256"), "size of the header.*-256"),
    "negative duration": (lambda run: field(run, 244, "-1"), "duration of a data record.*-1"),
    "infinite duration": (lambda run: field(run, 244, "inf"), "duration of a data record.*inf"),
    "no duration": (lambda run: field(run, 244, "0"), "last 0 s"),
    "no samples": (lambda run: of_signal(run, 216, "0"), "samples per record of Fc5.*found 0"),
    "negative samples": (lambda run: of_signal(run, 216, "-160"), "samples per record.*-160"),
    "huge samples": (lambda run: of_signal(run, 216, "99999999"), "samples per record"),
    "impossible rate": (lambda run: of_signal(run, 216, "9999999"), "more than 100000 Hz"),
    "one record too few": (lambda run: run[:-10], "it is incomplete"),
    "a record that is not announced": (lambda run: run + run[-60000:], "its header is wrong"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_edf_headers_that_cannot_be_are_refused_cheaply(
    case: str, run: bytes, tmp_path: Path
) -> None:
    change, message = HOSTILE[case]
    path = tmp_path / "S001R04.edf"
    path.write_bytes(change(run))
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match=message) as error:
            read_edf(path, CARD.channels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith("S001R04.edf: ") and "download it again" in str(error.value)
    assert peak < MEGABYTE


@pytest.mark.parametrize(("kind", "low"), [("physical", 104), ("digital", 120)])
def test_a_range_that_gives_no_scale_is_refused_where_it_is_needed(
    kind: str, low: int, run: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.edf"
    empty = of_signal(of_signal(run, low, "7"), low + 8, "7")
    for content in (empty, of_signal(run, low, "x"), of_signal(run, low + 8, "nan")):
        path.write_bytes(content)
        with pytest.raises(RecordingError, match=f"{kind} range of Fc5"):
            read_edf(path, CARD.channels)


def test_a_channel_that_nobody_wants_may_have_no_range(run: bytes, tmp_path: Path) -> None:
    """Some files of CHB-MIT have dummy channels of range 0 to 0."""
    path = tmp_path / "a.edf"
    path.write_bytes(of_signal(of_signal(run, 104, "0"), 112, "0"))
    others = [name for name in CARD.channels if name != "FC5"]
    signal, rate_hz = read_edf(path, others)
    assert signal.shape == (63, SECONDS * RATE) and rate_hz == RATE


HOSTILE_CNT = {
    "empty": (lambda cnt: b"", "shorter than a .cnt header"),
    "another format": (lambda cnt: b"RIFF" + cnt[4:], "expected 'Version 3.0'"),
    "no channels": (lambda cnt: cnt[:370] + struct.pack("<H", 0) + cnt[372:], "says 0 channels"),
    "60000 channels": (lambda cnt: cnt[:370] + struct.pack("<H", 60000) + cnt[372:], "60000 chan"),
    "more names than file": (lambda cnt: cnt[:370] + struct.pack("<H", 2000) + cnt[372:], "names"),
    "no rate": (lambda cnt: cnt[:376] + struct.pack("<H", 0) + cnt[378:], "rate of 0 Hz"),
    "cut in the signal": (lambda cnt: cnt[: len(cnt) // 2], "it is incomplete"),
    "events in the header": (lambda cnt: cnt[:886] + struct.pack("<I", 9) + cnt[890:], "byte 9"),
}


@pytest.mark.parametrize("case", HOSTILE_CNT)
def test_cnt_headers_that_cannot_be_are_refused(case: str, session: bytes, tmp_path: Path) -> None:
    change, message = HOSTILE_CNT[case]
    path = tmp_path / "1_1_20180804.cnt"
    path.write_bytes(change(session))
    with pytest.raises(RecordingError, match=message):
        read_cnt(path, ("FP1", "FPZ", "FP2"))


def test_a_sound_cnt_header_says_what_was_written(session: bytes, tmp_path: Path) -> None:
    path = tmp_path / "1_1_20180804.cnt"
    path.write_bytes(session)
    header = read_cnt_header(path)
    assert (header.channels, header.rate_hz, header.duration_s) == (3, 1000, 2.0)
    path.write_bytes(session[:864] + bytes(4) + session[868:])  # samples never counted
    assert read_cnt_header(path).duration_s == 2.0


@pytest.mark.parametrize("seed", range(4))
def test_any_damage_to_a_header_is_read_or_refused(
    seed: int, run: bytes, session: bytes, tmp_path: Path
) -> None:
    """Random bytes and digits in random places: an answer at once, and no other error."""
    random = np.random.default_rng(seed)
    for content, reader, places in (
        (run, read_edf_header, (184, 252 + 4, 256 + 216 * 65, 256 * 66)),
        (session, read_cnt_header, (360, 380, 880, 900)),
    ):
        refused = 0
        for turn in range(100):
            damaged = bytearray(content)
            region = int(random.integers(0, len(places) // 2)) * 2
            for at in random.integers(places[region], places[region + 1], random.integers(1, 6)):
                damaged[at] = random.choice(list(b"0123456789-+.eE \x00\xff"))
            path = tmp_path / f"{turn}.bin"
            path.write_bytes(damaged)
            try:
                header = reader(path)
            except RecordingError:
                refused += 1
            else:
                assert 0 <= header.duration_s * getattr(header, "rate_hz", 1) <= len(content)
        assert refused > 10
