"""Files of recordings: opened with MNE-Python, and what is odd about them said.

MNE's readers close the gaps of EDF+D, read a cut-off file as far as it goes, and refuse Neuroscan
files without a usable number of samples. Here the header is looked at before: a file that would be
read wrongly is refused, one that is read in another way than its header says comes with notes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from .bids_reading import apply_sidecars
from .brainvision_header import check_length, read_brainvision_header
from .brainvision_markers import marker_finding
from .channels import clean_name
from .cnt_header import read_cnt_header
from .fif_header import ChainEnd, check_chain
from .file_choice import absent_text, check_choice, hint_after_failure, is_ant
from .file_faults import is_of_the_machine
from .finding_warnings import warn_of
from .findings import Finding
from .header_fields import MOST_RATE_HZ
from .isolated_reading import ReaderDied, ReaderError
from .record_times import (
    ANNOTATIONS,
    LOOKED_AT,
    drift_finding,
    order_fault,
    stretches,
    time_fault,
)
from .recording_headers import RecordingError, read_edf_header
from .visible_text import visible

_EDF = (".edf", ".bdf")
_EPOCHS = re.compile(r"[-_]epo\.fif(\.gz)?$")
_MOST_CNT_BYTES = 2_000_000_000
"""Beyond it MNE takes a .cnt file's length from the number of samples in its header alone."""


def read_recording(path: str | Path, preload: bool = True) -> Any:
    """Read a recording of any format that MNE-Python knows.

    Parameters
    ----------
    path : str or pathlib.Path
        EDF, BDF, BrainVision, EEGLAB, FIF, Neuroscan and others, told by the suffix.
    preload : bool
        Whether to read the signal into memory, or only the header.

    Returns
    -------
    mne.io.BaseRaw

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is not the file of a recording, its windows are cut already (epochs), or MNE cannot read
        it; the message carries MNE's reason.

    Warns
    -----
    RecordingWarning
        It was read in another way than its header says: see :func:`open_file`.
    """
    raw, findings = open_file(path, preload)
    if not hasattr(raw, "n_times"):
        raise ValueError(
            f"{path}: epochs, {len(raw)} windows that are cut already. Expected a continuous "
            "recording: open the one they were cut from, or give the file to the feature extractor."
        )
    warn_of(findings)
    return raw


def open_file(
    path: str | Path, preload: bool = True, wanted: Collection[str] | None = None
) -> tuple[Any, tuple[Finding, ...]]:
    """As :func:`read_recording`, with findings instead of warnings.

    Parameters
    ----------
    path, preload
        As for :func:`read_recording`.
    wanted : collection of str or None
        Cleaned names of the channels that will be read: of EDF and BDF files the others are not
        opened, for MNE brings all that it opens to the highest rate among them. None: all.

    Returns
    -------
    raw : mne.io.BaseRaw or mne.BaseEpochs
        Gaps of an EDF+D file are closed in it; :func:`record_parts.timeline_of` has the parts.
        Epochs where the file holds such: FIF, or a ``.set`` of several trials.
    findings : tuple of Finding
        Seconds that a cut-off file lacks, a number of records or samples that is not usable,
        annotations that are no UTF-8, a BIDS sidecar that the header contradicts.

    Notes
    -----
    In a BIDS dataset, types and bad channels are those of ``channels.tsv``.
    """
    path = Path(path)
    raw, findings = _open(path, preload, wanted)
    rate_hz = float(raw.info["sfreq"])
    if not rate_hz <= MOST_RATE_HZ:  # a filter for it would take gigabytes
        raise ValueError(
            f"{path.name}: a rate of {rate_hz:g} Hz; expected at most {MOST_RATE_HZ}. Correct the "
            "file."
        )
    return raw, (*findings, *apply_sidecars(raw, path))


