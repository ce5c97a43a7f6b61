"""The single-task networks are the published ones, to the vectors of the published code."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from published_networks import (
    SHAPES,
    TINY,
    relative_error,
    signal_by_rule,
    weights_by_rule,
    without_dropout,
)
from safetensors.torch import load_file

from modeling_mteeg.methods import WindowError, build_single_task
from modeling_mteeg.methods.published_network import PublishedStateError
from modeling_mteeg.methods.single_network import scaled_by_quantile

TASKS = ("tuab", "tuev", "seed-v", "sleep-edf", "physionet-mi")
COUNTS = {  # tuab, tuab-23, tuev, tuev-23, seed-v, sleep-edf, physionet-mi
    "sparcnet": (1141601, 1143169, 991531, 993099, 786373, 1375654, 1269668),
    "contrawr": (1571297, 1575329, 1572582, 1576614, 1598821, 1564261, 1599973),
    "cnn-transformer": (3154401, 3158433, 3155686, 3159718, 3181925, 3147365, 3183077),
    "ffcl": (2464481, 2468513, 2415846, 2419878, 2400869, 2663269, 2432741),
    "st-transformer": (3425777, 3433379, 3425062, 3432664, 3478543, 3420483, 3482437),
    "biot": (3186433, 3188225, 3187718, 3189510, 3199237, 3183877, 3199749),
}
OUTPUTS = {"tuab": 1, "tuab-23": 1, "chb-mit": 1, "tuev": 6, "tuev-23": 6}


@pytest.fixture(scope="module")
def golden(golden_dir):
    folder = golden_dir / "baselines"
    if not folder.is_dir():
        pytest.skip(f"reference material not present: {folder}")
    return folder, json.loads((folder / "single_task.json").read_text())


@pytest.fixture(scope="module")
def inputs(golden):
    return load_file(golden[0] / "inputs.safetensors")


def network_of(name: str, task: str, tiny: bool) -> torch.nn.Module:
    """The network of a case, its weights by the rule."""
    network = build_single_task(
        name, *SHAPES[task], OUTPUTS.get(task, 5), **(TINY[name] if tiny else {})
    )
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    network.load_published(weights_by_rule(shapes))
    return network.eval()


def case_loss(logits: torch.Tensor) -> torch.Tensor:
    labels = torch.arange(len(logits))
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], (labels % 2).to(logits))
    return F.cross_entropy(logits, labels % logits.shape[1])


def check_case(network, signal, case, logits) -> None:
    """Logits in both precisions, loss, gradient norms and the number of parameters."""
    assert sum(p.numel() for p in network.parameters()) == case["parameters"]
    with torch.no_grad():
        assert relative_error(network(signal.float()), logits) < 1e-5
    found = network.double()(signal.double())
    assert relative_error(found, logits) < 1e-6
    loss = case_loss(found)
    loss.backward()
    assert loss.item() == pytest.approx(case["loss"], rel=1e-6)
    for name, norm in case["gradient_norms"].items():
        assert network.get_parameter(name).grad.norm().item() == pytest.approx(norm, rel=1e-6)


TINY_CASES = [
    pytest.param(name, task, marks=pytest.mark.slow if cost else ())
    for name in TINY
    for task in TASKS
    for cost in [task in ("tuev", "physionet-mi") or (name, task) == ("ffcl", "seed-v")]
]


@pytest.mark.parametrize(("name", "task"), TINY_CASES)
def test_tiny_networks_meet_the_published_code(name, task, golden, inputs):
    folder, cases = golden
    key = name.replace("-", "_")
    case = cases[key]["tiny"][task]
    stored = load_file(folder / f"{key}_tiny_cases.safetensors")
    weights = load_file(folder / f"{key}_tiny.safetensors")
    network, signal = network_of(name, task, tiny=True), inputs[f"{task}.x"]
    own = {k.partition("/")[2]: t for k, t in weights.items() if k.startswith(f"{task}/")}
    if own:
        network.load_published(own)
    check_case(network, signal, case, stored[f"{task}.logits"])
    check_stages(network, signal.double(), task, case["stages"], stored)
    without_dropout(network).train()
    with torch.no_grad():
        logits = network(signal.double())
    assert relative_error(logits, stored[f"{task}.training_logits"]) < 1e-6
    if case["first_norm_with_running_mean"]:
        mean = network.get_buffer(f"{case['first_norm_with_running_mean']}.running_mean")
        assert relative_error(mean, stored[f"{task}.training_running_mean"]) < 1e-6


def check_stages(network, signal, task, stages, stored) -> None:
    """What comes out along the way, of the first sample, every so manyth value."""
    found: dict[str, list] = {}

    def keep(name):
        return lambda *args: found.setdefault(name, []).append(args[-1])

    hooks = [m.register_forward_hook(keep(n)) for n, m in network.named_modules()]
    owner = getattr(network, "biot", network)
    for method in ("spectrogram", "decimated", "spectra"):
        if hasattr(owner, method):
            setattr(owner, method, _kept(getattr(owner, method), found, method))
    with torch.no_grad():
        network(signal)
    for hook in hooks:
        hook.remove()
    checked = 0
    for stage, at in stages.items():
        name, _, call = stage.partition(":")
        name = {"()torch_stft": "spectrogram", "()shorten": "decimated", "()stft": "spectra"}.get(
            name, name
        )
        values = _stage(network, found, name, int(call or 1) - 1)
        if values is None:
            continue
        assert list(values.shape) == at["shape"], stage
        picked = values.flatten()[:: at["step"]]
        assert relative_error(picked, stored[f"{task}.{stage}"]) < 1e-6, stage
        checked += 1
    assert checked >= len(stages) - 2, stages.keys()


def _kept(real, found, name):
    def called(*args):
        found.setdefault(name, []).append(real(*args))
        return found[name][-1]

    return called


def _stage(network, found, name, call) -> torch.Tensor | None:
    """The first sample's values of a stage; None: it has no module of its own here."""
    if hasattr(network, "biot"):
        if name == "pooled":
            return found["biot"][0][0]
        if name == "spectra":
            return found[name][0][0, call].mT  # all channels are one call here
        values = found.get(f"biot.{name}")
        if values is None:
            return None
        return values[0][0] if name.startswith("transformer.") else values[0][0, call]
    if name == "conv4":
        values = found[name][call][0]
        return values.mean((1, 2), keepdim=True)
    if name == "encoder":
        return found[name][0][0].mean(1, keepdim=True)
    if name not in found:
        return None
    values = found[name][call]
    return values[0][0] if isinstance(values, tuple) else values[0]


