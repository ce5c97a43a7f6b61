"""What corpora of a known layout have in common: names of files say who was recorded."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import ClassVar

from modeling_mteeg.dataset_scripts.unlabelled.layouts import Source, UnlabelledRecording


class NamedSource(Source):
    """A corpus whose recordings are found by the names of their files.

    Subjects are called ``<source>-<number or name>``, so that those of several corpora that are
    trained on together stay apart. What has another name is left out and said.
    """

    file_name: ClassVar[re.Pattern[str]]
    """The whole name of a recording's file; its first group is the subject."""
    rename: ClassVar[dict[str, str]] = {}
    """Recorded channel names to names of the table."""
    drop: ClassVar[tuple[str, ...]] = ()
    """Recorded channels that are no EEG, or that the published scripts leave out."""

    def describe(self, raw: Path, path: Path) -> UnlabelledRecording:
        known = super().describe(raw, path)
        match = self.file_name.fullmatch(path.name)
        if match is None:
            reason = f"its name is none of {self.name}: expected {self.file_name.pattern}"
            return dataclasses.replace(known, left_out=known.left_out or reason)
        subject = known.subject or f"{self.name}-{match[1].lower()}"
        return dataclasses.replace(
            known, subject=subject, rename={**self.rename, **known.rename}, drop=tuple(self.drop)
        )
