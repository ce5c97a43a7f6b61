"""Models of braindecode as methods: looked up by name, made for a task, told of where they fail.

A stand-in takes the package's place, so that this runs without it; the last tests take the real one
where it is.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import types

import pytest
import torch
from published_networks import SHAPES, relative_error, weights_by_rule, without_dropout
from recipe_modules import load_recipe
from test_methods import (
    SIZES,
    SMALL,
)
from tiny_corpora import CARDS, save_corpora
from torch import nn
from training_program import make_config

from modeling_mteeg.data import load_corpora
from modeling_mteeg.methods import METHODS, TrainingError, WindowError, build_single_task
from modeling_mteeg.methods.single_network import scaled_by_quantile
from modeling_mteeg.settings.schema import ConfigError


class TinyNet(nn.Module):
    """As braindecode's models: told of the task by keywords."""

    def __init__(self, n_chans=None, n_outputs=None, n_times=None, chs_info=None, sfreq=None,
                 width=3, activation=nn.ELU, pooling="mean"):  # fmt: skip
        super().__init__()
        if n_times < 250:
            raise ValueError(f"expected 250 samples or more, found {n_times}")
        self.told = {"n_chans": n_chans, "n_times": n_times, "sfreq": sfreq,
                     "names": [channel["ch_name"] for channel in chs_info]}  # fmt: skip
        self.filter = nn.Conv1d(n_chans, width, 25)
        self.norm = nn.BatchNorm1d(width)
        self.activation, self.last = activation(), nn.Linear(width, n_outputs)

    def forward(self, signal):
        return self.last(self.activation(self.norm(self.filter(signal))).mean(2))


class Everywhere(TinyNet):
    """Gives an output for every sample."""

    def forward(self, signal):
        return super().forward(signal)[:, None].expand(-1, 250, -1)


class NoNumber(TinyNet):
    """As where places of channels are missing."""

    def forward(self, signal):
        return super().forward(signal) * torch.nan


@pytest.fixture
def stand_in(monkeypatch):
    models = {model.__name__: model for model in (TinyNet, Everywhere, NoNumber)}
    package = {name: types.ModuleType(name) for name in
               ("braindecode", "braindecode.models", "braindecode.models.util")}  # fmt: skip
    package["braindecode.models.util"].models_dict = models
    for name, module in package.items():
        monkeypatch.setitem(sys.modules, name, module)
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version",
                        lambda name: "9" if name == "braindecode" else version(name))  # fmt: skip


def config_of(name: str, tasks=("tuab",), **overrides):
    return make_config(tasks, method=f"braindecode:{name}", adapter={}, **overrides)


def test_a_model_goes_through_the_whole_recipe(stand_in, tmp_path):
    sizes = {"tuab": SIZES["tuab"], "sleep-edf": (16, 8, 8)}
    save_corpora(tmp_path / "data", sizes)
    words = ["--data", str(tmp_path / "data"), "--output", str(tmp_path / "out"), *SMALL[:-1]]
    words += [",".join(sizes), "--method", "braindecode:TinyNet", "--set", "floor=false"]
    words += ["--set", "method_options={width: 2, scaling: quantile}"]
    assert load_recipe("joint").main(words) == 0
    model, corpora = tmp_path / "out/model", load_corpora(tmp_path / "data", tuple(sizes))
    for task in sizes:
        method = METHODS["braindecode:TinyNet"].load(model, task)
        assert method.module[task].filter.out_channels == 2
        assert method.options.scaling == "quantile"
    saved = json.loads((tmp_path / "out/results.json").read_text())["test"]
    assert saved.keys() == corpora.keys()
    text = (model / "README.md").read_text("utf-8")
    assert "| network | TinyNet of braindecode 9 |" in text and "LaBraM" not in text


def test_a_model_is_told_of_the_task_and_gets_microvolt(stand_in):
    method = METHODS["braindecode:TinyNet"].build(config_of("TinyNet"), CARDS, 0)
    card, network = CARDS["tuab"], method.module["tuab"]
    assert network.told == {"n_chans": 3, "n_times": 400, "sfreq": 200.0,
                            "names": list(card.channels)}  # fmt: skip
    assert isinstance(network.activation, nn.ELU) and network.training
    signal = torch.randn(2, 3, 2, 200)
    expected = network.eval()(100 * signal.flatten(2))
    assert torch.equal(method.predict_logits("tuab", {"input_values": signal}), expected)
    config = config_of("TinyNet", method_options={"scaling": "quantile"})
    scaled = METHODS["braindecode:TinyNet"].build(config, CARDS, 0)
    found = scaled.predict_logits("tuab", {"input_values": signal})
    assert torch.equal(found, network(scaled_by_quantile(signal.flatten(2))))