FULL = [
    pytest.param(name, task, marks=() if task == "seed-v" and name != "ffcl" else pytest.mark.slow)
    for name in TINY
    for task in SHAPES
]


@pytest.mark.parametrize(("name", "task"), FULL)
def test_networks_of_full_size_meet_the_published_code(name, task, golden, inputs):
    case = golden[1][name.replace("-", "_")]["default"][task]
    signal = inputs.get(f"{task}.x")
    if signal is None:
        signal = scaled_by_quantile(signal_by_rule(task))
    check_case(network_of(name, task, False), signal, case, torch.tensor(case["logits"]))


@pytest.mark.parametrize("task", ["seed-v", "sleep-edf"])
def test_scaling_is_that_of_the_published_loaders(task, inputs):
    found = scaled_by_quantile(inputs[f"{task}.microvolt"].double())
    assert relative_error(found, inputs[f"{task}.x"]) < 1e-6


@pytest.mark.parametrize("name", TINY)
def test_names_and_shapes_are_the_published_ones(name, golden):
    published = json.loads((golden[0] / "names.json").read_text())[name.replace("-", "_")]
    network = build_single_task(name, 16, 2000, 1)
    own = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    assert own.items() <= published.items()
    left = published.keys() - own.keys()
    assert left == network.computed().keys()
    full = {key: torch.zeros(shape) for key, shape in published.items()}
    full |= {key: value.reshape(published[key][:1] if value.ndim == 1 else value.shape)
             for key, value in network.computed().items()}  # fmt: skip
    network.load_published(full)
    assert all(not tensor.any() for tensor in network.state_dict().values())


@pytest.mark.parametrize("name", COUNTS)
def test_numbers_of_parameters(name):
    tasks = [task for task in SHAPES if task != "chb-mit"]
    with torch.device("meta"):
        for task, count in zip(sorted(tasks, key=_row), COUNTS[name], strict=True):
            network = build_single_task(name, *SHAPES[task], OUTPUTS.get(task, 5))
            assert sum(p.numel() for p in network.parameters()) == count, task


