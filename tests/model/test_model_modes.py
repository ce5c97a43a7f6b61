"""How the model runs: checkpointing, dropout, compiled, in other precisions, which attention."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from tiny_models import (
    assert_same_gradients,
    batch_of,
    gradients,
    inputs_of,
    model_with_tasks,
    tiny_model,
)
from transformers import AutoModel

from modeling_mteeg import MteegConfig
from modeling_mteeg.model.layers import DropPath, Group, MteegLayer

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def tasked():
    """A model with two tasks; not to be changed."""
    return model_with_tasks("tuab", "seed-v")


@pytest.mark.parametrize("encoder", [True, False], ids=["encoder-trained", "encoder-frozen"])
@pytest.mark.parametrize("random", [False, True], ids=["plain", "dropout-and-drop-path"])
@pytest.mark.parametrize("reentrant", [None, False, True])
def test_gradient_checkpointing_gives_the_same_gradients(encoder, random, reentrant):
    settings = {"drop_path_rate": 0.4, "attention_dropout": 0.2} if random else {}
    options = {"dropout": 0.3} if random else {}
    model = model_with_tasks("tuab", "seed-v", options=options, **settings)
    model.set_trainable(temporal_encoder=encoder)
    model.train()
    tasks = {task: batch_of(task) for task in model.tasks}

    def run() -> dict:
        torch.manual_seed(5)
        sum(out.loss for out in model(tasks=tasks).values()).backward()
        return gradients(model)

    expected = run()
    assert set(expected) == {k for k, p in model.named_parameters() if p.requires_grad}
    model.activation_checkpointing_enable(
        None if reentrant is None else {"use_reentrant": reentrant}
    )
    assert_same_gradients(run(), expected, tolerance=1e-6)


def test_drop_path_keeps_or_drops_whole_samples():
    layer = DropPath(0.25)
    groups = (Group(400, 3), Group(300, 2))
    x = torch.randn(1800, 4)
    assert layer.eval()(x, groups) is None
    torch.manual_seed(0)
    factors = layer.train()(x, groups)
    assert factors.shape == (1800, 1)
    for part in (factors[:1200].view(400, -1), factors[1200:].view(300, -1)):
        assert torch.allclose(part, part[:, :1].expand_as(part))
        kept = part[:, 0] != 0
        assert torch.allclose(part[kept], torch.tensor(1 / 0.75))
        assert 0.65 < kept.float().mean() < 0.85


def test_a_layer_leaves_samples_alone_whose_branches_are_dropped():
    config = MteegConfig.from_preset("tiny", drop_path_rate=0.5)
    layer = MteegLayer(config, config.num_hidden_layers - 1).train()
    groups = (Group(40, 3), Group(30, 2))
    x = torch.randn(180, config.hidden_size)
    torch.manual_seed(0)
    out, _ = layer(x, groups)
    samples = [*(out - x)[:120].view(40, -1), *(out - x)[120:].view(30, -1)]
    unchanged = sum(bool((part == 0).all()) for part in samples)
    assert 70 / 4 - 14 < unchanged < 70 / 4 + 14  # both branches dropped: a quarter
    assert not (layer.eval()(x, groups)[0] == x).all(1).any()


@pytest.mark.parametrize("threshold", [0, 10**6], ids=["fused", "plain"])
def test_attention_dropout_acts_in_training_only(threshold, monkeypatch):
    monkeypatch.setattr("modeling_mteeg.model.layers.EAGER_BELOW_TOKENS", threshold)
    model, inputs = tiny_model(attention_dropout=0.5), inputs_of("tuab")
    calm = model(**inputs).pooler_output
    assert torch.allclose(calm, tiny_model()(**inputs).pooler_output, **CLOSE)
    model.train()
    noisy = [model(**inputs).pooler_output for _ in range(2)]
    assert not torch.equal(*noisy) and not torch.allclose(noisy[0], calm, atol=1e-3)


def test_drop_path_grows_with_depth():
    model = tiny_model(num_hidden_layers=3, drop_path_rate=0.2)
    assert [layer.drop_path.rate for layer in model.layers] == pytest.approx([0, 0.1, 0.2])
    inputs = inputs_of("tuab")
    calm = model(**inputs).pooler_output
    assert torch.equal(calm, model(**inputs).pooler_output)
    model.train()
    assert not torch.equal(model(**inputs).pooler_output, model(**inputs).pooler_output)


def forward_base(model):
    return model(**inputs_of("tuab")).pooler_output


def forward_task(model):
    return model(**inputs_of("seed-v"), task="seed-v").logits


def forward_training(model):
    outputs = model(tasks={task: batch_of(task) for task in model.tasks})
    return torch.stack([out.loss for out in outputs.values()])


@pytest.mark.parametrize(
    "call",
    [
        forward_base,
        *(pytest.param(call, marks=pytest.mark.slow) for call in (forward_task, forward_training)),
    ],
    ids=["base", "adapter", "training"],
)
def test_compiles_without_graph_breaks(call):
    torch.compiler.reset()
    model = model_with_tasks("tuab", "seed-v", num_hidden_layers=1)
    model.set_adapter(None)
    training = call is forward_training
    model.train(training)
    compiled = copy.deepcopy(model)
    compiled.compile(fullgraph=True, backend="aot_eager" if training else "eager")
    with torch.set_grad_enabled(training):
        expected, found = call(model), call(compiled)
    assert torch.allclose(found, expected, **CLOSE)
    if training:
        expected.sum().backward()
        found.sum().backward()
        assert_same_gradients(gradients(compiled), gradients(model))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.005), (torch.float64, 1e-5)]
)
def test_loads_in_other_precisions(tasked, dtype, tolerance, tmp_path):
    tasked.save_pretrained(tmp_path)
    tasked.save_adapter("seed-v", tmp_path / "adapters" / "seed-v")
    loaded = AutoModel.from_pretrained(tmp_path, dtype=dtype)
    assert {p.dtype for p in loaded.parameters()} == {dtype}
    loaded.load_adapter("seed-v")
    with torch.no_grad():
        expected = tasked(**inputs_of("seed-v"), task="seed-v").logits
        found = loaded(**inputs_of("seed-v")).logits
    assert found.dtype == torch.float32
    assert (found - expected).norm() < tolerance * expected.norm()


def test_autocast_trains_in_full_precision():
    model = model_with_tasks("tuab", "seed-v").train()
    tasks = {task: batch_of(task) for task in model.tasks}
    sum(out.loss for out in model(tasks=tasks).values()).backward()
    expected = gradients(model)
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(out.loss for out in model(tasks=tasks).values())
    loss.backward()
    assert loss.dtype == torch.float32
    found = gradients(model)
    assert {gradient.dtype for gradient in found.values()} == {torch.float32}
    assert_same_gradients(found, expected, tolerance=0.05)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.005)], ids=["bf16", "fp16"]
)
def test_a_whole_model_in_half_precision_predicts_and_trains(tasked, dtype, tolerance):
    half = copy.deepcopy(tasked).to(dtype).train()
    tasks = {task: batch_of(task) for task in half.tasks}
    outputs = half(tasks=tasks)
    for task, out in outputs.items():
        expected = tasked(**inputs_of(task), task=task).logits
        assert out.logits.dtype == dtype and out.loss.dtype == torch.float32
        assert (out.logits.float() - expected).norm() < tolerance * expected.norm()
    sum(out.loss for out in outputs.values()).backward()
    assert all(gradient.isfinite().all() for gradient in gradients(half).values())


def test_plain_attention_serves_short_inputs_on_a_cpu(monkeypatch):
    """It is faster there; longer ones take the fused kernel."""
    fused, calls = F.scaled_dot_product_attention, []

    def counted(query, *args, **kwargs):
        calls.append(query.shape[-2])
        return fused(query, *args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    model = tiny_model()
    ids = torch.arange(1, 41)[:, None].repeat(1, 2)
    model(torch.randn(1, 6, 1, 200), ids[:6])
    assert calls == []
    model(torch.randn(1, 40, 10, 200), ids)
    assert calls == [401, 401]
    model(torch.randn(1, 40, 10, 200), ids, output_attentions=True)
    model.set_attn_implementation("eager")
    model(torch.randn(1, 40, 10, 200), ids)
    assert len(calls) == 2
