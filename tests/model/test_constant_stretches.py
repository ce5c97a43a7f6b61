"""Constant stretches: those that a plain loop finds, in blocks of any size."""

import numpy as np
import pytest

from modeling_mteeg.model.constant_stretches import ConstantStretches

RATE_HZ = 20.0


def by_hand(signal, least):
    """Channel, start and stop of every run of equal samples, one sample after the other."""
    found = []
    for row, values in enumerate(signal):
        start = 0
        for place in range(1, len(values) + 1):
            if place == len(values) or values[place] != values[start]:
                if place - start >= least:
                    found.append((row, start, place))
                start = place
    return found


def in_blocks(signal, sizes, **options):
    stretches = ConstantStretches(len(signal), RATE_HZ, **options)
    place = 0
    for size in sizes:
        stretches.push(signal[:, place : place + size])
        place += size
    stretches.push(signal[:, place:])
    return stretches.finish()


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_what_a_plain_loop_finds_in_any_blocks(levels):
    random = np.random.default_rng(levels)
    signal = random.integers(levels, size=(4, 1000)).astype(float)
    for row, start, length in (
        (0, 0, 40),
        (1, 900, 100),
        (2, 777, 20),
        (2, 900, 19),
        (3, 50, 600),
    ):
        signal[row, start : start + length] = -1.0
    signal[3, 60:70] = -2.0  # within the long one
    expected = by_hand(signal, 20)
    assert {(0, 0, 40), (1, 900, 1000), (2, 777, 797), (3, 70, 650)} <= set(expected)
    for most in (1, 7, 45, 300, 1000):
        sizes = random.integers(0, most + 1, size=1000 // most)
        assert in_blocks(signal, sizes) == expected


@pytest.mark.parametrize("least_s, samples", [(0.1, 2), (0.15, 3), (0.5, 10), (0.51, 11)])
def test_from_the_least_length_on(least_s, samples):
    signal = np.arange(200.0)[None].repeat(2, axis=0)
    signal[0, 100 : 100 + samples] = 7.5
    signal[1, 100 : 99 + samples] = 7.5
    for size in (1, 13, 200):
        found = in_blocks(signal, [size] * (200 // size), least_s=least_s)
        assert found == [(0, 100, 100 + samples)]


def test_a_constant_channel_is_one_stretch_and_nan_is_none():
    signal = np.zeros((2, 500))
    signal[1] = np.nan
    assert in_blocks(signal, [3, 100, 0, 90]) == [(0, 0, 500)]


def test_wrong_numbers_are_refused():
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="channels: expected"):
            ConstantStretches(wrong, 100.0)
    for key in ("rate_hz", "least_s"):
        with pytest.raises(ValueError, match=f"{key}: expected"):
            ConstantStretches(1, **{"rate_hz": 100.0, key: 0.0})
    with pytest.raises(ValueError, match=r"Expected a block \(2 channels"):
        ConstantStretches(2, 100.0).push(np.zeros((3, 5)))
