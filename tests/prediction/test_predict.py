"""predict(): the answers of the extractor and the model, in one pass at constant memory."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from recording_files import WRITERS, write_recording
from tiny_models import randomize, tiny_model
from tiny_recordings import NAMES, card, eeg, pink_eeg, raw_of

from modeling_mteeg import MteegFeatureExtractor, UnknownChannelError
from modeling_mteeg.model.recording_sources import open_source
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction import predict
from modeling_mteeg.recordings import whole_filter
from modeling_mteeg.recordings.block_reader import BlockReader, open_recording

CARDS = {
    "all-six": {"channels": NAMES, "window_s": 2.0, "labels": ("a", "b", "c")},
    "all-six-too": {"channels": NAMES, "window_s": 2.0},
    "turned": {"channels": NAMES[::-1], "window_s": 2.0},
    "bipolar": {"channels": ("FP1-C3", "C4-O1"), "window_s": 3.0},
    "unfiltered": {"channels": ("CZ",), "window_s": 2.0, "highpass_hz": None, "notch_hz": None},
    "any": {"window_s": 1.0, "scale_uv": 50.0},
}


def model_of(*names, **changes):
    model = tiny_model()
    for name in names:
        model.add_adapter(name, card=card(name=name, **(CARDS[name] | changes)))
    randomize(model)
    return model.eval()


def expected(model, recording, name, stride_s=None, **changes):
    """What a user of the extractor and the model gets."""
    task = model.tasks[name].replace(**changes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        inputs = MteegFeatureExtractor()(recording, task=task, stride_s=stride_s)
    with torch.no_grad():
        return task.probabilities(model(**inputs, task=name).logits).numpy()


def assert_equal(prediction, probabilities, tolerance=1e-5):
    assert prediction.probabilities.shape == probabilities.shape
    np.testing.assert_allclose(prediction.probabilities, probabilities, atol=tolerance)


# Equality ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_gives_what_extractor_and_model_give(tmp_path, name):
    """Longer than a block of the filter, and a last window that does not fit."""
    path = write_recording(tmp_path, name, eeg(221.0, 256.0), NAMES, 256.0)
    model = model_of("all-six", "bipolar")
    found = predict(path, model, stride_s=1.5)
    for task in ("all-six", "bipolar"):
        assert_equal(found[task], expected(model, path, task, 1.5), 1e-4)
        prediction = found[task]
        assert prediction.onset_s.tolist() == [1.5 * k for k in range(len(prediction.onset_s))]
        assert prediction.recording == str(path) and prediction.recording_s == 221.0
        assert np.ptp(prediction.probabilities[:, 0]) > 0.01  # not the same answer everywhere


@pytest.mark.parametrize("rate_hz", [100, 128, 160, 200, 250, 256, 500, 512, 1000, 2000])
def test_every_rate(rate_hz):
    recording = (pink_eeg(rate_hz, 200.0, 3), NAMES[:3], rate_hz)
    model = model_of("any")
    assert_equal(predict(recording, model)["any"], expected(model, recording, "any"), 1e-4)


@pytest.mark.parametrize("rate_hz", [100, 128])
def test_long_recordings_at_low_rates_are_streamed(rate_hz, monkeypatch):
    """Not exact where the spectrum ends, so close for EEG."""
    recording = (pink_eeg(rate_hz, 300.0, 3), NAMES[:3], rate_hz)
    model = model_of("any")
    exact = predict(recording, model)["any"]
    monkeypatch.setattr(whole_filter, "MOST_VALUES", recording[0].size - 1)
    streamed = predict(recording, model)["any"]
    assert not np.array_equal(exact.probabilities, streamed.probabilities)
    assert_equal(streamed, exact.probabilities, 2e-3)


@pytest.mark.parametrize("seconds", [2.0, 9.0, 35.0])
def test_recordings_shorter_than_the_filters(seconds):
    recording = (eeg(seconds), NAMES, 250.0)
    model = model_of("all-six")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = predict(recording, model)["all-six"]
    assert_equal(found, expected(model, recording, "all-six"))
    assert any("shorter" in note for note in found.notes) == (seconds < 33)


def test_a_raw_an_array_and_a_file_agree(tmp_path):
    signal = eeg(60.0)
    path = write_recording(tmp_path, "rec_raw.fif", signal, NAMES, 250.0)
    model = model_of("all-six")
    found = [
        predict(recording, model)["all-six"].probabilities
        for recording in (path, str(path), raw_of(signal), (signal, NAMES, 250.0))
    ]
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other, atol=1e-6)


def test_blocks_and_batches_do_not_matter():
    recording = (eeg(250.0), NAMES, 250.0)
    model = model_of("all-six")
    whole = predict(recording, model, batch_size=7)["all-six"].probabilities
    for block_s in (0.9, 17.0, 250.0):
        again = predict(recording, model, batch_size=7, block_s=block_s)["all-six"].probabilities
        np.testing.assert_array_equal(whole, again)
    for batch_size in (1, 1000):
        again = predict(recording, model, batch_size=batch_size)["all-six"].probabilities
        np.testing.assert_allclose(whole, again, atol=1e-6)


def test_channels_that_a_file_stores_at_a_lower_rate(tmp_path):
    """MNE interpolates them over what it reads, so reading block by block must not show."""
    import edfio
    import mne

    signals = [
        edfio.EdfSignal(eeg(90.0, rate, 1)[0] + shift, rate, label=name, physical_dimension="uV",
                        physical_range=(-3276.8, 3276.7))
        for name, rate, shift in (("C3", 200, 0), ("C4", 100, 400), ("EMG", 400, 0))
    ]  # fmt: skip
    edfio.Edf(signals, data_record_duration=1).write(tmp_path / "mixed.edf")
    model = model_of("any", channels=("C3", "C4"))
    recording = tmp_path / "mixed.edf"
    source = open_recording(recording)
    assert source.upsampled([0]) and source.upsampled([1]) and not source.upsampled([2])
    raw = mne.io.read_raw_edf(recording, verbose="error")
    assert open_source(raw.copy().pick(["C4"])).upsampled([0])
    assert not open_source(raw.pick(["EMG"])).upsampled([0])
    found = predict(recording, model, block_s=5.0)["any"]
    assert_equal(found, expected(model, recording, "any"))


# Several tasks -----------------------------------------------------------------------------------


def counted(monkeypatch, model):
    calls = []
    forward = model.temporal_encoder.forward
    monkeypatch.setattr(
        model.temporal_encoder, "forward",
        lambda patches, *rest: (calls.append(tuple(patches.shape)), forward(patches, *rest))[1],
    )  # fmt: skip
    return calls


def test_several_tasks_equal_one_by_one():
    recording = (eeg(70.0), NAMES, 250.0)
    model = model_of(*CARDS)
    together = predict(recording, model)
    assert list(together) == list(CARDS)
    for name in CARDS:
        alone = predict(recording, model, name)[name]
        np.testing.assert_allclose(
            together[name].probabilities, alone.probabilities, atol=1e-6, err_msg=name
        )


def test_tasks_with_the_same_windows_share_the_temporal_encoder(monkeypatch):
    recording = (eeg(40.0), NAMES, 250.0)
    model = model_of("all-six", "all-six-too", "turned")
    calls = counted(monkeypatch, model)
    predict(recording, model, ["all-six", "all-six-too"], batch_size=20)
    assert calls == [(20, 12, 200)]
    calls.clear()
    predict(recording, model, ["all-six", "turned"], batch_size=20)
    assert calls == [(20, 12, 200)] * 2  # other windows: sharing would not be exact


def test_the_model_embeds_the_very_same_tensors_once(monkeypatch):
    model = model_of("all-six", "all-six-too")
    values = MteegFeatureExtractor()((eeg(8.0), NAMES, 250.0), window_s=2.0)
    own = {key: value.clone() for key, value in values.items()}
    with torch.no_grad():
        apart = model(tasks={"all-six": dict(values), "all-six-too": own})
        calls = counted(monkeypatch, model)
        together = model(tasks={"all-six": dict(values), "all-six-too": dict(values)})
    assert len(calls) == 1
    for name, output in apart.items():
        assert torch.equal(output.logits, together[name].logits)


def test_a_shared_embedding_has_the_gradient_of_both_tasks():
    model = model_of("all-six", "all-six-too").train()
    model.set_trainable()
    values = dict(MteegFeatureExtractor()((eeg(8.0), NAMES, 250.0), window_s=2.0))
    gradients = []
    for second in (values, {key: value.clone() for key, value in values.items()}):
        model.zero_grad()
        outputs = model(tasks={"all-six": values, "all-six-too": second})
        sum(output.logits.square().sum() for output in outputs.values()).backward()
        gradients.append(model.temporal_encoder.conv1.weight.grad.clone())
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_the_recording_is_read_once(tmp_path, monkeypatch):
    path = write_recording(tmp_path, "rec.edf", eeg(65.0), NAMES, 250.0)
    import mne

    read = []
    get_data = mne.io.BaseRaw.get_data

    def watched(self, picks=None, start=0, stop=None, **rest):
        read.append((start, stop, len(picks)))
        return get_data(self, picks=picks, start=start, stop=stop, **rest)

    monkeypatch.setattr(mne.io.BaseRaw, "get_data", watched)
    predict(path, model_of("all-six", "bipolar", "unfiltered"), block_s=20.0)
    assert read == [(0, 5000, 6), (5000, 10000, 6), (10000, 15000, 6), (15000, 16250, 6)]


# Montages ----------------------------------------------------------------------------------------


def test_the_order_of_channels_in_the_recording_does_not_matter():
    signal, order = eeg(40.0), [3, 0, 5, 1, 4, 2]
    model = model_of("all-six", "bipolar")
    first = predict((signal, NAMES, 250.0), model)
    second = predict((signal[order], [NAMES[k] for k in order], 250.0), model)
    for name in first:
        np.testing.assert_array_equal(first[name].probabilities, second[name].probabilities)
    assert second["all-six"].channels == tuple(NAMES)


def test_bipolar_channels_are_derived_or_taken_as_recorded():
    signal = eeg(40.0)
    model = model_of("bipolar")
    derived = predict((signal, NAMES, 250.0), model)["bipolar"]
    assert derived.derived == ("FP1-C3", "C4-O1") and "differences" in derived.notes[0]
    pairs = signal[[0, 4]] - signal[[2, 5]]
    recorded = predict((pairs, ["Fp1-C3", "EEG C4-O1"], 250.0), model)["bipolar"]
    assert recorded.derived == ()
    np.testing.assert_allclose(derived.probabilities, recorded.probabilities, atol=1e-6)


def test_a_head_that_knows_channels_finds_them_by_name_and_lets_none_be_missing():
    model = model_of("all-six", head={"kind": "channels"})
    recording = (eeg(40.0), NAMES, 250.0)
    found = predict(recording, model)["all-six"]
    assert_equal(found, expected(model, recording, "all-six"))
    turned = predict((recording[0][::-1], NAMES[::-1], 250.0), model)["all-six"]
    assert_equal(turned, found.probabilities)
    lacking = (recording[0][:5], NAMES[:5], 250.0)
    for allowed in (None, 1):
        with pytest.raises(SignalError, match=r"1 are missing: O1.*none may be.*Interpolate"):
            predict(lacking, model, allow_missing=allowed)
    with pytest.raises(SignalError, match="1 are missing: O1"):
        MteegFeatureExtractor()(lacking, task=model.tasks["all-six"])


def test_what_is_odd_about_a_file_is_noted_with_the_answer(tmp_path):
    path = write_recording(tmp_path, "rec.edf", eeg(40.0, 256.0), NAMES, 256.0)
    model = model_of("all-six")
    whole, content = predict(path, model)["all-six"], path.read_bytes()
    path.write_bytes(content[:236] + b"60      " + content[244:])
    found = predict(path, model)["all-six"]
    np.testing.assert_array_equal(found.probabilities, whole.probabilities)
    assert set(found.notes) - set(whole.notes) == {found.notes[0]}
    assert "20 s are missing at its end" in found.notes[0]


def test_missing_channels_are_an_error_unless_the_card_or_the_caller_allows_it():
    recording = (eeg(40.0)[:4], NAMES[:4], 250.0)
    model = model_of("all-six")
    with pytest.raises(SignalError, match=r"2 are missing: C4, O1.*allows none.*--allow-missing"):
        predict(recording, model)
    with pytest.raises(SignalError, match="At most 1 may be missing"):
        predict(recording, model, allow_missing=1)
    found = predict(recording, model, allow_missing=2)["all-six"]
    assert found.missing == ("C4", "O1") and found.channels == tuple(NAMES[:4])
    assert any("C4, O1" in note for note in found.notes)
    assert found.provenance["settings"]["allow_missing"] == 2
    assert_equal(found, expected(model, recording, "all-six", channels=tuple(NAMES[:4])))
    allowing = model_of("all-six", max_missing_channels=2)
    assert_equal(predict(recording, allowing)["all-six"], found.probabilities, 0)
    assert_equal(found, expected(allowing, recording, "all-six"))  # the extractor does the same
    with pytest.raises(SignalError, match="6 are missing"):
        predict((eeg(40.0)[:1], ["PZ"], 250.0), model, allow_missing=6)


def test_repeated_channels_are_taken_once_if_equal():
    signal = eeg(40.0)
    model = model_of("all-six")
    names = [*NAMES, "C3"]
    twice = np.concatenate([signal, signal[2:3]])
    once = predict((signal, NAMES, 250.0), model)["all-six"]
    again = predict((twice, names, 250.0), model)["all-six"]
    np.testing.assert_array_equal(once.probabilities, again.probabilities)
    twice[6, 9000] += 1  # in a later block
    with pytest.raises(SignalError, match="C3 2 times with different"):
        predict((twice, names, 250.0), model, block_s=10.0)


def test_channels_are_renamed_only_when_asked():
    signal = eeg(40.0, channels=2)
    model = model_of("any", channels=("T3", "T4"))
    with pytest.raises(
        SignalError,
        match=r"T3 is T7, T4 is T8 in the other naming system.*--rename T7=T3 --rename T8=T4",
    ):
        predict((signal, ["T7", "T8"], 250.0), model)
    renamed = {"T7": "T3", "t8": "T4"}
    found = predict((signal, ["T7", "T8"], 250.0), model, rename=renamed)["any"]
    meant = predict((signal, ["T3", "T4"], 250.0), model)["any"]
    np.testing.assert_array_equal(found.probabilities, meant.probabilities)
    assert "T7 as T3, T8 as T4" in found.notes[0]
    assert found.provenance["settings"]["rename"] == renamed
    swapped = predict((signal[::-1], ["T3", "T4"], 250.0), model, rename={"T3": "T4", "T4": "T3"})
    np.testing.assert_array_equal(swapped["any"].probabilities, meant.probabilities)
    for wrong, words in (({"PZ": "T3"}, "PZ are not in"), ({"T8": "T7"}, "every name may occur")):
        with pytest.raises(SignalError, match=words):
            predict((signal, ["T7", "T8"], 250.0), model, rename=wrong)


def test_bad_channels_and_other_types_are_not_used():
    raw = raw_of(eeg(40.0), types=["eeg"] * 5 + ["eog"])
    with pytest.raises(SignalError, match=r"missing: O1.*O1 \(type eog\)"):
        predict(raw, model_of("all-six"))
    with pytest.raises(UnknownChannelError, match="XYZ"):
        predict((eeg(40.0, channels=2), ["C3", "XYZ"], 250.0), model_of("any"))


# Checks ------------------------------------------------------------------------------------------


def test_nan_is_named_with_channel_and_time():
    signal = eeg(60.0)
    signal[3, 10_000:10_010] = np.nan
    with pytest.raises(SignalError, match=r"CZ \(10 samples, 40 to 40.036 s\)"):
        predict((signal, NAMES, 250.0), model_of("all-six"), block_s=7.0)
    found = predict((signal, NAMES, 250.0), model_of("bipolar"))  # does not use CZ
    assert len(found["bipolar"].probabilities) == 20


def test_flat_channels_are_noted_and_all_flat_is_an_error():
    signal = eeg(230.0)
    signal[2] = 7.0
    model = model_of("all-six")
    found = predict((signal, NAMES, 250.0), model)["all-six"]
    assert any("1 of 6 channels are flat: C3" in note for note in found.notes)
    signal[2, -300:] += eeg(1.2)[0]  # alive at the end
    found = predict((signal, NAMES, 250.0), model)["all-six"]
    assert not any("flat" in note for note in found.notes)
    with pytest.raises(SignalError, match="all 6 channels flat"):
        predict((np.ones((6, 9000)), NAMES, 250.0), model)


@pytest.mark.parametrize("seconds", [40.0, 230.0])
def test_a_wrong_unit_is_an_error_as_in_the_extractor(seconds):
    recording = (eeg(seconds) * 1e-6, NAMES, 250.0)
    model = model_of("all-six")
    messages = []
    for call in (
        lambda: predict(recording, model),
        lambda: MteegFeatureExtractor()(recording, task=model.tasks["all-six"]),
    ):
        with pytest.raises(SignalError, match="looks like volt") as caught:
            call()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    found = predict(recording, model, unit="V")["all-six"]
    assert_equal(found, predict((eeg(seconds), NAMES, 250.0), model)["all-six"].probabilities)


def test_too_short_too_cut_and_wrong_use():
    model = model_of("all-six")
    signal = eeg(10.0)
    for recording, options, words in (
        ((signal[:, :400], NAMES, 250.0), {}, "at least 2 s"),
        ((signal[None], NAMES, 250.0), {}, "cut already"),
        ((signal, NAMES, 250.0), {"stride_s": 0.0033}, "stride_s"),
        ((signal, NAMES, 250.0), {"stride_s": 0}, "stride_s"),
        ((signal, NAMES, 250.0), {"batch_size": 0}, "batch_size"),
        ((signal, NAMES, 250.0), {"allow_missing": -1}, "allow_missing"),
        ((signal, NAMES, 250.0), {"tasks": "tuab"}, "not among"),
        ((signal, NAMES, 250.0), {"tasks": []}, "one or more"),
        ((signal, NAMES, 250.0), {"unit": "nV"}, "unit"),
    ):
        with pytest.raises(ValueError, match=words):
            predict(recording, model, **options)
    with pytest.raises(TypeError, match="Expected an mne Raw"):
        predict(signal, model)
    with pytest.raises(ValueError, match="evaluation mode"):
        predict((signal, NAMES, 250.0), model.train())


def test_a_truncated_file_says_so(tmp_path):
    path = write_recording(tmp_path, "rec.vhdr", eeg(40.0), NAMES, 250.0)
    source = open_recording(path)
    data = path.with_suffix(".eeg")
    data.write_bytes(data.read_bytes()[:90_000])  # after the header was read
    with pytest.raises(ValueError, match=r"from 0 s on|Check that the file is complete"):
        list(BlockReader(source, NAMES))


# Progress and memory -----------------------------------------------------------------------------


def test_progress_counts_seconds_of_eeg_up_to_all(capsys):
    recording = (eeg(61.0), NAMES, 250.0)
    model = model_of("all-six", "bipolar")
    told = []
    predict(recording, model, batch_size=4, progress=lambda done, total: told.append((done, total)))
    assert [total for _, total in told] == [61.0] * len(told) and len(told) > 8
    assert [done for done, _ in told] == sorted(done for done, _ in told) and told[-1][0] == 61.0
    assert capsys.readouterr().err == ""
    predict(recording, model, progress=True)
    assert "s of EEG/s" in capsys.readouterr().err


def test_other_processes_show_no_bar(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    predict((eeg(20.0), NAMES, 250.0), model_of("all-six"), progress=True)
    assert capsys.readouterr().err == ""


def test_what_is_held_does_not_grow_with_the_recording():
    """The most memory that NumPy and Python take, the recording itself and the answers apart."""
    import tracemalloc

    model = model_of("bipolar")
    rng = np.random.default_rng(0)
    most = []
    for seconds in (600, 1800):
        signal = 20 * rng.standard_normal((6, 250 * seconds))
        tracemalloc.start()
        predict((signal, NAMES, 250.0), model)
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert most[1] < 1.05 * most[0] + 100 * 400  # the answers of 400 more windows


def test_a_small_stride_holds_no_more_than_a_batch_of_windows(monkeypatch):
    from modeling_mteeg.recordings.sliding import SlidingWindows

    held = []
    push = SlidingWindows.push

    def watched(self, block):
        found = push(self, block)
        held.append(len(found[0]))
        return found

    monkeypatch.setattr(SlidingWindows, "push", watched)
    predict((eeg(12.0), NAMES, 250.0), model_of("all-six"), stride_s=0.05, batch_size=8)
    assert sum(held) == 201 and max(held) <= 9
