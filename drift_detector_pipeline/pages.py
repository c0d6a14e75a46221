"""Self-contained HTML pages: one file, no script, no network, readable on a phone and without colour.

In: a template of templates/ and values. Out: HTML text. Read by every stage that shows something in a browser.
"""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.files import write_atomically

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


def image_png(pixels: Pixels) -> bytes:
    """Encode uint8 (H, W, 3) as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """The PNG as an address that needs no file beside the page: `<img src="...">`."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def jpeg_uri(jpeg: bytes) -> str:
    """The same of a JPEG."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
