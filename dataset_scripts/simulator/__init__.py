"""Simulated recordings in the file layouts of the six corpora.

Every corpus has a module with a function ``plan(root, seed, size, subjects)``. It returns one
:class:`~.simulator.jobs.Job` per recording (or per case, where recordings share a
file), each of which writes its files and returns the seconds of EEG written. A job depends on the
seed and its own name only.
"""

from __future__ import annotations

from modeling_mteeg.dataset_scripts.simulator import (
    chb_mit,
    physionet_mi,
    seed_v,
    sleep_edf,
    tuab,
    tuev,
)
from modeling_mteeg.dataset_scripts.simulator.jobs import SIZES, Job

PLANS = {
    "tuab": tuab.plan,
    "tuev": tuev.plan,
    "seed-v": seed_v.plan,
    "chb-mit": chb_mit.plan,
    "sleep-edf": sleep_edf.plan,
    "physionet-mi": physionet_mi.plan,
}
"""Task to the function that plans its recordings."""

VERSION = 2
"""Goes up whenever equal seeds give other files."""

__all__ = ["Job", "PLANS", "SIZES", "VERSION"]
