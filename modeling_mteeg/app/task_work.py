"""What becomes of one task's prediction: pictures, events, files; again by another threshold."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..explanation.attribution import ChannelAttribution
from ..model.findings import Finding
from ..model.task_card import TaskCard
from ..pictures import draw_prediction, draw_scalp
from ..pictures.moment import draw_moment
from ..pictures.page_picture import PagePicture, save_for_page
from ..pictures.sleep import stage_order
from ..prediction import Prediction
from ..prediction.events import write_events
from ..prediction.result_files import Target
from ..recordings.block_reader import renamed_raw
from .session import GoneError, Session
from .summary import Summary, clock_text, summarize, threshold_of

SHOWN_ROWS = 500
"""Events that the page's table shows; the file has all."""
STEP = 0.001
"""Thresholds are chosen in such steps."""
_PROBABILITY = "probability_"
_DRAWING = threading.Lock()
"""matplotlib draws for one visitor at a time."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture with its words (``path``), and without them for the page."""

    path: Path
    title: str
    shown: PagePicture


@dataclasses.dataclass(frozen=True, eq=False)
class TaskAnswer:
    """What the page shows of one task; ``rows`` are the first of its ``events.tsv``."""

    name: str
    summary: Summary
    facts: Mapping[str, str]
    pictures: tuple[Picture, ...]
    columns: tuple[str, ...]
    rows: list[list[str]]
    more_rows: int
    notes: tuple[str, ...]
    files: Mapping[str, Path]
    warning: str = ""
    findings: tuple[Finding, ...] = ()


class TaskWork:
    """One task's prediction on one visitor's recording, and what is made of it.

    Parameters
    ----------
    session : Session
        The visitor's, in whose folder everything lies.
    recording : Path
        The file, from which pictures read what they show.
    rename : mapping of str to str
        Channels that are meant by other names.
    prediction : Prediction
        Its origins without places on the server.
    target : Target
        Names of the files.
    merge : bool
        Whether a run of windows of one class is one event.
    attribution : ChannelAttribution or None
        For the scalp map.
    """

    def __init__(
        self, session: Session, recording: Path, rename: Mapping[str, str],
        prediction: Prediction, target: Target, merge: bool,
        attribution: ChannelAttribution | None,
    ) -> None:  # fmt: skip
        self.session, self.recording, self.rename = session, recording, rename
        self.prediction, self.target, self.merge = prediction, target, merge
        self.attribution = attribution
        self.shown = prediction
        self.answer: TaskAnswer | None = None
        self._addresses: list[str] = []
        self._traces: list[str] = []
        self._lock = threading.Lock()

    def finish(
        self, threshold: float | None = None, report: Callable[[float, str], None] | None = None
    ) -> TaskAnswer:
        """Draw, write and sum up, by the task's own threshold or another one.

        The probabilities are those of the one forward pass. What an earlier call made is deleted.

        Raises
        ------
        GoneError
            The recording was deleted, since nothing had happened on the page for long.
        """
        with self._lock:
            self._check_there()
            self._withdraw(self._addresses)
            self._withdraw(self._traces)
            own = threshold is None or abs(threshold - self.own_threshold) < 1e-9
            self.shown = self.prediction.at_threshold(None if own else threshold)
            report = report or (lambda share, doing: None)
            report(0.0, f"Drawing {self.shown.card.name}")
            pictures = [self._draw()]
            if self.attribution is not None:
                pictures.append(self._draw_scalp(self.attribution))
            report(0.8, f"Writing the events of {self.shown.card.name}")
            files = self._write_files(pictures)
            columns, rows, more = read_events(files["events.tsv"])
            self.answer = TaskAnswer(
                self.target.task, summarize(self.shown), task_facts(self.shown), tuple(pictures),
                columns, rows, more, self.shown.notes, files, _missing(self.shown),
                self.shown.findings,
            )  # fmt: skip
            return self.answer

    @property
    def own_threshold(self) -> float | None:
        """The task's own, as a slider in steps of :data:`STEP` has it; None: more classes."""
        if len(self.prediction.card.labels) != 2:
            return None
        return min(max(round(threshold_of(self.prediction), 3), STEP), 1 - STEP)

    def address(self, path: Path) -> str:
        """Where the browser gets a file of the last answer."""
        address = self.session.publish(path)
        self._addresses.append(address)
        return address

    def traces(
        self, onset_s: float, duration_s: float, label: str
    ) -> tuple[str, PagePicture, str, str]:
        """The traces around an event: title, picture, and the addresses of light and dark.

        Only the stretch that is shown is read from the recording.
        """
        with self._lock:
            self._check_there()
            self._withdraw(self._traces)
            stop_s = onset_s + duration_s
            title = f"{label} from {clock_text(onset_s)} to {clock_text(stop_s)}"
            with _DRAWING:
                raw = renamed_raw(self.recording, self.rename)
                figure = draw_moment(self.shown, raw, onset_s, stop_s, title)
                path = self.target.picture.with_name(f"{self.target.picture.stem}_traces.png")
                picture = save_for_page(figure, path)
            self._traces = [self.session.publish(picture.light), self.session.publish(picture.dark)]
            return title, picture, *self._traces

    def _check_there(self) -> None:
        if not self.recording.is_file():
            raise GoneError(
                "The recording and its results were deleted, as they are after a while. Press "
                "Predict once more; drop the recording again where it is asked for."
            )

    def _withdraw(self, addresses: list[str]) -> None:
        while addresses:
            self.session.withdraw(addresses.pop())

    def _draw(self) -> Picture:
        shown = renamed_raw(self.recording, self.rename)
        with _DRAWING:
            return _saved(draw_prediction(self.shown, shown), self.target.picture,
                          f"{picture_kind(self.shown.card)} of {self.shown.card.name}")  # fmt: skip

    def _draw_scalp(self, attribution: ChannelAttribution) -> Picture:
        if self.shown.threshold is not None:  # counts windows by the task's own
            attribution = dataclasses.replace(attribution, labelled=None)
        path = self.target.picture.with_name(f"{self.target.picture.stem}_scalp.png")
        title = f"Scalp map of {self.shown.card.name}: what speaks for {attribution.label}"
        with _DRAWING:
            return _saved(draw_scalp(attribution), path, title)

    def _write_files(self, pictures: Sequence[Picture]) -> dict[str, Path]:
        """Events with their sidecar, annotations, and all of it with the pictures as one zip."""
        written = write_events(self.shown, self.target.events, merge=self.merge, annotations=True)
        archive = self.target.events.with_suffix(".zip")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as everything:
            for path in [*written, *(picture.path for picture in pictures)]:
                everything.write(path, path.name)
        sidecar, annotations, events = written
        return {
            "events.tsv": events,
            "events.json": sidecar,
            "Annotations (FIF)": annotations,
            "Everything (zip)": archive,
        }


