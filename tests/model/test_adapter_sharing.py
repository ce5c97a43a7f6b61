"""Adapters of several tasks that share low-rank pairs: exact, one pass, and saved as plain ones."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny_models import (
    CARDS,
    assert_same_gradients,
    batch_of,
    batches,
    belongs_to,
    changed,
    gradients,
    inputs_of,
    logits_of,
    model_with_tasks,
    randomize,
    snapshot,
    tiny_model,
    trainable,
)
from transformers import AutoModel

from modeling_mteeg import AdapterOptions, MteegConfig, MteegModel
from modeling_mteeg.methods import METHODS
from modeling_mteeg.model.adapter_files import read_adapter_config
from modeling_mteeg.model.adapter_sharing import AdapterSharing
from modeling_mteeg.model.lora import adapter_layers
from modeling_mteeg.model.weight_names import task_of
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.joint_config import JointConfig

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
EXACT = {"rtol": 1e-10, "atol": 1e-12}
BY_KIND = {"attention": 2, "feed-forward": 3}
SHARED = [
    {"sharing": "shared", "location": "attention", "scaling": 0.5},
    {"sharing": "shared+own", "rank": 3, "shared_rank": 2},
    {"sharing": "shared+own", "rank": 2, "shared_rank": {"attention": 1, "feed-forward": 4},
     "separate_qkv": True, "kind": "rslora"},
    {"sharing": "pool", "experts": 3, "rank": 2},
    {"sharing": "pool", "experts": 2, "rank": BY_KIND, "separate_qkv": True, "kind": "rslora",
     "scaling": 2.0},
]  # fmt: skip
TWO = ("tuab", "seed-v")
TREE = {"model": {"preset": "tiny"}, "data": {"folder": "data", "tasks": list(TWO)}}


def shared_names(model: MteegModel) -> set[str]:
    """Parameters of adapters that are no task's own."""
    return {n for n, _ in model.named_parameters() if ".lora_" in n and task_of(n) is None}


@pytest.mark.parametrize("options", SHARED, ids=str)
def test_fresh_adapters_give_the_bases_output_bit_for_bit(options):
    model = tiny_model()
    with torch.no_grad():
        expected = {task: model(**inputs_of(task)).last_hidden_state for task in CARDS}
        for task, card in CARDS.items():
            model.add_adapter(task, card=card, **options)
        joint = model(tasks={task: inputs_of(task) for task in CARDS})
        for task in CARDS:
            found = model(**inputs_of(task), task=task).last_hidden_state
            assert torch.equal(found, expected[task])
            assert torch.allclose(joint[task].last_hidden_state, expected[task], **CLOSE)


@pytest.mark.parametrize("options", SHARED, ids=str)
def test_one_pass_over_all_tasks_is_the_tasks_one_by_one(options):
    model = model_with_tasks(options=options)
    tasks = batches()
    joint = model(tasks=tasks)
    sum(out.loss for out in joint.values()).backward()
    found = gradients(model)
    for task, batch in tasks.items():
        alone = model(**batch, task=task)
        alone.loss.backward()
        assert torch.allclose(joint[task].logits, alone.logits, **CLOSE)
    assert_same_gradients(found, gradients(model))
    assert set(found) == trainable(model) and all(grad.any() for grad in found.values())


def reference(layer, name: str, x, task: str, options: AdapterSharing):
    """W x + b + sum_j w_j s_j B_j A_j x of one task, pair by pair and block by block."""
    out = torch.nn.functional.linear(x, layer.base_layer.weight, layer.base_layer.bias)
    names = [pair for pair in layer.lora_A if pair in (task, "_shared") or "_expert_" in pair]
    for j, pair in enumerate(names):
        a, b = layer.lora_A[pair].weight, layer.lora_B[pair].weight
        scaling = options.scaling * (math.sqrt(b.shape[1]) if options.kind == "rslora" else 1)
        weight = layer.lora_mix[task].weight[j] if options.sharing == "pool" else 1.0
        blocks = options.blocks_of(name)
        change = [part @ down for part, down in zip(b.chunk(blocks), a.chunk(blocks), strict=True)]
        out = out + weight * scaling * x @ torch.cat(change).t()
    return out


