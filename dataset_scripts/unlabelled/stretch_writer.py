"""From a folder of recordings to a prepared folder of stretches: parts, report, manifest.

Every recording becomes one Arrow part, renamed into place when it is complete; the parts are then
put together in a folder that appears by one rename at the end. A killed preparation never leaves a
folder that loads as complete, and a second start redoes only what is missing.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

from modeling_mteeg.data import (
    MANIFEST_FILE,
    MANIFEST_VERSION,
    read_manifest,
    stretch_features,
)
from modeling_mteeg.dataset_scripts.bars import Bar
from modeling_mteeg.dataset_scripts.corpus import SIMULATED_FILE
from modeling_mteeg.dataset_scripts.duplicates import counts_right
from modeling_mteeg.dataset_scripts.locking import PreparationError, locked
from modeling_mteeg.dataset_scripts.processes import run_each
from modeling_mteeg.dataset_scripts.unlabelled.digests import read_digests
from modeling_mteeg.dataset_scripts.unlabelled.excluded import Exclusions
from modeling_mteeg.dataset_scripts.unlabelled.layouts import Source, UnlabelledRecording
from modeling_mteeg.dataset_scripts.unlabelled.stretch_parts import Outcome, part_path, write_part
from modeling_mteeg.dataset_scripts.unlabelled.stretch_settings import UnlabelledSettings
from modeling_mteeg.model.mains_notch import checked_notch, notch_text
from modeling_mteeg.recordings.recording_folders import SUFFIXES
from modeling_mteeg.settings.disk_faults import writing

REPORT_FILE = "report.csv"
_COLUMNS = ("recording", "status", "reason", "subject", "hours", "rate_hz", "window_s", "channels",
            "channels_left_out", "notes", "sha256")  # fmt: skip
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} recordings [{elapsed}<{remaining}, {rate_fmt}]"


def prepare_unlabelled(
    raw: str | Path,
    out: str | Path,
    source: Source | None = None,
    settings: UnlabelledSettings | None = None,
    exclusions: Exclusions | None = None,
    num_proc: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    strict: bool = False,
) -> Path:
    """Prepare unlabelled recordings for stage one.

    Parameters
    ----------
    raw : str or Path
        Folder of recordings.
    out : str or Path
        Becomes a saved HF ``Dataset`` of stretches with ``unlabelled.json`` and ``report.csv``.
    source : Source, optional
        How recordings are found and opened; any folder by default.
    settings : UnlabelledSettings, optional
    exclusions : Exclusions, optional
        Recordings that must not be in it, besides the built-in rules, which always apply.
    num_proc : int
        Processes, a recording each.
    overwrite : bool
        Replace a folder that holds something else.
    progress : bool
    strict : bool
        End at the first recording that is skipped.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    FileNotFoundError
        There is no such folder, or no recording in it.
    ValueError
        Recordings of TUH, and no list of the test recordings of TUAB and TUEV (see
        ``Exclusions``).
    FileExistsError
        ``out`` holds another preparation, or something else altogether.
    PreparationError
        No recording could be used, another process is preparing the folder, or, where ``strict``,
        a recording was skipped.
    """
    raw, source = Path(raw), source or Source()
    if not raw.is_dir():
        raise FileNotFoundError(f"{raw}: expected a folder of {source.layout}.")
    recordings = source.find(raw)
    if not recordings:
        raise FileNotFoundError(
            f"{raw}: expected {source.layout} ({' '.join(SUFFIXES)}), found none."
        )
    asked = _Asked(
        raw, Path(out), source, settings or UnlabelledSettings(), exclusions or Exclusions(),
        recordings, num_proc, progress, strict,
    )  # fmt: skip
    notes = asked.exclusions.check_tuh(recordings)
    with locked(asked.out.parent, asked.out.name):
        if _already_there(asked.out, asked.made_from(), overwrite):
            if strict:
                _check_nothing_skipped(asked.out)
            return asked.out
        (asked.work / "parts").mkdir(parents=True, exist_ok=True)
        outcomes = _prepare_each(asked)
        with writing(asked.out):
            _finish(asked, outcomes, notes)
    if progress:
        print("\n".join([summary(source, outcomes), *notes]))
    return asked.out


@dataclasses.dataclass(frozen=True)
class _Asked:
    """One preparation: the arguments of :func:`prepare_unlabelled`, and what they found."""

    raw: Path
    out: Path
    source: Source
    settings: UnlabelledSettings
    exclusions: Exclusions
    recordings: Sequence[UnlabelledRecording]
    num_proc: int
    progress: bool
    strict: bool

    @property
    def work(self) -> Path:
        """Where parts lie until the folder is whole."""
        return self.out.parent / f".{self.out.name}.partial"

    def made_from(self) -> dict[str, Any]:
        """What a prepared folder depends on, by names that a message can use."""
        names, subjects, files = [], [], {}
        for recording in self.recordings:
            names.append([recording.key, sorted(recording.rename.items()), list(recording.drop)])
            subjects.append([recording.key, recording.subject])
            files[recording.key] = [_size(path) for path in recording.files]
        sidecars = {recording.key: recording.sidecars_digest for recording in self.recordings}
        sidecars = {key: digest for key, digest in sidecars.items() if digest}
        return {
            **({"sidecars": sidecars} if sidecars else {}),
            "settings": self.settings.key(),
            "source": self.source.name,
            "files": files,
            "channel names": hashlib.sha256(json.dumps(names).encode()).hexdigest(),
            "subjects": hashlib.sha256(json.dumps(subjects).encode()).hexdigest(),
            "exclusions": self.exclusions.digest(),
        }


def _size(path: Path) -> int:
    """Bytes of a file; -1: it cannot be read, which its own turn will show."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _already_there(out: Path, wanted: dict[str, Any], overwrite: bool) -> bool:
    """Whether ``out`` is this very preparation; raises where it is another and may not go."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        made_from = read_manifest(out).get("made_from")
    except (FileNotFoundError, ValueError) as error:
        if overwrite and (out / MANIFEST_FILE).is_file():
            return False
        raise FileExistsError(
            f"{out} is there and no prepared folder ({error}); choose another --out."
        ) from error
    if made_from == wanted:
        return True
    if overwrite:
        return False
    made_from = made_from if isinstance(made_from, dict) else {}
    keys = [key for key in wanted if made_from.get(key) != wanted[key]]
    raise FileExistsError(
        f"{out} was prepared from other {' and '.join(keys)}; choose another --out, or replace it "
        "with --overwrite."
    )


def _check_nothing_skipped(out: Path) -> None:
    skipped = read_manifest(out)["recordings"].get("skipped", 0)
    if skipped:
        raise PreparationError(
            f"{out} is done, and {skipped} recordings were skipped ({REPORT_FILE} says why). Mend "
            "them and prepare it again with --overwrite. (--strict)"
        )


def _prepare_each(asked: _Asked) -> list[Outcome]:
    """An outcome for every recording, in the order of their keys."""
    digests, faults = read_digests(
        asked.recordings, asked.work / "digests.jsonl", asked.num_proc, asked.progress
    )
    outcomes, chosen = _choose(asked, digests, faults)
    parts = asked.work / "parts"
    wanted = {part_path(parts, recording.key).stem for recording in chosen}
    for path in parts.iterdir():
        if path.name.partition(".")[0] not in wanted:
            path.unlink()
    jobs = [(asked.source, recording, digests[recording.path], parts, asked.settings)
            for recording in chosen]  # fmt: skip
    written = run_each(write_part, jobs, asked.num_proc)
    bar = Bar(total=len(jobs), desc=asked.source.name, bar_format=_BAR, progress=asked.progress)
    with bar, closing(written):
        for outcome in chain(list(outcomes.values()), written):
            bar.update(outcome.key not in outcomes)
            outcomes[outcome.key] = outcome
            if outcome.status != "skipped":
                continue
            if asked.strict:
                raise PreparationError(f"{outcome.key}: {outcome.reason} (--strict)")
            if asked.progress:
                bar.write(f"skipped {outcome.key}: {outcome.reason}")
    return [outcomes[recording.key] for recording in asked.recordings]


def _choose(
    asked: _Asked, digests: Mapping[Path, str], faults: Mapping[Path, str]
) -> tuple[dict[str, Outcome], list[UnlabelledRecording]]:
    """Outcomes of recordings that are not used, known before they are opened; and the others."""
    outcomes: dict[str, Outcome] = {}
    candidates: dict[tuple[str, str], list[UnlabelledRecording]] = {}
    for recording in asked.recordings:
        digest = digests.get(recording.path, "")
        rule = asked.exclusions.reason(recording, digest)
        if rule:
            status, reason = "excluded", rule
        elif recording.left_out:
            status, reason = "left-out", recording.left_out
        elif recording.path in faults:
            status, reason = "skipped", faults[recording.path]
        else:
            candidates.setdefault((digest, recording.part), []).append(recording)
            continue
        outcomes[recording.key] = Outcome(recording.key, recording.subject, status, reason, digest)
    chosen = []
    for (digest, _), copies in candidates.items():
        # The first, but for a file whose header does not count its records: its repaired copy is.
        kept = next((one for one in copies if counts_right(one.path)), copies[0])
        chosen.append(kept)
        for one in copies:
            if one is not kept:
                reason = f"a copy of {kept.key}"
                outcomes[one.key] = Outcome(one.key, one.subject, "left-out", reason, digest)
    return outcomes, sorted(chosen, key=lambda one: one.key)


def _finish(asked: _Asked, outcomes: Sequence[Outcome], notes: Sequence[str]) -> None:
    """Put the parts together, write the documents, and rename the folder into place."""
    from datasets import Dataset, concatenate_datasets
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar

    out, work = asked.out, asked.work
    used = [outcome for outcome in outcomes if outcome.status == "used"]
    if not used:
        write_report(work / REPORT_FILE, outcomes)
        lines = "".join(f"\n  {outcome.key}: {outcome.reason}" for outcome in outcomes[:10])
        raise PreparationError(
            f"{asked.raw}: none of {len(outcomes)} recordings can be used (the report is "
            f"{work / REPORT_FILE}):{lines}"
        )
    whole = work / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    data = [Dataset.from_file(str(part_path(work / "parts", outcome.key))) for outcome in used]
    if len({str(part.features) for part in data}) > 1:  # some begin at fractions of a second
        features = stretch_features(whole_seconds=False)
        data = [Dataset(part.data.cast(features.arrow_schema)) for part in data]
    disable_progress_bar()
    try:
        concatenate_datasets(data).save_to_disk(str(whole))
    finally:
        enable_progress_bar()
    manifest = _manifest(asked, outcomes, used, notes)
    write_report(whole / REPORT_FILE, outcomes)
    (whole / "README.md").write_text(card(manifest), "utf-8")
    (whole / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1), "utf-8")
    old = out.parent / f".{out.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.rename(out, old)
    os.rename(whole, out)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(work)


def _manifest(
    asked: _Asked, outcomes: Sequence[Outcome], used: Sequence[Outcome], notes: Sequence[str]
) -> dict[str, Any]:
    """What ``unlabelled.json`` says."""
    settings = asked.settings
    return {
        "version": MANIFEST_VERSION,
        "simulated": (asked.raw / SIMULATED_FILE).exists(),
        "source": asked.source.name,
        "rate_hz": 200,
        "unit": "microvolt",
        "highpass_hz": 0.1,
        "lowpass_hz": 75.0,
        "notch_hz": settings.notch_hz,
        "dtype": settings.dtype,
        "max_patches": settings.max_patches,
        "max_seconds": settings.max_seconds,
        "recordings": dict(Counter(outcome.status for outcome in outcomes)),
        "subjects": len({outcome.subject or outcome.key for outcome in used}),
        "hours": sum(outcome.seconds for outcome in used) / 3600,
        "montages": dict(Counter(len(outcome.channels) for outcome in used)),
        "exclusions": asked.exclusions.describe(),
        "notes": list(notes),
        "made_from": asked.made_from(),
    }


def write_report(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write ``report.csv``: one row for every recording, used or not."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for outcome in outcomes:
            writer.writerow(
                (outcome.key, outcome.status, outcome.reason, outcome.subject,
                 f"{outcome.seconds / 3600:.4f}", f"{outcome.rate_hz:g}", outcome.window_s,
                 " ".join(outcome.channels), "; ".join(outcome.left_out),
                 "; ".join(outcome.notes), outcome.sha256)
            )  # fmt: skip


def summary(source: Source, outcomes: Sequence[Outcome]) -> str:
    """What became of all recordings, in a few lines."""
    used = [outcome for outcome in outcomes if outcome.status == "used"]
    hours = sum(outcome.seconds for outcome in used) / 3600
    lines = [f"{len(used)} of {len(outcomes)} recordings used, {hours:.2f} h of EEG"]
    if source.known_hours is not None:
        lines[0] += f" (the paper names {source.known_hours:g} h)"
    windows_s: dict[int, list[int]] = {}
    for outcome in used:
        windows_s.setdefault(len(outcome.channels), []).append(outcome.window_s)
    for channels, seconds in sorted(windows_s.items()):
        shown = " or ".join(map(str, sorted(set(seconds))))
        plural = "recording has" if len(seconds) == 1 else "recordings have"
        lines.append(f"  {len(seconds):>5} {plural} {channels} channels (windows up to {shown} s)")
    for status in ("skipped", "excluded", "left-out"):
        count = sum(outcome.status == status for outcome in outcomes)
        if count:
            lines.append(f"  {count:>5} {status}: see {REPORT_FILE}")
    dropped = Counter(text for outcome in used for text in outcome.left_out)
    for text, count in dropped.most_common(5):
        lines.append(f"  channel left out: {text} in {count}")
    return "\n".join(lines)


def card(manifest: dict[str, Any]) -> str:
    """A dataset card from the manifest."""
    origin = "simulated" if manifest["simulated"] else "recorded"
    counts = ", ".join(f"{count} {status}" for status, count in manifest["recordings"].items())
    montages = ", ".join(f"{count} with {size} channels"
                         for size, count in sorted(manifest["montages"].items()))  # fmt: skip
    rules = "\n".join(f"- {rule}" for rule in manifest["exclusions"])
    notes = "".join(f"\n{note}\n" for note in manifest["notes"])
    notch = notch_text(checked_notch(manifest["notch_hz"]))
    return f"""# Unlabelled EEG for stage one

{manifest["hours"]:.2f} h of {origin} EEG of {manifest["subjects"]} subjects, prepared for the
neural tokenizer and masked pre-training of `modeling_mteeg` (source: {manifest["source"]}).

- Recordings: {counts}; {montages}. `report.csv` has a row for each, with the reason where it is
  not used and the channels that are left out.
- 200 Hz, 0.1 to 75 Hz, {notch}, microvolt, {manifest["dtype"]}. A row is a stretch of a recording;
  windows of up to {manifest["max_patches"]} patches and {manifest["max_seconds"]} s are cut when
  they are read.
- The licence is that of the recordings; nothing here says that the result may be passed on.

Test recordings of these are excluded:

{rules}
{notes}"""
