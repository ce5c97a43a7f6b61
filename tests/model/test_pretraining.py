"""Masked pre-training: equal to the published code, and what it promises for any weights."""

from __future__ import annotations

import functools
import json
import logging

import plain_stage_one as plain
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from test_codebook import LargestTensor
from test_parity import assert_match
from test_tokenizer import SHAPES, batch, windows
from tiny_models import CARDS, inputs_of
from transformers import AutoModel, AutoModelForPreTraining

from modeling_mteeg import (
    MteegConfig,
    MteegForPreTraining,
    MteegModel,
    MteegTokenizerConfig,
    MteegTokenizerModel,
)
from modeling_mteeg.conversion import convert_state_dict
from modeling_mteeg.model import code_loss
from modeling_mteeg.model.layers import Group, MteegLayer
from modeling_mteeg.model.pretraining_mteeg import random_mask


def mask_of(case: str, seed: int = 0) -> torch.Tensor:
    samples, channels, patches = SHAPES[case]
    return random_mask(samples, channels * patches, generator=torch.Generator().manual_seed(seed))


def labels_of(case: str, codes: int = 32) -> torch.Tensor:
    samples, channels, patches = SHAPES[case]
    generator = torch.Generator().manual_seed(5)
    return torch.randint(codes, (samples, channels * patches), generator=generator)


def full_batch(case: str) -> dict[str, torch.Tensor]:
    return batch(case) | {"mask": mask_of(case), "labels": labels_of(case)}


@functools.cache
def weights() -> dict[str, torch.Tensor]:
    """Of the plain way, rounded to what the model holds."""
    return {k: v.float().double() for k, v in plain.student_weights().items()}


def student() -> MteegForPreTraining:
    return convert_state_dict(weights(), kind="pretraining")[0]


def test_logits_match_published_code(golden_dir):
    names = json.loads((golden_dir / "channels.json").read_text())
    rows = [1 + names["standard_1020"].index(name) for name in names["montages"]["tuab"]]
    cases = load_file(golden_dir / "mem_tiny_cases.safetensors")
    published = load_file(golden_dir / "mem_tiny.safetensors")
    model, _ = convert_state_dict(published, kind="pretraining")
    ids = torch.tensor(rows)[:, None].repeat(1, 2)
    out = model(cases["x"], ids, mask=cases["mask"].bool())
    found = {"logits": out.logits, "logits_symmetric": out.logits_complement}
    assert_match(found, {name: cases[name] for name in found})


@pytest.mark.parametrize("case", SHAPES)
def test_one_pass_gives_loss_logits_and_gradients_of_two_plain_passes(case):
    x, rows = windows(case)
    mask, labels = mask_of(case), labels_of(case)
    leaves = {
        name: value.clone().requires_grad_()
        for name, value in weights().items()
        if not name.startswith(("student.lm_head", "projection_head"))
    }
    first = plain.masked_logits(leaves, x, rows, mask)
    second = plain.masked_logits(leaves, x, rows, ~mask)
    loss = F.cross_entropy(first, labels[mask]) + F.cross_entropy(second, labels[~mask])
    loss.backward()
    model, report = convert_state_dict(weights(), kind="pretraining")
    model = model.double()
    out = model(x, torch.tensor(rows), mask=mask, labels=labels)
    out.loss.backward()
    found = {"loss": out.loss, "first": out.logits, "second": out.logits_complement}
    assert_match(found, {"loss": loss, "first": first, "second": second})
    assert out.accuracy == (first.argmax(1) == labels[mask]).float().mean()
    assert out.accuracy_complement == (second.argmax(1) == labels[~mask]).float().mean()
    parameters = dict(model.named_parameters())
    names = {r.key: r.reason for r in report.with_status("used")}
    assert names.keys() == leaves.keys()
    without = {name for name, parameter in parameters.items() if parameter.grad is None}
    assert without == set(parameters) - set(names.values())
    assert without == {"mteeg.fc_norm.weight", "mteeg.fc_norm.bias"}
    assert without == {name for name, p in parameters.items() if not p.requires_grad}
    whole = torch.cat([leaf.grad.flatten() for leaf in leaves.values()]).norm()
    for theirs, ours in names.items():
        expected = leaves[theirs].grad.reshape(parameters[ours].shape)
        assert (parameters[ours].grad - expected).norm() < 1e-6 * whole, ours  # the loss is float32


