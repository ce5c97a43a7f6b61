"""What importing and predicting need, in fresh processes; and the base's own copy of the code."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import CARDS, model_with_tasks
from transformers.dynamic_module_utils import get_imports, get_relative_import_files

import modeling_mteeg
from modeling_mteeg import (
    MteegConfig,
    MteegFeatureExtractor,
    MteegForPreTraining,
    MteegTokenizerConfig,
    MteegTokenizerModel,
)

PACKAGE = Path(modeling_mteeg.__file__).parent
NEEDED = {"torch", "transformers", "peft", "safetensors", "huggingface_hub", "numpy"}

IMPORT = """
import torch, transformers.modeling_utils, transformers.models.auto
import transformers.feature_extraction_utils
before = set(sys.modules)
import modeling_mteeg
imported = set(sys.modules) - before
"""

# A hook in front of all finders: as if these packages were not installed.
BLOCK = """
import json, sys

class Blocker:
    names = set(sys.argv[3].split(","))

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)

sys.meta_path.insert(0, Blocker())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name in Blocker.names else find(name, *a)
"""

PREDICT = """
import numpy as np, torch
remote = "modeling_mteeg" in Blocker.names
imported = set() if remote else imported
from transformers import AutoFeatureExtractor, AutoModel
torch.set_num_threads(1)
folder, recording = sys.argv[1:3]
model = AutoModel.from_pretrained(folder, trust_remote_code=remote)
extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=remote)
card = model.load_adapter("seed-v")
signal = np.load(recording)
inputs = extractor((signal, list(card.channels), 200.0), task=model.tasks["seed-v"])
with torch.no_grad():
    logits = model(**inputs).logits
print(json.dumps({
    "imported": sorted({name.partition(".")[0] for name in imported}),
    "module": type(model).__module__,
    "labels": card.labels,
    "logits": logits.tolist(),
    "blocked": sorted(Blocker.names & {name.partition(".")[0] for name in sys.modules}),
}))
"""
DATA_PACKAGES = "mne,datasets,evaluate,sklearn,pandas,edfio"


def start(program: str, *arguments: object, **environment: str) -> subprocess.Popen:
    """Run a program in a fresh process, away from the repository."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=os.path.dirname(sys.executable),
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | environment,
    )


