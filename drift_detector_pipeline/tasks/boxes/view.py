"""A stored image and its boxes -> one of the many views that training shows: the generator says which, nothing else.

H, W: a stored image's sides; S: the side of the view in px. Pixels are uint8, boxes px of what they lie in. Fed by
modeling/loaders.py. A box is to be found as long as its centre can be seen, and is cut where the view ends.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from drift_detector_pipeline.arrays import Boxes, Flags, Float32s, Pixels
from drift_detector_pipeline.box_geometry import clip
from drift_detector_pipeline.images.distortions import jitter_colours
from drift_detector_pipeline.images.letterbox import FILL, into, letterbox, resized
from drift_detector_pipeline.images.stored_jpeg import Packed, pixels_of
from drift_detector_pipeline.settings import Augmentation
from drift_detector_pipeline.tasks.task import View

NO_BOXES = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_))
_ASPECT = math.log(4 / 3)  # a crop is between 3:4 and 4:3 of the image's own shape
_TRIES = 10
_LEAST_PX = 1.0  # of a box's sides in the view; what is smaller cannot be learned


class Scene(NamedTuple):
    """Pixels (H, W, 3) and the boxes in them."""

    pixels: Pixels
    boxes: Boxes


def view(
    stored: Packed, target: Boxes | None, how: View, rng: np.random.Generator | None
) -> tuple[torch.Tensor, Boxes | None]:
    """Cut a training view, or letterbox as in inference: uint8 (S, S, 3) and the boxes in px of it."""
    pixels = pixels_of(stored)
    if how.augmentation is None or rng is None:
        square = torch.from_numpy(letterbox(pixels, how.side_px))
        if target is None:
            return square, None
        return square, target._replace(boxes=into(target.boxes, pixels.shape[0], pixels.shape[1], how.side_px))
    scene = _changed(Scene(pixels, NO_BOXES if target is None else target), how.augmentation, rng)
    return _finished(_placed(scene, how.side_px, how.augmentation.scale_jitter, rng), how.augmentation, rng)


def mosaic(items: Sequence[tuple[Packed, Boxes]], how: View, rng: np.random.Generator) -> tuple[torch.Tensor, Boxes]:
    """Four images around a random point as one view (Bochkovskiy et al. 2020, arXiv 2004.10934).

    Each is as large as it would be alone, give or take the scale jitter; what has no room in its quarter is cut off.
    """
    assert how.augmentation is not None
    side = how.side_px
    across, down = (round(side * share) for share in rng.uniform(0.25, 0.75, 2))
    canvas, parts = _empty(side), list[Boxes]()
    for number, (stored, truth) in enumerate(items):
        left, top = (0, across)[number % 2], (0, down)[number // 2]
        right, bottom = (across, side)[number % 2], (down, side)[number // 2]
        scene = _changed(Scene(pixels_of(stored), truth), how.augmentation, rng)
        scene = _scaled(scene, side, _factor(how.augmentation.scale_jitter, rng))
        scene = _window(scene, bottom - top, right - left, rng)
        height, width = scene.pixels.shape[:2]
        # what is smaller than its quarter lies at the middle of the view, beside the others
        y, x = (bottom - height, top)[number // 2], (right - width, left)[number % 2]
        canvas[y : y + height, x : x + width] = scene.pixels
        parts.append(scene.boxes._replace(boxes=scene.boxes.boxes + np.array([x, y, x, y], np.float32)))
    together = Boxes(
        np.concatenate([part.boxes for part in parts]), np.concatenate([part.labels for part in parts]),
        np.concatenate([part.ignore for part in parts]),
    )  # fmt: skip
    return _finished(Scene(canvas, together), how.augmentation, rng)


def _changed(scene: Scene, how: Augmentation, rng: np.random.Generator) -> Scene:
    """A crop, mirrored half of the time, in other colours; what is off draws no random number."""
    if how.min_area < 1:
        scene = _cropped(scene, how.min_area, rng)
    if how.flip and rng.random() < 0.5:
        scene = _mirrored(scene)
    if how.flip_down and rng.random() < 0.5:
        scene = _upside_down(scene)
    if any(strength for _, strength in how.colour_jitter):
        planes = torch.from_numpy(np.array(scene.pixels, order="C")).permute(2, 0, 1)[None]
        jittered = jitter_colours(planes, how.colour_jitter, rng)
        scene = scene._replace(pixels=jittered[0].permute(1, 2, 0).numpy())
    return scene


def _finished(scene: Scene, how: Augmentation, rng: np.random.Generator) -> tuple[torch.Tensor, Boxes]:
    """Cover a square around a random pixel, if that is asked for; boxes that cannot be seen are left out."""
    pixels = np.ascontiguousarray(scene.pixels)
    if how.cutout_px:
        top, left = rng.integers(0, len(pixels), size=2) - how.cutout_px // 2
        pixels = pixels.copy()
        pixels[max(0, top) : top + how.cutout_px, max(0, left) : left + how.cutout_px] = FILL
    sides = scene.boxes.boxes[:, 2:] - scene.boxes.boxes[:, :2]
    return torch.from_numpy(pixels), _chosen(scene.boxes, np.all(sides >= _LEAST_PX, axis=1))


def _cropped(scene: Scene, min_area: float, rng: np.random.Generator) -> Scene:
    """A random part that keeps at least `min_area` and the centre of at least one box, where there are boxes."""
    height, width = scene.pixels.shape[:2]
    sought = scene.boxes.boxes[~scene.boxes.ignore]
    for _ in range(_TRIES):
        area, aspect = rng.uniform(min_area, 1), math.exp(rng.uniform(-_ASPECT, _ASPECT))
        h, w = round(height * math.sqrt(area / aspect)), round(width * math.sqrt(area * aspect))
        if not (0 < h <= height and 0 < w <= width):
            continue
        top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        if not len(sought) or _inside(sought, left, top, w, h).any():
            return _cut(scene, left, top, w, h)
    return scene


def _mirrored(scene: Scene) -> Scene:
    width = scene.pixels.shape[1]
    x0, y0, x1, y1 = scene.boxes.boxes.T
    boxes = np.stack([width - x1, y0, width - x0, y1], axis=1)
    return Scene(scene.pixels[:, ::-1], scene.boxes._replace(boxes=boxes))


def _upside_down(scene: Scene) -> Scene:
    height = scene.pixels.shape[0]
    x0, y0, x1, y1 = scene.boxes.boxes.T
    boxes = np.stack([x0, height - y1, x1, height - y0], axis=1)
    return Scene(scene.pixels[::-1], scene.boxes._replace(boxes=boxes))


def _placed(scene: Scene, side_px: int, jitter: float, rng: np.random.Generator) -> Scene:
    """Somewhere in the square, with jitter smaller or larger: what always lies alike is learned by heart."""
    scene = _window(_scaled(scene, side_px, _factor(jitter, rng)), side_px, side_px, rng)
    height, width = scene.pixels.shape[:2]
    top, left = int(rng.integers(0, side_px - height + 1)), int(rng.integers(0, side_px - width + 1))
    canvas = _empty(side_px)
    canvas[top : top + height, left : left + width] = scene.pixels
    return Scene(canvas, scene.boxes._replace(boxes=scene.boxes.boxes + np.array([left, top, left, top], np.float32)))


def _factor(jitter: float, rng: np.random.Generator) -> float:
    return float(rng.uniform(1 - jitter, 1 + jitter)) if jitter else 1.0


def _scaled(scene: Scene, side_px: int, factor: float) -> Scene:
    """As large as in inference, times a factor."""
    height, width = scene.pixels.shape[:2]
    scale = factor * side_px / max(height, width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    boxes = scene.boxes.boxes * np.array([w / width, h / height, w / width, h / height], np.float32)
    return Scene(resized(np.ascontiguousarray(scene.pixels), h, w), scene.boxes._replace(boxes=boxes))


def _window(scene: Scene, height: int, width: int, rng: np.random.Generator) -> Scene:
    """A random part of at most this size."""
    h, w = min(height, scene.pixels.shape[0]), min(width, scene.pixels.shape[1])
    if scene.pixels.shape[:2] == (h, w):
        return scene
    top = int(rng.integers(0, scene.pixels.shape[0] - h + 1))
    left = int(rng.integers(0, scene.pixels.shape[1] - w + 1))
    return _cut(scene, left, top, w, h)


def _cut(scene: Scene, left: int, top: int, width: int, height: int) -> Scene:
    """Part of a scene. A box whose centre is cut off and some of which can still be seen is to be ignored there."""
    moved = clip(scene.boxes.boxes - np.array([left, top, left, top], np.float32), width, height)
    seen = np.all(moved[:, 2:] > moved[:, :2], axis=1)
    ignore = scene.boxes.ignore | ~_inside(scene.boxes.boxes, left, top, width, height)
    boxes = _chosen(Boxes(moved, scene.boxes.labels, ignore), seen)
    return Scene(scene.pixels[top : top + height, left : left + width], boxes)


def _inside(boxes: Float32s, left: int, top: int, width: int, height: int) -> Flags:
    """Which centres lie in a window, (M,)."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([left, top], np.float32)
    return np.asarray(np.all((centres >= 0) & (centres < np.array([width, height])), axis=1))


def _chosen(boxes: Boxes, which: Flags) -> Boxes:
    return Boxes(boxes.boxes[which], boxes.labels[which], boxes.ignore[which])


def _empty(side_px: int) -> Pixels:
    canvas = np.empty((side_px, side_px, 3), np.uint8)
    canvas[:] = FILL
    return canvas
