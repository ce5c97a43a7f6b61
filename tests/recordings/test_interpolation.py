"""Electrodes of a task from a recording with others: exact, as MNE, or refused."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from caps import SIXTY_FOUR, cap_raw, field_uv, places_of
from tiny_recordings import card

from modeling_mteeg.model.channel_choice import choose_channels
from modeling_mteeg.model.recording_sources import open_source
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction.finished_results import _positions_key
from modeling_mteeg.recordings.block_reader import open_recording
from modeling_mteeg.recordings.cap_geometry import (
    angles_deg,
    directions,
    empty_sector_deg,
    fit_cap,
    fit_centre,
    reach_deg,
)
from modeling_mteeg.recordings.interpolation import _Mixture, open_for_tasks, spline_weights

mne = pytest.importorskip("mne")
ODD = Path(os.environ.get("MTEEG_SHARED", "")) / "recordings" / "odd"
SUITE = ODD.parent / "suite"
LACKING = ["FP1", "C3", "FC6", "O2"]


def task(*channels):
    return card(name="some", channels=channels, window_s=2.0)


def opened(recording, *channels, interpolate=True, **options):
    return open_for_tasks(recording, [task(*channels)], interpolate=interpolate, **options)


def signal(source, *names):
    """(len(names), samples), as it is read."""
    return source.read([source.names.index(name) for name in names], 0, source.samples)[0]


@pytest.fixture(scope="module")
def full():
    return cap_raw(places_of("colin27_1005", SIXTY_FOUR))


def test_bad_channels_become_what_mne_makes_of_them(full):
    raw = full.copy()
    raw.info["bads"] = LACKING
    source = opened(raw, *LACKING, "CZ")
    expected = raw.copy().interpolate_bads(verbose="error").get_data(LACKING)
    np.testing.assert_allclose(signal(source, *LACKING), expected, rtol=0, atol=1e-9 * 20e-6)
    assert np.array_equal(signal(source, "CZ"), full.get_data(["CZ"]))
    (finding,) = source.findings
    assert finding.code == "interpolated" and finding.channels == tuple(LACKING)
    assert "from 60 others (positions in its file)" in str(finding)


def test_electrodes_that_were_not_recorded_become_what_mne_makes_of_them():
    there = places_of("colin27_1005", [name for name in SIXTY_FOUR if name not in LACKING])
    raw = cap_raw(there)
    wanted = mne.channels.make_dig_montage(places_of("colin27_1005", LACKING), coord_frame="head")
    expected = raw.copy().interpolate_to(wanted, method="spline", reg=1e-5).get_data(LACKING)
    found = signal(opened(raw, *LACKING), *LACKING)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * 20e-6)


def test_a_recording_that_has_the_channels_stays_as_it_is(full):
    source = opened(full, "C4", "FP1-F7", "O1")
    assert np.array_equal(signal(source, *SIXTY_FOUR), full.get_data())
    assert ["Nothing was interpolated" in str(finding) for finding in source.findings] == [True]


def test_electrodes_at_one_place_are_exact_even_beside_broken_channels():
    places = places_of("colin27_1005", SIXTY_FOUR)
    numbered = {f"X{number}": place for number, place in enumerate(places.values())}
    raw = cap_raw(numbered)
    broken = raw.get_data()
    broken[SIXTY_FOUR.index("PZ"), -1] = np.nan  # seen when it is read, or before
    raw = cap_raw(numbered, broken * 1e6)
    wanted = [name for name in SIXTY_FOUR if name != "PZ"]
    source = opened(raw, *wanted, "T3")
    rows = [SIXTY_FOUR.index(name) for name in wanted]
    assert np.array_equal(signal(source, *wanted), raw.get_data()[rows])
    assert np.array_equal(signal(source, "T3"), signal(source, "T7"))
    assert [finding.code for finding in source.findings] == ["renamed", "interpolated"]
    assert "C3 is X28" in str(source.findings[0])
    assert "X49 (NaN or infinity)" in source.notes[1]


def test_a_source_that_is_broken_somewhere_is_named_when_it_is_read():
    places = places_of("colin27_1005", SIXTY_FOUR)
    data = np.tile(field_uv(np.array(list(places.values()))), 60)  # (64, 45000)
    data[SIXTY_FOUR.index("PZ"), 3000] = np.nan  # between the pieces that are looked at before
    source = opened((data, SIXTY_FOUR, 250.0), "T9", interpolate="standard_1005")
    assert np.isfinite(source.read([0], 0, 3000)).all()
    with pytest.raises(SignalError, match="are interpolated from, found NaN or infinity in PZ"):
        signal(source, "T9")


@pytest.mark.parametrize(("cap", "numbers"), [("biosemi64", 64), ("biosemi128", 128)])
def test_biosemis_numbers_are_the_electrodes_of_its_chart(cap, numbers):
    names = [f"{'ABCD'[at // 32]}{at % 32 + 1}" for at in range(numbers)]
    recording = (field_uv(np.array(list(places_of(cap).values()))), names, 250.0)
    chart = {
        64: {"FP1": "A1", "CZ": "B16", "OZ": "A29", "T8": "B20"},
        128: {"CZ": "A1", "OZ": "A23", "FZ": "C21", "T7": "D23", "C3": "D19", "C4": "B22"},
    }[numbers]
    source = opened(recording, *chart, interpolate=cap)
    rows = [names.index(number) for number in chart.values()]
    assert np.array_equal(signal(source, *chart), recording[0][rows])
    with pytest.raises(SignalError, match=f"BioSemi's own names.*--interpolate {cap}"):
        choose_channels(open_recording(recording), ["C3", "C4"])  # numbers, too, of the third box


def test_a_net_without_names_comes_close_to_the_field():
    net, wanted = places_of("GSN-HydroCel-128"), ["FP1", "F3", "C3", "CZ", "T4", "PZ", "O2"]
    recording = (field_uv(np.array(list(net.values()))), list(net), 250.0)
    found = signal(opened(recording, *wanted, interpolate="GSN-HydroCel-128"), *wanted)
    there = fit_cap(np.array(list(net.values())), {})
    places = np.array([there.electrodes[name] for name in wanted]) * 0.09 + there.centre
    expected = field_uv(places)
    for one, other in zip(found, expected, strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.97


def test_weights_leave_a_common_signal_and_bipolar_channels_as_they_are(full):
    rays = directions(full._get_channel_positions(), np.array([0, 0.01, 0.04]))
    weights = spline_weights(rays[4:], rays[:4])
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-9)
    raw = full.copy().drop_channels(["C3"])
    source = opened(raw, "C3-P3", "FP1-F7")
    assert set(source.names) == {"C3", "P3", "FP1", "F7"}
    shifted = raw.copy().apply_function(lambda one: one + 1e-3, verbose="error")
    found = signal(opened(shifted, "C3"), "C3")
    np.testing.assert_allclose(found, signal(source, "C3") + 1e-3, rtol=0, atol=1e-12)


# What is not interpolated ------------------------------------------------------------------------


def test_what_a_cap_does_not_cover_is_missing_with_its_distance(full):
    behind = [name for name in SIXTY_FOUR if name.startswith(("O", "PO", "P", "I", "CP", "TP"))]
    source = opened(full.copy().drop_channels(behind), "O1", "CPZ", "FPZ")
    assert "O1" in source.unfit and "CPZ" not in source.unfit
    distance = float(source.unfit["O1"].partition(" is ")[2].split()[0])
    assert 7.0 < distance < 12.0 and "there at most 4.1" in source.unfit["O1"]
    assert "no position of it is known" in opened(full, "CB1").unfit["CB1"]


def test_how_far_an_electrode_may_lie_away():
    assert [reach_deg(sector) for sector in (90.0, 150.0, 170.0, 300.0, 360.0)] == [
        40.0, 40.0, 30.0, 25.0, 25.0,
    ]  # fmt: skip
    ring = np.radians(np.arange(0, 360, 30))
    around = np.column_stack([np.sin(0.5) * np.cos(ring), np.sin(0.5) * np.sin(ring),
                              np.full(12, np.cos(0.5))])  # fmt: skip
    vertex = np.array([0.0, 0, 1])
    assert empty_sector_deg(vertex, around) == pytest.approx(30)
    assert empty_sector_deg(vertex, around[:6]) == pytest.approx(210)
    assert empty_sector_deg(vertex, -around) == 360


def test_silent_and_foreign_channels_are_no_sources(full):
    data = full.get_data() * 1e6
    odd = {"P3": 0.0, "FC3": 1e4, "FP1": 0.0}
    for name, times in odd.items():
        data[SIXTY_FOUR.index(name)] *= times
    raw = cap_raw(places_of("colin27_1005", SIXTY_FOUR), data)
    source = opened(raw, "C3", "FP1", "FC3")
    assert np.array_equal(signal(source, "C3"), raw.get_data(["C3"]))
    bad = full.copy()
    bad.info["bads"] = list(odd)
    expected = bad.interpolate_bads(verbose="error").get_data(["FP1", "FC3"])
    np.testing.assert_allclose(signal(source, "FP1", "FC3"), expected, rtol=0, atol=1e-14)
    text = " ".join(source.notes)
    assert "FP1, P3 (flat)" in text and "FC3 (in another unit than the others)" in text


def test_sources_that_carry_nothing_for_a_while_are_said():
    places = places_of("colin27_1005", SIXTY_FOUR[8:40])
    data = field_uv(np.array(list(places.values())), seconds=20.0)
    data[list(places).index("C1"), :2500] = 7.0
    del places["C3"]
    data = np.delete(data, SIXTY_FOUR[8:40].index("C3"), axis=0)
    (said,) = [one for one in opened(cap_raw(places, data), "C3").findings
               if "for a while" in one.sentence]  # fmt: skip
    assert said.channels == ("C1",) and said.remedy


def test_refusals_say_what_was_expected(full):
    array = (full.get_data() * 1e6, SIXTY_FOUR, 250.0)
    with pytest.raises(SignalError, match=r"none with the recording.*--interpolate standard_1005"):
        opened(array, "C3")
    with pytest.raises(SignalError, match=r"nearest: GSN-HydroCel-128"):
        opened(array, "C3", interpolate="GSN-Hydrocell-128")
    with pytest.raises(SignalError, match="found 0 among"):
        opened((array[0], [f"Q{at}" for at in range(64)], 250.0), "C3", interpolate="biosemi64")
    numbers = [f"{'ABCD'[at // 32]}{at % 32 + 1}" for at in range(128)]
    with pytest.raises(SignalError, match="--interpolate biosemi128"):
        opened((np.tile(array[0], (2, 1)), numbers, 250.0), "C3", interpolate="biosemi64")
    few = full.copy().pick(SIXTY_FOUR[:7])
    with pytest.raises(SignalError, match=r"at least 8 electrodes with a position.*found 7"):
        opened(few, "C3")
    with pytest.raises(ValueError, match="True, False or the name"):
        opened(full, "C3", interpolate=3)
    with pytest.raises(ValueError, match="names no channels"):
        opened(full, interpolate=True)


def test_positions_of_some_channels_alone(full):
    names = [*SIXTY_FOUR, "EXTRA"]
    data = np.vstack([full.get_data() * 1e6, full.get_data()[:1] * 1e6])
    source = opened((data, names, 250.0), "T9", interpolate="standard_1005")
    assert "EXTRA (no position)" in " ".join(source.notes) and "T9" in source.names


# Frames ------------------------------------------------------------------------------------------


def moved(places, rotation=None, scale=1.0, shift=0.0):
    rotation = np.eye(3) if rotation is None else rotation
    return {name: scale * rotation @ place + shift for name, place in places.items()}


TURNED = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("rotation", "scale", "shift"),
    [(None, 1.15, 0.0), (None, 1.0, 0.01), (TURNED, 1.0, 0.0), (TURNED, 0.9, -0.02)],
)
def test_names_tell_the_frame_of_positions(full, rotation, scale, shift):
    there = places_of("colin27_1005", [name for name in SIXTY_FOUR if name not in LACKING])
    data = full.copy().drop_channels(LACKING).get_data() * 1e6
    expected = signal(opened(cap_raw(there, data), *LACKING), *LACKING)
    source = opened(cap_raw(moved(there, rotation, scale, shift), data), *LACKING)
    # The sphere is fitted without the face, which the frame tells: 1 mm.
    assert np.abs(signal(source, *LACKING) - expected).max() < 0.05 * np.abs(expected).max()
    assert ("turned by 90 degrees" in " ".join(source.notes)) == (rotation is not None)


def test_positions_that_contradict_the_names_are_refused(full):
    places = places_of("colin27_1005", SIXTY_FOUR)
    mirrored = moved(places, np.diag([-1.0, 1, 1]))
    with pytest.raises(SignalError, match="elsewhere"):
        opened(cap_raw(mirrored, full.get_data() * 1e6), "T9")
    swapped = {**places, "O1": places["FP2"], "FP2": places["O1"]}
    with pytest.raises(SignalError, match=r"2 of 64 elsewhere: FP2 \(.*O1"):
        opened(cap_raw(swapped, full.get_data() * 1e6), "T9")


def test_a_cap_without_names_must_not_lie_with_an_ear_to_the_front():
    net = places_of("GSN-HydroCel-128")
    source = opened(cap_raw(net), "C3", "O2")
    assert {"C3", "O2"} <= set(source.names)
    with pytest.raises(SignalError, match="symmetric from front to back"):
        opened(cap_raw(moved(net, TURNED)), "C3", "O2")


def test_renamed_channels_keep_their_places(full):
    array = (full.get_data() * 1e6, ["Y1" if one == "C3" else one for one in SIXTY_FOUR], 250.0)
    source = opened(array, "C3", "T9", interpolate="standard_1005", rename={"Y1": "C3"})
    assert np.array_equal(signal(source, "C3"), array[0][[SIXTY_FOUR.index("C3")]])
    net = places_of("GSN-HydroCel-128")
    numbers = (field_uv(np.array(list(net.values()))), list(net), 250.0)
    source = opened(numbers, "C3", "O2", interpolate="GSN-HydroCel-128", rename={"E36": "C3"})
    assert np.array_equal(signal(source, "C3"), numbers[0][[35]])


# Positions in a BIDS dataset ---------------------------------------------------------------------


def bids_recording(folder, places, raw, **system):
    """A FIF file of numbers X0, X1 ... with its electrodes.tsv, in the axes of ``places``."""
    folder.mkdir()
    path = folder / "sub-1_task-rest_eeg.fif"
    raw.copy().set_montage(None).save(path, verbose="error")
    rows = [
        "\t".join([name, *(f"{value:.9f}" for value in place)]) for name, place in places.items()
    ]
    rows.append("REF\tn/a\tn/a\tn/a")
    (folder / "sub-1_electrodes.tsv").write_text("\n".join(["name\tx\ty\tz", *rows]), "utf-8")
    if system:
        (folder / "sub-1_coordsystem.json").write_text(json.dumps(system), "utf-8")
    return path


ALS = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # the nose first, then the left ear


@pytest.mark.filterwarnings("ignore:This filename")
def test_electrodes_of_bids_lie_where_the_coordinate_system_says(tmp_path):
    net = places_of("GSN-HydroCel-64_1.0")
    raw, wanted = cap_raw(net), ("C3", "O2")
    expected = signal(opened(raw, *wanted), *wanted)

    def found(name, places, **system):
        source = opened(bids_recording(tmp_path / name, places, raw, **system), *wanted)
        assert "(sub-1_electrodes.tsv)" in " ".join(source.notes)
        return signal(source, *wanted)

    atol = 1e-4 * np.abs(expected).max()  # FIF has single precision
    system = {"EEGCoordinateSystem": "CapTrak", "EEGCoordinateUnits": "mm"}
    near = found("right", moved(net, scale=1e3), **system)
    np.testing.assert_allclose(near, expected, rtol=0, atol=atol)
    near = found("ctf", moved(net, ALS), EEGCoordinateSystem="CTF", EEGCoordinateUnits="m")
    np.testing.assert_allclose(near, expected, rtol=0, atol=atol)
    spun = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    told = {"NAS": [0, 0.1, 0], "LPA": [-0.08, 0, 0], "RPA": [0.08, 0, 0]}
    told = {key: (spun @ point + 0.01).tolist() for key, point in told.items()}
    near = found("fiducials", moved(net, spun, shift=0.01), EEGCoordinateSystem="Other",
                 EEGCoordinateUnits="m", AnatomicalLandmarkCoordinates=told)  # fmt: skip
    np.testing.assert_allclose(near, expected, rtol=0, atol=atol)
    for name, extra in (("other", {"EEGCoordinateSystem": "Other"}), ("none", {})):
        with pytest.raises(SignalError, match="frame that is known"):
            found(name, net, **extra)


@pytest.mark.filterwarnings("ignore:This filename")
def test_a_table_of_electrodes_counts_before_the_file_and_is_checked(tmp_path):
    net = places_of("GSN-HydroCel-64_1.0")
    path = bids_recording(tmp_path / "a", net, cap_raw(net), EEGCoordinateSystem="CapTrak")
    table = path.with_name("sub-1_electrodes.tsv")
    before = _positions_key(path, True)
    table.write_text(table.read_text("utf-8").replace("E7\t", "E7\tleft", 1), "utf-8")
    with pytest.raises(SignalError, match="expected numbers or n/a as position of E7"):
        opened(path, "C3")
    assert _positions_key(path, True) != before and _positions_key(path, "mgh60") == "mgh60"
    table.write_text("name\tx\ty\nE1\t1\t2\n", "utf-8")
    with pytest.raises(SignalError, match="expected columns name, x, y and z"):
        opened(path, "C3")


def test_numbers_are_no_places_even_where_some_were_renamed():
    names = [f"{'ABCD'[at // 32]}{at % 32 + 1}" for at in range(128)]
    recording = (field_uv(np.array(list(places_of("biosemi128").values()))), names, 250.0)
    source = opened(recording, "CZ", "C4", "T9", interpolate="biosemi128", rename={"A1": "CZ"})
    rows = [names.index(number) for number in ("A1", "B22")]
    assert np.array_equal(signal(source, "CZ", "C4"), recording[0][rows])


def test_what_is_read_at_a_time_changes_nothing(full, monkeypatch):
    lacking = full.copy().drop_channels(LACKING)
    whole = signal(opened(lacking, *LACKING, "CZ"), *LACKING, "CZ")
    monkeypatch.setattr("modeling_mteeg.recordings.interpolation._READ_VALUES", 60 * 77)
    pieces = signal(opened(lacking, *LACKING, "CZ"), *LACKING, "CZ")
    np.testing.assert_allclose(pieces, whole, rtol=0, atol=1e-15)
    source = opened(lacking, *LACKING)
    part = source.read([2, 0], 100, 200)[0]
    np.testing.assert_allclose(part, signal(source, *LACKING)[[2, 0], 100:200], rtol=0, atol=1e-15)


def test_what_a_file_stores_at_a_lower_rate_is_read_at_once(full, monkeypatch):
    monkeypatch.setattr("modeling_mteeg.recordings.interpolation._READ_VALUES", 77)
    plain, spans = open_source(full.copy().drop_channels(LACKING)), []

    def read(positions, start=0, stop=None):
        spans.append((start, stop))
        return plain.read(positions, start, stop)

    view = _Mixture(replace(plain, read=read, upsampled=lambda rows: True), [0, 1], [2])
    view.read([0], 10)
    assert spans == [(10, plain.samples)]


# Real recordings ---------------------------------------------------------------------------------

has_odd = pytest.mark.skipif(not ODD.is_dir(), reason="no real recordings in MTEEG_SHARED")


@has_odd
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["eeglab/test_raw_chanloc.set", "brainvision/Analyzer_nV_Export.vhdr"]
)
def test_positions_of_real_files_lie_where_their_names_say(name):
    source = open_recording(ODD / name)
    assert len(source.places) == len(source.names)
    places = {one: np.array(place) for one, place in source.places.items()}
    points = np.array(list(places.values()))
    cap = fit_cap(points, {})  # without a look at the names
    rays = directions(points, fit_centre(points))
    template = np.array([cap.electrodes[one] for one in places])
    assert np.diag(angles_deg(rays, template)).max() < 16.0
    named = {one: places[one] for one in places if one not in ("FZ", "C3", "P4")}
    cap = fit_cap(points, named)
    others = [one for one in places if one not in named]
    off = [angles_deg(cap.electrodes[one][None], rays[[list(places).index(one)]]) for one in others]
    assert np.max(off) < 6.0 and not cap.note


@has_odd
def test_positions_of_neuroscan_are_a_drawing_and_not_used():
    with pytest.raises(SignalError, match="found none with the recording"):
        opened(ODD / "neuroscan" / "scan41_short.cnt", "C3")


@pytest.mark.slow
@pytest.mark.skipif(not SUITE.is_dir(), reason="no real recordings in MTEEG_SHARED")
def test_a_left_out_electrode_of_a_real_recording_comes_back():
    path = SUITE / "eegmmidb-rest" / "S004R01.edf"
    raw = mne.io.read_raw_edf(path, preload=True, verbose="error").crop(0, 20)
    raw.filter(0.5, 45, verbose="error")
    alike = []
    for name in ("C3..", "Pz..", "Fc2.", "Po4."):
        whole = raw.get_data([name])[0]
        left = raw.copy().drop_channels([name])
        wanted = name.strip(".").upper()
        source = opened(left, wanted, interpolate="standard_1005")
        alike.append(np.corrcoef(signal(source, wanted)[0], whole)[0, 1])
    assert np.median(alike) > 0.9 and min(alike) > 0.75
