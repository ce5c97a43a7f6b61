"""What there is to do in a comparison, what is done, and how long the rest will take."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..data import load_corpora
from ..data.split_rules import SplitRule
from ..training.results import aligned
from ..training.search import all_tries, budget_of
from .checking import count_folds
from .comparison_plan import Plan, Row
from .measuring import estimate
from .units import Part, ResultError, all_parts, finished, tuned

_TRIES = "tries of "


def listing(plan: Plan, rows: Sequence[Row], shard: str | None = None) -> str:
    """A line a row: its trainings, those that are done, the time that is left.

    Raises
    ------
    OSError, ValueError
        The number of folds needs data that are not there; it is no shard.
    """
    folds = folds_of(plan)
    measured = _measured(all_parts(plan.rows, folds))
    lines = [["row", "group", "method", "trainings", "done", "tries", "done", "time left"]]
    left, unknown, notes = 0.0, 0, []
    for row in rows:
        parts = [part for part in all_parts(rows, folds, shard) if part.row is row]
        units, done, tries, tried, time, no_time = 0, 0, 0, 0, 0.0, 0
        for part in parts:
            units += len(part.seeds)
            each, of_tries = _time_of(part, measured)
            try:
                finished_units = [finished(part.unit_folder(seed)) for seed in part.seeds]
                chosen = tuned(part)
            except ResultError as error:
                notes.append(f"{error}; --again {row.name} begins it anew")
                continue
            todo = finished_units.count(None)
            done += len(part.seeds) - todo
            if row.tries:
                tries += 1
                tried += chosen is not None
            needed = [each] * todo + ([of_tries] if row.tries and chosen is None and todo else [])
            time += sum(value for value in needed if value is not None)
            no_time += needed.count(None)
        left, unknown = left + time, unknown + no_time
        told = "" if not (time or no_time) else duration(time) if not no_time else "not known yet"
        lines.append([row.name, row.options.group, row.config.method, str(units), str(done),
                      str(tries or ""), str(tried or ""), told])  # fmt: skip
    total = f"left: {duration(left)} of one process, as far as it was measured"
    if unknown:
        total += f"; {unknown} not known yet, since nothing is finished"
    notes += [f"{name}: {why}" for name, why in plan.left_out.items()]
    return "\n".join([*aligned(lines, text_columns=3), total, *notes])


def folds_of(plan: Plan) -> int:
    """Folds of the split; the data are opened only where these decide it."""
    rule = SplitRule.parse(plan.first.data.split)
    if rule.folds is not None or not rule.has_folds:
        return rule.folds or 1
    data = plan.first.data
    return count_folds(plan.first, load_corpora(data.folder, data.tasks, data.streaming))


def _measured(parts: Sequence[Part]) -> dict[tuple[str, str, str], list[float]]:
    """Seconds of what is finished, by row, method and part."""
    seconds: dict[tuple[str, str, str], list[float]] = {}
    for part in parts:
        key = (part.row.name, part.row.config.method, part.name)
        try:
            for seed in part.seeds:
                said = finished(part.unit_folder(seed))
                if said:
                    seconds.setdefault(key, []).append(said["seconds"])
            chosen = tuned(part)
            if chosen and chosen.get("seconds"):
                own = (key[0], key[1], _TRIES + part.name)
                seconds.setdefault(own, []).append(chosen["seconds"])
        except ResultError:
            continue  # told by whoever lists or runs it
    return seconds


def _time_of(
    part: Part, measured: dict[tuple[str, str, str], list[float]]
) -> tuple[float | None, float | None]:
    """Seconds of one training of a part, and of all its tries."""
    name, method = part.row.name, part.row.config.method
    units = {key: value for key, value in measured.items() if not key[2].startswith(_TRIES)}
    each = estimate(units, name, method, part.name)
    if part.row.tries is None:
        return each, None
    tries = {key: value for key, value in measured.items() if key[2].startswith(_TRIES)
             and key[1] == method}  # fmt: skip
    of_tries = estimate(tries, name, method, _TRIES + part.name)
    if of_tries is None and each is not None:
        config = part.row.tries
        epochs = budget_of(all_tries(config, config.seeds[0], part.folder))["epochs"]
        of_tries = each * epochs / part.row.config.optimization.epochs
    return each, of_tries


def duration(seconds: float) -> str:
    """``2 d 3 h``, ``3 h 12 min``, ``4 min``, ``12 s``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    text = (
        f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min"
    )
    return re.sub(r" 0 (h|min)$", "", text)
