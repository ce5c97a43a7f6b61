"""The version of a corpus, known by the number of its windows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from modeling_mteeg.dataset_scripts.provenance import known_version

KNOWN = {"v1": (3, 1, 1), "v2": (4, 1, 1)}
SPLITS = (["train", "train", "test"], ["validation", "train", "train"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "v2"),
        ({"known_counts": {"v1": KNOWN["v1"]}}, None),
        ({"known_counts": {}}, None),
        ({"protocol": "biot"}, None),
        ({"simulated": True}, None),
    ],
)
def test_the_version_is_that_with_these_counts(changes, expected):
    corpus = {"simulated": False, "protocol": "paper", "known_counts": KNOWN} | changes
    used = [SimpleNamespace(row_splits=np.array(names)) for names in SPLITS]
    assert known_version(SimpleNamespace(**corpus), used) == expected