def test_the_cls_token_takes_the_row_of_the_first_channel_not_its_own():
    """As the published pre-training does; fine-tuning takes the cls row."""
    model, inputs = student(), full_batch("tuab")
    model(**inputs).loss.backward()
    grad = model.mteeg.spatial_embedding.grad
    assert not grad[0].any() and grad[inputs["channel_ids"][:, 0]].abs().sum(1).min() > 0
    expected = model(**inputs).logits
    other = torch.linspace(-1, 1, grad.shape[1])  # no constant, which the norms take away
    with torch.no_grad():
        model.mteeg.spatial_embedding[0] += other
    assert torch.equal(model(**inputs).logits, expected)
    base = model.mteeg(**batch("tuab")).pooler_output
    with torch.no_grad():
        model.mteeg.spatial_embedding[0] += other
    changed = model.mteeg(**batch("tuab")).pooler_output
    assert not torch.allclose(changed, base, atol=1e-4)


def test_mask_and_complement_change_places():
    model, inputs = student(), full_batch("tuab")
    one = model(**inputs)
    other = model(**inputs | {"mask": ~inputs["mask"]})
    assert torch.allclose(one.logits, other.logits_complement, atol=1e-5)
    assert torch.allclose(one.logits_complement, other.logits, atol=1e-5)
    assert torch.allclose(one.loss, other.loss)


def test_the_temporal_encoder_runs_once_for_both_passes():
    model, calls = student(), []
    model.mteeg.temporal_encoder.register_forward_hook(lambda *_: calls.append(1))
    model(**full_batch("tuab"))
    assert len(calls) == 1


def test_channels_after_the_first_go_by_name_not_by_order():
    model, inputs = student(), full_batch("tuab")
    order = torch.cat([torch.tensor([0]), 1 + torch.randperm(22)])
    mask = inputs["mask"].view(2, 23, 3)
    moved = {
        "input_values": inputs["input_values"][:, order],
        "channel_ids": inputs["channel_ids"][order],
        "mask": mask[:, order].flatten(1),
    }
    places = torch.full((2, 23, 3), -1)
    places[mask] = torch.arange(int(mask.sum()))
    places = places[:, order][mask[:, order]]  # where each hidden patch stood before
    assert torch.allclose(model(**moved).logits, model(**inputs).logits[places], atol=1e-5)


def test_groups_of_different_shapes_are_one_step():
    model = student()
    groups = [full_batch(case) for case in SHAPES]
    alone = [model(**group) for group in groups]
    out = model(groups=groups)
    for part in ("logits", "logits_complement"):
        assert torch.allclose(out[part], torch.cat([o[part] for o in alone]), atol=1e-5)
    masked = torch.cat([g["labels"][g["mask"]] for g in groups])
    others = torch.cat([g["labels"][~g["mask"]] for g in groups])
    loss = F.cross_entropy(out.logits, masked) + F.cross_entropy(out.logits_complement, others)
    assert torch.allclose(out.loss, loss)
    assert [m.shape for m in out.mask] == [g["mask"].shape for g in groups]


