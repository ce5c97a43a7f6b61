"""One way tried on one folder: what came of it, in a word and a sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from .originals import Original

WAYS = {
    "extract": "recording_ways", "extract-any": "recording_ways", "labelled": "recording_ways",
    "unlabelled": "recording_ways", "adapter": "weight_ways", "base": "weight_ways",
    "convert": "weight_ways", "corpus": "prepared_ways", "stretches": "prepared_ways",
    "predictions": "prepared_ways", "results": "prepared_ways", "planted": "planted_ways",
}  # fmt: skip
"""Way to the module that has it, as a function of its name with ``_`` for ``-``."""
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_DENIED = re.compile(r"allocate|out of memory|not enough memory", re.I)
MOST_CHARACTERS = 2000


class Lost(Exception):
    """Something that was not mutated is not there any more, or is another."""


class Ended(Exception):
    """One bad file ended the run of many."""


class NotFinite(Exception):
    """An answer that is none."""


@dataclasses.dataclass
class Tried:
    """What came of a way.

    Parameters
    ----------
    outcome : str
        ``refused``, ``used``, ``uncaught``, ``memory``, ``lost``, ``ended``, ``not finite``; of the
        parent ``crash`` and ``hang``.
    said : list of str
        Of what was used: what was said of it, numbers left out.
    detail : str
        The message, or the kind of error.
    flaw : str
        What is wrong with a message; empty: nothing.
    """

    outcome: str
    said: list[str] = dataclasses.field(default_factory=list)
    detail: str = ""
    flaw: str = ""


def plain(text: str) -> str:
    """A sentence without its numbers, so that others of its kind are equal."""
    return re.sub(r"[-+]?\d[\d.,e+-]*", "#", " ".join(text.split()))


def try_way(way: str, original: Original, folder: Path, scratch: Path, target: str) -> Tried:
    """Try a way on a folder.

    Parameters
    ----------
    way : str
        One of :data:`WAYS`.
    original : Original
        What the folder is a mutated copy of.
    folder : Path
    scratch : Path
        For what the way writes.
    target : str
        The file that was changed; empty: none.
    """
    module = importlib.import_module(f"{__name__.rpartition('.')[0]}.{WAYS[way]}")
    function = getattr(module, way.replace("-", "_"))
    names = names_of(original, folder, target)
    documented = (ValueError, OSError, *getattr(module, "DOCUMENTED", ()))
    try:
        with quiet():
            said = list(function(original, folder, scratch))
        return Tried("used", sorted(set(map(plain, said))))
    except Refused as error:
        return Tried("refused", detail=str(error), flaw=flaw_of(str(error), names))
    except (Lost, Ended, NotFinite) as error:
        kinds = {Lost: "lost", Ended: "ended", NotFinite: "not finite"}
        return Tried(kinds[type(error)], detail=str(error))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        text = f"{type(error).__name__}: {error}"
        if _was_denied(error):
            return Tried("memory", detail=text)
        if isinstance(error, documented):
            # Who opens one file knows which; a run or a folder of many must name it.
            any_name = () if way.startswith("extract") or way == "convert" else names
            return Tried("refused", detail=text, flaw=flaw_of(str(error), any_name))
        return Tried("uncaught", detail=f"{text} ({_place(error)})")


class Refused(Exception):
    """What a report says of a file that it did not use."""


def _place(error: BaseException) -> str:
    """File and line where an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "nowhere"
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def _was_denied(error: BaseException | None) -> bool:
    """Whether memory was asked for and not given, here or in what it came from."""
    for _ in range(20):
        if error is None:
            return False
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, (RuntimeError, ValueError, OSError)) and _DENIED.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def names_of(original: Original, folder: Path, target: str) -> tuple[str, ...]:
    """What a message may call a file: its name, its recording, its folder; empty: no matter."""
    path = Path(target)
    return (path.name, path.stem, folder.name, *original.bad) if target else ()


def flaw_of(message: str, names: Sequence[str]) -> str:
    """What is wrong with a message: none of the names, control characters, too long."""
    flaws = []
    if names and not any(name in message for name in names):
        flaws.append("names no file")
    if _CONTROL.search(message):
        flaws.append("control characters")
    if len(message) > MOST_CHARACTERS:
        flaws.append(f"{len(message)} characters")
    if "Traceback (most recent" in message:
        flaws.append("a traceback")
    return ", ".join(flaws)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without warnings on the screen and bars; what is printed goes to nowhere."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere:
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield
