"""Pictures for a page: without the words around them, which are the page's, light and dark."""

from __future__ import annotations

import colorsys
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .style import plain_caption, save_figure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

CAPTION = "caption"
"""Mark (``gid``) of a text that says how to read a picture."""
PAPER = "#15181e"
"""What white becomes."""
_INK = 0.92
_ROOM = 0.075
_LEAST_CONTRAST = 3.0
"""Of lines and areas against :data:`PAPER` (WCAG 2.2, success criterion 1.4.11)."""


@dataclasses.dataclass(frozen=True)
class PagePicture:
    """A picture in both colours.

    Parameters
    ----------
    light, dark : Path
        PNG, the same drawing.
    width, height : int
        In pixels.
    caption : str
        How to read it, one paragraph.
    """

    light: Path
    dark: Path
    width: int
    height: int
    caption: str


def save_for_page(figure: Figure, path: Path, whole: Path | None = None) -> PagePicture:
    """Save what lies between a picture's heading and its foot, light and dark.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Made of subfigures, the first with the heading, the last with the foot; it becomes dark.
    path : Path
        ``.png``; the dark one is ``*_dark.png`` beside it.
    whole : Path, optional
        For the whole picture, light.
    """
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # lays it out, once for all that is saved
    figure.set_layout_engine("none")
    if whole is not None:
        save_figure(figure, whole)
    parts = Bbox.union([part.bbox for part in figure.subfigs[1:-1]])
    box = parts.transformed(figure.dpi_scale_trans.inverted())
    caption = " ".join(plain_caption(text.get_text()) for text in _captions(figure))
    save_figure(figure, path, box)
    dark_path = path.with_name(f"{path.stem}_dark{path.suffix}")
    turn_dark(figure)
    save_figure(figure, dark_path, box)
    return PagePicture(path, dark_path, *png_size(path), caption)


def png_size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG in pixels, of its header."""
    with path.open("rb") as file:
        head = file.read(24)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def _captions(figure: Figure) -> list[Any]:
    return [part for part in figure.findobj() if part.get_gid() == CAPTION]


def turn_dark(figure: Figure) -> None:
    """Give a picture a dark ground: greys turn over, colours too dark for it become lighter.

    What shows a value by its colour (images, meshes, what :func:`keep_colour` marked) stays, for
    its scale stands beside it.
    """
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    for artist in figure.findobj():
        if getattr(artist, "keeps_colour", False):
            continue
        if isinstance(artist, Text):
            artist.set_color(dark(artist.get_color()))
            for effect in artist.get_path_effects() or ():
                if hasattr(effect, "outline"):
                    artist.set_path_effects([halo(effect.outline, PAPER)])
        elif isinstance(artist, Line2D):
            artist.set_color(dark(artist.get_color()))
            artist.set_markerfacecolor(dark(artist.get_markerfacecolor()))
            artist.set_markeredgecolor(dark(artist.get_markeredgecolor()))
        elif isinstance(artist, Collection):
            _turn_collection(artist)
        elif isinstance(artist, Patch):
            face, edge = artist.get_facecolor(), artist.get_edgecolor()
            artist.set_facecolor(dark(face))
            artist.set_edgecolor(dark(edge))


def _turn_collection(artist: Any) -> None:
    if artist.get_array() is None:
        artist.set_facecolor([dark(colour) for colour in artist.get_facecolor()])
        artist.set_edgecolor([dark(colour) for colour in artist.get_edgecolor()])
    elif len(edges := artist.get_edgecolor()) == 1:  # around what is coloured by its value
        artist.set_edgecolor([dark(edges[0])])


def keep_colour(artist: Artist) -> Artist:
    """Mark an artist whose colour is its value."""
    artist.keeps_colour = True
    return artist


def halo(width: float, colour: str = "white") -> Any:
    """A line around letters, so that they can be read over anything."""
    from matplotlib.patheffects import withStroke

    effect = withStroke(linewidth=width, foreground=colour)
    effect.outline = width
    return effect


def dark(colour: Any) -> Any:
    """The colour (red, green, blue, alpha) that a colour has on :data:`PAPER`."""
    from matplotlib.colors import to_rgba

    if isinstance(colour, str) and colour in ("none", "auto"):
        return colour
    red, green, blue, alpha = to_rgba(colour)
    hue, light, strength = colorsys.rgb_to_hls(red, green, blue)
    if max(red, green, blue) - min(red, green, blue) < 0.06:
        light, strength = _INK - light * (_INK - _ROOM), 0.0
    else:
        while (
            light < 0.9 and _contrast(colorsys.hls_to_rgb(hue, light, strength)) < _LEAST_CONTRAST
        ):
            light += 0.02
    return (*colorsys.hls_to_rgb(hue, light, strength), alpha)


def _contrast(rgb: tuple[float, float, float]) -> float:
    """Ratio of luminances against the paper, as WCAG has it."""
    from matplotlib.colors import to_rgb

    def luminance(values: tuple[float, float, float]) -> float:
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(rgb), luminance(to_rgb(PAPER))), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)
