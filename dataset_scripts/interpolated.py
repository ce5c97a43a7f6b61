"""Recordings with other electrodes than their task: its channels by spherical splines."""

from __future__ import annotations

import warnings
from pathlib import Path

from modeling_mteeg.dataset_scripts.annotated_options import FROM_FILE
from modeling_mteeg.dataset_scripts.reading import warning_of
from modeling_mteeg.dataset_scripts.recording import Recorded
from modeling_mteeg.dataset_scripts.renaming import taken_names
from modeling_mteeg.model.channel_choice import choose_channels, read_channels
from modeling_mteeg.model.findings import REFUSE
from modeling_mteeg.model.record_parts import Part
from modeling_mteeg.model.recording_headers import (
    RecordingError,
    RecordingWarning,
    read_edf_header,
)
from modeling_mteeg.model.signal_checks import unit_factor
from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.recordings.block_reader import open_recording
from modeling_mteeg.recordings.interpolation import open_for_tasks


def load_interpolated(path: Path, card: TaskCard, montage: str) -> Recorded:
    """Signal of a recording on the electrodes of a task.

    Parameters
    ----------
    path : Path
    card : TaskCard
        With its channels.
    montage : str
        One of MNE's standard montages, or :data:`annotated_options.FROM_FILE`.

    Returns
    -------
    Recorded
        The card's channels, in microvolt, with parts and marks.

    Raises
    ------
    RecordingError
        It cannot be read, or the cap does not cover the task's electrodes.

    Warns
    -----
    RecordingWarning
        Which channels were interpolated from which.
    """
    if path.suffix.lower() in (".edf", ".bdf"):
        read_edf_header(path)  # one that lies is refused, before MNE reads by it
    try:
        how = True if montage == FROM_FILE else montage
        names = open_recording(path).names
        meant = zip(names, taken_names(names), strict=True)
        rename = {name: other for name, other in meant if other != name}
        source = open_for_tasks(path, [card], rename=rename, interpolate=how)
        for finding in source.findings:
            if finding.policy("labelled") == REFUSE:
                raise RecordingError(str(finding))
        choice = choose_channels(source, card.channels)
        whole = (Part(0, source.samples, 0.0),)
        signal = choice.derive(read_channels(source, choice, whole), choice.needed)
    except RecordingError:
        raise
    except (ValueError, OSError) as error:
        raise RecordingError(f"{path.name}: {error}") from error
    for finding in source.findings:
        kinds = ("interpolated", "renamed")
        text = f"{finding.code}: {finding}" if finding.code in kinds else warning_of(finding)
        warnings.warn(text, RecordingWarning, stacklevel=2)
    signal_uv = signal[0] * unit_factor(source.unit)
    return Recorded(signal_uv, source.rate_hz, source.parts, source.marks, source.findings)
