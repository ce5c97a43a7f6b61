"""Windows cut from blocks are those cut from the whole signal."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from modeling_mteeg.recordings.sliding import SlidingWindows, WindowsAt


def whole(signal: np.ndarray, window: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    onsets = np.arange(0, signal.shape[1] - window + 1, stride)
    return onsets, np.array([signal[:, k : k + window] for k in onsets])


def pieces(signal: np.ndarray, size: int | None, seed: int = 0):
    """Blocks of one size, or of random ones, some of them empty."""
    rng, place = np.random.default_rng(seed), 0
    while place < signal.shape[1]:
        step = int(rng.integers(0, 700)) if size is None else size
        yield signal[:, place : place + step]
        place += step


@pytest.mark.parametrize("size", [1, 7, 200, 5000, 100_000, None])
@pytest.mark.parametrize("window, stride", [(200, 200), (200, 1), (200, 37), (30, 5000), (1, 1)])
def test_any_blocks_give_the_windows_of_the_whole(size, window, stride):
    count = 12_000 if size != 1 else 1500
    if window * count / stride > 3e6:
        count = 1500  # many copies of every sample
    signal = np.random.default_rng(3).standard_normal((3, count)).astype(np.float32)
    sliding = SlidingWindows(window, stride, 3)
    found = [sliding.push(block) for block in pieces(signal, size)]
    onsets, windows = whole(signal, window, stride)
    np.testing.assert_array_equal(np.concatenate([one for one, _ in found]), onsets)
    np.testing.assert_array_equal(np.concatenate([one for _, one in found]), windows)


def test_a_window_comes_as_soon_as_it_is_complete():
    sliding = SlidingWindows(100, 40, 1)
    ends = []
    for count in range(1, 1000):
        promised = sliding.next_end
        onsets, _ = sliding.push(np.zeros((1, 1)))
        if len(onsets):
            assert promised == count
            ends += (onsets + 100).tolist()
            assert ends[-1] == count
    assert ends == list(range(100, 1000, 40))


def test_windows_are_copies_and_float32():
    sliding = SlidingWindows(4, 4, 1)
    _, first = sliding.push(np.arange(4.0)[None])
    kept = first.copy()
    for _ in range(3000):
        sliding.push(np.full((1, 4), 9.0))
    np.testing.assert_array_equal(first, kept)
    assert first.dtype == np.float32


@pytest.mark.parametrize("size", [1, 7, 5000, None])
@pytest.mark.parametrize("window", [1, 50, 6000])
def test_windows_at_given_places_are_those_of_the_whole(size, window):
    rng = np.random.default_rng(window)
    signal = rng.standard_normal((3, 12_000)).astype(np.float32)[:, : 1500 if size == 1 else None]
    last = signal.shape[1] - window
    for starts in (
        [],
        [0, max(last, 0)],
        [5, 5, 5],
        np.sort(rng.integers(0, max(last, 0) + 1, 40)),
    ):
        kept = np.array([start for start in starts if start <= last], dtype=int)
        cutter = WindowsAt(window, np.asarray(starts, dtype=int), 3)
        found = [cutter.push(block) for block in pieces(signal, size)]
        np.testing.assert_array_equal(np.concatenate([one for one, _ in found]), kept)
        expected = np.array([signal[:, k : k + window] for k in kept]).reshape(-1, 3, window)
        np.testing.assert_array_equal(np.concatenate([one for _, one in found]), expected)


@pytest.mark.parametrize("window, stride", [(50, 10), (50, 10_000)])
def test_memory_is_bounded(window, stride):
    sliding = SlidingWindows(window, stride, 2)
    held = sliding._buffer.nbytes
    for size in itertools.islice(itertools.cycle([1, 4095, 20_000]), 60):
        sliding.push(np.zeros((2, size)))
        assert sliding._buffer.nbytes == held


def test_wrong_use_is_an_error():
    for sizes in ((0, 1, 1), (1, 0, 1), (1, 1, 0), (1.5, 1, 1), (1, 1.5, 1)):
        with pytest.raises(ValueError, match="expected a whole number"):
            SlidingWindows(*sizes)
    with pytest.raises(ValueError, match=r"\(2 channels, samples\)"):
        SlidingWindows(4, 4, 2).push(np.zeros((3, 4)))
    for starts in ([-1], [3, 2], [[1]]):
        with pytest.raises(ValueError, match="starts: expected samples"):
            WindowsAt(4, np.array(starts), 1)