def test_masks_hide_equally_many_patches_of_every_sample():
    for patches, ratio, hidden in ((256, 0.5, 128), (23, 0.5, 12), (10, 0.75, 8), (1, 0.5, 1)):
        mask = random_mask(6, patches, ratio)
        assert mask.dtype == torch.bool and mask.shape == (6, patches)
        assert (mask.sum(1) == hidden).all()
    mask = random_mask(2000, 20)
    assert (mask.float().mean(0) - 0.5).abs().max() < 0.05  # no place is preferred
    assert len(mask.unique(dim=0)) > 1900
    same = [random_mask(3, 50, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*same)


def test_without_a_mask_one_is_drawn_and_returned():
    model, inputs = student(), batch("tuab")
    model.config.mask_ratio = 0.75
    out = model(**inputs)
    assert out.loss is None and (out.mask.sum(1) == 52).all()
    again = model(**inputs, mask=out.mask)
    assert torch.equal(out.logits, again.logits) and len(out.logits) == 104


def test_accuracy_counts_the_codes_found():
    model, inputs = student(), full_batch("seed-v")
    out = model(**inputs)
    mask, labels = inputs["mask"], inputs["labels"].clone()
    labels[mask] = out.logits.argmax(-1)
    labels[~mask] = (out.logits_complement.argmax(-1) + 1) % 32
    found = model(**inputs | {"labels": labels})
    assert (found.accuracy, found.accuracy_complement) == (1.0, 0.0)


def test_a_pass_that_hides_nothing_costs_nothing():
    model, inputs = student(), full_batch("seed-v")
    inputs["mask"] = torch.ones_like(inputs["mask"])
    out = model(**inputs)
    assert torch.allclose(out.loss, F.cross_entropy(out.logits, inputs["labels"].flatten()))
    assert out.accuracy_complement.isnan()
    out.loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.fixture
def folder(tmp_path):
    model = student()
    model.save_pretrained(tmp_path)
    return model, tmp_path


def test_saved_and_loaded_is_equal(folder):
    model, path = folder
    loaded = AutoModelForPreTraining.from_pretrained(path)
    assert type(loaded) is MteegForPreTraining
    other = loaded.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in model.state_dict().items())
    assert torch.equal(loaded(**full_batch("tuab")).loss, model(**full_batch("tuab")).loss)


def test_the_folder_is_a_base_for_joint_tuning(folder, caplog):
    model, path = folder
    with caplog.at_level(logging.WARNING, logger="transformers"):
        base = AutoModel.from_pretrained(path)
    assert not caplog.records, "a complaint about weights"
    assert type(base) is MteegModel
    ours = model.mteeg.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in base.state_dict().items())
    direct, _ = convert_state_dict(weights(), kind="base")
    assert base.fingerprint() == direct.fingerprint() == base.config.fingerprint
    base.add_adapter("seed-v", card=CARDS["seed-v"])
    labels = torch.tensor([0, 1, 2])
    base(**inputs_of("seed-v"), labels=labels, task="seed-v").loss.backward()
    assert all(p.grad is not None for p in base.parameters() if p.requires_grad)


def test_a_tuned_base_saved_from_the_folder_names_no_pretraining_code(folder, tmp_path):
    base = AutoModel.from_pretrained(folder[1])
    base.save_pretrained(tmp_path / "tuned")
    config = json.loads((tmp_path / "tuned" / "config.json").read_text())
    assert config["auto_map"]["AutoModel"] == "modeling_mteeg.MteegModel"
    assert "AutoModelForPreTraining" not in config["auto_map"]
    assert not (tmp_path / "tuned" / "pretraining_mteeg.py").exists()


def test_pretraining_goes_on_from_a_base(tmp_path):
    base = MteegModel(MteegConfig.from_preset("tiny"))
    base.save_pretrained(tmp_path)
    model = MteegForPreTraining.from_pretrained(tmp_path)
    inner = model.mteeg.state_dict()
    assert all(torch.equal(value, inner[name]) for name, value in base.state_dict().items())
    assert 0 < model.mask_token.std() < 0.1 and 0 < model.lm_head.weight.std() < 0.1
    assert torch.equal(model.norm.weight, torch.ones(100))


