"""What is said of an image's boxes, as plain JSON: in predictions, in replies of the service. No torch, as it has none.

In: `Found`, in px of the view of S px a side. Out: answers, in px of the view until `on_image`. Read by task.py and by
the service.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from drift_detector_pipeline.images.letterbox import back
from drift_detector_pipeline.networks.boxes.found import Found

Answer = dict[str, Any]  # as tasks/task.py has it, which needs torch
LEAST_SCORE, MOST = 0.05, 100  # of what is written down of an image


def answer(outputs: Sequence[Found], classes: Sequence[str]) -> list[Answer]:
    """The boxes found in each image, best first, in px of the view."""
    return [{"boxes": _boxes(one, classes)} for one in outputs]


def on_image(said: Answer, image: tuple[int, int], side_px: int, stored: tuple[int, int] | None = None) -> Answer:
    """The same boxes in px of the image, which is (height, width) as people see it."""
    if not said["boxes"]:
        return said
    height, width = stored or image
    boxes = back(np.array([one["box"] for one in said["boxes"]], np.float32), height, width, side_px).astype(np.float64)
    boxes *= np.array([image[1] / width, image[0] / height] * 2)
    return {**said, "boxes": [one | {"box": _rounded(box)} for one, box in zip(said["boxes"], boxes, strict=True)]}


def _boxes(output: Found, classes: Sequence[str]) -> list[dict[str, Any]]:
    kept = np.flatnonzero(output.scores >= LEAST_SCORE)[:MOST]
    return [
        {
            "label": classes[int(output.labels[place])],
            "score": float(output.scores[place]),
            "box": _rounded(output.boxes[place]),
        }
        for place in kept
    ]


def _rounded(box: Any) -> list[float]:
    return [round(float(value), 2) for value in box]
