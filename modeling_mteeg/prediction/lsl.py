"""New samples of a Lab Streaming Layer stream, chunk by chunk (optional extra: ``live``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_VOLT = 107  # FIFF_UNIT_V
_UNITS = {0: "V", -3: "mV", -6: "uV"}  # by the power of ten that MNE notes


def open_stream(
    name: str | None = None,
    source_id: str | None = None,
    buffer_s: float = 30.0,
    timeout_s: float = 10.0,
) -> Any:
    """Connect to a stream, with its samples pulled by :func:`new_samples`.

    Parameters
    ----------
    name, source_id : str or None
        At least one of them, as the stream announces itself.
    buffer_s : float
        Seconds that may pass between two reads before samples are lost (an error then).
    timeout_s : float
        How long to look for it.

    Returns
    -------
    mne_lsl.stream.StreamLSL

    Raises
    ------
    ImportError
        mne-lsl is not installed, or does not find its library.
    ConnectionError
        There is no such stream, or several; those that there are are named.
    """
    if name is None and source_id is None:
        raise ValueError("Expected the stream's name or its source_id, found neither.")
    try:
        from mne_lsl.lsl import resolve_streams
        from mne_lsl.stream import StreamLSL
    except (ImportError, OSError) as error:
        raise ImportError(
            f"Live streams need mne-lsl ({error}): pip install 'modeling-mteeg[live]'."
        ) from error
    stream = StreamLSL(bufsize=buffer_s, name=name, source_id=source_id)
    try:
        stream.connect(acquisition_delay=None, timeout=timeout_s)
    except RuntimeError as error:
        others = [f"{info.name!r} ({info.source_id})" for info in resolve_streams(timeout=1.0)]
        raise ConnectionError(
            f"Expected one stream with name={name!r}, source_id={source_id!r} within "
            f"{timeout_s:g} s, found {', '.join(sorted(others)) or 'no stream at all'}. Start the "
            "stream, or name one that is there."
        ) from error
    return stream


def stream_unit(stream: Any) -> str:
    """Unit of a stream's EEG channels: ``V``, ``mV`` or ``uV``.

    Raises
    ------
    ValueError
        The stream announces none, another one, or several.
    """
    units = {(int(kind), int(power)) for kind, power in stream.get_channel_units()}
    if len(units) == 1:
        kind, power = next(iter(units))
        if kind == _VOLT and power in _UNITS:
            return _UNITS[power]
    raise ValueError(
        f"Expected one unit for all channels of the stream (volt, millivolt or microvolt), found "
        f"{sorted(units)} (FIFF unit, power of ten). Pass the unit, or pick the EEG channels."
    )


def new_samples(
    stream: Any,
    seconds: float | None = None,
    patience_s: float = 10.0,
    ended: Callable[[], bool] | None = None,
    poll_s: float = 0.02,
) -> Iterator[np.ndarray]:
    """Yield what arrives, without a gap, until the end.

    Parameters
    ----------
    stream : mne_lsl.stream.StreamLSL
        Of :func:`open_stream`.
    seconds : float or None
        End after so much signal.
    patience_s : float
        End when nothing came for so long.
    ended : callable or None
        Says that the source has stopped; the end is then where nothing new is left.
    poll_s : float
        Pause between two looks.

    Yields
    ------
    numpy.ndarray
        (channels, n), n from 1 on.

    Raises
    ------
    BufferError
        The caller took longer than the stream's buffer holds, so samples are lost.
    """
    rate_hz = stream.info["sfreq"]
    left = None if seconds is None else round(seconds * rate_hz)
    heard = time.monotonic()
    while left is None or left > 0:
        over = ended is not None and ended()
        stream.acquire()
        count = stream.n_new_samples
        if count >= stream.n_buffer:
            raise BufferError(
                f"{count} samples arrived since the last look, the stream's buffer holds "
                f"{stream.n_buffer}: samples are lost. Use a longer buffer_s, a longer stride, a "
                "lower speed or a smaller base."
            )
        if count:
            heard = time.monotonic()
            chunk = stream.get_data(winsize=count / rate_hz)[0][:, -count:]
            chunk = chunk if left is None else chunk[:, :left]
            left = None if left is None else left - chunk.shape[1]
            yield chunk
        elif over or time.monotonic() - heard > patience_s:
            return
        else:
            time.sleep(poll_s)