def test_a_tokenizer_is_not_taken_for_a_backbone_nor_a_backbone_for_a_tokenizer(tmp_path):
    """transformers itself would warn, and start from random weights."""
    MteegTokenizerModel(MteegTokenizerConfig.from_preset("tiny")).save_pretrained(tmp_path / "t")
    MteegModel(MteegConfig.from_preset("tiny")).save_pretrained(tmp_path / "b")
    for kind in (MteegModel, MteegForPreTraining):
        with pytest.raises(ValueError, match="type 'mteeg', found one of type 'mteeg_tokenizer'"):
            kind.from_pretrained(tmp_path / "t")
    with pytest.raises(ValueError, match="type 'mteeg_tokenizer', found one of type 'mteeg'"):
        MteegTokenizerModel.from_pretrained(tmp_path / "b")


def test_tokenizer_and_student_learn_together():
    """The codes of a frozen tokenizer can be learnt by heart."""
    torch.manual_seed(0)
    tokenizer = MteegTokenizerModel(MteegTokenizerConfig.from_preset("tiny", num_codes=16))
    tokenizer.train()(**batch("seed-v"))  # sets the codes
    model = MteegForPreTraining(MteegConfig.from_preset("tiny", num_codes=16)).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    inputs = batch("seed-v")
    inputs["labels"] = tokenizer.eval().get_codebook_indices(**inputs)
    assert len(inputs["labels"].unique()) > 3
    history = []
    for _ in range(60):
        out = model(**inputs, mask=mask_of("seed-v"))
        out.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append(out.loss.item())
    assert history[-1] < 0.1 * history[0]
    assert out.accuracy == out.accuracy_complement == 1.0


def test_gradient_checkpointing_and_half_precision_give_the_same_loss():
    inputs = full_batch("tuab")
    plain_model, saving = student().train(), student().train()
    saving.gradient_checkpointing_enable()
    one, two = plain_model(**inputs).loss, saving(**inputs).loss
    one.backward(), two.backward()
    assert torch.equal(one, two)
    grads = [m.mteeg.layers[0].mlp.fc1.weight.grad for m in (plain_model, saving)]
    assert torch.allclose(*grads, atol=1e-7) and grads[0].any()
    with torch.autocast("cpu", torch.bfloat16):
        assert plain_model(**inputs).loss.item() == pytest.approx(one.item(), rel=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": mask_of("tuab").float()}, "mask: expected a tensor of torch.bool, found"),
        ({"mask": mask_of("tuab")[:, 1:]}, r"mask: expected \(2, 69\) for 2 samples of 23"),
        ({"labels": labels_of("tuab")[:1]}, r"labels: expected \(2, 69\) .* found \(1, 69\)"),
        (
            {"labels": labels_of("tuab") + 1},
            "codes* numbers from 0 to 31, found 1 to 32.*num_codes",
        ),
        ({"labels": [[1]]}, "labels: expected a tensor of torch.int64, found list"),
        ({"groups": [batch("tuab")]}, "Give either input_values, channel_ids, mask, labels, or"),
        ({"channel_ids": torch.full((23, 2), 129)}, "rows of the spatial table, 0 to 128"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        student()(**full_batch("tuab") | change)


def test_labels_for_some_groups_only_are_refused():
    with pytest.raises(ValueError, match="found them for 1 of 2"):
        student()(groups=[full_batch("tuab"), batch("seed-v")])


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5])
def test_mask_ratios_that_hide_all_or_nothing_are_refused(ratio):
    with pytest.raises(ValueError, match="mask_ratio: expected a number between 0 and 1"):
        MteegConfig.from_preset("tiny", mask_ratio=ratio)


@pytest.mark.parametrize("preset", ["base", "large", "huge"])
def test_presets_predict_8192_codes(preset):
    config = MteegConfig.from_preset(preset)
    assert (config.num_codes, config.mask_ratio) == (8192, 0.5)
    with torch.device("meta"):
        model = MteegForPreTraining(config)
    assert model.lm_head.weight.shape == (8192, config.hidden_size)


