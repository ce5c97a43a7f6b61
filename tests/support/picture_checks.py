"""What must hold of every picture: nothing is cut off, nothing covers another."""

from __future__ import annotations


def texts(figure) -> str:
    """All that is written in a figure."""
    from matplotlib.text import Text

    return "\n".join(one.get_text() for one in figure.findobj(Text) if one.get_visible())


def assert_nothing_is_cut(figure) -> None:
    """All that is drawn lies within the picture."""
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, (box, width)


def assert_apart(boxes) -> None:
    """No two boxes cover one another."""
    boxes = list(boxes)
    for index, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[index + 1 :])
