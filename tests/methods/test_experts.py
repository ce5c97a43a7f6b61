"""Mixtures of experts: what is run, mixed, trained, saved and counted."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_corpora import save_corpora
from tiny_models import (
    CARDS,
    assert_same_gradients,
    batch_of,
    batches,
    changed,
    gradients,
    inputs_of,
    snapshot,
    tiny_model,
)
from training_program import make_config, make_trainer, outcome, run

from modeling_mteeg.data import load_corpora
from modeling_mteeg.methods import METHODS, TrainingError
from modeling_mteeg.methods.expert_method import ExpertMethod, assemble
from modeling_mteeg.methods.mixture_of_experts import copies
from modeling_mteeg.model.adapter_options import AdapterOptions
from modeling_mteeg.model.modeling_mteeg import MteegModel
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.standing_tasks import settle_encoder

TASKS = ("tuab", "seed-v", "chb-mit")
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
CHANNELS = {"kind": "channels", "band_power": True}
SIZES = {"tuab": (12, 6, 5), "seed-v": (9, 6, 6)}
OPTIONS = {"shared": 2, "own": 1}


def network(shared=2, own=1, heads=None, tasks=TASKS, adapter=None, tied=False):
    """Experts of different random weights, gates that do not say the same of all."""
    cards = {task: CARDS[task].replace(head=(heads or {}).get(task, "mean")) for task in tasks}
    number = shared + own * len(tasks)
    experts = [tiny_model(seed) for seed in range(number)]
    if tied:
        experts = copies(experts[0], number, tied=True)
        experts[0].requires_grad_(False)
    mixture = assemble(experts, shared, cards, own, adapter)
    torch.manual_seed(5)
    for head in mixture.heads.values():
        torch.nn.init.normal_(head.weight, std=0.2)
    for name, parameter in mixture.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return mixture.eval()


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return load_corpora(folder, tuple(SIZES))


def built(name="cgc", corpora=None, tasks=tuple(SIZES), **overrides):
    given = {"adapter": {}, "method_options": OPTIONS} | overrides
    config = make_config(tasks, method=name, **given)
    cards = {t: c.card for t, c in corpora.items()} if corpora else CARDS
    return METHODS[name].build(config, cards, 0)


# The forward pass --------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", [None, AdapterOptions(rank=3)])
def test_one_pass_over_all_tasks_is_task_by_task(adapter):
    mixture = network(heads={"seed-v": CHANNELS}, adapter=adapter, tied=adapter is not None)
    together = mixture(batches(*TASKS))
    alone = {}
    for task, batch in batches(*TASKS).items():
        alone |= mixture({task: batch})
    for task in TASKS:
        for part in ("loss", "logits", "representation", "gate"):
            torch.testing.assert_close(together[task][part], alone[task][part], **CLOSE)
    sum(output.loss for output in together.values()).backward()
    found = gradients(mixture)
    sum(output.loss for output in alone.values()).backward()
    assert_same_gradients(found, gradients(mixture))


def test_each_shared_expert_runs_once_and_own_ones_on_their_task_alone(monkeypatch):
    calls, real = [], MteegModel.encode
    monkeypatch.setattr(
        MteegModel, "encode", lambda self, batches, *rest: (
            calls.append((id(self), tuple(batches))), real(self, batches, *rest))[1]
    )  # fmt: skip
    mixture = network(shared=2, own=1)
    mixture(batches(*TASKS))
    own = [(id(mixture.own[task][0]), (task,)) for task in TASKS]
    assert calls == [(id(expert), TASKS) for expert in mixture.experts] + own


def test_a_mixture_is_the_sum_of_what_each_experts_model_reads():
    """Against plain models, for a head with everything: channels, band power, a hidden layer."""
    head = {**CHANNELS, "hidden": 9}
    mixture = network(heads=dict.fromkeys(TASKS, head))
    for task in TASKS:
        batch = inputs_of(task)
        output, read = mixture({task: batch})[task], 0.0
        window = batch["input_values"].flatten(1)
        scores = window @ mixture.gates[task].weight.T + mixture.gates[task].bias
        torch.testing.assert_close(output.gate, scores.softmax(1), **CLOSE)
        for number, expert in enumerate([*mixture.experts, *mixture.own[task]]):
            model = copy.deepcopy(expert)
            model.add_adapter(task, card=mixture.cards[task].replace(head=CHANNELS), rank=1)
            read = read + output.gate[:, [number]] * model.head_features(**batch, task=task)
        torch.testing.assert_close(output.representation, read, **CLOSE)
        layers = mixture.heads[task]
        hidden = torch.nn.functional.gelu(layers.hidden(read))
        torch.testing.assert_close(output.logits, hidden @ layers.weight.T + layers.bias, **CLOSE)


@pytest.mark.parametrize("shared", [1, 2, 6])
def test_experts_that_are_equal_are_one_model_and_teach_no_gate(shared):
    """With any number; a single one is HPS."""
    model = tiny_model()
    cards = {task: CARDS[task] for task in TASKS}
    mixture = assemble(copies(model, shared, tied=False), shared, cards, 0).eval()
    plain = copy.deepcopy(model)
    for task in TASKS:
        plain.add_adapter(task, card=CARDS[task], rank=1)
        plain.heads[task].load_state_dict(mixture.heads[task].state_dict())
    outputs, expected = mixture(batches(*TASKS)), plain(tasks=batches(*TASKS))
    for task in TASKS:
        torch.testing.assert_close(outputs[task].logits, expected[task].logits, **CLOSE)
        assert outputs[task].gate.shape == (3, shared)
    sum(output.loss for output in outputs.values()).backward()
    for gate in mixture.gates.values():
        assert gate.weight.grad.abs().max() < 1e-6
    other = network(shared=2, own=0)
    sum(output.loss for output in other(batches(*TASKS)).values()).backward()
    assert all(gate.weight.grad.abs().max() > 1e-4 for gate in other.gates.values())


def test_channels_in_another_order_with_their_names_give_the_same():
    mixture = network(own=0, heads={"seed-v": CHANNELS})
    for task in ("seed-v", "chb-mit"):
        batch = inputs_of(task)
        order = torch.randperm(len(CARDS[task].channels), generator=torch.manual_seed(3))
        moved = {"input_values": batch["input_values"][:, order]}
        moved["channel_ids"] = batch["channel_ids"][order]
        torch.testing.assert_close(
            mixture({task: moved})[task].logits, mixture({task: batch})[task].logits, **CLOSE
        )


def test_windows_of_other_channels_or_length_are_refused():
    mixture, batch = network(own=0), inputs_of("seed-v")
    fewer = {"input_values": batch["input_values"][:, 1:], "channel_ids": batch["channel_ids"][1:]}
    with pytest.raises(ValueError, match=r"its gate has weights .* exactly its 6 .* without C3"):
        mixture({"seed-v": fewer})
    longer = {**batch, "input_values": batch["input_values"].repeat(1, 1, 2, 1)}
    with pytest.raises(ValueError, match=r"6 channels x 200 samples; found 6 x 400"):
        mixture({"seed-v": longer})
    with pytest.raises(ValueError, match=r"tasks: expected some of .* found \['tuev'\]"):
        mixture({"tuev": inputs_of("tuev")})
    with pytest.raises(ValueError, match=r"found \['extra'\] too"):
        mixture({"seed-v": {**batch, "extra": 1}})


# Training ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("expert", ["full", "lora"])
def test_a_step_on_one_task_leaves_what_is_other_tasks_alone(expert):
    method = built(tasks=TASKS, method_options={**OPTIONS, "expert": expert})
    module = method.module.train()
    for name, parameter in module.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    before = snapshot(module)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.1)
    method.forward({"seed-v": batch_of("seed-v")}, 0.1)["seed-v"].loss.backward()
    optimizer.step()
    moved = changed(module, before)
    assert {method.task_of(name) for name in moved} == {"seed-v", None}
    for part in ("heads.seed-v.", "gates.seed-v.", "own.seed-v.0.", "experts.0.", "experts.1."):
        assert any(name.startswith(part) for name in moved), part
    assert any("temporal_encoder" in name for name in moved)
    assert all(method.module.get_parameter(name).requires_grad for name in moved)


def test_what_each_kind_of_expert_trains():
    kinds = {}
    for expert in ("full", "lora", "frozen"):
        method = built(tasks=TASKS, method_options={**OPTIONS, "expert": expert})
        kinds[expert] = {n for n, p in method.module.named_parameters() if p.requires_grad}
        everything = {name for name, _ in method.module.named_parameters()}
        beside = {name for name in everything if name.startswith(("heads.", "gates."))}
        assert kinds[expert] >= beside
        if expert == "full":
            assert kinds[expert] == everything
        if expert == "frozen":
            assert kinds[expert] == beside
    inside = {name for name in kinds["lora"] if not name.startswith(("heads.", "gates."))}
    # One trained temporal encoder for all experts; else adapters alone, of every expert.
    assert {n.split(".")[2] for n in inside if ".lora_" not in n} == {"temporal_encoder"}
    assert all(n.startswith("experts.0.") for n in inside if ".lora_" not in n)
    assert len({name.split(".layers.")[0] for name in inside if ".lora_A." in name}) == 5
    frozen = built(train_temporal_encoder=False, method_options={**OPTIONS, "expert": "lora"})
    assert frozen.facts()["train_temporal_encoder"] is False


def test_experts_start_as_copies_of_a_base_or_each_by_itself(tmp_path):
    tiny_model().save_pretrained(tmp_path / "base")
    model = {"model": {"base": str(tmp_path / "base")}}
    method = built(tasks=TASKS, **model)
    start = tiny_model().state_dict()
    for expert in method.module.all_experts():
        assert all(torch.equal(value, start[name]) for name, value in expert.state_dict().items())
    hps = METHODS["hps"].build(make_config(TASKS, method="hps", adapter={}, **model), CARDS, 0)
    for task in TASKS:  # the same start of heads
        assert torch.equal(method.module.heads[task].weight, hps.module.heads[task].weight)
    method, hps = built(tasks=TASKS), METHODS["hps"].build(
        make_config(TASKS, method="hps", adapter={}), CARDS, 0
    )  # fmt: skip
    weights = [expert.layers[0].mlp.fc1.weight for expert in method.module.all_experts()]
    assert torch.equal(weights[0], hps.module.layers[0].mlp.fc1.weight)
    assert all(not torch.equal(weights[0], other) for other in weights[1:])
    rates = {expert.layers[-1].drop_path.rate for expert in method.module.all_experts()}
    assert rates == {0.2}  # the configuration's


def test_depths_and_decay_are_those_of_one_labram():
    method = built(tasks=TASKS)
    assert method.depth("experts.1.temporal_encoder.conv1.weight") == 0
    assert method.depth("own.seed-v.0.cls_token") == 0
    assert method.depth("own.seed-v.0.layers.1.mlp.fc1.weight") == 2
    for name in ("experts.0.fc_norm.weight", "gates.tuab.weight", "heads.tuab.weight"):
        assert method.depth(name) == method.depths == 4
    decayed = {n for n, p in method.module.named_parameters() if method.decays(n, p)}
    assert "gates.tuab.weight" in decayed and "gates.tuab.bias" not in decayed
    assert not any("embedding" in name or "cls_token" in name for name in decayed)
    # A pass of bounded tokens counts those of all experts that a window meets.
    assert method.tokens(batch_of("seed-v")) == 3 * (1 + 6)


@pytest.mark.slow
@pytest.mark.parametrize("expert", ["full", "lora"])
def test_resumed_is_uninterrupted_to_the_bit(corpora, tmp_path, expert):
    options = {
        "method": "cgc",
        "method_options": {"shared": 1, "own": 1, "expert": expert},
        "optimization__epochs": 2,
        "optimization__head_start": "probe",
        "head__kind": "channels",
    }
    options |= {} if expert == "lora" else {"adapter": {}}
    whole = make_trainer(corpora, tmp_path / "whole", **options)
    run(whole)
    first = make_trainer(corpora, tmp_path / "parts", **options)
    first.resume()
    first.train_epoch()
    first.finish_epoch()
    first.save_checkpoint()
    again = make_trainer(corpora, tmp_path / "parts", **options)
    run(again)
    assert again.progress == whole.progress
    found, expected = outcome(again), outcome(whole)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("expert", ["full", "lora", "frozen"])
@pytest.mark.parametrize("name", ["mmoe", "cgc"])
def test_saved_and_loaded_is_equal(corpora, tmp_path, name, expert):
    tiny_model().save_pretrained(tmp_path / "base")
    options = {"shared": 2, "expert": expert} | ({"own": 1} if name == "cgc" else {})
    adapter = {"rank": {"attention": 2, "feed-forward": 3}, "separate_qkv": True}
    method = built(name, corpora, method_options=options, head__kind="channels",
                   model={"base": str(tmp_path / "base")},
                   adapter=adapter if expert == "lora" else {})  # fmt: skip
    torch.manual_seed(0)
    for parameter in method.module.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    none = {task: {} for task in method.cards}
    record = {"method": name, "command": "joint.py", "data": none, **method.facts()}
    method.save(tmp_path / "model", none, record)
    for task, corpus in corpora.items():
        loaded, card = METHODS[name].load(tmp_path / "model", task), corpus.card
        batch = {
            "input_values": torch.randn(2, len(card.channels), card.patches, 200),
            "channel_ids": method.module.heads[task].order.channel_ids[0],
        }
        assert list(loaded.cards) == [task] and loaded.title.startswith(method.label)
        found, expected = (each.predict_logits(task, batch) for each in (loaded, method))
        assert torch.equal(found, expected)
    text = (tmp_path / "model/README.md").read_text("utf-8")
    assert f"| method | {method.title} |" in text and "Backbone: LaBraM" in text
    place = tmp_path / "model/tasks/tuab/weights.safetensors"
    place.unlink()
    (tmp_path / "model/tasks/seed-v/weights.safetensors").rename(place)
    with pytest.raises(ValueError, match="these weights do not fit"):
        METHODS[name].load(tmp_path / "model", "tuab")


def test_frozen_weights_of_equal_experts_take_memory_once():
    lora = network(shared=6, own=1, adapter=AdapterOptions(rank=2), tied=True)
    base = tiny_model()
    added = sum(p.numel() for n, p in lora.named_parameters()
                if ".lora_" in n or n.startswith(("heads.", "gates.")))  # fmt: skip
    assert sum(p.numel() for p in lora.parameters()) == added + base.num_parameters()
    double = lora.double()
    assert len({id(expert.cls_token) for expert in double.all_experts()}) == 1


# Configurations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "mmoe", "method_options": {"own": 1}}, r"own: .* expected 0, found 1"),
        ({"method": "mmoe", "method_options": {"shared": 0}}, r"method_options\.shared: .*> 0"),
        ({"method_options": {"expert": "loar"}}, r"method_options\.expert: expected .*lora"),
        ({"method_options": {"experts": 3}}, r"experts: unknown key \(did you mean 'expert'\?\)"),
        ({"head": {"kind": "attention"}}, r"head\.kind: a head of kind attention"),
        ({"heads": {"tuab": {"kind": "attention"}}}, r"heads\.tuab\.kind: a head of kind"),
        ({"train_temporal_encoder": False}, "trains whole experts, found false"),
        ({"into_base": True}, "into_base: method cgc makes no tasks of a base"),
        ({"adapter": {"rank": 4}}, "adapter: method cgc has no adapters"),
    ],
)
def test_what_does_not_go_together_is_said_before_any_work(options, message):
    with pytest.raises(ConfigError, match=message):
        make_config(TASKS, **({"method": "cgc", "adapter": {}} | options))


def test_a_base_that_has_tasks_is_started_from_and_left_as_it_is(tmp_path):
    model = tiny_model()
    model.add_adapter("tuab", card=CARDS["tuab"])
    model.save_pretrained(tmp_path / "base")
    model.save_adapter("tuab", tmp_path / "base/adapters/tuab")
    options = {"model": {"base": str(tmp_path / "base")}, "adapter": {}}
    with pytest.raises(TrainingError, match="hps changes the weights"):
        settle_encoder(make_config(TASKS, method="hps", **options))
    for expert in ("full", "lora"):
        options["method_options"] = {"shared": 1, "expert": expert}
        config, told = settle_encoder(make_config(TASKS, method="mmoe", **options))
        assert config.train_temporal_encoder and not told
        assert not METHODS["mmoe"].build(config, CARDS, 0).module.experts[0].tasks


def test_a_corpus_without_channels_has_no_gate():
    cards = {task: CARDS[task].replace(channels=()) for task in TASKS}
    config = make_config(TASKS, method="mmoe", adapter={}, method_options={"shared": 1})
    with pytest.raises(TrainingError, match="Task 'tuab': a gate reads every channel"):
        METHODS["mmoe"].build(config, cards, 0)


def test_both_methods_are_the_same_but_for_their_options():
    assert METHODS["mmoe"].Options().own == 0 and METHODS["cgc"].Options().own == 1
    assert METHODS["mmoe"].Options().shared == METHODS["cgc"].Options().shared == 6
    assert not ExpertMethod.names
