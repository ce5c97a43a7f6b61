"""Networks with batch normalisation: its statistics are trained, too, and batches stay whole."""

from __future__ import annotations

import math
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from launching import succeed
from places import ROOT
from safetensors.torch import load_file, save_file
from tiny_corpora import CARDS, save_corpora
from training_program import make_config, make_trainer, run

from modeling_mteeg.data import load_corpora
from modeling_mteeg.methods import METHODS, TrainingError, WindowError
from modeling_mteeg.methods.biot import PUBLISHED_CHANNELS, BIOTNetwork, BIOTOptions
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.joint_config import JointConfig
from modeling_mteeg.training.optimization import CosineSchedule, average_running, build_optimizer
from modeling_mteeg.training.record import start_record

SIZES = {"tuab": (16, 8, 7), "seed-v": (27, 9, 9)}
SMALL = {"method": "contrawr", "method_options": {"widths": [2, 2, 2, 2]}, "adapter": {}}
CONFIG = ROOT / "recipes/configs/published_single_task.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return folder


@pytest.fixture(scope="module")
def corpora(folder):
    return load_corpora(folder, tuple(SIZES))


def everything(trainer) -> dict[str, torch.Tensor]:
    """All that has been trained, and what was selected of it."""
    final = {f"final.{name}": t.detach().clone() for name, t in trainer.trained_tensors().items()}
    return final | {f"best.{name}": tensor for name, tensor in trainer.best.items()}


def test_a_training_goes_on_with_its_running_statistics(corpora, tmp_path):
    whole = make_trainer(corpora, tmp_path / "whole", **SMALL)
    run(whole)
    first = make_trainer(corpora, tmp_path / "parts", **SMALL)
    first.resume()
    first.train_epoch()
    first.finish_epoch()
    first.save_checkpoint()
    again = make_trainer(corpora, tmp_path / "parts", **SMALL)
    run(again)
    one, two = everything(whole), everything(again)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    statistics = [name for name in one if "running_mean" in name]
    assert len(statistics) == 2 * len(SIZES) * 12
    assert all(one[name].any() for name in statistics), "every norm has seen batches"


def test_the_best_epochs_statistics_are_selected_with_its_weights(corpora, tmp_path):
    trainer = make_trainer(corpora, tmp_path, **SMALL)
    kept = []
    for epoch, auroc in enumerate((0.9, 0.8)):
        trainer.train_epoch()
        kept.append({n: t.clone() for n, t in trainer.model.state_dict().items()})
        values = {"tuab": {"auroc": auroc}, "seed-v": {"cohen_kappa": -auroc}}
        trainer.select(values, 0.5, epoch)
        trainer.progress.epoch, trainer.progress.step = epoch + 1, 0
    trainer.select_best()
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, kept[0 if name.startswith("tuab.") else 1][name]), name


@pytest.mark.parametrize("key", ["max_tokens", "gradient_accumulation"])
def test_batches_that_are_normalised_are_not_cut(key):
    options = {f"optimization__{key}": 2}
    config = make_config(tuple(SIZES), **SMALL, **options)
    with pytest.raises(TrainingError, match=f"optimization: {key} would cut the batches"):
        METHODS["contrawr"].build(config, CARDS, 0)
    config = make_config(tuple(SIZES), method="biot", adapter={},
                         method_options={"width": 16, "layers": 1}, **options)  # fmt: skip
    METHODS["biot"].build(config, CARDS, 0)  # which has no batch normalisation


@pytest.mark.parametrize("name", ["contrawr", "sparcnet"])
def test_a_batch_of_one_takes_the_running_statistics(name):
    config = make_config(("seed-v",), method=name, adapter={})
    method = METHODS[name].build(config, CARDS, 0)
    before = {key: t.clone() for key, t in method.running().items()}
    assert before
    method.module.train()
    for module in method.module.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = {"input_values": torch.randn(1, 2, 1, 200), "labels": torch.tensor([1])}
    output = method.forward({"seed-v": batch}, 0.0)["seed-v"]
    output.loss.backward()
    assert all(torch.equal(t, before[key]) for key, t in method.running().items())
    assert all(module.training for module in method.module.modules())
    del batch["labels"]
    assert torch.equal(method.predict_logits("seed-v", batch), output.logits)
    method.module.train()
    method.forward({"seed-v": {"input_values": torch.randn(2, 2, 1, 200)}}, 0.0)
    assert all(not torch.equal(t, before[key]) for key, t in method.running().items())