@pytest.mark.parametrize("merging", [False, True], ids=["factored", "merged"])
@pytest.mark.parametrize("options", SHARED, ids=str)
def test_outputs_and_gradients_are_those_of_a_plain_reference(options, merging, monkeypatch):
    monkeypatch.setattr("modeling_mteeg.model.lora_products.merging_pays", lambda *args: merging)
    model = model_with_tasks(*TWO, options=options, num_hidden_layers=1).double()
    x = torch.randn(9, 100, dtype=torch.float64, requires_grad=True)
    route = (("tuab", 1, 4), ("seed-v", 4, 8))
    names = {"qkv", "proj", "fc1"} & set(model.adapter_options["tuab"].layers)
    for name in names:
        layer = getattr(model.layers[0].mlp if name == "fc1" else model.layers[0].attention, name)
        parts = [reference(layer, name, x[rows], task, AdapterSharing(**options))
                 for task, rows in (("tuab", slice(1, 4)), ("seed-v", slice(4, 8)))]  # fmt: skip
        expected = torch.cat([layer.base_layer(x[:1]), *parts, layer.base_layer(x[8:])])
        trained = [p for n, p in layer.named_parameters() if "lora_" in n]
        weight = torch.randn_like(expected)
        wanted = torch.autograd.grad((expected * weight).sum(), (x, *trained))
        for plain in (False, True):  # a trained W takes ordinary operations, as compiling does
            layer.base_layer.weight.requires_grad_(plain)
            found = layer(x, route=route)
            assert torch.allclose(found, expected, **EXACT)
            given = torch.autograd.grad((found * weight).sum(), (x, *trained))
            assert all(torch.allclose(a, b, **EXACT) for a, b in zip(given, wanted, strict=True))


@pytest.mark.parametrize("options", SHARED, ids=str)
def test_a_step_on_one_task_moves_its_own_and_the_shared(options):
    model = model_with_tasks(*TWO, options=options)
    names = set(model.set_trainable(["seed-v"], temporal_encoder=False))
    before, others = snapshot(model), logits_of(model)["tuab"]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.train()(**batch_of("seed-v"), task="seed-v").loss.backward()
    optimizer.step()
    own = {name for name in before if belongs_to(name, "seed-v")}
    assert changed(model.eval(), before) == names == own | shared_names(model)
    assert shared_names(model) and not torch.equal(logits_of(model)["tuab"], others)
    kinds = {name.split(".")[-3] for name in own if ".lora_" in name}
    assert kinds == {
        "shared": set(), "shared+own": {"lora_A", "lora_B"}, "pool": {"lora_mix"}
    }[options["sharing"]]  # fmt: skip


def test_weights_of_a_pool_move_although_b_starts_at_zero():
    model = tiny_model()
    for task in TWO:
        model.add_adapter(task, card=CARDS[task], sharing="pool")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0)
    weights = [layer.lora_mix[task].weight for task in TWO
               for layer in adapter_layers(model, task).values()]  # fmt: skip
    start = [weight.detach().clone() for weight in weights]
    assert all(weight.sum() == pytest.approx(1) and weight.min() > 0 for weight in start)
    assert len({tuple(weight.tolist()) for weight in start}) == len(start) == 16
    for moved in (False, True):  # B moves first, as it does before A in any LoRA
        sum(out.loss for out in model(tasks=batches(*TWO)).values()).backward()
        optimizer.step()
        optimizer.zero_grad()
        pairs = zip(weights, start, strict=True)
        assert {torch.equal(now, before) for now, before in pairs} == {not moved}


@pytest.mark.parametrize("options", SHARED, ids=str)
def test_a_saved_task_is_one_plain_adapter(options, tmp_path):
    model = model_with_tasks(*TWO, options=options | {"dropout": 0.1})
    expected = {task: model(**inputs_of(task), task=task) for task in TWO}
    model.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) == set(tiny_model().state_dict())
    for task in TWO:
        model.save_adapter(task, tmp_path / "adapters" / task)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert loaded.fingerprint() == model.fingerprint() == tiny_model().fingerprint()
    for task in TWO:
        folder = tmp_path / "adapters" / task
        loaded.load_adapter(task)
        assert not loaded.adapter_sharing
        assert loaded.adapter_options[task] == read_adapter_config(folder)
        assert torch.equal(loaded(**inputs_of(task), task=task).logits, expected[task].logits)
        stock = PeftModel.from_pretrained(AutoModel.from_pretrained(tmp_path), folder).eval()
        found = stock(**inputs_of(task)).last_hidden_state
        assert torch.allclose(found, expected[task].last_hidden_state, **CLOSE)
        merged = copy.deepcopy(model).merge_and_unload(task)(**inputs_of(task))
        assert torch.allclose(merged.logits, expected[task].logits, **CLOSE)
    # What is added to loaded tasks is plain, or shared by the new ones: the loaded ones stay.
    loaded.add_adapter("new", ["a", "b"], **options)
    assert trainable(loaded) == {n for n in trainable(loaded) if belongs_to(n, "new")} | (
        shared_names(loaded)
    )
    assert torch.equal(logits_of(loaded, "tuab")["tuab"], expected["tuab"].logits)


