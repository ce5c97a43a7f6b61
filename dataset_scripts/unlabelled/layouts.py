"""Where unlabelled recordings come from: any folder, or a corpus whose layout is known."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from modeling_mteeg.dataset_scripts.opening import open_recording
from modeling_mteeg.model.bids_sidecars import find_sidecars
from modeling_mteeg.model.recording_headers import RecordingError
from modeling_mteeg.model.recording_sources import Source as OpenRecording
from modeling_mteeg.model.text_files import read_text_file
from modeling_mteeg.recordings.recording_folders import folder_beside_the_data, walk

_COMPANIONS = {
    ".vhdr": (".eeg", ".vmrk", ".dat"), ".ahdr": (".eeg", ".amrk"), ".set": (".fdt",),
    ".lay": (".dat",), ".eeg": (".pnt", ".21e", ".log"), ".data": (".head",),
    ".cdt": (".cdt.dpa", ".cdt.dpo"), ".dap": (".dat", ".rs3", ".cef"),
}  # fmt: skip
_SUBJECT = re.compile(r"(?:^|[/_])(sub-[A-Za-z0-9]+)")
TUH_NAME = re.compile(r"([a-z]{8}|\d{8})_(s\d{3})_t\d{3}", re.IGNORECASE)
"""Start of a name in the Temple University Hospital archive; older releases number patients."""
_LATER_PART = re.compile(r"-\d+$")
_LATER_SPLIT = re.compile(r"_split-(0*)([2-9]|[1-9]\d+)(?=_)")


@dataclasses.dataclass(frozen=True)
class UnlabelledRecording:
    """One recording below a raw folder.

    Parameters
    ----------
    key : str
        Unique name: its path below the raw folder.
    path : Path
    subject : str
        Who was recorded; empty: nobody knows, the recording stands for itself.
    rename : mapping of str to str
        Recorded channel names to names of the table.
    drop : tuple of str
        Recorded channel names that are not used.
    left_out : str
        Why the source does not use it; empty: it is used.
    part : str
        Which signal of the file, where a file holds several recordings.
    """

    key: str
    path: Path
    subject: str = ""
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)
    drop: tuple[str, ...] = ()
    left_out: str = ""
    part: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, and those that belong to it; of a folder all that is in it."""
        if self.path.is_dir():
            return tuple(path for path in sorted(self.path.rglob("*")) if path.is_file())
        suffixes = _COMPANIONS.get(self.path.suffix.lower(), ())
        beside = (self.path.with_suffix(suffix) for suffix in suffixes)
        return (self.path, *(path for path in beside if path.is_file()))

    @property
    def sidecars_digest(self) -> str:
        """Hash of the BIDS sidecars that decide which channels are used; empty: there are none."""
        sidecars = find_sidecars(self.path, "channels")
        content = b"".join(map(_content, sidecars))
        return hashlib.sha256(content).hexdigest() if sidecars else ""


def _content(file: Path) -> bytes:
    """Content of a sidecar; of one that cannot be read, which opening the recording says, none."""
    try:
        return read_text_file(file)
    except RecordingError:
        return b""


class Source:
    """Any folder of recordings; corpora of a known layout are subclasses.

    Parameters
    ----------
    subject : str, optional
        Regular expression with one group that finds the subject in a path below the raw folder; by
        default BIDS's ``sub-...``, or the patient of a name of the TUH archive.
    rename : mapping of str to str, optional
        Channel names in the recordings to names of the table, for recordings that have them.
    """

    name: ClassVar[str] = "folder"
    homepage: ClassVar[str] = ""
    layout: ClassVar[str] = "recordings that MNE reads, at any depth"
    known_hours: ClassVar[float | None] = None
    """Hours that the paper names for the corpus."""

    def __init__(self, subject: str | None = None, rename: Mapping[str, str] | None = None) -> None:
        try:
            self._subject = re.compile(subject) if subject else _SUBJECT
        except re.error as error:
            raise ValueError(
                f"subject: expected a regular expression, found {subject!r}: {error}."
            ) from error
        self._tuh = not subject
        if self._subject.groups != 1:
            raise ValueError(f"subject: expected a pattern with one group, found {subject!r}.")
        self._renamed = dict(rename or {})

    def find(self, raw: Path) -> list[UnlabelledRecording]:
        """All recordings below a folder, used or not, sorted by key."""
        recordings = (self.describe(raw, path) for path in walk(raw))
        return sorted(recordings, key=lambda recording: recording.key)

    def describe(self, raw: Path, path: Path) -> UnlabelledRecording:
        """What is known of a recording before it is opened."""
        key = path.relative_to(raw).as_posix()
        match = self._subject.search(key)
        subject = match[1] if match else ""
        if self._tuh and not subject:
            # One archive, one list of patients: the same person in two of its corpora is one.
            of_tuh = TUH_NAME.match(path.name)
            subject = f"tuh-{of_tuh[1].lower()}" if of_tuh else ""
        first, beside = _first_part(path), folder_beside_the_data(raw, path)
        left_out = "" if first is None else f"a part of {first}, which is read as a whole"
        left_out = f"in {beside}/ of a BIDS dataset" if beside else left_out
        return UnlabelledRecording(key, path, subject, rename=self._renamed, left_out=left_out)

    def open(self, recording: UnlabelledRecording) -> OpenRecording:
        """The recording, whose signal is not read yet.

        Raises
        ------
        RecordingError
            It cannot be read.
        """
        return open_recording(recording.path, "unlabelled")


def _first_part(path: Path) -> str | None:
    """The name of the FIF file that a later one continues and that lies beside it, or None."""
    if not path.name.lower().endswith((".fif", ".fif.gz")):
        return None
    stem = path.name.partition(".")[0]
    first = [_LATER_PART.sub("", stem), _LATER_SPLIT.sub(_split_one, stem)]
    for first_stem in first:
        if first_stem != stem and (path.parent / path.name.replace(stem, first_stem)).exists():
            return first_stem
    return None


def _split_one(match: re.Match[str]) -> str:
    """BIDS's ``_split-01`` for ``_split-02``, of the same width."""
    return f"_split-{'1'.zfill(len(match[1]) + len(match[2]))}"
