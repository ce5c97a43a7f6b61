"""Small recordings of noise as arrays, MNE Raw and Epochs, and a card for them."""

from __future__ import annotations

import numpy as np
import pytest

from modeling_mteeg.model.task_card import TaskCard

NAMES = ["FP1", "FP2", "C3", "CZ", "C4", "O1"]
RATE = 250.0


def eeg(seconds: float = 40.0, rate_hz: float = RATE, channels: int = 6) -> np.ndarray:
    """Simulated microvolt: noise of 20 uV and a 10 Hz rhythm that grows with the channel."""
    rng = np.random.default_rng(1)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    rhythm = np.arange(1, channels + 1)[:, None] * 5 * np.sin(2 * np.pi * 10 * time)
    return 20 * rng.standard_normal((channels, len(time))) + rhythm


def pink_eeg(rate_hz: float, seconds: float, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Simulated microvolt: 30 uV with EEG's 1/f amplitude, 10 Hz, 50 Hz hum and an offset."""
    rng = np.random.default_rng(seed)
    samples = round(rate_hz * seconds)
    hz = np.fft.rfftfreq(samples, 1 / rate_hz)
    spectrum = rng.standard_normal((channels, len(hz), 2)) @ [1, 1j]
    signal = np.fft.irfft(spectrum / np.maximum(hz, 0.3), n=samples)
    signal *= 30 / signal.std(axis=1, keepdims=True)
    time = np.arange(samples) / rate_hz
    return signal + 8 * np.sin(2 * np.pi * 10 * time) + np.sin(2 * np.pi * 49 * time) + 3000


def raw_of(signal_uv, names=None, rate_hz=RATE, types="eeg"):
    mne = pytest.importorskip("mne")
    info = mne.create_info(names or NAMES, rate_hz, types, verbose="error")
    return mne.io.RawArray(signal_uv * 1e-6, info, verbose="error")


def epochs_of(raw, seconds):
    mne = pytest.importorskip("mne")
    return mne.make_fixed_length_epochs(raw, seconds, preload=True, verbose="error")


def card(**fields) -> TaskCard:
    fields = {"name": "task-a", "labels": ("a", "b"), "window_s": 4.0} | fields
    return TaskCard(**fields)
