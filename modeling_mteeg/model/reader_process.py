"""The process in which files are parsed by libraries that a damaged file can crash.

SciPy's reader of ``.mat`` (EEGLAB's ``.set``), HDF5 and ANT's library are compiled code that trusts
what a file says of itself: one flipped bit can end the process that calls them, or make it allocate
without end. So :mod:`.isolated_reading` starts this file as a program of its own, with NumPy and
SciPy alone. It answers one JSON object a line; arrays and cleaned files lie in a folder that the
request names. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

try:
    from .mat_structure import check_structure
    from .set_content import FIELDS, check_size, kept_set, nothing, point_at_signal
except ImportError:  # as a program, it is in no package

    def _beside(name: str) -> Any:
        """The module of a file beside this one, whose folder is no place for imports."""
        place = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
        spec = importlib.util.spec_from_file_location(name, place)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    check_structure, _set = _beside("mat_structure").check_structure, _beside("set_content")
    FIELDS, check_size, kept_set = _set.FIELDS, _set.check_size, _set.kept_set
    nothing, point_at_signal = _set.nothing, _set.point_at_signal

CLEAN, SIGNAL = "clean.set", "signal.npy"
"""What a job leaves in the folder of its request."""
_MOST_TEXT = 2000
_MOST_SAMPLES_A_BYTE = 64
"""ANT's files are compressed; a signal of zeros has about four samples a byte."""
_NUMBERS = (
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "single", "double",
)  # fmt: skip


def clean_set(path: str, folder: str, whole: bool) -> dict[str, Any]:
    """Write what MNE's reader uses of an EEGLAB ``.set`` as a new file of MATLAB 5.

    Parameters
    ----------
    path : str
    folder : str
        Gets :data:`CLEAN`. Its ``data`` is the absolute path of the ``.fdt``, or the signal, or a
        single 0 that stands for it.
    whole : bool
        Whether a signal that MNE would leave on the disk is brought along.

    Returns
    -------
    dict
        ``inside``: a 0 stands for the signal. ``absent``: name of a ``.fdt`` that is not there.
        ``odd``: a sentence where its times and its rate differ a little. ``instead``: name of the
        ``.fdt`` that is read because the one that the set names is not there.
    """
    _check(path)
    found = {name: (shape, kind) for name, shape, kind in _variables(path)}
    shape, kind = found.get("data", ((), ""))
    later = not whole and kind in _NUMBERS
    content = _load(path, [*FIELDS, *(() if later else ("data", "EEG", "ALLEEG"))])
    content = {name: value for name, value in content.items() if not name.startswith("_")}
    kept = kept_set(content)
    inner = kept
    while isinstance(inner.get("EEG"), dict):
        inner = inner["EEG"]
    absent, instead = point_at_signal(inner, path)
    odd = check_size(inner, int(np.prod(shape, dtype=object)) if later else None)
    if later:
        kept["data"] = 0.0
    _scipy().savemat(
        os.path.join(folder, CLEAN), kept, appendmat=False, oned_as="row", long_field_names=True
    )
    return {"inside": later, "absent": absent, "odd": odd, "instead": instead}


def set_signal(path: str, folder: str) -> dict[str, Any]:
    """Write the signal that lies in a ``.set`` beside its fields, (channels, samples)."""
    return _save(np.squeeze(np.asarray(_load(path, ["data"])["data"])), folder)


def mat_shapes(path: str, folder: str) -> dict[str, Any]:
    """Names and shapes of the variables of a ``.mat`` file."""
    _check(path)
    return {"shapes": {name: list(map(int, shape)) for name, shape, _ in _variables(path)}}


def mat_variable(path: str, folder: str, name: str) -> dict[str, Any]:
    """Write a variable of a ``.mat`` file that is of numbers."""
    return _save(_load(path, [name])[name], folder)


def ant_head(path: str, folder: str) -> dict[str, Any]:
    """What the header of ANT's ``.cnt`` says: the answers of ``antio``, dates as ISO texts.

    Raises
    ------
    ValueError
        It claims more samples than a file of that size can hold.
    """
    cnt, text = _antio().read_cnt(path), {"encoding": "latin-1"}
    channels, samples = cnt.get_channel_count(), cnt.get_sample_count()
    if channels * samples > _MOST_SAMPLES_A_BYTE * os.path.getsize(path):
        raise ValueError(
            f"its header claims {samples:,} samples of {channels} channels, more than a file of "
            f"{os.path.getsize(path):,} bytes can hold"
        )
    start, patient = cnt.get_start_time_and_fraction(), cnt.get_patient_info(**text)
    return {
        "channels": [cnt.get_channel(index, **text) for index in range(channels)],
        "rate_hz": cnt.get_sample_frequency(),
        "samples": samples,
        "start": start.isoformat() if start else "",
        "hospital": cnt.get_hospital(**text),
        "machine": cnt.get_machine_info(**text),
        "patient": [*patient[:-1], patient[-1].isoformat() if patient[-1] else ""],
        "triggers": [cnt.get_trigger(index) for index in range(cnt.get_trigger_count())],
    }