@pytest.mark.parametrize("half", [False, True])
def test_the_loss_without_logits_is_the_same(monkeypatch, half):
    """In slices of a few rows; gradients of rows, weight and bias; groups, and parts of a step."""
    monkeypatch.setitem(code_loss._LOGITS_AT_A_TIME, "cpu", 7 * 32)
    groups = [full_batch("tuab"), full_batch("seed-v")]
    models = [student().train() for _ in range(2)]
    outputs = []
    for model, logits in zip(models, (True, False), strict=True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = model(groups=groups, num_hidden=(123, 45), return_logits=logits)
        (3 * out.loss).backward()
        outputs.append(out)
    kept, sliced = outputs
    assert sliced.logits is None and sliced.logits_complement is None
    assert sliced.accuracy == kept.accuracy
    assert sliced.accuracy_complement == kept.accuracy_complement
    tolerance = 0.02 if half else 1e-6
    assert sliced.loss.item() == pytest.approx(kept.loss.item(), rel=tolerance)
    layer = "mteeg.layers.0.mlp.fc1.weight"
    for name in ("lm_head.weight", "lm_head.bias", "norm.weight", "mask_token", layer):
        expected, found = (model.get_parameter(name).grad for model in models)
        assert expected.any() and (found - expected).norm() <= 5 * tolerance * expected.norm(), name


def test_the_logits_of_8192_codes_are_never_whole():
    torch.manual_seed(0)
    model = MteegForPreTraining(MteegConfig.from_preset("tiny", num_codes=8192)).train()
    inputs = {
        "input_values": torch.randn(5, 64, 4, 200),
        "channel_ids": torch.arange(1, 65)[:, None].repeat(1, 2),
        "labels": torch.randint(8192, (5, 256)),
    }
    for logits, most in ((True, 640 * 8192), (False, 2**22)):
        with LargestTensor() as largest:
            model(**inputs, return_logits=logits).loss.backward()
        assert largest.elements == most, "held at a time, of 640 rows in a pass"


def test_without_logits_and_labels_there_is_nothing_to_return():
    with pytest.raises(ValueError, match="labels with return_logits=False"):
        student()(**batch("tuab"), return_logits=False)


def test_everything_behind_the_last_attention_sees_hidden_patches_only():
    model, seen = student(), []
    for layer in model.mteeg.layers:
        layer.mlp.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    inputs = full_batch("tuab")
    model(**inputs)
    samples, patches = inputs["labels"].shape
    whole = 2 * samples * (1 + patches)
    assert seen == [whole] * (len(seen) - 1) + [samples * patches]


def test_kept_rows_of_a_layer_are_those_of_the_whole_layer():
    """Stochastic depth included: a sample's decision is that of its rows, kept or not."""
    torch.manual_seed(0)
    layer = MteegLayer(MteegConfig.from_preset("tiny", drop_path_rate=0.5), 2).train()
    groups, x = (Group(4, 5), Group(6, 3)), torch.randn(38, 100)
    keep = torch.randperm(38)[:17]
    torch.manual_seed(1)
    whole = layer(x, groups)[0]
    torch.manual_seed(1)
    kept = layer(x, groups, keep=keep)[0]
    torch.testing.assert_close(kept, whole[keep], rtol=1e-5, atol=1e-5)
    assert (whole == x).all(1).any(), "no sample skipped the layer"


def test_a_backbone_with_adapters_is_refused():
    model = MteegForPreTraining(MteegConfig.from_preset("tiny", num_codes=8))
    inputs = {"input_values": torch.randn(1, 2, 2, 200), "channel_ids": torch.ones(2, 2).long()}
    model(**inputs)
    model.mteeg.add_adapter("my-task", labels=["a", "b"])
    with pytest.raises(ValueError, match=r"without adapters, found those of \['my-task'\]"):
        model(**inputs)
