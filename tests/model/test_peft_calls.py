"""What public functions of peft do on a base, on a model with tasks, and on their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
from peft import functional as peft_functional
from peft.utils.hotswap import prepare_model_for_compiled_hotswap
from stock_models import LABELS, config, features, held
from tiny_models import (
    CARDS,
    changed,
    inputs_of,
    logits_of,
    model_with_tasks,
    randomize,
    snapshot,
    tiny_model,
    trainable,
)

from modeling_mteeg import MteegModel
from modeling_mteeg.model.adapter_files import AdapterError
from modeling_mteeg.model.lora import RoutedLoraLinear

WITHOUT_TASKS = "cannot change the adapters of a model that holds tasks"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A base with the tasks ``tuab`` and ``seed-v``."""
    place = tmp_path_factory.mktemp("stock") / "base"
    held().save_pretrained(place)
    return place


def on_the_base(act: Callable[[MteegModel], torch.nn.Module]) -> Callable[[Path], None]:
    """A call that works as peft documents it on a base, and is refused on a model with tasks."""

    def check(folder: Path) -> None:
        plain = MteegModel.from_pretrained(folder)
        fingerprint, expected = plain.fingerprint(), features(plain)
        model = act(plain)
        assert torch.allclose(features(model.eval()), expected, atol=1e-6), "B is zero"
        assert plain.fingerprint() == fingerprint
        assert trainable(model) and all("lora_" in name for name in trainable(model))
        model = held()
        before, answers, keys = snapshot(model), logits_of(model), dict(model.peft_config)
        with pytest.raises(ValueError, match=rf"{WITHOUT_TASKS}.*model\.add_adapter\(name"):
            act(model)
        assert not changed(model, before) and model.peft_config == keys
        assert all(torch.equal(answers[task], new) for task, new in logits_of(model).items())

    return check


def from_a_folder(kind: type) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        expected, place = held(), folder / "adapters/tuab"
        wanted = expected(**inputs_of("tuab"), task="tuab").pooler_output
        model = kind.from_pretrained(MteegModel.from_pretrained(folder), str(place))
        assert torch.allclose(features(model.eval()), wanted, atol=1e-5)
        with pytest.raises(ValueError, match=WITHOUT_TASKS):
            kind.from_pretrained(expected, str(place))

    return check


def peft_model(folder: Path) -> None:
    from_a_folder(peft.PeftModel)(folder)
    model = peft.PeftModel.from_pretrained(
        MteegModel.from_pretrained(folder), folder, "tuab", subfolder="adapters/tuab"
    )
    model.load_adapter(folder / "adapters/seed-v", "seed-v")
    model.set_adapter("seed-v")
    wanted = held()(**inputs_of("tuab"), task="seed-v").pooler_output
    assert torch.allclose(features(model.eval()), wanted, atol=1e-5)
    merged = model.merge_and_unload()
    assert isinstance(merged, MteegModel) and torch.allclose(features(merged), wanted, atol=1e-5)
    with pytest.raises(ValueError, match=r"Can't find 'adapter_config\.json'"):
        peft.PeftModel.from_pretrained(MteegModel.from_pretrained(folder), str(folder))


def auto_peft_model(folder: Path) -> None:
    with pytest.raises(ValueError, match="Cannot infer the auto class"):
        peft.AutoPeftModel.from_pretrained(folder / "adapters/tuab")


def state_of_peft(folder: Path) -> None:
    model, other = held(), model_with_tasks("tuab", "seed-v", seed=5, num_hidden_layers=1)
    state = peft.get_peft_model_state_dict(model, adapter_name="tuab")
    peft.set_peft_model_state_dict(other, state, adapter_name="tuab")
    assert torch.equal(
        other(**inputs_of("tuab"), task="tuab").pooler_output,
        tiny_with_other_base(other, model),
    )


def tiny_with_other_base(other: MteegModel, model: MteegModel) -> torch.Tensor:
    """Features by the base of ``other`` and the adapter ``tuab`` of ``model``."""
    base = tiny_model(seed=5, num_hidden_layers=1)
    base.add_adapter("tuab", card=CARDS["tuab"])
    base.load_adapter_state_dict("tuab", model.adapter_state_dict("tuab"))
    return base(**inputs_of("tuab"), task="tuab").pooler_output


def load_peft_weights(folder: Path) -> None:
    state = peft.load_peft_weights(str(folder / "adapters/tuab"))
    model = held()
    expected = model.adapter_state_dict("tuab")
    assert state and all(torch.equal(expected[key], state[key]) for key in state)
    randomize(model, seed=8)
    model.load_adapter_state_dict("tuab", model.adapter_state_dict("tuab") | state)
    found = model.adapter_state_dict("tuab")
    assert all(torch.equal(found[key], state[key]) for key in state)


def status(folder: Path) -> None:
    assert peft.get_model_status(held()).available_adapters == ["seed-v", "tuab"]
    assert all(layer.enabled for layer in peft.get_layer_status(held()))


def refused(act: Callable[[MteegModel], object], words: str) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        model = held()
        before, switches = snapshot(model), trainable(model)
        with pytest.raises(ValueError, match=rf"{WITHOUT_TASKS}.*Write instead {words}"):
            act(model)
        assert not changed(model, before) and trainable(model) == switches
        assert logits_of(model).keys() == {"tuab", "seed-v"}

    return check


