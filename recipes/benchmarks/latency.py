"""Time from the last sample that a window needs to its answer, beside the plain forward alone."""

from __future__ import annotations

import statistics
import tempfile
import time

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from modeling_mteeg import MteegConfig, MteegModel, TaskCard, channel_ids
from modeling_mteeg.export import MissingOnnxError, export_onnx
from modeling_mteeg.model.preprocessing import preprocess, preprocessing_info
from modeling_mteeg.prediction.live import LivePredictor
from modeling_mteeg.prediction.onnx_forward import OnnxForward
from modeling_mteeg.recipes.benchmarks.plain import PlainLabram
from modeling_mteeg.recipes.benchmarks.tables import median_ratio, notes, table
from modeling_mteeg.recordings.sliding import SlidingWindows
from modeling_mteeg.recordings.stream_filter import StreamFilter

CHANNELS = (
    "FP1 FP2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 A1 A2 FZ CZ PZ T1 T2"
).split()  # TUAB's, in its order
RATE_HZ = 256
WINDOW_S = 10
WARM_UP = 5
LOOKAHEADS_S = (None, 15.0, 10.0, 5.0, 2.0, 1.0, 0.0)

ROWS = {
    "plain forward": "the published network's forward pass alone, on a window that is ready",
    "live": "a chunk of 10 s in, probabilities out: filters, resampling, cutting, forward",
    "filters and cutting": "the part of it before the forward pass",
    "model": "the forward pass of MteegModel with its adapter, on a window that is ready",
    "ONNX Runtime": "the same of the file that `mteeg export` writes (the extra onnx is needed)",
    "live, ONNX Runtime": "live with that file as its forward pass",
}


class Contestants:
    """The functions that are timed, each called with a chunk (channels, samples)."""

    def __init__(self, preset: str, seed: int = 0) -> None:
        torch.manual_seed(seed)
        config = MteegConfig.from_preset(preset)
        self.plain = PlainLabram(config, 1).eval()
        self.model = MteegModel(config).eval()
        card = TaskCard("tuab", ("normal", "abnormal"), tuple(CHANNELS), window_s=WINDOW_S)
        self.model.add_adapter(card.name, card=card)
        for name, parameter in self.model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.02)
        self.live = LivePredictor(self.model.eval(), card.name, CHANNELS, RATE_HZ)
        self.by_onnx = self._by_onnx(card.name)
        self.filter = StreamFilter(preprocessing_info(RATE_HZ), len(CHANNELS), hop_s=WINDOW_S)
        self.windows = SlidingWindows(WINDOW_S * 200, WINDOW_S * 200, len(CHANNELS))
        self.ids = torch.from_numpy(channel_ids(CHANNELS))
        self.values = torch.randn(1, len(CHANNELS), WINDOW_S, 200)

    def calls(self) -> dict:
        """The functions by the name of their row."""
        return {
            "plain forward": self._plain,
            "live": self.live.push,
            "filters and cutting": self._filter,
            "model": self._model,
        } | self.by_onnx

    def _by_onnx(self, task: str) -> dict:
        """The rows that run an exported file; none where the extra is not installed."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = export_onnx(self.model, task, folder).path
            except MissingOnnxError:
                return {}
            forward = OnnxForward(path, self.model, task)
            live = LivePredictor(self.model, task, CHANNELS, RATE_HZ, onnx=folder)
        return {
            "ONNX Runtime": lambda chunk: forward(self.values, self.ids),
            "live, ONNX Runtime": live.push,
        }

    def _plain(self, chunk: np.ndarray) -> torch.Tensor:
        with torch.no_grad():
            return self.plain(self.values, self.ids[:, 0])

    def _filter(self, chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = [self.filter.push(chunk), self.filter.drain()]
        return self.windows.push(np.concatenate(parts, axis=1))

    def _model(self, chunk: np.ndarray) -> torch.Tensor:
        with torch.inference_mode():
            return self.model(self.values, self.ids, task="tuab").logits


def latency_table(preset: str, windows: int, eeg_s: float = 300.0) -> str:
    """Median and 99th percentile of every row, one thread, all of them in turn."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = measure(Contestants(preset), windows)
    finally:
        torch.set_num_threads(threads)
    rows = []
    for name, taken in seconds.items():
        ratio = median_ratio(seconds["plain forward"], taken)
        middle, late = 1e3 * statistics.median(taken), 1e3 * np.quantile(taken, 0.99)
        rows.append(f"{name} | {middle:.1f} | {late:.1f} | {ratio:.2f}")
    measured = table("one window | median ms | 99th percentile ms | times plain", rows)
    return (
        f"Latency: {preset}, {len(CHANNELS)} channels, {WINDOW_S} s at {RATE_HZ} Hz, one thread, "
        f"float32, {windows} windows, all rows in turn; the ratio is the median of the windows' "
        f"own ratios.\n\n{measured}\n\n{notes(ROWS)}\n\n{delay_table(eeg_s)}"
    )


def measure(contestants: Contestants, windows: int) -> dict[str, list[float]]:
    """Seconds of every row for every window that counts."""
    rng = np.random.default_rng(0)
    calls = contestants.calls()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in tqdm(range(WARM_UP + windows), unit="window", desc="latency"):
        chunk = 20 * rng.standard_normal((len(CHANNELS), WINDOW_S * RATE_HZ))  # microvolt
        for name, call in calls.items():
            start = time.perf_counter()
            call(chunk)
            taken = time.perf_counter() - start
            if turn >= WARM_UP:
                seconds[name].append(taken)
    return seconds


def delay_table(seconds: float) -> str:
    """What less delay costs: the error of a signal whose future was not waited for."""
    signal = simulated_eeg(seconds)
    rows = []
    for highpass_hz in (0.1, 0.5, 1.0):
        exact = preprocess(signal, RATE_HZ, highpass_hz=highpass_hz)
        for lookahead_s in LOOKAHEADS_S:
            info = preprocessing_info(RATE_HZ, highpass_hz=highpass_hz)
            stage, parts = StreamFilter(info, len(signal), signal.shape[1], hop_s=1.0), []
            if lookahead_s is not None and lookahead_s > stage.delay_s:
                continue
            for start in range(0, signal.shape[1], RATE_HZ):
                parts.append(stage.push(signal[:, start : start + RATE_HZ]))
                if lookahead_s is not None:
                    parts.append(stage.drain(lookahead_s))
            error = np.concatenate([*parts, stage.finish()], axis=1) - exact
            share = np.sqrt(np.mean(error**2) / np.mean(exact**2))
            delay_s = stage.delay_s if lookahead_s is None else lookahead_s
            named = "all" if lookahead_s is None else f"{lookahead_s:g}"
            rows.append(f"{highpass_hz:g} | {named} | {delay_s:.1f} | {share:.1%}")
    return (
        "Less delay than the filters reach to, on simulated EEG whose amplitude falls with 1/f "
        "(RMS, a second at a time, against the whole recording).\n\n"
        + table("high-pass Hz | lookahead s | delay s | error, share of the signal", rows)
    )


def simulated_eeg(seconds: float, channels: int = 4) -> np.ndarray:
    """Simulated microvolt (channels, samples): 30 RMS, amplitude falling with 1/f above 0.3 Hz."""
    rng = np.random.default_rng(0)
    samples = round(seconds * RATE_HZ)
    hz = np.fft.rfftfreq(samples, 1 / RATE_HZ)
    spectrum = rng.standard_normal((channels, len(hz), 2)) @ [1, 1j]
    signal = np.fft.irfft(spectrum / np.maximum(hz, 0.3), n=samples)
    return 30 * signal / signal.std(axis=1, keepdims=True)