@pytest.mark.parametrize(
    ("name", "task", "text"),
    [
        ("TinyNet", "seed-v", "ValueError: expected 250 samples or more, found 200"),
        ("Everywhere", "tuab", r"an output of shape \(2, 250, 1\), not \(windows, 1\)"),
        ("NoNumber", "tuab", "outputs that are no numbers"),
        ("NoNumber", "sleep-edf", r"without a place in the 10-05 system: FPZ-CZ, PZ-OZ\)"),
    ],
)
def test_a_model_that_cannot_take_a_task_is_named_with_it(stand_in, name, task, text):
    config = config_of(name, (task,))
    method = METHODS[config.method]
    with pytest.raises(WindowError, match=rf"'{task}': braindecode's {name} cannot take.*{text}"):
        method.build(config, CARDS, 0)
    assert name in method.refusal(config, CARDS[task])


def test_unknown_models_and_arguments_are_named_with_the_nearest(stand_in):
    with pytest.raises(ConfigError, match=r"no model 'TinyNett' \(did you mean 'TinyNet'"):
        config_of("TinyNett")
    with pytest.raises(ConfigError, match=r"method_options.widht: .*\(did you mean 'width'"):
        config_of("TinyNet", method_options={"widht": 2})
    with pytest.raises(ConfigError, match=r"method_options.n_chans: unknown key"):
        config_of("TinyNet", method_options={"n_chans": 2})
    with pytest.raises(ConfigError, match=r"expected one of .*braindecode:NAME, found 'brain:X'"):
        make_config(method="brain:X")
    assert "braindecode:TinyNet" in METHODS and "braindecode:Tiny" not in METHODS
    assert not any(":" in name for name in METHODS)
    with pytest.raises(KeyError, match="no model"):
        METHODS["braindecode:Tiny"]


def test_batches_that_a_model_normalises_are_not_cut(stand_in):
    config = config_of("TinyNet", optimization__max_tokens=100)
    with pytest.raises(TrainingError, match="max_tokens would cut the batches"):
        METHODS[config.method].build(config, CARDS, 0)


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "braindecode", None)
    monkeypatch.delitem(sys.modules, "braindecode.models.util", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'modeling-mteeg\[braindecode\]'"):
        config_of("EEGNet")


@pytest.fixture
def models():
    """braindecode's own."""
    try:
        from braindecode.models.util import models_dict
    except (ImportError, OSError) as error:
        pytest.skip(f"braindecode cannot be imported: {error}")
    if not models_dict:  # an import that failed before, in another test
        pytest.skip("braindecode was not imported completely")
    return models_dict


@pytest.mark.parametrize("name", ["EEGNet", "ShallowFBCSPNet", "EEGConformer"])
def test_models_of_the_package_train_and_load(models, name, tmp_path):
    config = config_of(name, ("tuab", "seed-v"))
    method = METHODS[config.method].build(config, CARDS, 0)
    windows = torch.randn(2, 3, 2, 200)
    batch = {"input_values": windows, "labels": torch.tensor([0, 1])}
    method.module.train()
    method.forward({"tuab": batch}, 0.0)["tuab"].loss.backward()
    method.save(tmp_path, {task: {} for task in method.cards})
    loaded = METHODS[config.method].load(tmp_path, "tuab")
    found, expected = (
        m.predict_logits("tuab", {"input_values": windows}) for m in (loaded, method)
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize("task", ["tuev", "seed-v"])
def test_the_packages_biot_and_sparcnet_are_the_published_ones(models, task):
    """Its ContraWR is not: ELU stands in the blocks, where the published one has ReLU."""
    renamed = {
        "biot": ("BIOT", lambda n: n.replace("classifier.clshead.1.", "final_layer.1.")
                 if "clshead" in n else "encoder." + n.removeprefix("biot.")),
        "sparcnet": ("SPARCNet", lambda n: n.replace("classifier.1.", "final_layer.")),
    }  # fmt: skip
    channels, samples = SHAPES[task]
    signal = torch.randn(2, channels, samples, generator=torch.manual_seed(0)).double()
    for name, (theirs, rename) in renamed.items():
        own = build_single_task(name, channels, samples, 5)
        own.load_published(
            weights_by_rule({k: tuple(t.shape) for k, t in own.state_dict().items()})
        )
        other = models[theirs](n_chans=channels, n_times=samples, n_outputs=5, sfreq=200)
        state = other.state_dict()
        last = next(key for key in state if key.startswith("final_layer.")).rpartition(".")[0]
        for key, tensor in own.state_dict().items():
            key = rename(key)
            if key.startswith("final_layer"):
                key = f"{last}.{key.rpartition('.')[2]}"
            assert state[key].shape == tensor.shape
            state[key] = tensor
        other.load_state_dict(state)
        own, other = without_dropout(own).double(), other.double()
        assert relative_error(other.eval()(signal), own.eval()(signal)) < 1e-6, name
