"""A .set that another process has parsed is what MNE's reader makes of the file itself."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import eeglab_sets
import numpy as np
import pytest
from eeglab_sets import EPOCHS, LAYOUTS, LAZY, write_set

from modeling_mteeg.model.recording_files import open_file, read_annotations

mne = pytest.importorskip("mne")
PLACES = eeglab_sets.content()["chanlocs"]
pytestmark = pytest.mark.filterwarnings("ignore")


def direct(path: Path, preload: bool):
    """By MNE, in this process."""
    if path.stem in EPOCHS:
        return mne.read_epochs_eeglab(path, verbose="error")
    return mne.io.read_raw_eeglab(path, preload=preload, verbose="error")


def marks(annotations) -> str:
    """As text, for a duration may be NaN."""
    return repr([annotations.onset.tolist(), annotations.duration.tolist(),
                 annotations.description.tolist()])  # fmt: skip


def same_info(one, other) -> None:
    assert one.ch_names == other.ch_names
    assert one.get_channel_types() == other.get_channel_types()
    assert one.info["sfreq"] == other.info["sfreq"]
    for channel, twin in zip(one.info["chs"], other.info["chs"], strict=True):
        assert channel.keys() == twin.keys()
        for key, value in channel.items():
            np.testing.assert_array_equal(value, twin[key])
    digs = [[(dig["kind"], dig["ident"], *dig["r"]) for dig in of.info["dig"] or ()]
            for of in (one, other)]  # fmt: skip
    np.testing.assert_array_equal(*digs)


@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_bit_equal_to_what_mne_reads_itself(layout, preload, tmp_path):
    path = write_set(tmp_path / f"{layout}.set", layout)
    expected, found = direct(path, preload), open_file(path, preload)[0]
    same_info(found, expected)
    assert type(found).__name__ == type(expected).__name__
    if layout in EPOCHS:
        assert np.array_equal(found.events, expected.events)
        assert found.event_id == expected.event_id and np.array_equal(found.times, expected.times)
        assert found.filename == expected.filename
    else:
        assert (found.filenames, found.preload) == (expected.filenames, expected.preload)
        assert found._orig_units == expected._orig_units
        assert found._init_kwargs == expected._init_kwargs
        assert marks(found.annotations) == marks(expected.annotations)
        file = mne.read_annotations(path)
        assert marks(found.own_annotations) == marks(file) == marks(read_annotations(path))
        part = {"start": 33, "stop": 457}
        assert found.get_data(**part).tobytes() == expected.get_data(**part).tobytes()
    assert found.get_data().tobytes() == expected.get_data().tobytes()
    assert np.ptp(found.get_data()) > 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_this_process_parses_no_file_but_what_scipy_wrote(layout, tmp_path, monkeypatch):
    path = write_set(tmp_path / f"{layout}.set", layout)
    expected = direct(path, preload=False).get_data()
    import scipy.io

    parsed = []
    for name in ("loadmat", "whosmat"):
        own = getattr(scipy.io, name)

        def noted(file, *args, own=own, **options):
            parsed.append(Path(getattr(file, "name", file)).resolve())
            return own(file, *args, **options)

        monkeypatch.setattr(scipy.io, name, noted)
    found, _ = open_file(path, preload=False)
    for copied in (found, found.copy(), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert copied.get_data().tobytes() == expected.tobytes()
    assert parsed and path.resolve() not in parsed


@pytest.mark.parametrize("layout", ["beside", *LAZY])
def test_a_signal_stays_on_the_disk_until_it_is_asked_for(layout, tmp_path):
    path = write_set(tmp_path / f"{layout}.set", layout)
    raw, _ = open_file(path, preload=False)
    file = path.with_suffix(".fdt") if layout == "beside" else path
    assert not raw.preload and raw.filenames == (file,)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        raw.get_data()


def test_a_set_in_a_folder_of_any_name_relative_and_as_a_link(tmp_path, monkeypatch):
    folder = tmp_path / "Grüße 🎧"
    folder.mkdir()
    path = write_set(folder / "beside.set", "beside")
    expected = direct(path, preload=False).get_data()
    monkeypatch.chdir(folder)
    found, _ = open_file("beside.set", preload=False)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(found.get_data(), expected)
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    linked, _ = open_file(tmp_path / "beside.set", preload=False)
    assert np.array_equal(linked.get_data(), expected)
    assert linked.filenames == (tmp_path / "beside.fdt",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "gone.fdt"}, r"its signal, gone\.fdt, is not there.*put all files"),
        ({"data": "old.dat"}, r"NotImplementedError: Old data format"),
        ({"pnts": 2**40}, r"states 5 channels, 1\.09951e\+12 samples and 1 trials; its signal has"),
        (
            {"nbchan": 3},
            r"states 3 channels, 600 samples and 1 trials; its signal has 3000 numbers",
        ),
        ({"srate": 160.0}, r"states 160 Hz, and 600 samples from 0 s to 5\.99 s, which is another"),
        ({"chanlocs": PLACES[:4]}, r"states 5 channels, and describes 4 \(chanlocs\)"),
        ({"chanlocs": PLACES[[0, 1, 2, 3, 4, 4]]}, r"states 5 channels, and describes 6"),
        ({"srate": -100.0}, r"is not a recording that MNE can read"),
    ],
)
def test_what_cannot_be_read_is_named_with_mnes_reason(change, words, tmp_path):
    path = tmp_path / "a.set"
    given = {"data": eeglab_sets.signal(), **change}
    eeglab_sets._save(path, {"EEG": eeglab_sets.content(**given)})
    with pytest.raises(ValueError, match=words) as error:
        open_file(path)[0].get_data()
    assert "a.set" in str(error.value) and "mteeg-reader" not in str(error.value)


@pytest.mark.parametrize("change", [-4, 4])
def test_a_signal_file_of_another_size_is_refused_when_it_is_opened(change, tmp_path):
    path = write_set(tmp_path / "beside.set", "beside")
    data = path.with_suffix(".fdt")
    content = data.read_bytes()
    data.write_bytes(content[:change] if change < 0 else content + bytes(change))
    with pytest.raises(ValueError, match=rf"signal has {3000 + change // 4} numbers"):
        open_file(path, preload=False)


def test_a_last_time_that_is_rounded_or_not_there_is_no_contradiction(tmp_path):
    path, data = tmp_path / "a.set", eeglab_sets.signal()
    for xmax in (6.0, 5.98, 0.0, []):
        eeglab_sets._save(path, {"EEG": eeglab_sets.content(data=data, xmax=xmax)})
        assert open_file(path)[0].n_times == 600


def test_a_set_that_is_cut_off_is_refused_when_it_is_opened(tmp_path):
    path = write_set(tmp_path / "in-fields.set", "in-fields")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"cut off: its variables claim [\d,]+ bytes, it has"):
        open_file(path, preload=False)
    path.write_bytes(b"no MATLAB file")
    with pytest.raises(ValueError, match=r"in-fields\.set is not a recording that MNE can read"):
        open_file(path, preload=False)


def test_matlab_7_3_is_parsed_there_too(recordings_dir):
    pytest.importorskip("pymatreader")
    path = recordings_dir / "odd/eeglab/test_raw_h5.set"
    for preload in (False, True):
        expected, found = direct(path, preload), open_file(path, preload)[0]
        same_info(found, expected)
        assert marks(found.annotations) == marks(expected.annotations)
        assert found.get_data().tobytes() == expected.get_data().tobytes()
