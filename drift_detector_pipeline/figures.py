"""Charts as pictures: matplotlib's figures as PNG, the same figure as the same bytes.

In: a figure, or names that are to stand in one. Out: PNG bytes. Read by every stage that draws a chart.
"""

import io
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text


def figure_png(figure: Figure) -> bytes:
    """Draw a matplotlib figure as PNG bytes; the same figure gives the same bytes. A dollar is a dollar."""
    _take_dollars_literally(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def drawable(names: Sequence[str], longest: int) -> list[str]:
    """Names of classes short enough to draw; a number stands for a name whose letters the font lacks."""
    font = get_font(findfont("DejaVu Sans"))
    known = [all(font.get_char_index(ord(letter)) for letter in name) for name in names]
    short = [name if len(name) <= longest else f"{name[: longest - 1]}…" for name in names]
    return [short[number] if known[number] else f"class {number}" for number in range(len(names))]


def _take_dollars_literally(figure: Figure) -> None:
    """Only matplotlib's own labels, such as powers on a logarithmic axis, are formulas."""
    ticks = [text for axes in figure.axes for text in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    for text in (*figure.findobj(Text), *ticks):
        if isinstance(text, Text) and "\\math" not in text.get_text():
            text.set_parse_math(False)
