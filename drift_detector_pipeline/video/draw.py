"""What a line of boxes.jsonl says, drawn into its frame. Read by boxed.py."""

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.images.drawing import Drawn, draw_boxes
from drift_detector_pipeline.video.lines import Line


def drawn(pixels: Pixels, line: Line) -> Pixels:
    """The frame, uint8 (H, W, 3), with each numbered thing in a colour of its own, the likeliest on top.

    Of a classification: with its label in a frame around the frame.
    """
    if "boxes" not in line:
        height, width = pixels.shape[:2]
        return draw_boxes(pixels, [Drawn((0, 0, width, height), f"{line['label']} {line['probability']:.2f}", 0)])
    things = sorted((box for box in line["boxes"] if box["track"]), key=lambda box: float(box["score"]))
    return draw_boxes(pixels, [Drawn(one["box"], _text(one), one["track"]) for one in things])


def _text(box: Line) -> str:
    return f"{box['label']} {box['track']}  {box['score']:.2f}"
