"""Which commands need the extra ``train``, in a process where its packages cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from places import ROOT, SUPPORT

from modeling_mteeg.commands import COMMANDS

WITHOUT = ["datasets", "evaluate", "sklearn", "pandas", "edfio", "aiohttp", "multiprocess", "dill"]
"""What comes with the extra alone; peft and transformers bring the others of it along."""
NEEDS = ("train", "evaluate", "show")
"""Commands that do; ``show`` for a corpus, not for a training's folder."""

# A hook in front of all finders: as if these packages were not installed.
PROGRAM = """
import contextlib, importlib.util, io, json, sys, tempfile
from pathlib import Path

WITHOUT = set(json.loads(sys.argv[1]))
sys.path.append(sys.argv[2])


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in WITHOUT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Blocker())
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name in WITHOUT else find(name, *a)

import mne, numpy as np, torch
from tiny_models import CARDS, model_with_tasks
from transformers import pipeline
from modeling_mteeg import MteegFeatureExtractor, cli

torch.set_num_threads(1)
folder = Path(tempfile.mkdtemp(dir=sys.argv[3]))
base, names = folder / "base", CARDS["tuab"].channels
model_with_tasks("tuab").save_pretrained(base)
MteegFeatureExtractor().save_pretrained(base)
signal = np.random.default_rng(0).normal(0, 20e-6, (len(names), 200 * 20))
raw = mne.io.RawArray(signal, mne.create_info(list(names), 200.0, "eeg"), verbose="error")
recording = folder / "some_raw.fif"
raw.save(recording, verbose="error")
corpus = folder / "corpus"
corpus.mkdir()
CARDS["tuab"].save(corpus)


def answer(*words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
    return code, out.getvalue(), err.getvalue()


on = ("--base", base, "--task", "tuab")
runs = {
    "predict": ("predict", recording, *on, "--out", folder / "e.tsv"),
    "embed": ("embed", recording, *on, "--out", folder / "e.parquet"),
    "explain": ("explain", recording, *on, "--table", folder / "c.tsv"),
    "convert": ("convert", base, "--to", "braindecode", "--task", "tuab", "--out", folder / "b"),
    "push": ("push", base, "--repo", "me/base"),
    "evaluate": ("evaluate", "--base", base, "--data", corpus),
    "show": ("show", corpus),
    "train": ("train", folder, "--task", "mine", "--labels", "a,b", "--preset", "tiny", "--out",
              folder / "out"),
}
found = {name: answer(*words) for name, words in runs.items()}
helped = {name: answer(name, "--help")[0] for name in cli.COMMANDS}
label = pipeline("eeg-classification", model=str(base), adapter="tuab")
print(json.dumps({
    "found": found,
    "helped": helped,
    "help": answer("--help"),
    "windows": len(label(str(recording))),
    "blocked": sorted(WITHOUT & set(sys.modules)),
}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("needs")
    words = [json.dumps(WITHOUT), str(SUPPORT), str(folder)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_what_works_without_the_packages_for_training(told):
    assert told["blocked"] == [] and told["windows"] == 10
    for name, (code, _, said) in told["found"].items():
        if name == "push":  # which got as far as the Hub, where nobody may go here
            assert "offline mode is on" in said
        elif name not in NEEDS:
            assert code == 0, (name, said)


@pytest.mark.slow
def test_what_does_not_says_in_a_sentence_what_to_install(told):
    for name in NEEDS:
        code, _, said = told["found"][name]
        package = said.partition("this needs ")[2].partition(",")[0]
        assert (
            code == 2
            and package in WITHOUT
            and said.splitlines()[-1]
            == (
                f"mteeg {name}: error: this needs {package}, which is not installed: pip install "
                "'modeling-mteeg[train]'."
            )
        )


@pytest.mark.slow
def test_every_command_shows_its_help_all_the_same(told):
    assert told["helped"] == dict.fromkeys(COMMANDS, 0)
    code, text, _ = told["help"]
    assert code == 0 and all(name in text for name in COMMANDS)
