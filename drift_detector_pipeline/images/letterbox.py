"""A stored image -> all of it in the square that a model of boxes is given, and the way back.

H, W: an image's sides; S: the side of the model input. The image lies in the upper left corner, its longer side is S,
the rest is one colour. NumPy and Pillow only, as a service has no torch. Read by tasks/boxes/ and the service.
"""

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Float32s, Pixels

FILL = (124, 116, 104)  # ImageNet's mean colour: nearly 0 once it is normalised


def letterbox(pixels: Pixels, side_px: int) -> Pixels:
    """Return uint8 (S, S, 3) with all of an image (H, W, 3), resized (bilinear, antialiased).

    The only way into a model of boxes for evaluation, prediction, drift and serving: the same file gives the same bits.
    """
    height, width = sides_in(pixels.shape[0], pixels.shape[1], side_px)
    square = np.empty((side_px, side_px, 3), np.uint8)
    square[:] = FILL
    square[:height, :width] = resized(pixels, height, width)
    return square


def without_border(square: Pixels) -> Pixels:
    """The part of a square that the image fills, as far as its last row and column in another colour."""
    other = (square != np.array(FILL, np.uint8)).any(2)
    rows, columns = np.flatnonzero(other.any(1)), np.flatnonzero(other.any(0))
    return square[: rows[-1] + 1, : columns[-1] + 1] if len(rows) else square


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """An image in other sides (bilinear, antialiased)."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def sides_in(height: int, width: int, side_px: int) -> tuple[int, int]:
    """Height and width of an image inside the square, in whole px."""
    longer = max(height, width)
    return max(1, round(height * side_px / longer)), max(1, round(width * side_px / longer))


def scale_of(height: int, width: int, side_px: int) -> tuple[float, float]:
    """What px of the image are multiplied with to be px of the square: (down, across), as the sides are rounded."""
    inside = sides_in(height, width, side_px)
    return inside[0] / height, inside[1] / width


def into(boxes: Float32s, height: int, width: int, side_px: int) -> Float32s:
    """Boxes (M, 4), x0 y0 x1 y1 in px of the image -> px of the square."""
    down, across = scale_of(height, width, side_px)
    return np.asarray(boxes * np.array([across, down, across, down], np.float32), np.float32)


def back(boxes: Float32s, height: int, width: int, side_px: int) -> Float32s:
    """Boxes (M, 4) in px of the square -> px of the image, the part of them that lies in it."""
    down, across = scale_of(height, width, side_px)
    scaled = boxes / np.array([across, down, across, down], np.float32)
    return np.asarray(np.clip(scaled, 0, np.array([width, height, width, height])), np.float32)