def _open(
    path: Path, preload: bool, wanted: Collection[str] | None
) -> tuple[Any, tuple[Finding, ...]]:
    if not path.exists():
        raise FileNotFoundError(absent_text(path))
    try:
        _expect_no_pipe(path)
        check_choice(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}); look at its rights.") from error
    mne = _mne(path)
    opener = open_epochs if _EPOCHS.search(path.name) else _OPENERS.get(path.suffix.lower())
    options: dict[str, Any] = {"preload": preload}
    if opener is open_edf:
        options["wanted"] = wanted
    try:
        if opener is not None:
            try:
                return opener(path, **options)
            except FaultyFile:
                raise
            except RecordingError as error:  # a header that does not hold together
                if not is_ant(path):
                    raise FaultyFile(str(error)) from error
        return mne.io.read_raw(path, preload=preload, verbose="error"), ()
    except (FaultyFile, ReaderDied) as error:
        raise ValueError(visible(str(error))) from error
    except Exception as error:  # MNE's readers raise whatever their format meets
        if isinstance(error, MemoryError) and is_of_the_machine(error, path):
            raise
        hint = hint_after_failure(path, error) or (
            " Check that the file is complete and its suffix names its format."
        )
        kind = "" if isinstance(error, ReaderError) else f"{type(error).__name__}: "
        reason = kind + " ".join(str(error).split())
        text = f"{path} is not a recording that MNE can read ({reason}).{hint}"
        raise ValueError(visible(text)) from error


def _mne(path: Path) -> Any:
    """The package, which a model beside this file does without."""
    try:
        import mne
    except ImportError as error:
        raise ImportError(f"Reading {path} needs MNE-Python: pip install mne.") from error
    return mne


class FaultyFile(RecordingError):
    """A file that MNE would read, but wrongly."""


