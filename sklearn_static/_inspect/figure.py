"""Drawing of a document with tokens colored by contribution, with matplotlib."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sklearn_static._inspect.notebook import LESS, MORE, largest_contribution, number, strength
from sklearn_static._inspect.spans import Segment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# In points (1/72 inch).
_SIZE, _SMALL = 11.0, 9.0
_LINE = 20.0
_WIDTH = 480.0
_MARGIN = 12.0
_BAR = 110.0
_SPACES = "    "  # replaces a tab


@dataclass(frozen=True)
class Piece:
    """Characters of one token on one line, `x` and `width` in points."""

    text: str
    contribution: float | None
    line: int
    x: float
    width: float


def draw(segments: list[Segment], *, title: str, method: str, ax: "Axes | None") -> "Axes":
    """Draw a document with tokens colored by contribution.

    Parameters
    ----------
    segments : list of Segment
        The document.
    title : str
        The explained decision and its value.
    method : str
        A description of the method, for the legend.
    ax : matplotlib.axes.Axes or None
        The axes to draw on; None creates a figure of the size that the document needs.

    Returns
    -------
    ax : matplotlib.axes.Axes
        The axes, whose unit is a point and whose width is that of the lines.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    width = _WIDTH if ax is None else ax.get_window_extent().width * 72 / ax.figure.dpi
    pieces = list(_lay_out(segments, width))
    height = _LINE * (2.2 + max((piece.line for piece in pieces), default=0)) + 12
    if ax is None:
        size = (width + 2 * _MARGIN, height + _LINE + 2 * _MARGIN)
        figure = plt.figure(figsize=(size[0] / 72, size[1] / 72))
        ax = figure.add_axes(
            (_MARGIN / size[0], _MARGIN / size[1], width / size[0], height / size[1])
        )
    else:
        height = ax.get_window_extent().height * 72 / ax.figure.dpi

    largest = largest_contribution(segments)
    for piece in pieces:
        middle = _LINE * (piece.line + 0.6)
        if piece.contribution:
            corner = (piece.x, middle - 0.4 * _LINE)
            ax.add_patch(
                Rectangle(
                    corner,
                    piece.width,
                    0.8 * _LINE,
                    facecolor=_color(piece.contribution, largest),
                    linewidth=0,
                    clip_on=False,
                )
            )
        _write(ax, piece.x, middle, piece.text, _SIZE)
    _draw_legend(ax, _LINE * (pieces[-1].line + 1.8 if pieces else 1.8), largest, method)
    ax.set_title(title, loc="left", fontsize=_SIZE, parse_math=False)
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()
    return ax


def _lay_out(segments: list[Segment], width: float) -> Iterator[Piece]:
    """Break the document into lines, at spaces if possible."""
    line, x = 0, 0.0
    word: list[tuple[str, float | None, float]] = []

    def place() -> Iterator[Piece]:
        nonlocal line, x
        if x and x + sum(piece[2] for piece in word) > width:
            line, x = line + 1, 0.0
        for text, contribution, text_width in word:
            if x and x + text_width > width:  # a word that is longer than a line
                line, x = line + 1, 0.0
            yield Piece(text, contribution, line, x, text_width)
            x += text_width
        word.clear()

    for segment in segments:
        for text in re.findall(r"\n|[^\S\n]+|\S+", segment.text):
            if text == "\n":
                yield from place()
                line, x = line + 1, 0.0
            elif text.isspace():
                yield from place()
                text = text.replace("\t", _SPACES)
                text_width = _text_width(text, _SIZE)
                yield Piece(text, segment.contribution, line, x, text_width)
                x += text_width
            else:
                word.append((text, segment.contribution, _text_width(text, _SIZE)))
    yield from place()


def _draw_legend(ax: "Axes", y: float, largest: float, method: str) -> None:
    """Draw a legend of the colors."""
    from matplotlib.patches import Rectangle

    left = number(-largest)
    x = _text_width(left, _SMALL) + 6
    steps = 41
    for step in range(steps):
        value = 2 * step / (steps - 1) - 1
        corner = (x + _BAR * step / steps, y - 4)
        ax.add_patch(
            Rectangle(
                corner, _BAR / steps, 8, facecolor=_color(value, 1), linewidth=0, clip_on=False
            )
        )
    _write(ax, 0, y, left, _SMALL)
    _write(ax, x + _BAR + 6, y, number(largest), _SMALL)
    _write(ax, x + _BAR + 18 + _text_width(number(largest), _SMALL), y, method, _SMALL)


def _write(ax: "Axes", x: float, y: float, text: str, size: float) -> None:
    ax.text(x, y, text, fontsize=size, verticalalignment="center_baseline", parse_math=False)


def _color(contribution: float, largest: float) -> tuple[float, float, float, float]:
    red, green, blue = MORE if contribution > 0 else LESS
    return red / 255, green / 255, blue / 255, strength(contribution, largest)


def _text_width(text: str, size: float) -> float:
    """Measure the width of text in points, including spaces at its ends."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font: Any = FontProperties(size=size)
    measure = TextToPath().get_text_width_height_descent
    return float(measure(f"|{text}|", font, ismath=False)[0] - measure("||", font, ismath=False)[0])
