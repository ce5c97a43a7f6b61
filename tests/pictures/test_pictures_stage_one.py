"""Pictures of stage one show what they are given, and reach TensorBoard."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from picture_checks import assert_nothing_is_cut, texts
from stage_one_program import finish, make_trainer
from tiny_unlabelled import save_unlabelled

from modeling_mteeg.model.tokenizer_mteeg import spectra
from modeling_mteeg.pictures.stage_one_pictures import (
    draw_code_usage,
    draw_masked,
    draw_reconstruction,
    rebuild_signal,
)

CHANNELS = ("FP1", "CZ", "O1")


@pytest.fixture
def window():
    return torch.from_numpy(np.random.default_rng(0).normal(0, 0.2, (3, 5, 200)).astype("f4"))


def lines(figure):
    return [line.get_ydata() for axes in figure.axes for line in axes.get_lines()]


def test_perfect_spectra_give_the_recorded_signal_back(window):
    amplitude, phase = (part[0] for part in spectra(window[None]))
    signal = rebuild_signal(window, amplitude, phase)[2]
    torch.testing.assert_close(signal, window, rtol=1e-3, atol=1e-4)
    figure = draw_reconstruction(window, amplitude, phase, CHANNELS)
    for axes in figure.axes:
        recorded, decoded = (line.get_ydata() for line in axes.get_lines())
        np.testing.assert_allclose(recorded, decoded, rtol=1e-3, atol=0.05)
    assert_nothing_is_cut(figure)
    assert "recorded" in texts(figure) and "CZ" in texts(figure)


def test_other_spectra_give_another_picture(window):
    amplitude, phase = (part[0] for part in spectra(window[None]))
    figure = draw_reconstruction(window, amplitude * 0, phase, CHANNELS)
    recorded, decoded = (line.get_ydata() for line in figure.axes[0].get_lines())
    assert np.ptp(recorded) > 0 and np.ptp(decoded) == pytest.approx(0, abs=1e-4)


def test_usage_is_sorted_and_sums_to_one():
    figure = draw_code_usage({"codes": torch.tensor([0.0, 3.0, 1.0, 4.0])}, "1 dead")
    curve = figure.axes[0].get_lines()[0].get_ydata()
    np.testing.assert_allclose(curve, [0.5, 0.375, 0.125, 0.0])
    assert "1 dead" in texts(figure)
    assert_nothing_is_cut(figure)


def test_hidden_patches_are_where_the_mask_is():
    mask = torch.tensor([1, 0, 0, 1, 1, 0]).bool()
    found = torch.tensor([1, 1, 0, 0, 0, 0]).bool()
    figure = draw_masked(mask, found, CHANNELS)
    image = figure.axes[0].get_images()[0].get_array()
    assert np.asarray(image).tolist() == [[3, 1], [0, 2], [2, 0]]
    assert_nothing_is_cut(figure)


def test_labels_and_predictions_are_drawn_as_they_are(tmp_path):
    """A student that predicts one code, whatever it sees: all of its share lies on one code."""
    data = save_unlabelled(tmp_path / "data")
    trainer = make_trainer("masked", data, tmp_path / "out")
    trainer.label_usage[3] = 4
    with torch.no_grad():
        trainer.model.lm_head.bias[5] = 1e4
    figure = trainer.figures(trainer.counts())["code usage"]
    epoch, labels, predicted = (line.get_ydata() for line in figure.axes[0].get_lines()[::2])
    assert epoch[0] == 1 and predicted[0] == 1 and predicted[1:].max() == 0
    batch, _ = trainer.example()
    found = trainer.tokenizer.get_codebook_indices(**batch.inputs)
    counts = torch.bincount(found.flatten(), minlength=16).sort(descending=True).values
    np.testing.assert_allclose(labels, (counts / counts.sum()).numpy(), rtol=1e-6)
    assert 0 < labels[1] < 1
    assert_nothing_is_cut(figure)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tokenizer", "masked"])
def test_pictures_and_values_reach_tensorboard(kind, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    data = save_unlabelled(tmp_path / "data")
    accelerator = Accelerator(cpu=True, log_with="tensorboard", project_dir=tmp_path)
    trainer = make_trainer(kind, data, tmp_path / "out", accelerator, tracker="tensorboard")
    accelerator.init_trackers("logs")
    history = finish(trainer)
    accelerator.end_training()
    (events,) = (tmp_path / "logs").glob("events*")
    log = accumulator.EventAccumulator(str(events), size_guidance={"images": 0, "scalars": 0})
    log.Reload()
    first = {"tokenizer": "reconstruction", "masked": "hidden patches"}[kind]
    assert set(log.Tags()["images"]) == {first, "code usage"}
    for name in (first, "code usage"):
        pictures = [image.encoded_image_string for image in log.Images(name)]
        assert len(pictures) == len(history)
        # The labels of an epoch are the same ones; so small a student may predict one code always.
        if (kind, name) != ("masked", "code usage"):
            assert len(set(pictures)) == len(pictures)
    values = log.Scalars("validation/loss")
    assert [v.value for v in values] == pytest.approx([e["validation"]["loss"] for e in history])
    assert {"train/lr", "train/gradient_norm", "train/windows_per_s"} <= set(log.Tags()["scalars"])