def base_state(folder: Path) -> None:
    with pytest.raises(AttributeError):  # they ask what a PeftModel knows
        peft.get_base_model_state_dict(held())
    plain = MteegModel.from_pretrained(folder)
    state = peft.get_base_model_state_dict(peft.get_peft_model(plain, config()))
    assert state.keys() == held().base_state_dict().keys()


def requires_grad(folder: Path) -> None:
    model = held()
    peft_functional.set_requires_grad(model, "tuab", requires_grad=False)
    names = trainable(model)
    assert not [name for name in names if name.endswith("lora_A.tuab.weight")]
    assert [name for name in names if name.endswith("lora_A.seed-v.weight")]


def precision(folder: Path) -> None:
    model = held()
    expected = logits_of(model)
    peft_functional.cast_adapter_dtype(model, "tuab", autocast_adapter_dtype=True)
    assert all(torch.equal(expected[task], new) for task, new in logits_of(model).items())
    peft.cast_mixed_precision_params(model, torch.bfloat16)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}


def kbit(folder: Path) -> None:
    model = peft.prepare_model_for_kbit_training(held(), use_gradient_checkpointing=False)
    assert not trainable(model)
    assert model.set_trainable()


def converted(folder: Path) -> None:
    given, state = peft.convert_to_lora(held(), 2, adapter_name="tuab")
    assert given.r == 2 and state


def arrow(folder: Path) -> None:
    act = lambda model: peft.create_arrow_model(  # noqa: E731
        model, [str(folder / "adapters/tuab")], peft.ArrowConfig()
    )
    refused(act, r"model\.add_adapter\(name")(folder)


def configuration(folder: Path) -> None:
    given = peft.PeftConfig.from_pretrained(str(folder / "adapters/tuab"))
    model = tiny_model(num_hidden_layers=1)
    model.add_adapter("mine", given, labels=LABELS)
    assert model.adapter_options["mine"] == held().adapter_options["tuab"]


PEFT: dict[str, Callable[[Path], None] | None] = {
    "PeftModel": peft_model,
    "PeftMixedModel": from_a_folder(peft.PeftMixedModel),
    "AutoPeftModel": auto_peft_model,
    "get_peft_model": on_the_base(lambda model: peft.get_peft_model(model, config(use_dora=True))),
    "inject_adapter_in_model": on_the_base(
        lambda model: peft.inject_adapter_in_model(config(), model, "x")
    ),
    "get_peft_model_state_dict": state_of_peft,
    "set_peft_model_state_dict": state_of_peft,
    "load_peft_weights": load_peft_weights,
    "get_layer_status": status,
    "get_model_status": status,
    "functional.set_adapter": refused(
        lambda model: peft_functional.set_adapter(model, "tuab"), r"model\.set_adapter\(name\)"
    ),
    "functional.delete_adapter": refused(
        lambda model: peft_functional.delete_adapter(model, "tuab", "lora_"),
        r"model\.delete_adapter\(name\)",
    ),
    "functional.set_requires_grad": requires_grad,
    "functional.cast_adapter_dtype": precision,
    "cast_mixed_precision_params": precision,
    "prepare_model_for_kbit_training": kbit,
    "get_base_model_state_dict": base_state,
    "set_base_model_state_dict": base_state,
    "convert_to_lora": converted,
    "get_peft_config": configuration,
    "create_arrow_model": arrow,
}
NO_MATTER = set(
    "bloom_model_postprocess_past_key_value compose_cartridge_adapters find_kappa_target_modules "
    "get_eva_state_dict initialize_kv_prefix_from_past_key_values initialize_kv_prefix_from_text "
    "initialize_lora_eva_weights preprocess_loraga prompt_embeddings_from_past_key_values "
    "replace_lora_weights_loftq save_as_lora shift_tokens_right".split()
)
"""Of language models, of quantised weights, or before peft's own adapters are made."""


@pytest.mark.parametrize("name", sorted(PEFT))
def test_a_call_of_peft(name, folder):
    PEFT[name](folder)


def test_a_folder_of_peft_alone_is_told_what_it_lacks(tmp_path):
    stock = peft.get_peft_model(tiny_model(num_hidden_layers=1), config())
    stock.save_pretrained(tmp_path)
    model = tiny_model(num_hidden_layers=1)
    with pytest.raises(AdapterError, match=r"peft alone.*has no head.*load_adapter_state_dict"):
        model.load_adapter(tmp_path)
    # The remedy in the message.
    given = peft.PeftConfig.from_pretrained(str(tmp_path))
    model.add_adapter("mine", labels=LABELS, options=given)
    state = peft.load_peft_weights(str(tmp_path))
    model.load_adapter_state_dict("mine", model.adapter_state_dict("mine") | state)
    assert torch.allclose(features(model), features(stock.eval()), atol=1e-5)


def test_layers_with_tasks_are_changed_by_this_package_only():
    model = held()
    layer = next(part for part in model.modules() if isinstance(part, RoutedLoraLinear))
    for act in (layer.merge, layer.unmerge, lambda: layer.enable_adapters(False)):
        with pytest.raises(ValueError, match=WITHOUT_TASKS):
            act()


def test_ranks_that_peft_padded_are_not_saved(tmp_path):
    model = held()
    prepare_model_for_compiled_hotswap(model, target_rank=16)
    with pytest.raises(ValueError, match=r"does not fit this model: .*expected \(8, 100\), found"):
        model.save_pretrained(tmp_path / "base")
    assert not (tmp_path / "base/adapters/tuab/task.json").exists()
