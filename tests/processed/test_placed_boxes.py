"""Boxes as annotated land where the thing is in the stored picture, and whatever is done to them is counted."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.decoder import decode_picture
from drift_detector_pipeline.processed.placed_boxes import (
    CLIPPED,
    EVERY_CLASS,
    IGNORED,
    NO_AREA,
    OTHER_SIZE,
    OUTSIDE,
    TINY,
    TURNED,
    Lie,
    place,
)
from drift_detector_pipeline.raw.listing import ImageBoxes, RawBox

AS_IT_IS = Lie((100, 80), 1, (100, 80))
LABELS = {"cat": 0, "dog": 1}


def placed(*ends: float, lie: Lie = AS_IT_IS, size: tuple[int, int] | None = (100, 80), normalised: bool = False):
    """Boxes and notes of one cat."""
    boxes, notes = place(ImageBoxes((RawBox(*ends, "cat"),), size, normalised), lie, LABELS)
    return boxes.boxes.tolist(), dict(notes)


@pytest.mark.parametrize(
    ("ends", "stays", "note"),
    [
        ((0, 0, 100, 80), [0, 0, 100, 80], None),
        ((-5, 10, 20, 90), [0, 10, 20, 80], CLIPPED),
        ((10, 10, 100.000002, 20), [10, 10, 100, 20], None),  # rounding, as YOLO has it
        ((10, 10, 10, 20), None, NO_AREA),
        ((30, 10, 20, 20), None, NO_AREA),
        ((100, 10, 120, 20), None, OUTSIDE),
        ((-9, -9, 0, 0), None, OUTSIDE),
        ((99.5, 10, 120, 20), None, TINY),
        ((10, 10, 10.5, 20), None, TINY),
        ((10, 10, 10.999, 20), [10, 10, 10.999, 20], None),
    ],
)
def test_a_box_is_kept_cut_or_dropped_and_that_is_noted(ends, stays, note) -> None:
    boxes, notes = placed(*ends)
    assert boxes == pytest.approx(np.array([stays] if stays else [])) and notes == ({note: 1} if note else {})


def test_a_picture_without_boxes_has_none_and_needs_no_size() -> None:
    boxes, notes = place(ImageBoxes((), None), Lie((100, 80), 6, (80, 100)), LABELS)
    assert boxes.boxes.shape == (0, 4) and boxes.boxes.dtype == np.float32 and not notes
    assert boxes.labels.dtype == np.int64 and boxes.ignore.dtype == np.bool_


def test_boxes_scale_with_the_rounded_sides_of_the_stored_picture() -> None:
    boxes, _ = placed(0, 0, 333, 77, lie=Lie((333, 77), 1, (100, 23)), size=(333, 77))
    assert boxes == [[0, 0, 100, 23]]


def test_normalised_boxes_are_of_the_upright_picture_and_need_no_size() -> None:
    boxes, notes = placed(0.25, 0.5, 0.5, 1, lie=Lie((100, 80), 6, (40, 50)), size=None, normalised=True)
    assert boxes == [[10, 25, 20, 50]] and notes == {}


def test_labels_follow_the_boxes_that_are_kept_and_a_box_to_ignore_may_have_no_class() -> None:
    given = [RawBox(5, 5, 5, 9, "cat"), RawBox(5, 5, 9, 9, "dog"), RawBox(1, 1, 9, 9, "", True)]
    boxes, notes = place(ImageBoxes((*given, RawBox(2, 2, 4, 4, "cat", True)), (100, 80)), AS_IT_IS, LABELS)
    assert boxes.labels.tolist() == [1, EVERY_CLASS, 0] and boxes.ignore.tolist() == [False, True, True]
    assert notes == {NO_AREA: 1, IGNORED: 2}


def test_a_class_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="class 'cow'"):
        place(ImageBoxes((RawBox(1, 1, 9, 9, "cow"),), None), AS_IT_IS, LABELS)


def test_a_wrong_size_is_noted_and_the_pixels_believed() -> None:
    assert placed(10, 10, 90, 70, size=(50, 40)) == ([[10, 10, 90, 70]], {OTHER_SIZE: 1})


def test_whatever_is_given_each_box_is_inside_with_an_area_or_counted_as_dropped() -> None:
    chance = np.random.default_rng(0)
    for number in range(300):
        size = tuple(chance.integers(2, 90, 2).tolist())
        lie = Lie(size, int(chance.integers(1, 9)), tuple(chance.integers(2, 50, 2).tolist()))
        ends = chance.normal(30, 60, (5, 4))
        ends[number % 5, number % 4] = (np.inf, -np.inf, 1e300, 0, -0.0)[number % 5]
        annotated = lie.upright if number % 2 else lie.size
        given = ImageBoxes(tuple(RawBox(*row, "dog") for row in ends.tolist()), annotated, number % 7 == 0)
        try:
            boxes, notes = place(given, lie, LABELS)
        except DataError:
            assert lie.orientation in (2, 3, 4) or size[0] == size[1]
            continue
        x0, y0, x1, y1 = boxes.boxes.T
        assert np.isfinite(boxes.boxes).all() and (x0 >= 0).all() and (y0 >= 0).all()
        assert (x1 > x0).all() and (y1 > y0).all()
        assert (x1 <= lie.stored[0]).all() and (y1 <= lie.stored[1]).all()
        assert len(boxes.labels) + notes[NO_AREA] + notes[OUTSIDE] + notes[TINY] == 5


def turned(orientation: int, kind: str = "JPEG") -> tuple[bytes, tuple[int, int, int, int]]:
    """A file with a white box on black, and where the box is in the file."""
    box = (10, 4, 30, 20)
    picture = Image.new("RGB", (64, 40))
    ImageDraw.Draw(picture).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill="white")
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    picture.save(file, kind, exif=exif, quality=95)
    return file.getvalue(), box


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_given_for_the_picture_as_in_the_file_turn_with_it(orientation: int, kind: str) -> None:
    content, box = turned(orientation, kind)
    found = decode_picture(content, 32, "longer")
    height, width, _ = found.pixels.shape
    lie = Lie(found.size, found.orientation, (width, height))
    [ends], notes = placed(*box, lie=lie, size=(64, 40))
    assert (width, height) == (20, 32) and notes == {TURNED: 1}
    bright = np.argwhere(found.pixels.mean(axis=2) > 128)
    seen = [*bright.min(axis=0)[::-1], *(bright.max(axis=0)[::-1] + 1)]
    assert ends == pytest.approx(seen, abs=0.6)


def test_boxes_given_for_the_upright_picture_stay() -> None:
    assert placed(1, 2, 30, 50, lie=Lie((64, 40), 6, (40, 64)), size=(40, 64)) == ([[1, 2, 30, 50]], {})


@pytest.mark.parametrize(
    ("orientation", "sides", "annotated"),
    [(3, (64, 40), (64, 40)), (6, (40, 40), (40, 40)), (6, (64, 40), None), (6, (64, 40), (9, 9))],
)
def test_a_turn_that_the_annotation_does_not_tell_is_refused(orientation, sides, annotated) -> None:
    with pytest.raises(DataError, match="save the picture upright"):
        placed(1, 1, 9, 9, lie=Lie(sides, orientation, sides), size=annotated)
