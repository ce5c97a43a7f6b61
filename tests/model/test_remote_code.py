"""A base on the Hub in a process that does not have this package: ``trust_remote_code=True``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hub_server import WRITE, HubServer, hub_running, point_client
from tiny_models import CARDS, model_with_tasks
from without_package import run_without_package

from modeling_mteeg import MteegFeatureExtractor

pytestmark = pytest.mark.slow

PROGRAM = """
import json
import numpy as np
from transformers import AutoFeatureExtractor, AutoModel
found = {}

def refusal(**trust):
    try:
        AutoModel.from_pretrained("me/base", **trust)
    except ValueError as error:
        return str(error)
    return "none"

found["refusals"] = [refusal(), refusal(trust_remote_code=False)]
cache = os.path.join(os.environ["HF_MODULES_CACHE"], "transformers_modules")
found["code_before"] = [name for _, _, names in os.walk(cache) for name in names
                        if name.endswith(".py") and "mteeg" in name]
model = AutoModel.from_pretrained("me/base", trust_remote_code=True)
extractor = AutoFeatureExtractor.from_pretrained("me/base", trust_remote_code=True)
card = model.load_adapter("seed-v")
signal = np.load(sys.argv[3])
inputs = extractor((signal, list(card.channels), 200.0), task=card)
with torch.no_grad():
    found["logits"] = model(**inputs).logits.tolist()
    found["features"] = model(**inputs).pooler_output.tolist()
model.add_adapter("mine", ["a", "b"])
model.save_adapter("mine", "mine")
found["saved"] = sorted(os.listdir("mine"))
found["modules"] = sorted({type(part).__module__.partition(".")[0] for part in (model, extractor)})
found["own"] = sorted(name for name in sys.modules if name.partition(".")[0] == "modeling_mteeg")
print()  # transformers' question stands on the line
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The Hub of conftest, once for all tests of this module."""
    with pytest.MonkeyPatch.context() as patch, hub_running() as server:
        point_client(server, tmp_path_factory.mktemp("hub-home"), patch.setattr)
        yield server


@pytest.fixture(scope="module")
def answer(hub: HubServer, tmp_path_factory) -> dict:
    """What the program found in a process without the package, and what it should find."""
    model = model_with_tasks("seed-v", "tuab")
    model.push_to_hub("me/base", token=WRITE)
    for task in model.tasks:
        model.push_adapter(task, "me/base", path_in_repo=f"adapters/{task}", token=WRITE)
    card = CARDS["seed-v"]
    signal = np.random.default_rng(0).normal(0, 20, (len(card.channels), 8000))
    inputs = MteegFeatureExtractor()((signal, list(card.channels), 200.0), task=card)
    with torch.no_grad():
        expected = model(**inputs, task="seed-v")
    root = tmp_path_factory.mktemp("elsewhere")
    np.save(root / "signal.npy", signal)
    hub.requests.clear()
    output = run_without_package(
        PROGRAM, root, str(root / "signal.npy"), environment=hub.environment(root / "home")
    )
    found = json.loads(output.splitlines()[-1])
    return found | {"expected": expected, "pushed": set(hub.repo("me/base").files())}


def test_the_package_is_not_there(answer):
    assert answer["own"] == []
    assert answer["modules"] == ["transformers_modules"]


def test_the_code_is_run_only_where_it_is_asked_for(answer):
    for refusal in answer["refusals"]:
        assert "me/base" in refusal and "trust_remote_code" in refusal
    assert answer["code_before"] == []


def test_predictions_are_those_of_the_package(answer):
    logits, features = torch.tensor(answer["logits"]), torch.tensor(answer["features"])
    assert len(logits) == 40, "windows of 1 s in 40 s"
    assert torch.allclose(logits, answer["expected"].logits, atol=1e-6, rtol=0)
    assert torch.allclose(features, answer["expected"].pooler_output, atol=1e-6, rtol=0)


def test_a_task_of_ones_own_is_saved_there_too(answer):
    """Without a model card: the code that makes it is not beside the weights."""
    assert answer["saved"] == [
        "adapter_config.json", "adapter_model.safetensors", "head.safetensors", "task.json",
    ]  # fmt: skip


def test_code_was_fetched_for_the_base_alone(answer, hub):
    fetched = [one.path for one in hub.requests if one.path.endswith(".py")]
    assert fetched and all("/me/base/resolve/" in path for path in fetched)
    assert {path.rpartition("/")[2] for path in fetched} <= answer["pushed"]
    assert not any("cards" in path or "training" in path for path in fetched)
