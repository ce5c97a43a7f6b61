"""What MNE's reader uses of an EEGLAB set, taken out of what SciPy read of it.

Runs in the process of :mod:`.reader_process`, and imports nothing of the package.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

FIELDS = ("trials", "nbchan", "pnts", "srate", "xmin", "xmax", "chanlocs", "chaninfo", "event",
           "epoch")  # fmt: skip
"""Fields of an EEGLAB set, besides its signal, that MNE's reader uses."""
_INNER = {
    "chanlocs": ("labels", "type", "X", "Y", "Z"),
    "chaninfo": ("nodatchans",),
    "event": ("type", "latency", "duration"),
    "epoch": ("eventtype",),
}


def kept_set(content: dict[str, Any]) -> dict[str, Any]:
    """The variables of a set without what nobody reads."""
    kept = {}
    for name, value in content.items():
        if name == "ALLEEG":
            kept[name] = 0.0  # its presence is all that counts
        elif name == "EEG":
            kept[name] = _kept_struct(value)
        elif name == "event":
            kept[name] = _columns(_plain(value, _INNER[name]))
        else:
            kept[name] = _plain(value, _INNER.get(name))
    return kept


def _kept_struct(value: Any) -> Any:
    """A set that lies in one variable, ``EEG``; an older layout has one in the other."""
    names = getattr(getattr(value, "dtype", None), "names", None)
    if names and value.size == 1:
        value = {name: value[name].flat[0] for name in names}
    if not isinstance(value, dict):
        return _plain(value, None)
    wanted = {name: part for name, part in value.items() if name in (*FIELDS, "data", "EEG")}
    return kept_set(wanted)


def _columns(structs: Any) -> Any:
    """Several structs as one of columns, which MNE takes for the same and SciPy writes faster."""
    names = getattr(getattr(structs, "dtype", None), "names", None)
    if not names or structs.size < 2:
        return structs
    columns = {}
    for name in names:
        cells = structs[name].reshape(1, -1)
        numbers = all(
            isinstance(cell, np.ndarray) and cell.size == 1 and cell.dtype.kind in "iuf"
            for cell in cells.flat
        )
        if numbers and name != "type":  # whose numbers are read as texts, 2 and 2.0 as two
            cells = np.array([[float(cell.flat[0]) for cell in cells.flat]])
        columns[name] = cells
    return columns


def _plain(value: Any, wanted: tuple[str, ...] | None) -> Any:
    """Numbers, texts, cells and structs as they are, of structs the wanted fields; else nothing."""
    try:
        from scipy.io import matlab
    except ImportError as error:  # a model beside this file does without
        raise ImportError(f"MATLAB files need SciPy: pip install scipy ({error})") from error
    if isinstance(value, dict):
        names = [name for name in value if wanted and name in wanted] or list(value)
        return {name: _plain(value[name], None) for name in names}
    if not isinstance(value, np.ndarray):
        return value if isinstance(value, (str, int, float, complex, np.generic)) else nothing()
    if isinstance(value, (matlab.MatlabFunction, matlab.MatlabOpaque)):
        return nothing()
    if value.dtype.names:
        names = [name for name in value.dtype.names if wanted and name in wanted]
        names = names or list(value.dtype.names)
        kept = np.empty(value.shape, [(name, object) for name in names])
        for name in names:
            kept[name] = _plain(value[name], None)
        return kept
    if value.dtype.hasobject:
        kept = np.empty(value.shape, object)
        for place, part in enumerate(value.flat):
            kept.flat[place] = _plain(part, None)
        return kept
    return value


def nothing() -> Any:
    """MATLAB's ``[]``."""
    return np.empty((0, 0))


def check_size(content: dict[str, Any], inside: int | None) -> str:
    """Raise where a set contradicts itself: its signal has another size, its times another rate.

    ``inside``: how many numbers of a signal were left in the file. Returns what is odd and used.
    """
    said = {}
    for name in ("nbchan", "pnts", "trials", "srate", "xmin", "xmax"):
        value = np.asarray(content.get(name, np.nan))
        good = value.size == 1 and value.dtype.kind in "biuf"
        said[name] = float(value.flat[0]) if good else np.nan
    data, stored = np.asarray(content.get("data", "")), inside
    if data.dtype.kind == "c":
        raise ValueError("its signal is of complex numbers")
    if stored is None and data.dtype.kind == "U" and os.path.isabs(str(data)):
        stored = os.path.getsize(str(data)) / 4
    elif stored is None and data.dtype.kind in "biuf":
        stored = data.size
    claimed = said["nbchan"] * said["pnts"] * said["trials"]
    if stored is not None and np.isfinite(claimed) and claimed != stored:
        raise ValueError(
            f"it states {said['nbchan']:g} channels, {said['pnts']:g} samples and "
            f"{said['trials']:g} trials; its signal has {stored:g} numbers"
        )
    places = _count_of(content.get("chanlocs"))
    if places and np.isfinite(said["nbchan"]) and places != said["nbchan"]:
        raise ValueError(
            f"it states {said['nbchan']:g} channels, and describes {places} (chanlocs)"
        )
    span_s, rate_hz = said["xmax"] - said["xmin"], said["srate"]
    stated = said["xmax"] != 0 or said["xmin"] != 0  # by EEGLAB exactly; others may round
    if stated and rate_hz > 0 and said["pnts"] > 1:
        odd_s = abs(span_s - (said["pnts"] - 1) / rate_hz)
        text = (
            f"it states {rate_hz:g} Hz, and {said['pnts']:g} samples from {said['xmin']:g} s to "
            f"{said['xmax']:g} s, which is another length"
        )
        if odd_s > max(2 / rate_hz, 0.01 * abs(span_s)):
            raise ValueError(text)
        if odd_s > 1.5 / rate_hz:
            return f"{text}; the rate is used"
    return ""


def _count_of(structs: Any) -> int:
    """How many structs there are; 0 where it is none of them."""
    if not isinstance(structs, dict):
        return structs.size if getattr(getattr(structs, "dtype", None), "names", None) else 0
    cells = next((part for part in structs.values() if isinstance(part, np.ndarray)
                  and part.dtype.hasobject), None)  # fmt: skip
    return 1 if cells is None else cells.size


def point_at_signal(content: dict[str, Any], path: str) -> tuple[str, str]:
    """Make the name of a ``.fdt`` an absolute path.

    As MNE looks for it: under the name that the set has, or under the set's own. Returns the name
    where there is neither, and the set's own where that is the one.
    """
    data = np.asarray(content.get("data", 0.0))
    if data.dtype.kind != "U" or data.size != 1:
        return "", ""
    name = str(data.flat[0])
    if os.path.splitext(name)[1] != ".fdt":
        return "", ""  # MNE says what is wrong with it
    folder, own = os.path.dirname(os.path.abspath(path)), os.path.splitext(path)[0] + ".fdt"
    for place, instead in ((os.path.join(folder, name), ""), (own, os.path.basename(own))):
        if os.path.isfile(place):  # opening a pipe would wait for its other end
            content["data"] = os.path.abspath(place)
            return "", instead
    return name, ""
