"""A basket while somebody labels it: the labels in its basket.csv, and its images as a browser shows them.

In: answers, one at a time. Out: the table, written after each, so that a reload or a kill loses nothing; pictures. Read
by label.py.
"""

import io
import threading
import unicodedata

from PIL import Image

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.decoder import decode, read_header
from drift_detector_pipeline.lifecycle.labelling.basket_file import TABLE, Basket
from drift_detector_pipeline.lifecycle.labelling.checked_labels import labels_by_file
from drift_detector_pipeline.lifecycle.labelling.label_formats import NONE_OF_THESE, read_said, write_table

_SHOWN_PX = 720  # shorter side of an image on the page, at most
_LONGEST = 200  # letters of a label


class Desk:
    """The labels of a basket, in its basket.csv; safe between threads, and beside a spreadsheet that saves it too."""

    def __init__(self, basket: Basket) -> None:
        self.basket = basket
        self._table, self._lock = basket.folder / TABLE, threading.Lock()
        self._before = list[tuple[str, str]]()  # files, and the labels they had, the newest answer last

    def labels(self) -> dict[str, str]:
        """By file; those without one are left out. Raises DataError if the table is damaged."""
        if not self._table.exists():
            return {}
        found = labels_by_file(self.basket, read_said(self._table))
        return {file: label for file, label in found.items() if label}

    def give(self, file: str, label: str) -> None:
        """Label an image. Raises DataError for one that is none of the basket's, or a label that is none."""
        text = unicodedata.normalize("NFC", label).strip()
        if file not in {item.file for item in self.basket.images}:
            raise DataError(f"{file:.100}: no image of this basket")
        is_new = text.startswith(NONE_OF_THESE) and len(text) <= _LONGEST and text.isprintable()
        if text not in self.basket.classes and not is_new:
            raise DataError(f"{label:.100}: no class of this basket")
        with self._lock:
            self._before.append((file, self._write(file, text)))

    def undo(self) -> tuple[str, str]:
        """Give the image that was labelled last the label it had before; return both. Raises DataError without one."""
        with self._lock:
            if not self._before:
                raise DataError("nothing was answered since this program was started; go back to change an answer")
            file, label = self._before[-1]
            self._write(file, label)
            self._before.pop()
        return file, label

    def _write(self, file: str, label: str) -> str:
        """Write the table with another label; return the one before."""
        known = self.labels()
        write_table(self.basket.images, known | {file: label}, self._table)
        return known.get(file, "")


def picture(content: bytes) -> tuple[bytes, str]:
    """An image as every browser shows it, upright and not larger than a screen, and its type.

    Raises DataError if it cannot be decoded.
    """
    header = read_header(content)
    if header is None:
        raise DataError("no image")
    side = min(_SHOWN_PX, header.width, header.height)
    kind = "png" if side < _SHOWN_PX // 2 else "jpeg"
    buffer = io.BytesIO()
    Image.fromarray(decode(content, side)).save(buffer, kind, quality=90)
    return buffer.getvalue(), f"image/{kind}"
