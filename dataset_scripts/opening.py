"""How the preparations open recordings: by the package's one door, and by its table of policies."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

from modeling_mteeg.model.bids_channels import reasons_by_table
from modeling_mteeg.model.channels import clean_name
from modeling_mteeg.model.cnt_header import read_cnt_header
from modeling_mteeg.model.file_choice import is_ant
from modeling_mteeg.model.file_faults import blamed_on
from modeling_mteeg.model.findings import REFUSE, Finding
from modeling_mteeg.model.recording_files import open_file
from modeling_mteeg.model.recording_headers import RecordingError, read_edf_header
from modeling_mteeg.model.recording_sources import Source, open_source

EDF = (".edf", ".bdf")


def open_recording(path: Path, use: str, wanted: Collection[str] | None = None) -> Source:
    """Open a recording whose signal is not read yet.

    Parameters
    ----------
    path : Path
    use : {"labelled", "unlabelled"}
        Whose policies apply (:data:`modeling_mteeg.model.findings.POLICIES`).
    wanted : collection of str, optional
        Cleaned names of the channels that will be read; see
        :func:`modeling_mteeg.model.recording_files.open_file`.

    Raises
    ------
    RecordingError
        It cannot be read, its header lies, or something was found that this use refuses.
    """
    check_header(path, use)
    return refused_or_given(path, use, wanted)


def check_header(path: Path, use: str) -> None:
    """Raise where the header of an EDF, BDF or Neuroscan file lies, before MNE sees it."""
    suffix = path.suffix.lower()
    if suffix in EDF:
        read_edf_header(path, whole=use == "labelled")
    elif suffix == ".cnt" and not is_ant(path):
        read_cnt_header(path)


def refused_or_given(
    recording: Any,
    use: str,
    wanted: Collection[str] | None = None,
    unit: str | None = None,
    keep_bad: bool = False,
) -> Source:
    """A file whose header was looked at, or a signal at hand; see :func:`open_recording`.

    With ``keep_bad``, channels that the file or its BIDS table marks bad are among the others, and
    a finding names them.
    """
    path = recording if isinstance(recording, Path) else Path("recording")
    try:
        with blamed_on(path, ValueError, FileNotFoundError):
            if keep_bad and isinstance(recording, Path):
                source = _with_bad(recording, wanted)
            else:
                source = open_source(recording, unit, preload=False, wanted=wanted)
    except RecordingError:
        raise
    except (ValueError, FileNotFoundError) as error:
        raise RecordingError(str(error)) from error
    if source.cut:
        raise RecordingError(f"{path.name}: expected a continuous recording, found epochs.")
    for finding in source.findings:
        if finding.policy(use) == REFUSE:
            raise RecordingError(str(finding))
    return source


def _with_bad(path: Path, wanted: Collection[str] | None) -> Source:
    """An open file whose channels that are marked bad may be used."""
    raw, findings = open_file(path, preload=False, wanted=wanted)
    bad, raw.info["bads"] = list(raw.info["bads"]), []
    source = open_source(raw)
    reasons = reasons_by_table(path, bad)
    marked = tuple(
        Finding("not-usable", f"{name} ({reasons.get(name, 'marked bad')})",
                channels=(clean_name(name),))
        for name in bad
    )  # fmt: skip
    return dataclasses.replace(source, findings=(*findings, *source.findings, *marked))
