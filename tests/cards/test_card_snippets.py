"""The Python in model cards runs as it stands there: with the package, and where it is not."""

from __future__ import annotations

import json
import re

import mne
import pytest
from hub_server import WRITE, HubServer
from huggingface_hub import ModelCard, hf_hub_download
from stage_one_program import make_tokenizer
from tiny_models import CARDS, model_with_tasks, tiny_model
from tiny_recordings import eeg, raw_of
from without_package import run_without_package

from modeling_mteeg.hub.publication import read_publication
from modeling_mteeg.hub.publishing import publish
from modeling_mteeg.model.configuration_mteeg import PIPELINE_TASK
from modeling_mteeg.training.stage_one import save_stage_one

TASKS = ("seed-v", "tuab")
PLACES = ("me/base", "me/base/adapters/tuab", "me/my-task", "me/plain", "me/tokenizer")
NAMES = sorted({name for task in TASKS for name in CARDS[task].channels})

PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import shutil
shutil.copy(sys.argv[4], "recording.edf")
for code in json.loads(open(sys.argv[3]).read()):
    exec(compile(code, "a card", "exec"), {})
print("own", [name for name in sys.modules if name.partition(".")[0] == "modeling_mteeg"])
"""


@pytest.fixture
def recording(tmp_path):
    """A file of the name that the cards have."""
    path = tmp_path / "recording.edf"
    raw = raw_of(eeg(20, 250.0, len(NAMES)), NAMES, 250.0)
    mne.export.export_raw(path, raw, verbose="error")
    return path


@pytest.fixture
def cards(hub: HubServer, tmp_path) -> dict[str, ModelCard]:
    """The cards as they are on the Hub: a base and a task beside it, a task alone ..."""
    folder = tmp_path / "base"
    model = model_with_tasks(*TASKS)
    model.save_pretrained(folder)
    model.config._name_or_path = str(folder)
    for task in TASKS:
        model.save_adapter(task, folder / "adapters" / task)
    publish(read_publication(folder), "me/base", token=WRITE)
    publish(read_publication(folder / "adapters/tuab"), "me/my-task", base="me/base", token=WRITE)
    tiny_model().push_to_hub("me/plain", token=WRITE)
    place = save_stage_one(make_tokenizer(), tmp_path / "tokenizer", {"stage": "one"})
    publish(read_publication(place), "me/tokenizer", token=WRITE)
    found = {}
    for place in PLACES:
        repo, inner = "/".join(place.split("/")[:2]), "/".join(place.split("/")[2:])
        path = hf_hub_download(repo, "README.md", subfolder=inner or None, token=WRITE)
        found[place] = ModelCard.load(path)
    return found


def code_of(card: ModelCard) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card.text, re.S)


@pytest.mark.filterwarnings("ignore::modeling_mteeg.model.recording_headers.RecordingWarning")
def test_the_code_of_every_card_runs_as_it_stands_there(cards, recording, monkeypatch):
    monkeypatch.chdir(recording.parent)
    for place, card in cards.items():
        blocks = code_of(card)
        assert len(blocks) == (1 if place in ("me/plain", "me/tokenizer") else 2), place
        found: dict = {}
        for code in blocks:
            assert "OWNER" not in code and "trust_remote_code=True" in code
            exec(compile(code, place, "exec"), found)
        if place == "me/plain":
            assert found["features"].shape == (2, 100), "windows of 10 s"
        elif place == "me/tokenizer":
            assert found["codes"].shape == (2, 10 * len(NAMES)), "one a channel and second"
        else:
            assert found["windows"][0]["onset"] == 0.0
            labels = {window["label"] for window in found["windows"]}
            assert labels <= set(found["task"].labels)
            assert len(found["windows"]) == len(found["logits"])
    tags = {place: card.data.pipeline_tag for place, card in cards.items()}
    assert tags.pop("me/tokenizer") == "feature-extraction"
    assert set(tags.values()) == {PIPELINE_TASK}
    assert cards["me/base"].data.library_name == "transformers"


@pytest.mark.slow
def test_the_code_of_every_card_runs_where_the_package_is_not(cards, recording, hub, tmp_path):
    codes = tmp_path / "codes.json"
    codes.write_text(json.dumps([code for card in cards.values() for code in code_of(card)]))
    root = tmp_path / "elsewhere"
    root.mkdir()
    output = run_without_package(
        PROGRAM, root, str(codes), str(recording), environment=hub.environment(root / "home")
    )
    assert output.splitlines()[-1] == "own []"