def answer(process: subprocess.Popen):
    """The JSON a program printed last."""
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The fresh processes, started together, and the logits that they should find."""
    root = tmp_path_factory.mktemp("published")
    folder, recording = root / "base", root / "recording.npy"
    model, extractor = model_with_tasks("seed-v"), MteegFeatureExtractor()
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    model.save_adapter("seed-v", folder / "adapters" / "seed-v")
    card = CARDS["seed-v"]
    signal = np.random.default_rng(0).normal(0, 20, (len(card.channels), 8000))
    np.save(recording, signal)
    inputs = extractor((signal, list(card.channels), 200.0), task=card)
    with torch.no_grad():
        expected = model(**inputs, task="seed-v").logits
    cache = {"HF_MODULES_CACHE": str(root / "modules")}
    started = {
        "plain": start(BLOCK + IMPORT + PREDICT, folder, recording, DATA_PACKAGES),
        "remote": start(
            BLOCK + PREDICT, folder, recording, f"{DATA_PACKAGES},modeling_mteeg", **cache
        ),
    }
    yield {
        name: functools.cache(functools.partial(answer, process))
        for name, process in started.items()
    } | {"expected": expected}
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_importing_takes_little_beyond_torch_and_transformers(programs):
    new = set(programs["plain"]()["imported"])
    assert "modeling_mteeg" in new
    heavy = {"mne", "datasets", "evaluate", "accelerate", "peft", "sklearn", "pandas", "scipy"}
    assert not new & (heavy | {"matplotlib", "edfio", "yaml"})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "remote"])
def test_predicting_works_without_the_packages_for_data(programs, kind):
    """``remote``: without this package too, from the code that lies beside the weights."""
    found = programs[kind]()
    own = found["module"].startswith("modeling_mteeg.")
    assert own if kind == "plain" else found["module"].startswith("transformers_modules.")
    assert found["labels"] == list(CARDS["seed-v"].labels)
    assert found["blocked"] == []
    assert torch.allclose(torch.tensor(found["logits"]), programs["expected"], atol=1e-5)


CARDS_ALONE = """
import modeling_mteeg
before = set(sys.modules)
import modeling_mteeg.cards
print(json.dumps({
    "evaluation": "modeling_mteeg.evaluation" in before,
    "imported": sorted({name.partition(".")[0] for name in set(sys.modules) - before}),
    "title": modeling_mteeg.cards.sections.title_of("auroc"),
    "ours": sorted(name for name in sys.modules if name.startswith("modeling_mteeg.evaluation.")),
}))
"""


@pytest.mark.slow
def test_cards_take_titles_of_metrics_without_what_computes_them():
    result = answer(start(BLOCK + CARDS_ALONE, "", "", f"{DATA_PACKAGES},pyarrow,accelerate"))
    assert not result["evaluation"], "the package alone does not import the metrics"
    assert result["title"] == "AUROC"
    assert result["ours"] == [
        f"modeling_mteeg.evaluation.{name}" for name in ("metric_choice", "metrics")
    ]
    heavy = {"evaluate", "datasets", "sklearn", "pyarrow", "pandas", "scipy", "matplotlib"}
    assert not heavy & set(result["imported"])


STAGE_ONE = """
import torch
from transformers import AutoModel, AutoModelForPreTraining
torch.set_num_threads(1)
student, tokenizer, inputs = sys.argv[1], sys.argv[2], torch.load(sys.argv[4])
model = AutoModelForPreTraining.from_pretrained(student, trust_remote_code=True)
codes = AutoModel.from_pretrained(tokenizer, trust_remote_code=True)
labels = codes.get_codebook_indices(inputs["input_values"], inputs["channel_ids"])
print(json.dumps({
    "modules": [type(model).__module__, type(codes).__module__],
    "labels": labels.tolist(),
    "loss": model(**inputs, labels=labels).loss.item(),
    "base": AutoModel.from_pretrained(student, trust_remote_code=True).fingerprint(),
}))
"""


@pytest.mark.slow
def test_models_of_the_first_stage_load_from_the_code_beside_their_weights(tmp_path):
    torch.manual_seed(0)
    model = MteegForPreTraining(MteegConfig.from_preset("tiny"))
    tokenizer = MteegTokenizerModel(MteegTokenizerConfig.from_preset("tiny"))
    model.save_pretrained(tmp_path / "student")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    rows = torch.arange(1, 4)[:, None].repeat(1, 2)
    inputs = {"input_values": torch.randn(2, 3, 4, 200), "channel_ids": rows}
    labels = tokenizer.get_codebook_indices(**inputs)
    inputs["mask"] = torch.arange(24).view(2, 12) % 2 == 0
    torch.save(inputs, tmp_path / "inputs.pt")
    found = answer(start(
        BLOCK + STAGE_ONE, tmp_path / "student", tmp_path / "tokenizer", "modeling_mteeg",
        tmp_path / "inputs.pt", HF_MODULES_CACHE=str(tmp_path / "modules"),
    ))  # fmt: skip
    assert all(name.startswith("transformers_modules.") for name in found["modules"])
    assert found["labels"] == labels.tolist()
    assert found["loss"] == pytest.approx(model(**inputs, labels=labels).loss.item(), rel=1e-5)
    assert found["base"] == model.mteeg.fingerprint()


@pytest.mark.parametrize(
    "file",
    [
        *("modeling_mteeg.py", "feature_extraction_mteeg.py"),
        *("pretraining_mteeg.py", "tokenizer_mteeg.py"),
    ],
)
def test_code_beside_the_weights_asks_for_the_needed_packages_only(file):
    """transformers refuses remote code of which an import, even an inner one, is not installed."""
    top = str(PACKAGE / "model" / file)
    for path in (top, *get_relative_import_files(top)):
        asked = {name for name in get_imports(path) if name not in sys.stdlib_module_names}
        assert asked <= NEEDED, f"{Path(path).name} asks for {asked - NEEDED}"
