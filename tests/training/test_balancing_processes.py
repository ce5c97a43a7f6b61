"""Balancing and compared gradients in two real processes, as in one, and after kills."""

from __future__ import annotations

import json

import numpy as np
import pytest
from launching import launch, succeed
from tiny_corpora import save_corpora

from modeling_mteeg.training.conflict_record import read_conflicts

SIZES = {"tuab": (32, 8, 7), "seed-v": (27, 9, 8), "sleep-edf": (10, 6, 7)}
COMPARED = ["--set", "gradients.every_steps=2"]
FOLLOWING = ["--set", "balancing.rule=progress", "--set", "balancing.most=3.0"]
LEARNED = ["--set", "balancing.rule=uncertainty"]
PLAIN = ["--set", "model.drop_path=0.0", "--set", "adapter.dropout=0.0"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return folder


def folders(place, *names):
    found = [place / name for name in names]
    for folder in found:
        folder.mkdir()
    return found


def history(folder):
    return json.loads((folder / "history.json").read_text())["history"]


@pytest.mark.parametrize("rule", [FOLLOWING, LEARNED], ids=["progress", "uncertainty"])
def test_two_processes_have_the_plans_weights_and_cosines_of_one(data, tmp_path, rule):
    one, two = folders(tmp_path, "one", "two")
    arguments = [*rule, *COMPARED, *PLAIN]
    succeed(["train", data, one, *arguments])
    succeed(["train", data, two, *arguments], processes=2)
    expected, found = read_conflicts(one), read_conflicts(two)
    assert len(expected.steps) > 4 and np.array_equal(found.steps, expected.steps)
    assert np.allclose(found.cosines, expected.cosines, atol=1e-3, equal_nan=True)
    assert np.allclose(found.norms, expected.norms, rtol=1e-3, equal_nan=True)
    for ours, theirs in zip(history(two), history(one), strict=True):
        for key in ("samples", "next_samples", "loss_weights"):
            assert (key in ours) == (key in theirs)
            assert ours.get(key, {}) == pytest.approx(theirs.get(key, {}), rel=1e-4), key
    if rule is FOLLOWING:
        assert history(one)[-1]["samples"] != history(one)[0]["samples"]


def test_two_processes_that_were_killed_end_as_if_nothing_had_happened(data, tmp_path):
    whole, parts = folders(tmp_path, "whole", "parts")
    arguments = [*FOLLOWING, *COMPARED]
    succeed(["train", data, whole, *arguments], processes=2)
    kills = ["step:14:1", "optimizer:2:0"]  # the first in the third epoch, whose plan is another
    for kill in kills:
        assert launch(["train", data, parts, *arguments, "--die", kill], 2).returncode != 0
    succeed(["train", data, parts, *arguments], processes=2)
    for name in ("outcome.safetensors", "history.json", "conflicts.json"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name
