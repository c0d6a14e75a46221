"""Self-contained HTML pages: one file, no script, no network, readable on a phone and without colour.

In: a template of templates/ and values. Out: HTML text. Read by every stage that shows something in a browser.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(path: Path, template: str, **values: Any) -> None:
    """Fill `templates/<template>` with `values` and write it to `path`, atomically."""
    write_atomically(path, fill_page(template, **values).encode("utf-8", "backslashreplace"))


def fill_page(template: str, **values: Any) -> str:
    """Fill `templates/<template>` with `values`."""
    return _TEMPLATES.get_template(template).render(values)


def figure_png(figure: "Figure") -> bytes:
    """Draw a matplotlib figure as PNG bytes; the same figure gives the same bytes. A dollar is a dollar."""
    _take_dollars_literally(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def drawable(names: Sequence[str], longest: int) -> list[str]:
    """Names of classes short enough to draw; a number stands for a name whose letters the font lacks."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))
    known = [all(font.get_char_index(ord(letter)) for letter in name) for name in names]
    short = [name if len(name) <= longest else f"{name[: longest - 1]}…" for name in names]
    return [short[number] if known[number] else f"class {number}" for number in range(len(names))]


def _take_dollars_literally(figure: "Figure") -> None:
    """Only matplotlib's own labels, such as powers on a logarithmic axis, are formulas."""
    from matplotlib.text import Text

    ticks = [text for axes in figure.axes for text in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    for text in (*figure.findobj(Text), *ticks):
        if isinstance(text, Text) and "\\math" not in text.get_text():
            text.set_parse_math(False)


def image_png(pixels: Pixels) -> bytes:
    """Encode uint8 (H, W, 3) as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """The PNG as an address that needs no file beside the page: `<img src="...">`."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
