"""What a prediction of boxes writes beside its lines and its table: drawn pictures and COCO's results.

    pictures/<number>_<name>.jpg   the first images with their boxes
    predictions.coco.json          a list of results as COCO's tools read them
    images.coco.json               which image has which number there, and which class

Fed by modeling/labels.py through the task.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.tasks.boxes.charts import drawn
from drift_detector_pipeline.tasks.task import Answer

_SHOWN = 0.5  # least score of a drawn box, unless a threshold is given
_LARGEST_PX = 1600  # longer side of a picture
_LONGEST = 80  # characters of a picture's name


class BoxFiles:
    """Writes them into a folder, image by image."""

    def __init__(self, folder: Path, classes: Sequence[str], how: Predict) -> None:
        self._folder, self._classes, self._how = folder, list(classes), how
        self._images: list[dict[str, Any]] = []
        self._results: list[dict[str, Any]] = []

    def add(self, name: str, pixels: Pixels, image: tuple[int, int], answer: Answer) -> None:
        """Take note of an answer in px of the image (height, width), of which `pixels` are a smaller version or all."""
        number = len(self._images) + 1
        height, width = image
        self._images.append({"id": number, "file_name": name, "width": width, "height": height})
        for one in answer["boxes"]:
            x0, y0, x1, y1 = one["box"]
            box = [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)]
            category = self._classes.index(one["label"]) + 1
            self._results.append({"image_id": number, "category_id": category, "bbox": box, "score": one["score"]})
        if number <= self._how.pictures:
            self._draw(f"{number:05}_{_plain(name)}.jpg", pixels, image, answer)

    def close(self) -> None:
        """Write what is about all images."""
        categories = [{"id": number, "name": name} for number, name in enumerate(self._classes, start=1)]
        write_json(self._folder / "predictions.coco.json", self._results)
        write_json(self._folder / "images.coco.json", {"images": self._images, "categories": categories})

    def _draw(self, name: str, pixels: Pixels, image: tuple[int, int], answer: Answer) -> None:
        if max(pixels.shape[:2]) > _LARGEST_PX:
            smaller = Image.fromarray(pixels)
            smaller.thumbnail((_LARGEST_PX, _LARGEST_PX))
            pixels = np.asarray(smaller)
        down, across = pixels.shape[0] / image[0], pixels.shape[1] / image[1]
        scale = np.array([across, down, across, down])
        least = _SHOWN if self._how.threshold is None else self._how.threshold
        found = [
            one | {"box": (np.array(one["box"]) * scale).tolist()} for one in answer["boxes"] if one["score"] >= least
        ]
        folder = self._folder / "pictures"
        folder.mkdir(exist_ok=True)
        Image.fromarray(drawn(pixels, found, None, self._classes)).save(folder / name, quality=90)


def _plain(name: str) -> str:
    """The last part of a name in letters that any file system takes."""
    return re.sub(r"[^\w.-]", "_", PurePath(name).stem)[:_LONGEST] or "image"
