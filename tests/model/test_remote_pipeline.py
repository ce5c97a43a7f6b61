"""The snippet of the Hub's page, ``pipeline("eeg-classification", model=...,
trust_remote_code=True)``, in a process that does not have this package.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from hub_server import WRITE, hub_running, point_client
from tiny_models import CARDS, model_with_tasks
from tiny_recordings import eeg, raw_of
from transformers import AutoConfig, pipeline
from without_package import run_without_package

from modeling_mteeg import MteegFeatureExtractor, MteegModel
from modeling_mteeg.hub.publication import read_publication
from modeling_mteeg.model.hub_push import PushRefusedError

TASKS = ("seed-v", "tuab")
NAMES = sorted({name for task in TASKS for name in CARDS[task].channels})

PROGRAM = """
import json, sys, warnings
from transformers import pipeline
warnings.simplefilter("ignore")
folder, recording = sys.argv[3:]

def refusal(call):
    try:
        call()
    except ValueError as error:
        return str(error)
    return "none"

def make(model, **options):
    return pipeline("eeg-classification", model=model, trust_remote_code=True, **options)

found = {"untrusted": refusal(lambda: pipeline("eeg-classification", model="me/base",
                                               trust_remote_code=False))}
label = make("me/base")
found["several"] = refusal(lambda: label(recording))
found["hub"] = label(recording, adapter=["seed-v", "tuab"], stride_s=0.5, batch_size=7)
found["folder"] = make(folder, adapter="tuab")(recording)
found["guessed"] = pipeline(model=folder, adapter="tuab", trust_remote_code=True)(recording)
found["own repository"] = make("me/my-task")(recording)
found["only one"] = make("me/one")(recording)
found["rename"] = refusal(lambda: label(recording, adapter="tuab", rename={"T7": "T3"}))
found["config"] = json.loads(label.model.config.to_json_string())["custom_pipelines"]
label.save_pretrained("again")
found["again"] = make("again", adapter="tuab")(recording)
found["own"] = sorted(name for name in sys.modules if name.partition(".")[0] == "modeling_mteeg")
print()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base with two tasks beside it."""
    folder = tmp_path_factory.mktemp("remote") / "base"
    model = model_with_tasks(*TASKS)
    model.save_pretrained(folder)
    model.config._name_or_path = str(folder)
    for task in TASKS:
        model.save_adapter(task, folder / "adapters" / task)
    return folder


def settings(folder) -> dict:
    return json.loads((folder / "config.json").read_text("utf-8"))


def test_a_base_names_its_pipeline_and_has_the_code(base):
    said = {"impl": "pipeline_mteeg.MteegPipeline", "pt": ["AutoModel"], "type": "multimodal"}
    assert settings(base)["custom_pipelines"] == {"eeg-classification": said}
    assert (base / "pipeline_mteeg.py").is_file()
    assert read_publication(base).base["pipeline_mteeg.py"]


def test_where_the_package_is_installed_nobody_has_to_trust_code(base, tmp_path):
    assert AutoConfig.from_pretrained(base).custom_pipelines == {}
    label = pipeline("eeg-classification", model=str(base))
    trusting = pipeline("eeg-classification", model=str(base), trust_remote_code=True)
    for made in (label, trusting):
        assert type(made).__module__ == "modeling_mteeg.prediction.pipeline"
    label.model.save_pretrained(tmp_path)
    assert settings(tmp_path)["custom_pipelines"] == settings(base)["custom_pipelines"]


def test_without_the_code_a_base_is_not_pushed(base, tmp_path):
    folder = tmp_path / "base"
    MteegModel.from_pretrained(base).save_pretrained(folder)
    (folder / "pipeline_mteeg.py").unlink()
    with pytest.raises(PushRefusedError, match=r"pipeline_mteeg\.py .* missing"):
        read_publication(folder)


@pytest.mark.parametrize(
    "marks", [[], [("BAD_arm", 2.5, 2.0)]], ids=["nothing is wrong", "a bad stretch"]
)
def test_windows_are_marked_as_the_package_marks_them(base, marks):
    from modeling_mteeg.model.pipeline_mteeg import MteegPipeline

    raw = raw_of(eeg(20, 250.0, len(NAMES)), NAMES, 250.0)
    for text, onset_s, duration_s in marks:
        raw.annotations.append(onset_s, duration_s, text)
    model, extractor = MteegModel.from_pretrained(base), MteegFeatureExtractor()
    expected = pipeline("eeg-classification", model=str(base), adapter="tuab")(raw)
    found = MteegPipeline(model, extractor, adapter="tuab")(raw)
    assert [one.get("note") for one in found] == [one.get("note") for one in expected]
    assert any(one.get("note") for one in found) is bool(marks)


@pytest.fixture(scope="module")
def answer(base, tmp_path_factory):
    """What the program found, and what the package says."""
    root = tmp_path_factory.mktemp("elsewhere")
    recording = root / "one_raw.fif"
    raw_of(eeg(21, 250.0, len(NAMES)), NAMES, 250.0).save(recording, fmt="double", verbose="error")
    with pytest.MonkeyPatch.context() as patch, hub_running() as server:
        point_client(server, tmp_path_factory.mktemp("hub-home"), patch.setattr)
        for repo, tasks in (("me/base", TASKS), ("me/one", ("tuab",))):
            model = MteegModel.from_pretrained(base)
            for task in tasks:
                model.load_adapter(task)
            model.push_to_hub(repo, token=WRITE)
            for task in tasks:
                model.push_adapter(task, repo, path_in_repo=f"adapters/{task}", token=WRITE)
        model.push_adapter("tuab", "me/my-task", base="me/base", token=WRITE)
        output = run_without_package(
            PROGRAM, root, str(base), str(recording), environment=server.environment(root / "home")
        )
    label = pipeline("eeg-classification", model=str(base))
    expected = {
        "both": label(recording, adapter=list(TASKS), stride_s=0.5),
        "tuab": label(recording, adapter="tuab"),
    }
    return json.loads(output.splitlines()[-1]) | {"expected": expected}


def assert_same(found: list, expected: list) -> None:
    assert len(found) == len(expected) > 5
    for one, other in zip(found, expected, strict=True):
        assert set(one) == set(other)
        assert (one["onset"], one["label"]) == (other["onset"], other["label"])
        rows = [[each["scores"][name] for name in other["scores"]] for each in (one, other)]
        np.testing.assert_allclose(*rows, atol=1e-4)


@pytest.mark.slow
def test_the_page_s_snippet_gives_the_answers_of_the_package(answer):
    assert answer["own"] == []
    for task in TASKS:
        assert_same(answer["hub"][task], answer["expected"]["both"][task])
    for way in ("folder", "guessed", "own repository", "only one", "again"):
        assert_same(answer[way], answer["expected"]["tuab"])


@pytest.mark.slow
def test_what_it_cannot_do_it_says(answer):
    assert "trust_remote_code" in answer["untrusted"]
    assert "me/base; beside it: seed-v, tuab" in answer["several"]
    assert "adapter=..." in answer["several"]
    assert "pip install modeling-mteeg" in answer["rename"]
    assert answer["config"]["eeg-classification"]["pt"] == ["AutoModel"]
