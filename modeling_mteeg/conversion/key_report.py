"""What became of every key of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..model.visible_text import PlainError, visible


class ConversionError(PlainError):
    """Weights that do not make the model asked for. ``report`` lists what was found."""

    def __init__(self, message: str, report: ConversionReport | None = None):
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class KeyRecord:
    """What became of one key.

    Parameters
    ----------
    key : str
        Key in the checkpoint; for ``missing`` the key of the model made.
    status : {"used", "dropped", "missing"}
        What became of it.
    reason : str
        Key of the model it went to, or why it was dropped, or what stands in for it.
    shape : tuple of int
        Shape in the checkpoint; for ``missing`` that of the model. Empty where not a tensor.
    """

    key: str
    status: str
    reason: str
    shape: tuple[int, ...] = ()


@dataclass
class ConversionReport:
    """Every key of a checkpoint and what became of it.

    Parameters
    ----------
    source : dict
        Where the weights come from: file name, layout, entry, prefix, bytes, SHA-256; fetched ones
        with repository, commit and path in it, or address.
    keys : list of KeyRecord
        In the checkpoint's order, the missing ones last.
    notes : list of str
        What else a reader should know.
    size : str
        Preset whose sizes these are, or ``"own"``.
    kind : str
        What was made: ``"base"``, ``"pretraining"`` or ``"tokenizer"``.
    """

    source: dict[str, Any] = field(default_factory=dict)
    keys: list[KeyRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    size: str = "own"
    kind: str = "base"

    def with_status(self, status: str) -> list[KeyRecord]:
        """The keys that were ``used``, ``dropped`` or are ``missing``."""
        return [record for record in self.keys if record.status == status]

    def table(self) -> str:
        """Every key in a row of its own: status, key, shape, reason."""
        order = ("used", "dropped", "missing")
        rows = [
            (r.status, visible(r.key), "x".join(map(str, r.shape)), visible(r.reason))
            for status in order
            for r in self.with_status(status)
        ]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
        return "\n".join(
            "  ".join([*(c.ljust(w) for c, w in zip(row[:3], widths, strict=True)), row[3]])
            for row in rows
        )

    def summary(self) -> str:
        """Kind, counts and notes, a few lines."""
        counts = {s: len(self.with_status(s)) for s in ("used", "dropped", "missing")}
        keys = ", ".join(f"{s} {n}" for s, n in counts.items())
        lines = [f"kind: {self.kind}; size: {self.size}; keys {keys}"]
        return "\n".join(lines + [f"note: {note}" for note in self.notes])

    def origin(self) -> str:
        """Where the weights come from, with size and SHA-256, in a line."""
        place, get = "", self.source.get
        if "repo" in self.source:
            place = f"{get('repo')} at {get('commit')}, {get('path_in_repo')}"
        size = f"{get('bytes', 0) / 1e6:.1f} MB"
        return f"{place or get('url') or get('file')}: {size}, SHA-256 {get('sha256')}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as saved in ``conversion.json``."""
        return asdict(self)


def listing(title: str, problems: Sequence[str], limit: int = 20) -> str:
    """A title and at most ``limit`` problems, one a line."""
    more = [f"... and {len(problems) - limit} more"] if len(problems) > limit else []
    return "\n  ".join([f"{title}:", *problems[:limit], *more])


def by_reason(faults: Mapping[str, str]) -> list[str]:
    """Faults of keys in few lines: a reason, and the keys it holds for."""
    keys: dict[str, list[str]] = {}
    for key, reason in faults.items():
        keys.setdefault(reason, []).append(key)
    return [
        f"{', '.join(held[:3])}{f' and {len(held) - 3} more' if len(held) > 3 else ''}: {reason}"
        for reason, held in keys.items()
    ]
