"""Simulated people who differ, and electrodes that are not perfect."""

from __future__ import annotations

import numpy as np
import pytest

from modeling_mteeg.dataset_scripts.simulator import PLANS
from modeling_mteeg.dataset_scripts.simulator.people import Person


def test_in_other_sizes_everybody_is_the_same_and_electrodes_are_perfect():
    for size in ("small", "demo"):
        person = Person.of(size, 0, "tuab", "a")
        uv = np.ones((2, 50), np.float32)
        assert person.effect == 1.0 and person.recorded(uv, 100.0, 0, "a") is uv


def test_people_differ_by_name_and_seed_alone():
    effects = [Person.of("people", 0, "tuab", name).effect for name in range(400)]
    again = [Person.of("people", 0, "tuab", name).effect for name in range(400)]
    assert effects == again and len(set(effects)) == 400
    assert Person.of("people", 1, "tuab", 0).effect != effects[0]
    assert np.log(effects).mean() == pytest.approx(-0.25, abs=0.1)
    assert np.log(effects).std() == pytest.approx(0.45, abs=0.1)


def test_electrodes_change_a_recording_by_its_name_alone():
    person, uv = Person.of("people", 0, "x"), np.zeros((16, 4000), np.float32)
    first, second = (person.recorded(uv, 200.0, 0, "night", 1) for _ in range(2))
    assert np.array_equal(first, second) and first.dtype == np.float32 and not uv.any()
    other = person.recorded(uv, 200.0, 0, "night", 2)
    assert not np.array_equal(first, other)
    assert 2.0 < np.median(first.std(1)) < 20.0  # microvolt: it is noise, no loss of the signal


@pytest.mark.parametrize("task", ["tuab", "tuev", "sleep-edf", "physionet-mi"])
def test_a_recording_is_the_same_file_again(task, tmp_path):
    """And there are at least five people to test on."""
    jobs = [PLANS[task](tmp_path / name, 3, "people")[0] for name in ("a", "b")]
    for job in jobs:
        assert job.write() > 0
    files = sorted((tmp_path / "a").rglob("*.edf"))
    assert files
    for path in files:
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == other.read_bytes()
