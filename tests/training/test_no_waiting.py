"""Between two reports no step waits for the device: nothing is read back, no copy awaited."""

from __future__ import annotations

import pytest
import torch
from no_waiting import DEVICE, Movable, NoWaiting, WaitError, moved, without_autocast
from stage_one_program import make_trainer as make_stage_one
from tiny_corpora import save_corpora
from tiny_models import CARDS, inputs_of, model_with_tasks
from tiny_unlabelled import save_unlabelled
from training_program import TASKS, make_trainer

from modeling_mteeg.data import load_corpora
from modeling_mteeg.data.loading import JointBatches
from modeling_mteeg.model.pretraining_mteeg import patch_places, random_mask, sorted_places

SIZES = {"tuab": (32, 8, 8), "seed-v": (27, 9, 9), "sleep-edf": (10, 6, 6)}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return load_corpora(folder, TASKS)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    return save_unlabelled(tmp_path_factory.mktemp("unlabelled") / "data", dtype="int16")


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch):
    without_autocast(monkeypatch)


def there() -> torch.Tensor:
    return torch.zeros(3, device=DEVICE)


@pytest.mark.parametrize(
    "waits",
    [
        lambda: there().sum().item(),
        lambda: bool(there().any()),
        lambda: there().nonzero(),
        lambda: there()[there() > 0],
        lambda: there()[torch.tensor([0, 2])],
        lambda: torch.bincount(there().long()),
        lambda: torch.tensor([1.0, 2.0], device=DEVICE),
        lambda: torch.zeros(3).to(DEVICE),
        lambda: there().copy_(torch.zeros(3)),
        lambda: there().cpu(),
    ],
)
def test_what_waits_is_noticed(waits):
    with pytest.raises(WaitError), NoWaiting():
        waits()


def test_what_does_not_wait_passes():
    with NoWaiting() as mode:
        sent = torch.zeros(3).to(DEVICE, non_blocking=True)
        there().add_(sent)[there().long()].sum().to(torch.float64)
    assert mode.sent == {3: 1}


JOINT = {
    "mteeg": {},
    "passes": {"optimization__max_tokens": 40},
    "weights": {"optimization__class_weights": "balanced"},
    "noise": {"augmentation__noise": 0.1},
    "heads": {"head__kind": "channels", "head__band_power": True},
    "hps": {"method": "hps", "adapter": {}},
    "mmoe": {"method": "mmoe", "adapter": {}},
}


@pytest.mark.parametrize(
    "way", [way if way == "mteeg" else pytest.param(way, marks=pytest.mark.slow) for way in JOINT]
)
def test_steps_of_joint_training(way, corpora, tmp_path, monkeypatch):
    # A device without numbers has no generator: the host's stands in, as a GPU's own would.
    made = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": made("cpu"))
    options = {"optimization__clip_norm": 1.0, **JOINT[way]}
    trainer = moved(make_trainer(corpora, tmp_path, Movable(), **options))
    plan = trainer.plan(0)
    batches = JointBatches(trainer.corpora, plan, prefetch=0)
    for step in range(2):
        parts = [batches.batch(step)]
        with NoWaiting() as mode:
            losses = trainer.train_step(parts, plan.counts(step))
        trainer.progress.step += 1
        assert losses.device == DEVICE
        # The windows, the rows of their channels, the labels of every task; samples by task.
        assert sum(mode.sent.values()) == 3 * len(parts[0]) + 1
    assert all(parameter.device == DEVICE for parameter in trainer.model.parameters())


@pytest.mark.parametrize("kind", ["tokenizer", "masked"])
def test_steps_of_stage_one(kind, unlabelled, tmp_path):
    trainer = make_stage_one(kind, unlabelled, tmp_path, Movable())
    batches = trainer.batches("train", trainer.plan(0))
    if kind == "tokenizer":  # a first step on the CPU: k-means reads back
        trainer.train_step([batches.part(0)], batches)
    moved(trainer)
    for name, value in vars(trainer.average).items():
        if isinstance(value, dict):
            new = trainer.trainable()
            setattr(
                trainer.average,
                name,
                {
                    key: new[key] if name == "_parameters" else tensor.to(DEVICE)
                    for key, tensor in value.items()
                },
            )
    if kind == "masked":
        trainer.tokenizer.to(DEVICE)
    else:
        codebook = trainer.model.codebook
        codebook._known_updates = (codebook.updates, codebook.updates._version, 1)
    for step in range(2):
        parts = [batches.part(step, slice) for slice in range(batches.slices)]
        with NoWaiting():
            totals = trainer.train_step(parts, batches)
        trainer.progress.step += 1
        assert {value.device for name, value in totals.items() if name != "lr"} == {DEVICE}


@pytest.mark.parametrize("names", [("tuab",), tuple(CARDS)])
def test_answers_of_one_task_and_of_all_in_one_pass(names):
    model = model_with_tasks(*names).to(DEVICE)
    batches = {
        task: {key: value.to(DEVICE) for key, value in inputs_of(task).items()} for task in names
    }
    with NoWaiting() as mode, torch.no_grad():
        outputs = model(tasks=batches)
        model(**batches["tuab"], task="tuab")
    assert not mode.sent and set(outputs) == set(names)


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.8])
def test_places_of_a_mask_are_the_same_without_reading_it_back(ratio):
    mask = random_mask(5, 7, ratio, torch.Generator().manual_seed(0))
    expected = patch_places(mask)
    found = sorted_places(mask.flatten(), int(mask.sum()))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    with pytest.raises(ValueError, match=f"num_masked: expected {int(mask.sum())}"):
        patch_places(mask, int(mask.sum()) + 1)
