"""The electrodes of tasks from a recording with others, by spherical splines.

Interpolated channels are sums of recorded ones with fixed weights. So it does not matter whether a
recording is interpolated or filtered first, and it can be done block by block.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..model.channel_choice import NOT_INTERPOLATED, check_equal, rows_by_name
from ..model.channels import clean_name, montage_of_numbers
from ..model.findings import Finding
from ..model.recording_sources import Source, grouped_reasons
from ..model.signal_checks import SignalError, flat_channels, foreign_channels, unit_factor
from ..model.task_card import TaskCard
from .block_reader import open_recording
from .cap_geometry import (
    SAME_PLACE_DEG,
    Cap,
    angles_deg,
    directions,
    empty_sector_deg,
    fit_cap,
    on_scalp_cm,
    reach_deg,
)
from .electrode_places import Places, find_places
from .montage import LEAST_SOURCES, rename_channels

_LOOKS, _LOOK_SAMPLES = 12, 2048  # what is read to find channels that carry nothing
_READ_VALUES = 2**22  # of float64 at a time: 32 MiB


def open_for_tasks(
    recording: Any,
    cards: Sequence[TaskCard],
    unit: str | None = None,
    rename: Mapping[str, str] | None = None,
    interpolate: bool | str = False,
) -> Source:
    """Open a continuous recording so that tasks find their electrodes.

    Parameters
    ----------
    recording, unit, rename
        See :func:`block_reader.open_recording`.
    cards : sequence of TaskCard
        Tasks whose channels are wanted.
    interpolate : bool or str
        False: the recording as it is. True: electrodes that it lacks are interpolated, by the
        positions in a BIDS ``electrodes.tsv``, else by those in its file. A name: by those of one
        of MNE's standard montages.

    Returns
    -------
    Source
        With ``interpolate``, the channels that the tasks want and the recording has, as they are,
        and the interpolated ones; a finding says which. Electrodes that cannot be interpolated are
        in ``unfit``, with the reason.

    Raises
    ------
    SignalError
        There are no positions, too few, or such as contradict the names; no such montage.
    ValueError
        See :func:`block_reader.open_recording`; or a task that names no channels.
    """
    check_interpolate(interpolate)
    if not interpolate:
        return open_recording(recording, unit, rename)
    source = open_recording(recording, unit)
    path = Path(recording) if isinstance(recording, (str, Path)) else None
    places = find_places(source, interpolate, path).renamed(rename or {})
    for card in cards:
        if not card.channels:
            raise ValueError(
                f"Task {card.name!r} names no channels: it takes those of the recording, so that "
                "there is nothing to interpolate. Leave out interpolate (--interpolate)."
            )
    wanted = [clean_name(name) for card in cards for name in card.channels]
    return interpolated(rename_channels(source, rename or {}), wanted, places)


def check_interpolate(interpolate: Any) -> None:
    """Raise ``ValueError`` for what is neither a bool nor the name of a montage."""
    if not isinstance(interpolate, (bool, str)) or interpolate == "":
        raise ValueError(
            "interpolate: expected True, False or the name of one of MNE's standard montages, "
            f"found {interpolate!r}."
        )


def interpolated(source: Source, wanted: Sequence[str], places: Places) -> Source:
    """A recording that has the electrodes that are wanted.

    Parameters
    ----------
    source : Source
        Continuous.
    wanted : sequence of str
        Cleaned names of channels; of a bipolar one that is not there, both electrodes are made.
    places : Places

    Returns
    -------
    Source
        See :func:`open_for_tasks`.

    Notes
    -----
    Channels that the recording has by name are taken as they are, and so is one that lies where a
    wanted electrode is (within 1 mm on the scalp). Channels that are flat, or in another unit than
    the others, are not interpolated from, and are interpolated themselves where they are wanted, as
    bad ones are. The weights are those of :meth:`mne.io.Raw.interpolate_bads`.
    """
    rows = rows_by_name(source)
    silent, still = _silent(
        source, [name for name in rows if name in places.channels or name in wanted]
    )
    there = {name for name in rows if name not in places.numbers and name not in silent}
    kept, targets = _sort_out(wanted, there)
    sources = [name for name in rows if name in places.channels and name not in silent]
    if not targets:
        text = "Nothing was interpolated: the recording has every electrode that is wanted."
        return dataclasses.replace(
            source, findings=(*source.findings, Finding("interpolated", text))
        )
    unplaced = [name for name in rows if name not in places.channels and "-" not in name]
    if len(sources) < LEAST_SOURCES:
        raise SignalError(
            f"Expected at least {LEAST_SOURCES} electrodes with a position to interpolate from, "
            f"found {len(sources)}: {', '.join(sources) or 'none'} ({places.origin})."
            + (f" Without a position: {', '.join(unplaced)}." if unplaced else "")
        )
    cap = fit_cap(np.array(list(places.channels.values())), places.named, places.oriented)
    made = _make(targets, sources, places, cap)
    excluded = {**silent, **dict.fromkeys(unplaced, "no position")}
    channels = [(name, row) for name in kept for row in rows[name]]
    channels += [(name, rows[other][0]) for name, other in made.copies.items()]
    channels += made.weights.items()
    names = tuple(name for name, _ in channels)
    findings = _findings(source, made, excluded, places, cap)
    if made.weights and (paused := [name for name in sources if name in still]):
        text = (
            f"Interpolated also from channels that keep one value for a while: {', '.join(paused)}."
        )
        remedy = "Mark them bad, or leave that time out."
        findings.append(Finding("interpolated", text, remedy, channels=tuple(paused)))
    view = _Mixture(source, [rows[name][0] for name in sources], [how for _, how in channels])
    return dataclasses.replace(
        source,
        names=names,
        read=view.read,
        upsampled=view.upsampled,
        findings=(*source.findings, *findings),
        unfit={name: why for name, why in source.unfit.items() if name not in names} | made.unfit,
    )


def _sort_out(wanted: Sequence[str], there: set[str]) -> tuple[list[str], list[str]]:
    """Channels that are taken as they are, and electrodes to make, each once."""
    kept, targets = [], []
    for name in wanted:
        for part in (name,) if name in there else name.split("-"):
            (kept if part in there else targets).append(part)
    return list(dict.fromkeys(kept)), list(dict.fromkeys(targets))


def _silent(source: Source, names: Sequence[str]) -> tuple[dict[str, str], set[str]]:
    """Channels that carry nothing or are in another unit than the others, with the reason.

    And those that carry nothing for a while, as far as that was looked at.
    """
    rows = rows_by_name(source)
    size = min(_LOOK_SAMPLES, source.samples)
    starts = np.linspace(0, source.samples - size, min(_LOOKS, source.samples // size)).astype(int)
    for name in names:
        if len(rows[name]) > 1:
            check_equal(name, source.read(rows[name], int(starts[0]), int(starts[0]) + size))
    positions = [rows[name][0] for name in names]
    looks = np.stack([source.read(positions, at, at + size)[0] for at in starts.tolist()])
    finite = np.isfinite(looks).all(axis=(0, 2))
    broken = [name for name, fine in zip(names, finite, strict=True) if not fine]
    rest = [name for name, fine in zip(names, finite, strict=True) if fine]
    looks = looks[:, finite] * unit_factor(source.unit)  # (looks, channels, size)
    flat = flat_channels(looks, rest) if rest else []
    alive = [place for place, name in enumerate(rest) if name not in flat]
    spans = np.ptp(looks[:, alive], axis=2)  # (looks, channels); of a skipped stretch all are 0
    lost = ((spans == 0) & (np.median(spans, axis=1) > 0)[:, None]).any(axis=0) if alive else []
    still = {rest[at] for at, gone in zip(alive, lost, strict=True) if gone}
    looks = looks[:, alive] - looks[:, alive].mean(axis=2, keepdims=True)
    loud = foreign_channels(np.concatenate(list(looks), axis=1), [rest[at] for at in alive])
    reasons = {
        **dict.fromkeys(broken, "NaN or infinity"),
        **dict.fromkeys(flat, "flat"),
        **dict.fromkeys(loud, "in another unit than the others"),
    }
    return reasons, still


@dataclasses.dataclass(frozen=True)
class _Made:
    """Electrodes that are made, and those that cannot be.

    ``copies`` are those at the place of another channel, with its name; ``weights`` (sources,) and
    ``distances_cm`` to the nearest electrode are of the others; ``unfit`` says why not.
    """

    copies: Mapping[str, str]
    weights: Mapping[str, np.ndarray]
    distances_cm: Mapping[str, float]
    unfit: Mapping[str, str]


def _make(targets: Sequence[str], sources: Sequence[str], places: Places, cap: Cap) -> _Made:
    """How every target is made of the sources."""
    there = directions(np.array([places.channels[name] for name in sources]), cap.centre)
    copies, distances, unfit = {}, {}, {}
    for name in targets:
        place = cap.electrodes.get(name)
        if place is None:
            unfit[name] = f"{NOT_INTERPOLATED}no position of it is known"
            continue
        away = angles_deg(place[None], there)[0]
        nearest, nearest_deg = sources[int(away.argmin())], float(away.min())
        most_deg = reach_deg(empty_sector_deg(place, there))
        if nearest_deg <= SAME_PLACE_DEG:
            copies[name] = nearest
        elif nearest_deg <= most_deg:
            distances[name] = on_scalp_cm(nearest_deg)
        else:
            unfit[name] = (
                f"{NOT_INTERPOLATED}its nearest electrode, {nearest}, is "
                f"{on_scalp_cm(nearest_deg):.1f} cm away, there at most {on_scalp_cm(most_deg):.1f}"
            )
    rows: Sequence[np.ndarray] = ()
    if distances:
        rows = spline_weights(there, np.array([cap.electrodes[name] for name in distances]))
    return _Made(copies, dict(zip(distances, rows, strict=True)), distances, unfit)


def spline_weights(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Weights of electrodes in others, by MNE's spherical splines.

    Parameters
    ----------
    sources, targets : numpy.ndarray
        (n, 3) and (m, 3), unit vectors from the centre of the head.

    Returns
    -------
    numpy.ndarray
        (m, n); rows sum to 1, so that the reference stays what it is.

    Notes
    -----
    What :meth:`mne.io.Raw.interpolate_bads` makes of signals that are 1 in one channel and 0 in the
    others: splines of order 4 with 50 Legendre terms, regularised by 1e-5 (Perrin et al.,
    Electroencephalography and Clinical Neurophysiology 72, 1989).
    """
    import mne

    points = 0.095 * np.concatenate([sources, targets])
    names = [str(number) for number in range(len(points))]
    info = mne.create_info(names, 1.0, "eeg", verbose="error")
    info["bads"] = names[len(sources) :]
    signal = np.eye(len(points), len(sources))  # (n + m, n): the targets' rows are 0
    raw = mne.io.RawArray(signal, info, verbose="error")
    montage = mne.channels.make_dig_montage(
        dict(zip(names, points, strict=True)), coord_frame="head"
    )
    raw.set_montage(montage, verbose="error")
    raw.interpolate_bads(origin=(0.0, 0.0, 0.0), method={"eeg": "spline"}, verbose="error")
    return raw.get_data()[len(sources) :]