def _saved(figure: Any, path: Path, title: str) -> Picture:
    shown = save_for_page(figure, path.with_name(f"{path.stem}_page.png"), path)
    return Picture(path, title, shown)


def _missing(prediction: Prediction) -> str:
    if not prediction.missing:
        return ""
    return (
        f"{len(prediction.missing)} of {len(prediction.card.channels)} channels are missing: "
        f"{', '.join(prediction.missing)}. The task was not trained that way."
    )


def task_facts(prediction: Prediction) -> dict[str, str]:
    """What was looked at, and by which rule, in a few words."""
    card, count = prediction.card, len(prediction.onset_s)
    stride = "" if prediction.stride_s == card.window_s else f", every {prediction.stride_s:g} s"
    facts = {"Windows": f"{count:,} of {card.window_s:g} s{stride}"}
    if len(card.labels) == 2:
        top = int(prediction.probabilities[:, 1].argmax())
        facts[f"Most probable {card.labels[1]}"] = (
            f"{prediction.probabilities[top, 1]:.0%} at {clock_text(prediction.onset_s[top])}"
        )
        facts["Decision"] = prediction.decision
    facts["Channels used"] = f"{len(prediction.channels)}" + (
        f", {len(prediction.derived)} derived" if prediction.derived else ""
    )
    return facts


def picture_kind(card: TaskCard) -> str:
    """What the picture of a task is called."""
    if stage_order(card):
        return "Hypnogram"
    return "Timeline" if len(card.labels) == 2 else "Class probabilities"


def read_events(path: Path) -> tuple[tuple[str, ...], list[list[str]], int]:
    """Header and first rows of an ``events.tsv`` for the eye, and how many more there are.

    BIDS' ``trial_type`` stands there as ``label`` once more and is left out; probabilities have
    three digits.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        table = csv.reader(lines, delimiter="\t")
        header = next(table)
        kept = [index for index, name in enumerate(header) if name != "trial_type"]
        rows = [
            [_short(header[index], row[index]) for index in kept]
            for row in itertools.islice(table, SHOWN_ROWS)
        ]
        names = tuple(header[index].removeprefix(_PROBABILITY) for index in kept)
        return names, rows, sum(1 for _ in table)


def _short(column: str, text: str) -> str:
    return f"{float(text):.3f}" if column.startswith(_PROBABILITY) else text