def test_methods_on_a_labram_have_no_running_statistics():
    config = make_config(("tuab",))
    assert METHODS["mteeg"].build(config, CARDS, 0).running() == {}


def test_running_statistics_of_processes_are_averaged():
    mine = [torch.tensor([1.0, 2.0]), torch.tensor([[4.0]])]
    others = torch.tensor([3.0, 2.0, 0.0])

    def reduce(flat, reduction):
        assert reduction == "mean"
        return (flat + others) / 2

    average_running(mine, SimpleNamespace(reduce=reduce))
    assert mine[0].tolist() == [2.0, 2.0] and mine[1].tolist() == [[2.0]]


@pytest.mark.slow
def test_two_processes_end_with_the_same_statistics(folder, tmp_path):
    words = ["steps", folder, tmp_path, "--method", "contrawr", "--tasks", ",".join(SIZES)]
    succeed(words, processes=2)
    first, second = (torch.load(tmp_path / f"rank-{rank}.pt")["final"] for rank in range(2))
    moved = [name for name in first if "running_mean" in name]
    assert moved and all(first[name].any() for name in moved)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_adam_adds_the_decay_to_the_gradient(corpora, tmp_path):
    """The first step of Adam is the rate times the sign of gradient + decay * weight."""
    config = make_config(tuple(SIZES), **SMALL, optimization__optimizer="adam",
                         optimization__weight_decay=0.5, optimization__schedule="constant",
                         optimization__warmup_epochs=0)  # fmt: skip
    method = METHODS["contrawr"].build(config, {t: c.card for t, c in corpora.items()}, 0)
    optimizer = build_optimizer(method, config.optimization)
    assert type(optimizer) is torch.optim.Adam
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.5}, "biases too"
    bias = method.module["tuab"].conv1.bn1.weight  # all ones
    for parameter in method.module.parameters():
        parameter.grad = torch.full_like(parameter, -0.4)
    optimizer.step()  # -0.4 + 0.5 * 1 is above 0, so it goes down; AdamW would go up
    torch.testing.assert_close(bias, torch.full_like(bias, 1 - config.optimization.lr))


def test_a_constant_rate_stays_whatever_the_last_one_was():
    options = make_config(optimization__schedule="constant").optimization
    schedule = CosineSchedule.from_options(options, 5)
    rates = [schedule.at(step) for step in range(schedule.total_steps)]
    assert rates[:5] == pytest.approx([options.lr * (step + 1) / 5 for step in range(5)])
    assert rates[5:] == pytest.approx([options.lr] * (len(rates) - 5))
    make_config(optimization__schedule="constant", optimization__lr=1e-7)  # below min_lr
    with pytest.raises(ConfigError, match="min_lr"):
        make_config(optimization__lr=1e-7)


@pytest.mark.parametrize(
    "name", ["biot", "sparcnet", "contrawr", "cnn-transformer", "ffcl", "st-transformer"]
)
def test_the_published_settings_are_a_config(name):
    config = JointConfig.load(CONFIG, {"method": name, "data.folder": "data"})
    o = config.optimization
    assert (o.optimizer, o.schedule, o.lr, o.weight_decay) == ("adam", "constant", 1e-3, 1e-5)
    assert (o.epochs, o.patience, o.batch_size, o.warmup_epochs) == (100, 5, 512, 0)
    assert (o.label_smoothing, o.clip_norm, o.layer_decay) == (0.0, None, 1.0)
    header = CONFIG.read_text("utf-8").splitlines()[0]
    assert header.startswith(
        f"# accelerate launch recipes/joint.py --config recipes/configs/{CONFIG.name}"
    )
    assert METHODS[name].selection == "task"


def test_windows_that_a_network_cannot_take_are_named_with_their_task():
    config = make_config(("seed-v",), method="ffcl", adapter={})
    card = CARDS["seed-v"].replace(window_s=1, rate_hz=130.0)
    with pytest.raises(WindowError, match=r"'seed-v': ffcl needs samples that 20 divides, found"):
        METHODS["ffcl"].build(config, {"seed-v": card}, 0)
    assert "20 divides" in METHODS["ffcl"].refusal(config, card)
    random = torch.get_rng_state()
    assert METHODS["ffcl"].refusal(config, CARDS["seed-v"]) == ""
    assert torch.equal(random, torch.get_rng_state())
    config = make_config(("seed-v",))
    assert METHODS["mteeg"].refusal(config, card) == ""