@dataclasses.dataclass(frozen=True)
class _Mixture:
    """Reads channels of a recording, and such as are made of several.

    Parameters
    ----------
    source : Source
    sources : list of int
        Positions of the channels that others are made of.
    channels : list of int or numpy.ndarray
        Of every channel its position in the recording, or its weights (sources,).
    """

    source: Source
    sources: list[int]
    channels: list[int | np.ndarray]

    def read(self, positions: list[int], start: int = 0, stop: int | None = None) -> np.ndarray:
        """As :attr:`Source.read`: (1, len(positions), samples)."""
        stop = self.source.samples if stop is None else stop
        rows = self._rows(positions)
        size = max(1, _READ_VALUES // max(1, len(rows)))
        if self.source.upsampled(rows):  # pieces would not be those of the whole
            size = max(1, stop - start)
        pieces = [
            self._mixed(positions, rows, self.source.read(rows, first, min(first + size, stop))[0])
            for first in range(start, stop, size)
        ]
        return np.concatenate(pieces, axis=1)[None]

    def upsampled(self, positions: list[int]) -> bool:
        """As :attr:`Source.upsampled`."""
        return self.source.upsampled(self._rows(positions))

    def _rows(self, positions: list[int]) -> list[int]:
        """Positions of the recording that are read for those of the mixture."""
        wanted = [self.channels[position] for position in positions]
        mixed = any(isinstance(channel, np.ndarray) for channel in wanted)
        plain = {channel for channel in wanted if isinstance(channel, int)}
        return sorted(plain.union(self.sources if mixed else ()))

    def _mixed(self, positions: list[int], rows: list[int], signal: np.ndarray) -> np.ndarray:
        """Channels (len(positions), n) from the recorded ones (len(rows), n)."""
        out = np.empty((len(positions), signal.shape[1]))
        weights = {}
        for place, position in enumerate(positions):
            channel = self.channels[position]
            if isinstance(channel, int):  # not one times it and zero times the others: NaN, -0.0
                out[place] = signal[rows.index(channel)]
            else:
                weights[place] = channel
        if weights:
            used = signal[[rows.index(row) for row in self.sources]]  # (sources, n)
            self._check_finite(used)
            out[list(weights)] = np.array(list(weights.values())) @ used
        return out

    def _check_finite(self, used: np.ndarray) -> None:
        broken = [self.source.names[row] for row, channel in zip(self.sources, used, strict=True)
                  if not np.isfinite(channel).all()]  # fmt: skip
        if broken:
            raise SignalError(
                "Expected finite numbers in the channels that others are interpolated from, found "
                f"NaN or infinity in {', '.join(broken)}. Mark them bad, or cut those samples."
            )


def _findings(
    source: Source, made: _Made, excluded: Mapping[str, str], places: Places, cap: Cap
) -> list[Finding]:
    """What was interpolated from what, and which electrodes are others under another name."""
    findings = []
    if made.copies:
        pairs = ", ".join(f"{name} is {other}" for name, other in made.copies.items())
        text = f"Electrodes at one place, taken as they are ({places.origin}): {pairs}."
        findings.append(Finding("renamed", text, channels=tuple(made.copies)))
    if made.weights:
        count = len(next(iter(made.weights.values())))
        farthest = max(made.distances_cm, key=made.distances_cm.get)
        text = (
            f"{len(made.weights)} electrodes were interpolated by spherical splines from {count} "
            f"others ({places.origin}): {', '.join(made.weights)}. The farthest from its nearest "
            f"electrode is {farthest}, by {made.distances_cm[farthest]:.1f} cm."
        )
        findings.append(Finding("interpolated", text, channels=tuple(made.weights)))
    about = [cap.note]
    if excluded:
        about.append(f"Not interpolated from: {', '.join(grouped_reasons(excluded))}.")
    fitting = montage_of_numbers(source.names)
    if fitting and places.origin.startswith("the montage") and not places.origin.endswith(fitting):
        about.append(f"By their number the channels fit {fitting}, too.")
    text = " ".join(filter(None, about))
    return [*findings, *([Finding("interpolated", text)] if text else [])]