def ant_samples(path: str, folder: str, first: int, stop: int) -> dict[str, Any]:
    """Write samples of ANT's ``.cnt``, (channels, stop - first), as they are stored."""
    return _save(_antio().read_cnt(path).get_samples_as_nparray(first, stop), folder)


def _save(array: Any, folder: str) -> dict[str, Any]:
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"expected numbers, found {array.dtype}")
    np.save(os.path.join(folder, SIGNAL), array, allow_pickle=False)
    return {}


def _is_hdf5(path: str) -> bool:
    """Whether it is a file of MATLAB 7.3."""
    with open(path, "rb") as file:
        head = file.read(520)
    return b"\x89HDF\r\n\x1a\n" in (head[:8], head[512:])


def _variables(path: str) -> list[tuple[str, tuple[int, ...], str]]:
    if _is_hdf5(path):
        return _pymatreader().whosmat(path)
    return _scipy().whosmat(path)


def _load(path: str, names: list[str]) -> dict[str, Any]:
    """Variables of a ``.mat`` file, as they are stored: nothing is squeezed."""
    if _is_hdf5(path):
        return _unlisted(_pymatreader().read_mat(path, variable_names=names))
    return _scipy().loadmat(path, variable_names=names, appendmat=False)


def _scipy() -> Any:
    """``scipy.io``, imported when it is used: the other side of the pipe only asks for names."""
    try:
        import scipy.io
    except ImportError as error:
        raise ImportError(f"MATLAB files need SciPy: pip install scipy ({error})") from error
    return scipy.io


def _antio() -> Any:
    try:
        import antio
    except ImportError as error:
        raise ImportError(f"a file of ANT eego needs antio ({error})") from error
    return antio


def _pymatreader() -> Any:
    try:
        import pymatreader
    except ImportError as error:
        raise NotImplementedError(f"a file of MATLAB v7.3 needs pymatreader ({error})") from error
    return pymatreader


def _check(path: str) -> None:
    """Raise where a file of MATLAB 5 is not in order; HDF5 has its own checks."""
    if not _is_hdf5(path):
        check_structure(path)


def _unlisted(value: Any) -> Any:
    """What pymatreader made of HDF5, with cells for its lists and ``[]`` for its None."""
    if isinstance(value, dict):
        return {name: _unlisted(part) for name, part in value.items()}
    if isinstance(value, list):
        cells = np.empty((1, len(value)), object)
        for place, part in enumerate(value):
            cells[0, place] = _unlisted(part)
        return cells
    return nothing() if value is None else value


JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "clean_set": clean_set, "set_signal": set_signal, "mat_shapes": mat_shapes,
    "mat_variable": mat_variable, "ant_head": ant_head, "ant_samples": ant_samples,
}  # fmt: skip


def limit(memory_bytes: int, seconds: float) -> None:
    """Limit address space and computing time of what follows, where the system can.

    Linux holds to both, macOS to the time, Windows to none; who waits has a clock of its own.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    wanted = {resource.RLIMIT_CPU: int(used.ru_utime + used.ru_stime + seconds) + 2}
    if os.path.exists("/proc/self/statm"):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        wanted[resource.RLIMIT_AS] = pages * resource.getpagesize() + memory_bytes
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):  # a system that knows of no such limit
            resource.setrlimit(kind, (soft, hard))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do one job; what a library raises becomes an answer."""
    try:
        limit(request["memory_bytes"], request["seconds"])
        return JOBS[request["job"]](request["path"], request["folder"], **request["options"])
    except MemoryError:
        return {"fault": "memory"}
    except Exception as error:  # the libraries raise whatever their format meets
        text = " ".join(str(error).split())[:_MOST_TEXT]
        return {"fault": "error", "kind": type(error).__name__, "text": text}


def main() -> None:
    """Answer until the other side closes; then remove the folder of the exchange.

    The answers go to what was the standard output: what a library prints goes elsewhere.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no core file of a crash
    _scipy()  # before the first file, whose limits hold for its own work
    print(json.dumps({"ready": True}), file=answers, flush=True)
    try:
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
    except BrokenPipeError:  # the other side was killed while it waited
        pass
    finally:
        shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
