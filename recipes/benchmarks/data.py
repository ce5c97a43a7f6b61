"""The data part of the benchmark: preparing, reading, memory and disk, as Markdown."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import datasets
from tqdm.auto import tqdm

from . import batch_reading as reading
from . import preparation


def data_table(minutes: float, recordings: int, repeats: int, folder: Path | None = None) -> str:
    """Measure everything about data.

    Parameters
    ----------
    minutes : float
        Length of a recording.
    recordings : int
        Recordings of the smaller corpus, at least 4; the larger one has twice as many.
    repeats : int
        Rounds that count.
    folder : Path, optional
        Where the files go for the time being (default: the system's place for such).

    Returns
    -------
    str
        Two tables and what they mean.
    """
    if recordings < 4:
        raise ValueError(f"recordings: expected at least 4, one a split, found {recordings}.")
    datasets.disable_progress_bars()
    with (
        tempfile.TemporaryDirectory(dir=folder) as place,
        tqdm(total=6, unit="part", desc="data") as bar,
    ):
        root = Path(place)
        few, many = root / "few", root / "many"
        paths = preparation.make_recordings(few, recordings, minutes)
        preparation.make_recordings(many, 2 * recordings, minutes)
        bar.update()
        times = preparation.speed(few, paths, root / "out", repeats)
        bar.update()
        clocks = preparation.in_own_process("processes", many, root / "out", repeats)
        bar.update()
        memory = [
            preparation.in_own_process("memory", raw, root / "out")["peak_mb"]
            for raw in (few, many)
        ]
        bar.update()
        reads = {}
        for dtype in ("int16", "float32"):
            prepared = preparation.prepared(few, root / "out", dtype=dtype)
            rows = datasets.load_from_disk(str(prepared))["train"]
            reads[dtype] = reading.reading_speed(rows, root, repeats)
            bar.update()
        shares = reading.disk_shares()
    hours = recordings * minutes / 60
    text = preparation_rows(times, hours)
    text += [""] + figure_rows(clocks, memory, minutes, recordings, reads, shares)
    return "\n".join([heading(minutes, recordings, repeats), "", *text, "", NOTES])


NOTES = (
    "- plain MNE chain: read_raw_edf, filter, notch_filter, resample, all windows by one np.save\n"
    "- this package: the whole of `prepare`, from the EDF files to the checked, split dataset\n"
    "- plain memmap: int16 counts or float32 of the same windows, indexed by numpy, in the same "
    "unit\n"
    "- memory: peak above the loaded libraries, mapped files left out; a recording is float64"
)


def heading(minutes: float, recordings: int, repeats: int) -> str:
    """What is measured on."""
    return (
        f"Data: {recordings} simulated recordings of {minutes:g} min, 23 channels, "
        f"{preparation.RATE_HZ} Hz, one process; medians of {repeats} rounds, both ways in turn."
    )


def preparation_rows(times: dict[str, list[preparation.Timed]], hours: float) -> list[str]:
    """Speed of the preparation as a table."""
    names = {"plain": "plain MNE chain", "package": "this package"}
    rows = [
        "| preparation | seconds | processor s | h of EEG/s | times plain | by processor |",
        "|---|---|---|---|---|---|",
    ]
    for way, name in names.items():
        clock, processor = preparation.medians(times[way])
        pairs = list(zip(times["plain"], times[way], strict=True))
        by_clock = statistics.median(plain[0] / this[0] for plain, this in pairs)
        by_processor = statistics.median(plain[1] / this[1] for plain, this in pairs)
        rows.append(
            f"| {name} | {clock:.2f} | {processor:.2f} | {hours / clock:.2f} "
            f"| {by_clock:.2f} | {by_processor:.2f} |"
        )
    return rows


def figure_rows(
    clocks: dict[str, list[float]],
    memory: list[float],
    minutes: float,
    recordings: int,
    reads: dict[str, tuple[dict[str, list[float]], float]],
    shares: dict[str, float],
) -> list[str]:
    """Everything else as a table."""
    size = preparation.recording_mb(minutes)
    rows = ["| data | measured |", "|---|---|"]
    rows.append(
        f"| two processes beside one, {2 * recordings} recordings "
        f"| {faster(clocks, ''):.2f} times as fast (two loops that share nothing: "
        f"{faster(clocks, 'loop '):.2f}) |"
    )
    for number, peak in zip((recordings, 2 * recordings), memory, strict=True):
        rows.append(
            f"| memory of a process, {number} recordings | {peak:.0f} MB, {peak / size:.1f} times "
            f"one recording ({size:.0f} MB) |"
        )
    for dtype, (seconds, megabytes) in reads.items():
        speed = megabytes / statistics.median(seconds["package"])
        rows.append(
            f"| shuffled batches of {reading.BATCH}, {dtype} | {reading.ratio(seconds):.2f} times "
            f"a plain memmap ({speed:.0f} MB/s of float32) |"
        )
    worst = max(shares, key=shares.__getitem__)
    rows.append(
        f"| int16 on disk by float32 samples, largest of six tasks | {shares[worst]:.3f} "
        f"({worst}) |"
    )
    return rows


def faster(clocks: dict[str, list[float]], what: str) -> float:
    """Median over the rounds of one process's seconds by two's."""
    pairs = zip(clocks[f"{what}one"], clocks[f"{what}two"], strict=True)
    return statistics.median(single / two for single, two in pairs)
