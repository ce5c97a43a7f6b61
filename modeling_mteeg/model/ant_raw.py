"""ANT eego's ``.cnt``: MNE's Raw, with the library that parses the file in another process."""

from __future__ import annotations

import contextlib
import datetime
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from .isolated_reading import ask_reader, exchange_folder, read_signal

try:
    import antio
    from mne.io.ant.ant import RawANT as MneRawANT
except ImportError as error:  # a model beside this file does without
    raise ImportError(f"Reading a file of ANT eego needs MNE-Python and antio ({error})") from error

_LOCK = threading.RLock()


class RawANT(MneRawANT):
    """As MNE's with its default settings; lazy as well.

    Parameters
    ----------
    path : pathlib.Path
    preload : bool
    """

    def __init__(self, path: Path, preload: bool) -> None:
        with _isolated():
            super().__init__(
                path, eog=None, misc=r"BIP\d+", bipolars=None, impedance_annotation="impedance",
                preload=preload, verbose="error",
            )  # fmt: skip

    def _read_segment_file(self, data, idx, fi, start, stop, cals, mult):
        with _isolated():
            # MNE calls this with a proxy in the place of self, which super() does not take.
            MneRawANT._read_segment_file(self, data, idx, fi, start, stop, cals, mult)


@contextlib.contextmanager
def _isolated() -> Iterator[None]:
    """MNE, which asks ``antio`` for its files at every reading, is given :class:`_Distant`."""
    with _LOCK, mock.patch.object(antio, "read_cnt", _Distant):
        yield


class _Distant:
    """What ``antio.read_cnt`` gives, of a file that another process reads.

    Texts are decoded as Latin-1, MNE's default.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._known = path, None

    def _head(self) -> dict[str, Any]:
        if self._known is None:
            with exchange_folder() as folder:
                self._known = ask_reader("ant_head", self._path, folder)
        return self._known

    def get_channel_count(self) -> int:
        return len(self._head()["channels"])

    def get_channel(self, index: int, encoding: str) -> tuple[str, ...]:
        return tuple(self._head()["channels"][index])

    def get_sample_frequency(self) -> int:
        return self._head()["rate_hz"]

    def get_sample_count(self) -> int:
        return self._head()["samples"]

    def get_samples_as_nparray(self, first: int, stop: int) -> np.ndarray:
        with exchange_folder() as folder:
            ask_reader("ant_samples", self._path, folder, first=int(first), stop=int(stop))
            return read_signal(folder)

    def get_start_time_and_fraction(self) -> datetime.datetime | None:
        text = self._head()["start"]
        return datetime.datetime.fromisoformat(text) if text else None

    def get_hospital(self, encoding: str) -> str:
        return self._head()["hospital"]

    def get_machine_info(self, encoding: str) -> tuple[str, ...]:
        return tuple(self._head()["machine"])

    def get_patient_info(self, encoding: str) -> tuple[Any, ...]:
        *texts, birthday = self._head()["patient"]
        return (*texts, datetime.date.fromisoformat(birthday) if birthday else None)

    def get_trigger_count(self) -> int:
        return len(self._head()["triggers"])

    def get_trigger(self, index: int) -> tuple[Any, ...]:
        return tuple(self._head()["triggers"][index])
