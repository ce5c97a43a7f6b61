"""EEGTaskModule: a new task on a base in a loop of one's own."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny_bases import save_base
from tiny_models import changed, snapshot, tiny_model
from tiny_recordings import NAMES

from modeling_mteeg.embedding import EEGTaskModule
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction import predict
from modeling_mteeg.prediction.task_loading import load_tasks

SHAPE = {"channels": NAMES, "n_outputs": 2, "n_times": 400, "sfreq": 200.0}


def windows(number: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Simulated microvolt; the second class has a 30 Hz tone."""
    labels = torch.arange(number) % 2
    noise = torch.randn(number, 6, 400, generator=torch.Generator().manual_seed(0))
    tone = torch.sin(2 * torch.pi * 30 * torch.arange(400) / 200)
    return 20 * noise + 60 * labels[:, None, None] * tone, labels


def test_it_is_the_models_own_logits_whatever_the_unit():
    x, _ = windows(4)
    module = EEGTaskModule(tiny_model(), **SHAPE).eval()
    inputs = {"input_values": x / 100, "channel_ids": module.channel_ids}
    expected = module.model(**inputs, task="task").logits
    torch.testing.assert_close(module(x), expected)
    assert module(x).shape == (4, 2)
    one_more = torch.cat([x, x[..., :1]], dim=2)
    torch.testing.assert_close(module(one_more), expected)
    volt = EEGTaskModule(tiny_model(), unit="V", **SHAPE).eval()
    volt.load_state_dict(module.state_dict())
    torch.testing.assert_close(volt(x * 1e-6), expected)


def test_numbers_in_another_unit_are_said_at_once():
    x, _ = windows(4)
    for unit, given, likely in (("V", x, "uV"), ("uV", x * 1e-6, "V"), ("mV", x, "uV")):
        module = EEGTaskModule(tiny_model(), unit=unit, **SHAPE)
        with pytest.raises(SignalError, match=f"unit='{likely}'"):
            module(given)
    module = EEGTaskModule(tiny_model(), **SHAPE)
    module(torch.zeros(2, 6, 400))  # says nothing of a unit
    with pytest.raises(SignalError, match="unit='V'"):
        module(x * 1e-6)


def test_a_plain_loop_trains_it_and_what_it_saves_predicts(tmp_path):
    x, labels = windows()
    base = tiny_model()
    module = EEGTaskModule(copy.deepcopy(base), labels=["slow", "fast"], name="tones", **SHAPE)
    before = snapshot(module.model)
    frozen = {name for name, parameter in module.model.named_parameters()
              if not parameter.requires_grad}  # fmt: skip
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    module.train()
    for _ in range(15):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(x), labels)
        loss.backward()
        optimizer.step()
    assert (module.eval()(x).argmax(1) == labels).float().mean() > 0.9
    moved = changed(module.model, before)
    assert moved and not moved & frozen and any("lora_B" in name for name in moved)
    module.model.save_pretrained(tmp_path)
    module.model.save_adapter("tones", tmp_path / "adapters" / "tones")
    model, _ = load_tasks(tmp_path, ["tones"])
    assert model.tasks["tones"].labels == ("slow", "fast")
    recording = (np.random.default_rng(0).normal(0, 20, (6, 4000)), NAMES, 200.0)
    assert predict(recording, model)["tones"].probabilities.shape == (10, 2)


def test_a_base_with_tasks_keeps_them(tmp_path):
    module = EEGTaskModule(load_tasks(save_base(tmp_path), ["fists"])[0], **SHAPE)
    trained = {name for name, one in module.named_parameters() if one.requires_grad}
    assert trained and not any("fists" in name or "temporal_encoder" in name for name in trained)
    whole = EEGTaskModule(tmp_path, everything=True, adapter={"rank": 2}, **SHAPE)
    assert all(one.requires_grad for name, one in whole.named_parameters())
    assert whole.model.adapter_options["task"].rank == 2


def test_channels_of_mne_are_taken():
    info = [{"ch_name": name.title()} for name in NAMES]
    module = EEGTaskModule(
        tiny_model(), n_outputs=3, n_times=200, sfreq=200, chs_info=info, n_chans=6
    )
    assert module.model.tasks["task"].channels == tuple(NAMES)
    assert module(torch.randn(2, 6, 200)).shape == (2, 3)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"sfreq": 128.0}, "sfreq: expected 200 Hz"),
        ({"sfreq": None}, "sfreq: expected 200 Hz, the model's rate, found None"),
        ({"n_times": 300}, "whole seconds"),
        ({"n_times": None}, "whole seconds"),
        ({"channels": None}, "names of the rows"),
        ({"channels": "C3"}, "names of the rows"),
        ({"channels": [*NAMES[:5], "EKG"]}, "EKG"),
        ({"n_chans": 5}, "expected 5 names"),
        ({"n_outputs": None}, "number of classes"),
        ({"labels": ["a", "b", "c"]}, "expected 2"),
        ({"unit": "nV"}, "nV"),
        ({"adapter": {"ranks": 3}}, "ranks"),
    ],
)
def test_wrong_use_is_said(change, named):
    with pytest.raises(ValueError, match=named):
        EEGTaskModule(tiny_model(), **(SHAPE | change))


def test_other_windows_are_said():
    module = EEGTaskModule(tiny_model(), **SHAPE)
    for shape in ((2, 6, 500), (2, 6, 399), (6, 400)):
        with pytest.raises(ValueError, match=r"expected|Expected"):
            module(torch.randn(shape))
    with pytest.raises(ValueError, match="channel_ids"):
        module(torch.randn(2, 5, 400))
