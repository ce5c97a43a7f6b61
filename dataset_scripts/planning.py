"""What a preparation is going to do, and whether that is what a result or a part was made from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg.dataset_scripts.completeness import missing_lines, some_names
from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording
from modeling_mteeg.dataset_scripts.duplicates import mark_same_signal
from modeling_mteeg.dataset_scripts.report import Outcome
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.sources import Source, changed_ns, describe_sources, differences
from modeling_mteeg.dataset_scripts.splits import SPLITS, check_filled, make_manifest, sha256_of

FORMAT_VERSION = 4
"""Raised whenever the same recordings and settings would give other files than before."""
SOURCES_FILE = "sources.json"
"""In a prepared corpus: the settings and files that it was made from."""


@dataclasses.dataclass
class Plan:
    """One preparation before its work.

    Parameters
    ----------
    corpus : Corpus
    settings : Settings
    recordings : list of Recording
        All that were found, sorted by key.
    wanted : list of Recording
        Those that the protocol and the call want.
    manifest : dict or None
        The protocol's split; None where the split is made of windows, after reading.
    sources : dict
        Key to files, of what is wanted.
    missing : list of str
        What the download lacks, a sentence each.
    """

    corpus: Corpus
    settings: Settings
    recordings: list[Recording]
    wanted: list[Recording]
    manifest: dict[str, Any] | None
    sources: dict[str, list[Source]]
    missing: list[str]

    @classmethod
    def make(cls, corpus: Corpus, settings: Settings) -> Plan:
        """Find the recordings, split them, and look at their files; errors before any work."""
        if settings.split not in corpus.splits:
            raise ValueError(
                f"{corpus.card.name}: split: expected one of {list(corpus.splits)}, found "
                f"{settings.split!r}."
            )
        recordings = _select(corpus, settings)
        missing = missing_lines(corpus, recordings, settings)
        wanted = [recording for recording in recordings if not recording.left_out]
        manifest = _protocol_manifest(corpus, wanted) if settings.split == "protocol" else None
        sources = describe_sources(wanted, corpus.raw)
        return cls(corpus, settings, recordings, wanted, manifest, sources, missing)

    def choices(self) -> dict[str, Any]:
        """The settings that decide the result's bytes."""
        corpus = self.corpus
        return {
            "format version": FORMAT_VERSION,
            "protocol": corpus.protocol,
            "split seed": corpus.split_seed,
            "split": self.settings.split,
            "dtype": self.settings.dtype,
            "simulated": [corpus.simulated, corpus.simulation],
            "task card": sha256_of(self._card_of_windows()),
        } | ({"options": corpus.options_given} if corpus.options_given else {})

    def _card_of_windows(self) -> dict[str, Any]:
        """What of the card decides the windows; preparations of before ``label_of`` stay equal."""
        return self.corpus.card.replace(label_of="window").to_dict()

    def part_settings(self) -> str:
        """Hash of the settings that decide the bytes of a part."""
        corpus, card = self.corpus, self._card_of_windows()
        options = [corpus.options_given] if corpus.options_given else []
        return sha256_of([FORMAT_VERSION, card, corpus.protocol, self.settings.dtype, *options])

    def fingerprint(self) -> str:
        """Hash of everything that the result depends on."""
        faults = {recording.key: recording.fault for recording in self.wanted}
        return sha256_of([self.choices(), faults, self.sources])

    def sources_document(self, outcomes: Sequence[Outcome]) -> str:
        """Content of :data:`SOURCES_FILE`."""
        wanted = [outcome for outcome in outcomes if outcome.status != "left-out"]
        files = {outcome.recording.key: outcome.sources for outcome in wanted}
        content = {"settings": self.choices(), "sources": dict(sorted(files.items()))}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    def differences_to(self, folder: Path) -> list[str]:
        """How a prepared corpus differs from what this plan would give; empty: not at all."""
        path = folder / SOURCES_FILE
        try:
            content = json.loads(path.read_text("utf-8"))
            then, files = dict(content["settings"]), dict(content["sources"])
        except (OSError, ValueError, KeyError, TypeError):
            return [f"it has no readable {SOURCES_FILE}, as a preparation of this version has"]
        now = self.choices()
        lines = [f"{key}: {then.get(key)!r} there, {now.get(key)!r} asked for"
                 for key in now if then.get(key) != now.get(key)]  # fmt: skip
        wanted = {recording.key: recording for recording in self.wanted}
        for what, keys in (("gone", files.keys() - wanted), ("new", wanted.keys() - files.keys())):
            if keys:
                lines.append(f"recordings that are {what}: {some_names(sorted(keys))}")
        made_ns = path.stat().st_mtime_ns
        for key in sorted(wanted.keys() & files.keys()):
            touched = [changed_ns(file) >= made_ns for file in wanted[key].files]
            changes = differences(files[key], self.sources[key], wanted[key].files, touched)
            lines += [f"{key}: {change}" for change in changes]
        return lines


def _select(corpus: Corpus, settings: Settings) -> list[Recording]:
    """Recordings found, with the reason where the call leaves one out."""
    recordings = mark_same_signal(corpus.find_recordings())
    if not any(not recording.left_out for recording in recordings):
        raise FileNotFoundError(
            f"{corpus.card.name}: no recording that the protocol uses below {corpus.raw} (expected "
            f"{corpus.layout}; found {len(recordings)} recordings that it leaves out)."
        )
    if not settings.subjects:
        return recordings
    subjects = {recording.subject for recording in recordings}
    unknown = sorted(set(settings.subjects) - subjects)
    if unknown:
        raise ValueError(
            f"{corpus.card.name}: subjects {unknown} have no recordings; found {sorted(subjects)}."
        )
    reason = f"not among the subjects asked for ({', '.join(settings.subjects)})"
    return [
        recording
        if recording.left_out or recording.subject in settings.subjects
        else dataclasses.replace(recording, left_out=reason)
        for recording in recordings
    ]


def _protocol_manifest(corpus: Corpus, wanted: Sequence[Recording]) -> dict[str, Any]:
    """The protocol's split of the recordings; an empty one is an error."""
    assignments = corpus.assign([recording for recording in wanted if not recording.repeated])
    counts = {split: list(assignments.values()).count(split) for split in SPLITS}
    remedies = [f"Check that {corpus.raw} holds the whole corpus ({corpus.layout})."]
    if "within-subject" in corpus.splits:
        remedies.append(
            "With few recordings use --split within-subject: 64/16/20 % of every subject's "
            "windows in order, within each class."
        )
    check_filled(corpus.card.name, counts, remedies)
    return make_manifest(corpus.card.name, corpus.rule, assignments)