def encoder_state(rows: int, width: int = 16) -> dict[str, torch.Tensor]:
    """What a published file holds: an encoder of random weights alone, with its own extras."""
    network = BIOTNetwork(rows, 2000, 1, BIOTOptions(width=width, layers=1))
    state = {name.removeprefix("biot."): t for name, t in network.state_dict().items()
             if name.startswith("biot.")}  # fmt: skip
    return {**state, "index": torch.arange(rows)}


@pytest.mark.parametrize("rows", [16, 18])
@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_published_encoders_are_taken_rows_by_the_names_of_channels(rows, suffix, tmp_path):
    state, path = encoder_state(rows), tmp_path / f"encoder.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(OrderedDict(state), path)
    cards = {
        "tuab": CARDS["tuab"].replace(channels=("FP2-F4", "T3-T5", "C3", "C4-A1")),
        "sleep-edf": CARDS["sleep-edf"],
    }
    options = {"width": 16, "layers": 1}
    config = make_config(tuple(cards), method="biot", adapter={},
                         method_options={**options, "checkpoint": str(path)})  # fmt: skip
    plain = make_config(tuple(cards), method="biot", adapter={}, method_options=options)
    method, fresh = (METHODS["biot"].build(c, cards, 0) for c in (config, plain))
    table = state["channel_tokens.weight"]
    found, own = (m.module["tuab"].biot.channel_tokens.weight for m in (method, fresh))
    last = table[17] if rows == 18 else own[3]
    places = PUBLISHED_CHANNELS.index
    expected = torch.stack([table[places("FP2-F4")], table[places("T7-P7")], own[2], last])
    assert torch.equal(found, expected)
    for task in cards:
        network, before = method.module[task].state_dict(), fresh.module[task].state_dict()
        for name, tensor in network.items():
            if name.startswith("classifier."):
                assert torch.equal(tensor, before[name])
            elif "channel_tokens" not in name:
                assert torch.equal(tensor, state[name.removeprefix("biot.")]), name
    told = method.settings()["published encoder"]
    assert f"tuab {3 if rows == 18 else 2} of 4, sleep-edf 0 of 2; the others" in told
    record = start_record(config, {}, "data", Accelerator(cpu=True), "")
    assert record["start"] == f"weights of encoder.{suffix}" and not record["only_simulated"]
    assert start_record(plain, {}, "data", Accelerator(cpu=True), "")["only_simulated"]
    assert method.identity() and not fresh.identity() and not fresh.settings()


def test_files_that_are_no_published_encoder_are_named(tmp_path):
    config = make_config(("tuab",), method="biot", adapter={},
                         method_options={"width": 16, "layers": 1, "checkpoint": "x"})  # fmt: skip
    state = encoder_state(16)
    last = next(name for name in state if name.endswith("w2.bias"))
    wrong = {
        "left over: biot.extra": {**state, "extra": torch.zeros(1)},
        rf"missing: biot.{last}": {k: t for k, t in state.items() if k != last},
        r"expected a BIOT encoder .* found \(17, 16\)": encoder_state(17),
        "found none among": {"weight": torch.zeros(2)},
    }
    for number, (text, content) in enumerate(wrong.items()):
        path = tmp_path / f"{number}.safetensors"
        save_file(content, path)
        config.method_options["checkpoint"] = str(path)
        with pytest.raises(
            TrainingError, match=rf"checkpoint: .*{number}.safetensors: (.|\n)*{text}"
        ):
            METHODS["biot"].build(config, CARDS, 0)
    config.method_options["checkpoint"] = str(tmp_path / "none.ckpt")
    with pytest.raises(TrainingError, match="found nothing at"):
        METHODS["biot"].build(config, CARDS, 0)


def test_a_networks_options_are_saved_with_it(corpora, tmp_path):
    trainer = make_trainer(corpora, tmp_path / "out", **SMALL)
    method = trainer.method
    method.save(tmp_path / "model", {task: {} for task in SIZES})
    loaded = METHODS["contrawr"].load(tmp_path / "model", "tuab")
    assert loaded.options == method.options and math.prod(loaded.options.widths) == 16
    saved = load_file(tmp_path / "model/tasks/tuab/weights.safetensors")
    assert saved.keys() == method.module["tuab"].state_dict().keys()
