"""One recording in two formats gives one answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recording_files import WRITERS, write_recording
from tiny_models import randomize, tiny_model
from tiny_recordings import card, eeg

from modeling_mteeg import MteegFeatureExtractor
from modeling_mteeg.model.channels import ELECTRODES, is_known
from modeling_mteeg.model.recording_sources import open_source
from modeling_mteeg.prediction import predict
from modeling_mteeg.recordings.block_reader import renamed_raw

RATE, SECONDS = 200, 12
NAMES = ("FP1", "FP2", "C3", "O1")
EXACT = {"rec.edf": 1e-6, "rec.bdf": 4e-4, "rec.vhdr": 1e-4, "rec_raw.fif": 1e-6, "rec.set": 1e-4,
         "rec.cnt": 0.03}  # fmt: skip
"""Microvolt by which a format rounds: its resolution, float32, or nothing."""
pytestmark = pytest.mark.filterwarnings("ignore:A recording is shorter", "ignore:The last")


def task_model(names, window_s=2.0):
    model = tiny_model()
    model.add_adapter("task", card=card(name="task", channels=tuple(names), window_s=window_s))
    randomize(model)
    return model.eval()


def answers(path: Path, model, rename=None) -> tuple[np.ndarray, np.ndarray]:
    """The extractor's input in microvolt, and the probabilities of ``predict``."""
    task = model.tasks["task"]
    recording = renamed_raw(path, rename or {})
    values = MteegFeatureExtractor()(recording, task=task, return_tensors="np")["input_values"]
    found = predict(path, model, rename=rename)["task"]
    assert found.missing == () and len(found.probabilities) == len(values)
    return values * task.scale_uv, found.probabilities


@pytest.fixture(scope="module")
def written():
    """On the grid of an EDF file of a tenth of a microvolt."""
    return np.round(eeg(SECONDS, RATE, len(NAMES)), 1)


@pytest.fixture(scope="module")
def of_the_array(written):
    model = task_model(NAMES)
    inputs = MteegFeatureExtractor()((written, NAMES, RATE), task=model.tasks["task"])
    values = inputs["input_values"].numpy() * 100
    return model, values, predict((written, NAMES, RATE), model)["task"].probabilities


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_what_the_array_gives(name, written, of_the_array, tmp_path):
    model, values, probabilities = of_the_array
    found, answered = answers(write_recording(tmp_path, name, written, NAMES, RATE), model)
    assert np.abs(found - values).max() < 2 * EXACT[name] + 1e-4
    np.testing.assert_allclose(answered, probabilities, atol=1e-5 + EXACT[name] / 100)
    assert np.ptp(answered[:, 1]) > 1e-3


def test_a_set_file_with_its_samples_in_it_is_the_one_with_an_fdt(written, tmp_path):
    from scipy.io import loadmat, savemat

    beside = write_recording(tmp_path, "rec.set", written, NAMES, RATE)
    header = loadmat(beside, simplify_cells=True)["EEG"]
    places = np.array([(name,) for name in NAMES], dtype=[("labels", "O")])
    content = {**header, "data": written.astype("<f4"), "chanlocs": places, "datfile": ""}
    savemat(tmp_path / "alone.set", {"EEG": content}, appendmat=False)
    (one, answered), (other, expected) = (
        answers(path, task_model(NAMES)) for path in (beside, tmp_path / "alone.set")
    )
    assert np.array_equal(one, other) and np.array_equal(answered, expected)


# Public test files --------------------------------------------------------------------------------


TWINS = {
    "nihon-kohden": ("nihon-kohden/MB0400FU.EEG", "nihon-kohden/MB0400FU.EDF", 21, ""),
    "ant-64": ("ant/test-ref.cnt", "ant/test-ref.vhdr", 63, "antio"),
    "ant-88": ("ant/test_CA_208.cnt", "ant/test_CA_208.vhdr", 63, "antio"),
    "eeglab-7.3": ("eeglab/test_raw_h5.set", "eeglab/test_raw.set", 32, "pymatreader"),
    "sleep": ("edf/short_psg.edf", "edf/short_psg.bdf", 2, ""),
    "subsecond": ("edf/test_subsecond.edf", "edf/test_subsecond.bdf", 1, ""),
}
"""Two files, how many channels of theirs have a place in the table, and what reads the first."""


@pytest.mark.slow
@pytest.mark.parametrize("twins", TWINS)
def test_twins_among_public_files(recordings_dir, twins):
    *files, count, package = TWINS[twins]
    if package:
        pytest.importorskip(package)
    folder = recordings_dir / "odd"
    if not folder.is_dir():
        pytest.skip(f"no public test files: {folder}")
    first, second = (folder / file for file in files)
    named, others = open_source(first), open_source(second)
    assert named.rate_hz == others.rate_hz and named.samples == others.samples
    both = [one for one in named.names if one in others.names]
    names, rename = [one for one in both if is_known(one)], None
    if not names:  # "EEG 000" and so on: as their places were given
        names = list(ELECTRODES[: len(both)])
        rename = dict(zip(both, names, strict=True))
    assert len(names) == count
    model = task_model(names)
    (one, answered), (other, expected) = (answers(path, model, rename) for path in (first, second))
    assert np.abs(one - other).max() < 0.01  # microvolt; an EDF file's text rounds its range
    np.testing.assert_allclose(answered, expected, atol=1e-5)
