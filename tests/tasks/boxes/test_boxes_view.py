"""Views of boxes: pixels and boxes move together, and the generator alone says how."""

import numpy as np
import pytest
import torch

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.images.letterbox import FILL
from drift_detector_pipeline.settings import Augmentation, ColourJitter
from drift_detector_pipeline.tasks.boxes.view import NO_BOXES, mosaic, view
from drift_detector_pipeline.tasks.task import View

SIDE = 96
OFF = {"min_area": 1.0, "shift_px": 0, "flip": False}
ALL = {
    "min_area": 0.4,
    "shift_px": 0,
    "flip": True,
    "flip_down": True,
    "scale_jitter": 0.5,
    "colour_jitter": ColourJitter(brightness=0.3),
}
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)


def scene(seed=0, count=4, size=(90, 120)):
    """Filled rectangles of pure colours on black, none overlapping, and their boxes."""
    rng, (height, width) = np.random.default_rng(seed), size
    pixels, rows, labels = np.zeros((height, width, 3), np.uint8), [], []
    for number in range(count):
        x, y = 30 * number + rng.integers(2, 8), rng.integers(5, height - 30)
        w, h = rng.integers(12, 20), rng.integers(12, 24)
        pixels[y : y + h, x : x + w] = COLOURS[number % 3]
        rows.append([x, y, x + w, y + h])
        labels.append(number % 3)
    return pixels, Boxes(np.array(rows, np.float32), np.array(labels), np.zeros(count, bool))


def how(**changes):
    return View(SIDE, Augmentation(**OFF | changes))


def seen_colour(pixels, label):
    """Where a class's colour is: pixels in which its channel stands out."""
    others = [channel for channel in range(3) if channel != label]
    return (pixels[..., label].astype(int) - pixels[..., others].max(-1)) > 60


def assert_boxes_fit(pixels, boxes):
    """Every box is as full of its colour as a filled rectangle is, and no colour but slivers lies outside of boxes."""
    for box, label in zip(boxes.boxes, boxes.labels, strict=True):
        x0, y0, x1, y1 = (round(float(value)) for value in box)
        if x1 - x0 > 3 and y1 - y0 > 3:
            assert seen_colour(pixels[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1], label).mean() > 0.9
    outside = np.ones(pixels.shape[:2], bool)
    for x0, y0, x1, y1 in boxes.boxes:
        outside[max(0, int(y0) - 1) : int(np.ceil(y1)) + 1, max(0, int(x0) - 1) : int(np.ceil(x1)) + 1] = False
    for label in range(3):
        assert seen_colour(pixels, label)[outside].sum() < 40  # parts that are less than a pixel wide have no box


def test_inference_shows_all_of_an_image_with_its_boxes():
    pixels, boxes = scene()
    for rng, augmentation in ((None, None), (np.random.default_rng(0), None)):
        seen, found = view(pixels, boxes, View(SIDE, augmentation), rng)
        assert seen.dtype == torch.uint8 and seen.shape == (SIDE, SIDE, 3)
        assert_boxes_fit(seen.numpy(), found)
        assert len(found.labels) == 4


def test_what_is_switched_off_changes_nothing_but_where_the_image_lies():
    pixels, boxes = scene()
    plain, where = view(pixels, boxes, View(SIDE, None), None), set()
    for seed in range(9):
        seen, found = view(pixels, boxes, how(), np.random.default_rng(seed))
        moved = (found.boxes - plain[1].boxes).round().astype(int)
        left, top = moved[0, :2].tolist()
        assert np.allclose(found.boxes, plain[1].boxes + np.array([left, top, left, top]), atol=1e-4)
        assert torch.equal(seen, torch.roll(plain[0], (top, left), (0, 1)))  # only border is rolled over
        where.add((left, top))
    assert len(where) > 1
    square = np.ascontiguousarray(pixels[:40, :40])
    assert torch.equal(*(view(square, None, one, np.random.default_rng(3))[0] for one in (View(SIDE, None), how())))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "changes", [{"flip": True}, {"flip_down": True}, {"min_area": 0.3}, {"scale_jitter": 0.6}, ALL]
)
def test_boxes_lie_on_what_they_mark_after_every_change(seed, changes):
    pixels, boxes = scene(seed)
    seen, found = view(pixels, boxes, how(**changes), np.random.default_rng(seed))
    assert_boxes_fit(seen.numpy(), found)
    assert (found.boxes >= 0).all() and (found.boxes <= SIDE).all()


@pytest.mark.parametrize("seed", range(12))
def test_boxes_lie_on_what_they_mark_in_a_mosaic(seed):
    items = [scene(10 * seed + number) for number in range(4)]
    seen, found = mosaic(items, how(**ALL), np.random.default_rng(seed))
    assert seen.shape == (SIDE, SIDE, 3)
    assert_boxes_fit(seen.numpy(), found)


def test_a_mosaic_shows_all_four_images():
    items = [(np.full((64, 64, 3), 40 * number + 60, np.uint8), NO_BOXES) for number in range(4)]
    seen, found = mosaic(items, how(), np.random.default_rng(1))
    assert {60, 100, 140, 180} <= set(np.unique(seen.numpy()))
    assert len(found.labels) == 0


def test_a_crop_keeps_the_centre_of_a_box_and_ignores_what_it_cuts_through():
    pixels, boxes = scene(5)
    for seed in range(60):
        _, found = view(pixels, boxes, how(min_area=0.2), np.random.default_rng(seed))
        assert (~found.ignore).any()
    cut = [view(pixels, boxes, how(min_area=0.2), np.random.default_rng(seed))[1] for seed in range(60)]
    assert any(one.ignore.any() for one in cut)


def test_the_same_generator_gives_the_same_view_and_another_one_another():
    pixels, boxes = scene()
    first, again, other = (view(pixels, boxes, how(**ALL), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert np.array_equal(first[1].boxes, again[1].boxes)
    assert not torch.equal(first[0], other[0])


def test_an_image_without_boxes_has_views():
    _, found = view(scene()[0], NO_BOXES, how(**ALL), np.random.default_rng(0))
    assert found.boxes.shape == (0, 4) and found.labels.dtype == np.int64
    assert view(scene()[0], None, View(SIDE, None), None)[1] is None


def test_a_covered_square_has_the_colour_that_surrounds_images():
    seen, _ = view(scene()[0], NO_BOXES, how(cutout_px=30), np.random.default_rng(0))
    assert (seen.numpy() == FILL).all(-1)[:72].sum() > 100  # below 72 px there is nothing but it


def test_stored_pixels_are_never_written_to():
    pixels, boxes = scene()
    pixels.flags.writeable = False
    boxes.boxes.flags.writeable = False
    view(pixels, boxes, how(**ALL, cutout_px=20), np.random.default_rng(0))
    mosaic([(pixels, boxes)] * 4, how(**ALL), np.random.default_rng(0))
