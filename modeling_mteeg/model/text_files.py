"""Text beside a signal (labels, headers): read whole, up to a size that no such file has."""

from __future__ import annotations

from pathlib import Path

from .header_fields import RecordingError

MOST_TEXT_BYTES = 16 * 2**20
"""Of a table 800,000 rows, which need some 700 MB of memory."""


def read_text_file(path: str | Path) -> bytes:
    """The content of a table, a list of labels or a header of text.

    Parameters
    ----------
    path : str or pathlib.Path

    Raises
    ------
    RecordingError
        It cannot be read, is no file, or has more than :data:`MOST_TEXT_BYTES`.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for its other end
            raise RecordingError(f"{path.name}: cannot be read: expected a file.")
        with open(path, "rb") as file:
            size = path.stat().st_size
            content = file.read(MOST_TEXT_BYTES + 1)
    except OSError as error:
        raise RecordingError(f"{path.name}: cannot be read: {error}.") from error
    if len(content) > MOST_TEXT_BYTES:
        raise RecordingError(
            f"{path.name}: expected at most {MOST_TEXT_BYTES:,} bytes of text, found "
            f"{max(size, len(content)):,}. Is it the right file?"
        )
    return content