def _row(task: str) -> int:
    order = ("tuab", "tuab-23", "tuev", "tuev-23", "seed-v", "sleep-edf", "physionet-mi")
    return order.index(task)


def test_scaling_is_the_quantile_by_numpy():
    for samples in (1, 2, 21, 200, 201):
        signal = torch.randn(3, 4, samples, generator=torch.manual_seed(samples)).double()
        signal[0, 0] = 0
        values = signal.numpy()
        scale = np.quantile(np.abs(values), 0.95, axis=-1, keepdims=True) + 1e-8
        np.testing.assert_allclose(scaled_by_quantile(signal).numpy(), values / scale, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "least", "needs"),
    [
        ("contrawr", 101, "more than 100 samples"),
        ("cnn-transformer", 101, "more than 100 samples"),
        ("ffcl", 120, "more than 100 samples"),
        ("sparcnet", 8, "8 samples"),
        ("st-transformer", 127, "127 samples"),
        ("biot", 200, "200 samples"),
    ],
)
def test_windows_that_a_network_cannot_take_are_named(name, least, needs):
    network = build_single_task(name, 3, least, 2, **TINY[name]).eval()
    assert network(torch.randn(2, 3, least)).isfinite().all()
    short = {"ffcl": 100}.get(name, least - 1)
    with pytest.raises(ValueError, match=rf"{name} needs {needs}.* found windows of 3 channels x"):
        build_single_task(name, 3, short, 2, **TINY[name])
    with pytest.raises(
        ValueError, match=rf"{name}: expected a signal of shape \(batch, 3, {least}\)"
    ):
        network(torch.randn(2, 3, least + 20))


def test_ffcl_needs_samples_that_20_divides():
    with pytest.raises(WindowError, match=r"ffcl needs samples that 20 divides, found .* 210"):
        build_single_task("ffcl", 3, 210, 2)


@pytest.mark.parametrize(("samples", "segments"), [(200, 1), (210, 2), (404, 4), (505, 5)])
def test_cnn_transformer_has_as_many_segments_as_are_long_enough(samples, segments):
    network = build_single_task("cnn-transformer", 2, samples, 3, **TINY["cnn-transformer"]).eval()
    assert network.segments == segments
    signal = torch.randn(2, 2, samples)
    changed = signal.clone()
    changed[..., samples // segments * segments :] += 1  # dropped, as published
    assert torch.equal(network(signal), network(changed))


def test_unknown_networks_and_sizes_are_named():
    with pytest.raises(ValueError, match=r"unknown network 'contrawrr' \(did you mean 'contrawr'"):
        build_single_task("contrawrr", 2, 200, 1)
    with pytest.raises(ValueError, match=r"biot.widht: unknown key \(did you mean 'width'"):
        build_single_task("biot", 2, 200, 1, widht=32)
    with pytest.raises(ValueError, match="heads: expected a divisor of width 33"):
        build_single_task("biot", 2, 200, 1, width=33)
    with pytest.raises(ValueError, match="channels: expected a whole number"):
        build_single_task("biot", 0, 200, 1)


@pytest.mark.parametrize("name", TINY)
def test_published_states_are_taken_whole_or_not_at_all(name):
    network = build_single_task(name, 3, 400, 2, **TINY[name])
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    state = weights_by_rule({key: tuple(t.shape) for key, t in before.items()})
    first, *_, last = state
    wrong = {
        f"missing: {last}": {k: t for k, t in state.items() if k != last},
        "left over: heads.weight": {**state, "heads.weight": torch.zeros(2)},
        f"{first}: expected shape": {**state, first: torch.zeros(7)},
        f"{last}: expected torch.float32, found": {**state, last: state[last].long()},
    }
    for key, own in network.computed().items():
        wrong[f"{key}: other values"] = {**state, key: own + 1}
        wrong[f"{key}: other values than"] = {**state, key: torch.zeros(())}
    for text, given in wrong.items():
        with pytest.raises(PublishedStateError, match=text.replace(".", r"\.")):
            network.load_published(given)
    assert all(torch.equal(t, before[key]) for key, t in network.state_dict().items())
    network.load_published(state | network.computed())
    assert all(torch.equal(network.state_dict()[key], t) for key, t in state.items())
