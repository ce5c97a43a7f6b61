"""Log amplitudes as the tokenizer's target, and the weights of its losses."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModel

from modeling_mteeg import MteegTokenizerConfig, MteegTokenizerModel, channel_ids
from modeling_mteeg.model.spectral_targets import LogAmplitudes, spectra


def windows(seed: int = 0, number: int = 3) -> torch.Tensor:
    """(number, 2, 4, 200): noise whose spectrum falls, of patches that differ in loudness."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(number, 2, 4, 200, generator=generator)
    loud = torch.rand(number, 2, 4, 1, generator=generator) + 0.2
    return loud * noise.cumsum(-1) / 10


def tokenizer(**options) -> MteegTokenizerModel:
    torch.manual_seed(0)
    config = MteegTokenizerConfig.from_preset("tiny", num_codes=16, code_size=8, **options)
    return MteegTokenizerModel(config)


def inputs() -> dict[str, torch.Tensor]:
    return {"input_values": windows(), "channel_ids": torch.tensor(channel_ids(["C3", "C4"]))}


def test_every_bin_counts_alike_over_the_corpus_and_every_sample_over_itself():
    targets = LogAmplitudes(200)
    assert not targets.fitted
    many = windows(1, 400)
    targets.fit(many.split(90))
    assert targets.fitted
    out = targets(many)  # (400, 8, 200)
    assert out.shape == (400, 8, 200) and out.dtype == torch.float32
    bins = out.flatten(0, 1)
    assert bins.mean(0).abs().max() < 0.1 and (bins.std(0) - 1).abs().max() < 0.15
    assert out.mean((1, 2)).abs().max() < 1e-5 and (out.std((1, 2)) - 1).abs().max() < 1e-3
    linear = spectra(many)[0].flatten(0, 1).std(0)
    assert linear.max() > 10 * linear.median()  # a few slow bins are nearly all of that loss
    louder = [targets(factor * many) for factor in (3e3, 3e4)]
    torch.testing.assert_close(*louder, atol=0.02, rtol=0.02)  # how loud a window is, is lost
    assert not targets(torch.zeros(1, 2, 4, 200)).isnan().any()


def test_pictures_get_back_the_amplitudes():
    targets, x = LogAmplitudes(200), windows(1)
    targets.fit([windows(2, 50)])
    torch.testing.assert_close(
        targets.amplitudes(targets(x), x), spectra(x)[0], atol=1e-3, rtol=1e-3
    )


def test_the_published_losses_are_the_default_and_options_change_what_they_say():
    plain, same = tokenizer().eval()(**inputs()), tokenizer(phase_weight=1.0).eval()(**inputs())
    assert torch.equal(plain.loss, same.loss)
    assert torch.equal(plain.loss, plain.amplitude_loss + plain.phase_loss + plain.commitment_loss)
    light = tokenizer(phase_weight=0.25).eval()(**inputs())
    assert torch.equal(light.phase_loss, plain.phase_loss)
    torch.testing.assert_close(light.loss, plain.loss - 0.75 * plain.phase_loss)
    names = set(tokenizer().state_dict())
    log = tokenizer(amplitude_target="log")
    assert set(log.state_dict()) - names == {"log_amplitudes.mean", "log_amplitudes.deviation"}
    log.log_amplitudes.fit([windows(2, 50)])
    out = log.eval()(**inputs())
    assert torch.equal(out.phase_loss, plain.phase_loss)
    assert not torch.isclose(out.amplitude_loss, plain.amplitude_loss, rtol=1e-3)
    by_hand = (out.amplitude - log.log_amplitudes(windows())).square().mean()
    torch.testing.assert_close(out.amplitude_loss, by_hand)


def test_the_corpus_s_spectrum_is_saved_with_the_tokenizer(tmp_path):
    model = tokenizer(amplitude_target="log")
    model.log_amplitudes.fit([windows(2, 50)])
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert loaded.log_amplitudes.fitted
    assert torch.equal(loaded.log_amplitudes.mean, model.log_amplitudes.mean)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"amplitude_target": "logs"}, "amplitude_target: expected linear or log, found logs"),
        ({"phase_weight": -1}, "phase_weight: expected 0 or above, found -1"),
        ({"continuous_steps": -1}, "continuous_steps: expected 0 or above, found -1"),
    ],
)
def test_impossible_options_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        MteegTokenizerConfig.from_preset("tiny", **fields)
