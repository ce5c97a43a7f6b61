"""EEGLAB's ``.set``: parsed in a process of its own, opened by MNE from what that one wrote.

A ``.set`` is a MATLAB file, and SciPy's reader of those can crash on a damaged one. The process of
:mod:`.isolated_reading` writes the fields that MNE uses as a new file; MNE here sees that one.
The signal of a ``.fdt`` stays where it is and is read piece by piece.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .findings import Finding
from .isolated_reading import ask_reader, exchange_folder, read_signal
from .reader_process import CLEAN

try:
    import mne
    from mne.io.eeglab.eeglab import RawEEGLAB as MneRawEEGLAB
except ImportError as error:  # a model beside this file does without
    raise ImportError("Reading a .set file needs MNE-Python: pip install mne.") from error


def open_set(path: Path, preload: bool = False) -> tuple[Any, tuple[Finding, ...]]:
    """Open an EEGLAB file: a continuous recording, or epochs where it has several trials.

    Parameters
    ----------
    path : pathlib.Path
    preload : bool

    Returns
    -------
    recording : mne.io.BaseRaw or mne.BaseEpochs
        What MNE's reader makes of the file itself, with its name.
    findings : tuple of Finding
        What is odd about its times, or its ``.fdt``.

    Raises
    ------
    ValueError
        The reader refuses it, or died: see :func:`isolated_reading.ask_reader`.
    FileNotFoundError
        The ``.fdt`` file is not there.
    """
    with exchange_folder() as folder:
        found = _clean(path, folder, whole=preload)
        clean = folder / CLEAN
        try:
            raw = RawEEGLAB(clean, preload=preload, verbose="error")
        except TypeError as error:
            if "number of trials" not in str(error):
                raise
            if found["inside"]:  # epochs are read at once
                _clean(path, folder, whole=True)
            epochs = mne.read_epochs_eeglab(clean, verbose="error")
            epochs.filename = path.absolute()
            return epochs, _findings(path, found)
        raw.own_annotations = mne.read_annotations(clean)
        raw.belongs_to(path.absolute(), clean, bool(found["inside"]))
        return raw, _findings(path, found)


def _findings(path: Path, found: dict[str, Any]) -> tuple[Finding, ...]:
    odd, instead, findings = found["odd"], found["instead"], []
    if odd:
        findings.append(Finding("record-times", f"{path.name}: {odd}."))
    if instead:
        text = f"{path.name}: the file of its signal that it names is not there; {instead} is read."
        findings.append(Finding("sidecar", text))
    return tuple(findings)


def events_outside(raw: Any) -> int:
    """How many events of an opened set do not lie within its signal; 0 for epochs."""
    marks = getattr(raw, "own_annotations", None)
    if marks is None:
        return 0
    rate_hz = float(raw.info["sfreq"])
    first, samples = marks.onset * rate_hz, marks.duration * rate_hz  # (events,)
    # A boundary lies half a sample before the first one.
    within = (first >= -0.51) & (first < raw.n_times)
    short = np.isnan(samples) | ((samples >= 0) & (samples <= raw.n_times))  # NaN: none stated
    cut_out = np.array([text.lower() == "boundary" for text in marks.description], dtype=bool)
    return int(np.sum(~(within & (short | cut_out))))


def set_annotations(path: Path) -> Any:
    """MNE's annotations of a ``.set``, with durations as they are stored."""
    with exchange_folder() as folder:
        _clean(path, folder, whole=False)
        return mne.read_annotations(folder / CLEAN)


def _clean(path: Path, folder: Path, whole: bool) -> dict[str, Any]:
    """Have the clean file written; returns what :func:`reader_process.clean_set` does."""
    found = ask_reader("clean_set", path, folder, whole=whole)
    if found["absent"]:
        raise FileNotFoundError(f"{path.name}: its signal, {found['absent']}, is not there.")
    return found


class RawEEGLAB(MneRawEEGLAB):
    """As MNE's, made from a clean copy of the file; a signal inside comes when it is asked for.

    Attributes
    ----------
    own_annotations : mne.Annotations
        As the file has them; a Raw limits their durations to its own end.
    """

    own_annotations: Any = None

    def belongs_to(self, path: Path, clean: Path, inside: bool) -> None:
        """Name the file itself in place of its clean copy.

        ``inside``: the signal lies in the file and was not brought along.
        """
        same = clean.resolve()
        self.filenames = [
            path if file is None or Path(file).resolve() == same else file
            for file in self.filenames
        ]
        if self._init_kwargs:
            self._init_kwargs["input_fname"] = str(path)
        for extras in self._raw_extras:
            if "input_fname" in extras:
                extras["input_fname"] = str(path)
                extras["is_embedded"] = inside

    def _read_segment_file(self, data, idx, fi, start, stop, cals, mult):
        extras = self._raw_extras[fi]
        if extras.get("is_embedded") and "cached_data" not in extras:
            with exchange_folder() as folder:
                ask_reader("set_signal", extras["input_fname"], folder)
                extras["cached_data"] = np.atleast_2d(read_signal(folder))
        # MNE calls this with a proxy in the place of self, which super() does not take.
        MneRawEEGLAB._read_segment_file(self, data, idx, fi, start, stop, cals, mult)
