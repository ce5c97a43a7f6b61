"""What ``notch_hz`` may be, checked in one place: no notch, one mains frequency, or several."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from numbers import Real

NOTCH_TRANSITION_HZ = 0.5
_MOST_HZ = 1e9
_MOST = 16  # notches; the mains and its harmonics up to any rate of EEG are fewer

NotchHz = float | tuple[float, ...] | None
"""A mains frequency in Hz, several in ascending order, or None for no notch."""


def notch_edges(notch_hz: float) -> tuple[float, float]:
    """Lower and upper pass-band edge of one notch: its stop band is a 200th of its frequency."""
    reach = notch_hz / 400 + NOTCH_TRANSITION_HZ
    return notch_hz - reach, notch_hz + reach


def checked_notch(notch_hz: float | Iterable[float] | None) -> NotchHz:
    """``notch_hz`` as it is kept everywhere.

    Parameters
    ----------
    notch_hz : float, sequence of float or None
        Mains frequencies in Hz, in any order.

    Returns
    -------
    float, tuple of float or None
        None and a number as they came, a list of one as its number, several ascending.

    Raises
    ------
    ValueError
        Something that is no frequency, an empty list, a frequency twice, or two that are so close
        that their notches overlap (at 50 Hz about 1.3 Hz).
    """
    if notch_hz is None:
        return None
    if isinstance(notch_hz, (str, bytes)) or not isinstance(notch_hz, Iterable):
        if not _is_frequency(notch_hz):
            raise ValueError(f"notch_hz: expected a number above 0, found {notch_hz!r}.")
        return notch_hz
    given = list(notch_hz)
    if not 1 <= len(given) <= _MOST:
        raise ValueError(
            f"notch_hz: expected one to {_MOST} frequencies, or null (None) for no notch, found "
            f"{'an empty list' if not given else f'{len(given)} of them'}."
        )
    wrong = [repr(one) for one in given if not _is_frequency(one)]
    if wrong:
        raise ValueError(
            f"notch_hz: expected numbers above 0, such as [50, 60], found {', '.join(wrong)}."
        )
    ordered = sorted(float(one) for one in given)
    for lower, higher in pairwise(ordered):
        if lower == higher:
            raise ValueError(f"notch_hz: expected every frequency once, found {lower:g} Hz twice.")
        if notch_edges(lower)[1] > notch_edges(higher)[0]:
            apart = notch_edges(lower)[1] - lower + higher - notch_edges(higher)[0]
            raise ValueError(
                f"notch_hz: expected frequencies at least {apart:.3g} Hz apart, so that their "
                f"notches do not overlap, found {lower:g} and {higher:g} Hz."
            )
    return ordered[0] if len(ordered) == 1 else tuple(ordered)


def notches(notch_hz: NotchHz) -> tuple[float, ...]:
    """A checked ``notch_hz`` as a tuple, empty for None."""
    if notch_hz is None:
        return ()
    return notch_hz if isinstance(notch_hz, tuple) else (notch_hz,)


def notch_text(notch_hz: NotchHz) -> str:
    """A checked ``notch_hz`` in words: ``no notch``, ``notch 50 Hz``, ``notch 50 and 60 Hz``."""
    numbers = [f"{one:g}" for one in notches(notch_hz)]
    if not numbers:
        return "no notch"
    return f"notch {' and '.join(filter(None, [', '.join(numbers[:-1]), numbers[-1]]))} Hz"


def parse_notch(text: str) -> NotchHz:
    """``50``, ``50,60`` or ``none``, as a command line has it.

    Raises
    ------
    ValueError
        See :func:`checked_notch`.
    """
    if text.strip().lower() in ("none", "null"):
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(
            f"notch: expected Hz such as 50, several such as 50,60, or none, found {text!r}."
        ) from error
    return checked_notch(numbers)


def _is_frequency(value: object) -> bool:
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 < value <= _MOST_HZ
