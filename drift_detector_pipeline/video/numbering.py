"""Lines of frames, one after another -> the same lines, each thing under its number.

In: lines as lines.py has them. Out: `track` of each of their boxes. Read by boxed.py and the service; no PyTorch.
"""

from collections.abc import Sequence

from drift_detector_pipeline.video.lines import Line
from drift_detector_pipeline.video.track import Tracker


class Numbering:
    """The tracker, spoken to in lines; a line that has its numbers keeps them."""

    def __init__(self, rate: float, score: float, classes: Sequence[str]) -> None:
        self._tracker = Tracker(rate, score)
        self._place = {name: place for place, name in enumerate(classes)}

    def number(self, line: Line) -> None:
        """Give each box of the line the number of its thing, or None."""
        boxes = line.get("boxes", [])
        labels = [self._place[box["label"]] for box in boxes]
        numbers = self._tracker.update(
            line["seconds"], [box["box"] for box in boxes], labels, [box["score"] for box in boxes]
        )
        for box, number in zip(boxes, numbers, strict=True):
            box["track"] = number