def _expect_no_pipe(path: Path) -> None:
    """Raise where opening a path would wait for the other end of a pipe, or for a device."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise FaultyFile(f"{path}: cannot be read: expected a file, found a pipe or a device.")


def open_edf(
    path: str | Path, wanted: Collection[str] | None = None, **options: Any
) -> tuple[Any, tuple[Finding, ...]]:
    """Open an EDF or BDF file: by its size, with annotations of any encoding.

    Parameters
    ----------
    path : str or pathlib.Path
    wanted : collection of str or None
        See :func:`open_file`.
    **options
        Of MNE's reader.

    Returns
    -------
    raw : mne.io.BaseRaw
    findings : tuple of Finding

    Raises
    ------
    RecordingError
        The header contradicts itself.
    FaultyFile
        Records that may have gaps and do not say when they were recorded, or go back in time; or
        annotations alone.
    """
    path = Path(path)
    mne = _mne(path)
    header = read_edf_header(path, whole=False)
    if not header.has_signal:
        raise FaultyFile(
            f"{path.name}: no signal in it, only annotations. Expected the recording that they "
            "belong to."
        )
    found = stretches(path, header)
    if found is None:
        raise FaultyFile(time_fault(path))
    if fault := order_fault(path, found):
        raise FaultyFile(fault)
    if wanted is not None:
        others = {name for name in header.labels if clean_name(name) not in wanted}
        options["exclude"] = sorted(others.difference(ANNOTATIONS))
    reader = mne.io.read_raw_bdf if path.suffix.lower() == ".bdf" else mne.io.read_raw_edf
    raw, latin = read_any_text(reader, path, **{"verbose": "error", **options})
    raw._raw_extras[0][LOOKED_AT] = header, found
    findings = [count] if (count := header.count_finding(path.name)) else []
    findings += [drift] if (drift := drift_finding(path, header, found)) else []
    if latin:
        text = f"{path.name}: annotations that are no UTF-8 were read as Latin-1."
        findings.append(Finding("text-encoding", text))
    return raw, tuple(findings)


def read_any_text(reader: Callable[..., Any], path: Path, **options: Any) -> tuple[Any, bool]:
    """What a reader of MNE gives, and whether the annotations had to be read as Latin-1."""
    try:
        return reader(path, **options), False
    except Exception as error:  # MNE raises a bare Exception
        if not isinstance(error.__cause__, UnicodeDecodeError):
            raise
        return reader(path, encoding="latin1", **options), True


def open_cnt(path: str | Path, **options: Any) -> tuple[Any, tuple[Finding, ...]]:
    """Open a Neuroscan ``.cnt`` file, or one of ANT; see :func:`open_edf`.

    Where the header's number of samples does not fit its signal, the signal is read as far as the
    table of events behind it, in the width that :class:`CntHeader` says.
    """
    path = Path(path)
    mne = _mne(path)
    if is_ant(path):
        from .ant_raw import RawANT  # needs the package of the format

        return RawANT(path, options["preload"]), ()
    header = read_cnt_header(path)
    options = {"verbose": "error", **options}
    width = f"int{8 * header.sample_bytes}"
    row_bytes = header.channels * header.sample_bytes
    large = path.stat().st_size >= _MOST_CNT_BYTES
    if header.stated * row_bytes == header.data_bytes:
        if large:  # MNE does not tell the width of these
            options["data_format"] = width
        return mne.io.read_raw_cnt(path, **options), ()
    if large or not header.has_events:
        why = "has more than 2 GB" if large else "does not say where its signal ends"
        raise FaultyFile(
            f"{path.name}: its header states {header.stated} samples a channel, the file has room "
            f"for {header.samples}; as it {why}, it cannot be read. Write the number into its "
            "header (4 bytes at byte 864)"
            + ("." if large else " and the end of the signal (4 bytes at byte 886).")
        )
    raw = mne.io.read_raw_cnt(path, data_format=width, recompute_n_samples=True, **options)
    note = (
        f"{path.name}: its header states {header.stated} samples a channel, which do not fit its "
        f"signal; read by its size as {8 * header.sample_bytes} bit: {header.duration_s:.6g} s."
    )
    return raw, (Finding("sample-count", note),)


def open_brainvision(path: Path, **options: Any) -> tuple[Any, tuple[Finding, ...]]:
    """Open a BrainVision header; findings where signal or markers are not as it says."""
    header = read_brainvision_header(path)
    for file in (header.data, header.markers):
        if file is not None:
            _expect_no_pipe(file)
    odd = [check_length(path, header)]
    raw = _mne(path).io.read_raw_brainvision(path, verbose="error", **options)
    if header.markers is not None:
        odd.append(marker_finding(header.markers, raw.n_times))
    return raw, tuple(finding for finding in odd if finding)


def open_fif(path: Path, **options: Any) -> tuple[Any, tuple[Finding, ...]]:
    """Open a FIF file, maybe of epochs; a finding where it stops in the middle."""
    mne = _mne(path)
    chain = _chain(path)
    # MNE's warning goes to its log, too, and from there to the screen.
    with mne.utils.catch_logging() as log, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            raw = mne.io.read_raw_fif(path, verbose="warning")
        except ValueError as error:  # epochs under a name that is not theirs
            if "No raw data" not in str(error):
                raise
            return open_epochs(path, **options)
    if chain.samples is not None:  # MNE counts a buffer that is not whole, and fails to read it
        raw.crop(tmax=(chain.samples - 1) / raw.info["sfreq"])
    if options["preload"]:
        raw.load_data(verbose="error")
    if chain.cut_off or "Invalid tag" in log.getvalue():
        length_s = raw.n_times / raw.info["sfreq"]
        return raw, (_cut_off(path, f"{length_s:.6g} s"),)
    return raw, _behind(path, chain)


def open_epochs(path: Path, **options: Any) -> tuple[Any, tuple[Finding, ...]]:
    """Open a FIF file of epochs."""
    chain = _chain(path)  # first: MNE asks for the memory that a tag claims
    epochs = _mne(path).read_epochs(path, verbose="error", **options)
    if chain.cut_off:
        return epochs, (_cut_off(path, f"{len(epochs)} epochs"),)
    return epochs, _behind(path, chain)


def _chain(path: Path) -> ChainEnd:
    return ChainEnd() if path.name.lower().endswith(".gz") else check_chain(path)


def _behind(path: Path, chain: ChainEnd) -> tuple[Finding, ...]:
    if not chain.behind:
        return ()
    text = f"{path.name}: {chain.behind} bytes follow its last tag; they are not read."
    return (Finding("more-records", text),)


def open_eeglab(path: Path, **options: Any) -> tuple[Any, tuple[Finding, ...]]:
    """Open an EEGLAB file: a continuous recording, or epochs where it has several trials."""
    from .eeglab_files import events_outside, open_set  # needs MNE

    raw, findings = open_set(path, **options)
    outside = events_outside(raw)
    if outside:
        text = f"{path.name}: {outside} of its events lie outside the signal or last longer."
        remedy = "Are rate and latencies of one recording?"
        findings += (Finding("events-outside", text, remedy),)
    return raw, findings


def _cut_off(path: Path, read: str) -> Finding:
    return Finding(
        "cut-off",
        f"{path.name}: how much is missing at its end is not known: it is cut off; read: {read}.",
    )


_OPENERS = {
    ".edf": open_edf, ".bdf": open_edf, ".cnt": open_cnt, ".vhdr": open_brainvision,
    ".ahdr": open_brainvision, ".fif": open_fif, ".set": open_eeglab,
}  # fmt: skip


def read_annotations(path: Path) -> Any:
    """MNE's annotations of a file, as it has them."""
    if path.suffix.lower() == ".set":
        from .eeglab_files import set_annotations  # needs MNE

        return set_annotations(path)
    return _mne(path).read_annotations(path)
