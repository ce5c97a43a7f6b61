"""The data part of the benchmark: preparing, reading, memory and disk, as Markdown."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import datasets
from tqdm.auto import tqdm

from modeling_mteeg.recipes.benchmarks import batch_reading as reading
from modeling_mteeg.recipes.benchmarks import preparation
from modeling_mteeg.recipes.benchmarks.own_process import result_of
from modeling_mteeg.recipes.benchmarks.tables import median_ratio, table


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
        clocks = result_of("preparation", "processes", many, root / "out", repeats)
        bar.update()
        memory = [
            result_of("preparation", "memory", raw, root / "out", 1)["peak_mb"]
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
    tables = [
        preparation_table(times, hours),
        figure_table(clocks, memory, minutes, recordings, reads, shares),
    ]
    return "\n\n".join([heading(minutes, recordings, repeats), "\n\n".join(tables), NOTES])


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


def preparation_table(times: dict[str, list[preparation.Timed]], hours: float) -> str:
    """Speed of the preparation as a table."""
    names = {"plain": "plain MNE chain", "package": "this package"}
    rows = []
    plain_clocks, plain_processors = zip(*times["plain"], strict=True)
    for way, name in names.items():
        clocks, processors = zip(*times[way], strict=True)
        clock = statistics.median(clocks)
        rows.append(
            f"{name} | {clock:.2f} | {statistics.median(processors):.2f} | {hours / clock:.2f} "
            f"| {median_ratio(clocks, plain_clocks):.2f} "
            f"| {median_ratio(processors, plain_processors):.2f}"
        )
    head = "preparation | seconds | processor s | h of EEG/s | times plain | by processor"
    return table(head, rows)


def figure_table(
    clocks: dict[str, list[float]],
    memory: list[float],
    minutes: float,
    recordings: int,
    reads: dict[str, tuple[dict[str, list[float]], float]],
    shares: dict[str, float],
) -> str:
    """Everything else as a table."""
    size = preparation.recording_mb(minutes)
    ratios = [median_ratio(clocks[f"{what}two"], clocks[f"{what}one"]) for what in ("", "loop ")]
    rows = [
        f"two processes beside one, {2 * recordings} recordings | {ratios[0]:.2f} times as fast "
        f"(two loops that share nothing: {ratios[1]:.2f})"
    ]
    for number, peak in zip((recordings, 2 * recordings), memory, strict=True):
        rows.append(
            f"memory of a process, {number} recordings | {peak:.0f} MB, {peak / size:.1f} times "
            f"one recording ({size:.0f} MB)"
        )
    for dtype, (seconds, megabytes) in reads.items():
        speed = megabytes / statistics.median(seconds["package"])
        ratio = median_ratio(seconds["package"], seconds["plain"])
        rows.append(
            f"shuffled batches of {reading.BATCH}, {dtype} | {ratio:.2f} times a plain memmap "
            f"({speed:.0f} MB/s of float32)"
        )
    worst = max(shares, key=shares.__getitem__)
    largest = "int16 on disk by float32 samples, largest of six tasks"
    rows.append(f"{largest} | {shares[worst]:.3f} ({worst})")
    return table("data | measured", rows)