def test_ranks_add_up_in_the_saved_configuration(tmp_path):
    for options, rank, pattern in (
        ({"sharing": "shared"}, 8, {}),
        ({"sharing": "shared+own"}, 16, {}),
        ({"sharing": "shared+own", "rank": 3, "shared_rank": BY_KIND}, 5, {"fc1": 6, "fc2": 6}),
        ({"sharing": "pool"}, 32, {}),
        ({"sharing": "pool", "experts": 3, "rank": 2, "separate_qkv": True}, 6, {"qkv": 18}),
    ):
        model = model_with_tasks("tuab", options=options, num_hidden_layers=1)
        folder = model.save_adapter("tuab", tmp_path / "tuab")
        written = json.loads((folder / "adapter_config.json").read_text())
        assert written["r"] == rank and written["rank_pattern"] == pattern
        assert written["lora_alpha"] == rank  # scaling 1
        asked = AdapterSharing(**options).to_peft()
        assert (asked.r, asked.rank_pattern) == (rank, pattern)


def copied(source: MteegModel, target: MteegModel, names: dict[str, str]) -> MteegModel:
    """``target`` with the source's pairs under other names, and its heads."""
    for task in TWO:
        target.heads[task].load_state_dict(source.heads[task].state_dict())
        layers = adapter_layers(target, task)
        for name, layer in adapter_layers(source, task).items():
            for old, new in names.items():
                for part in ("lora_A", "lora_B"):
                    ours, theirs = getattr(layers[name], part), getattr(layer, part)
                    ours[new].load_state_dict(theirs[old].state_dict())
    return target


def test_borders_between_the_ways_to_share():
    shared = model_with_tasks(*TWO, options={"sharing": "shared"})
    expected = logits_of(shared)
    pool, both = tiny_model(), tiny_model()
    for task in TWO:
        pool.add_adapter(task, card=CARDS[task], sharing="pool", experts=1)
        both.add_adapter(task, card=CARDS[task], sharing="shared+own")
    copied(shared, pool, {"_shared": "_expert_0"})  # one expert, its weight 1 from the start
    copied(shared, both, {"_shared": "_shared"})  # own B zero
    for model in (pool, both):
        found = logits_of(model)
        assert all(torch.allclose(found[task], expected[task], **CLOSE) for task in TWO)
    one = [model_with_tasks("tuab", options={"sharing": way}) for way in ("own", "shared")]
    assert torch.equal(logits_of(one[0])["tuab"], logits_of(one[1])["tuab"])  # the same start, too
    own = tiny_model()
    for task in TWO:
        own.add_adapter(task, card=CARDS[task], sharing="own")
    assert not own.adapter_sharing and not shared_names(own)
    assert own.adapter_options == {task: AdapterOptions() for task in TWO}


@pytest.mark.parametrize(
    ("options", "pairs", "weights"),
    [
        ({"sharing": "shared"}, 1, 0),
        ({"sharing": "shared+own"}, 7, 0),
        ({"sharing": "pool"}, 4, 6 * 48 * 4),
    ],
    ids=str,
)
def test_six_tasks_on_the_base_size_train_exactly_so_many(options, pairs, weights):
    with torch.device("meta"):
        model = MteegModel(MteegConfig.from_preset("base"))
        for task, card in CARDS.items():
            model.add_adapter(task, card=card, **options)
    heads_and_encoder = 1_848_399 - 6 * 307_200  # the paper's count, less its adapters
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count == heads_and_encoder + pairs * 307_200 + weights


@pytest.mark.parametrize("options", SHARED, ids=str)
def test_what_is_shared_stays_until_its_last_task_goes(options):
    model = model_with_tasks("tuab", "seed-v", "tuev", options=options)
    model.add_adapter("chb-mit", card=CARDS["chb-mit"])  # its own, beside them
    randomize(model, "chb-mit")
    outputs, shared = logits_of(model), shared_names(model)
    switches = trainable(model)
    for gone in ("seed-v", "tuab"):
        model.delete_adapter(gone)
        assert not any(belongs_to(name, gone) for name, _ in model.named_parameters())
        assert shared_names(model) == shared and trainable(model) <= switches
        after = logits_of(model)
        assert all(torch.equal(after[task], outputs[task]) for task in after)
    model.delete_adapter("tuev")
    assert not shared_names(model) and not model.adapter_sharing
    assert list(model.peft_config) == ["chb-mit"]
    assert torch.equal(logits_of(model)["chb-mit"], outputs["chb-mit"])
    model.delete_adapter("chb-mit")
    assert model.state_dict().keys() == tiny_model().state_dict().keys()
    model.add_adapter("tuab", card=CARDS["tuab"], **options)  # begins anew
    assert not any(w.any() for n, w in model.named_parameters() if ".lora_B." in n)


def test_dropout_drops_the_input_of_all_pairs_alike():
    options = {"sharing": "pool", "experts": 3, "dropout": 0.5}
    layer = model_with_tasks("tuab", options=options).train().layers[0].mlp.fc1
    x = torch.zeros(4000, 100)
    x[:, 7] = 1.0  # dropped or doubled: two answers, not two for every expert
    with torch.no_grad():
        out = layer(x, route=(("tuab", 0, 4000),))
    assert len(torch.unique(out.round(decimals=4), dim=0)) == 2


def test_another_way_to_share_in_the_same_model_is_refused():
    model = model_with_tasks("tuab", options={"sharing": "pool"}, num_hidden_layers=1)
    before = snapshot(model)
    for options in ({"sharing": "shared"}, {"sharing": "pool", "experts": 2},
                    {"sharing": "pool", "rank": 4}):  # fmt: skip
        with pytest.raises(ValueError, match=r"sharing: expected the options of task 'tuab'"):
            model.add_adapter("seed-v", card=CARDS["seed-v"], **options)
    with pytest.raises(ValueError, match=r"'tuab' shares its adapter \(pool\), so tensors of one"):
        model.load_adapter_state_dict("tuab", model.adapter_state_dict("tuab"))
    assert not changed(model, before) and list(model.tasks) == ["tuab"]
    model.add_adapter("seed-v", card=CARDS["seed-v"], sharing="pool", experts=4)
    assert set(model.adapter_sharing) == set(TWO)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sharing": "poool"}, r"adapter.sharing: expected one of own, .*'poool' .did you mean 'p"),
        ({"sharing": "pool", "experts": 0}, "adapter.experts: expected a number > 0, found 0"),
        ({"sharing": "pool", "experts": 2.0}, r"adapter.experts: .*whole number, found 2\.0"),
        ({"experts": 2}, "adapter: experts: an option of sharing 'pool', found 2 with 'own'"),
        ({"sharing": "shared", "shared_rank": 4}, "shared_rank: an option of .*or give rank"),
        ({"sharing": "shared+own", "shared_rank": {"attention": 4}}, "shared_rank: expected one f"),
        ({"sharing": "shared+own", "shared_rank": 0}, "adapter.shared_rank: expected a number > 0"),
        ({"sharing": "pool", "experts": 1000}, "at most 4096 in the saved adapter.*found 8000"),
    ],
    ids=str,
)
def test_faults_of_a_configuration_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        JointConfig.build(TREE | {"adapter": options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sharing": "all"}, "sharing: expected one of .*found 'all'"),
        ({"sharing": "pool", "experts": True}, "experts: expected a whole number .*found True"),
        ({"sharing": "shared", "location": "none"}, "location 'none' has no adapter"),
    ],
    ids=str,
)
def test_options_of_a_model_are_checked_too(options, message):
    with pytest.raises(ValueError, match=message):
        tiny_model(num_hidden_layers=1).add_adapter("tuab", ["a", "b"], **options)


def test_checkpoints_of_before_belong_to_the_same_trainings():
    before, own = (JointConfig.build(TREE, changes) for changes in ({}, {"adapter.sharing": "own"}))
    assert before.identity() == own.identity()
    assert not [key for key in own.identity() if "shar" in key or "experts" in key]
    pool = JointConfig.build(TREE, {"adapter.sharing": "pool", "adapter.experts": 3})
    assert pool.identity()["adapter.sharing"] == "pool" and pool.identity()["adapter.experts"] == 3
    assert JointConfig.build(pool.to_dict()) == pool
    with pytest.raises(ConfigError, match="hps has no adapters; leave the section out"):
        JointConfig.build(TREE, {"adapter.sharing": "pool", "method": "hps"})
    assert METHODS["mteeg"].adapter_options(pool).plain() == AdapterOptions(rank=24)
