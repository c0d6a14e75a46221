"""What is found in the parts of an image is in the image once."""

import numpy as np
import pytest

from drift_detector_pipeline.images.tiles import Tile
from drift_detector_pipeline.tasks.boxes.joining import join

IMAGE = (100, 180)  # height, width
WHOLE, LEFT, RIGHT = Tile(0, 0, 180, 100), Tile(0, 0, 100, 100), Tile(80, 0, 100, 100)


def said(*rows):
    return {"boxes": [{"label": label, "score": score, "box": list(box)} for label, score, *box in rows]}


def found(parts, threshold=None):
    return [(one["label"], one["score"], *one["box"]) for one in join(parts, IMAGE, threshold)["boxes"]]


def test_boxes_of_a_part_are_put_where_the_part_lies():
    assert found([(said(("cat", 0.9, 30, 40, 50, 60)), RIGHT)]) == [("cat", 0.9, 110, 40, 130, 60)]


def test_what_two_parts_see_whole_is_kept_once_with_the_better_score():
    parts = [(said(("cat", 0.7, 82, 10, 96, 30)), LEFT), (said(("cat", 0.8, 2, 10, 16, 31)), RIGHT)]
    assert found(parts) == [("cat", 0.8, 82, 10, 96, 31)]


def test_a_box_that_a_border_cuts_gives_way_to_the_whole_one_even_with_a_better_score():
    whole, half = said(("cat", 0.6, 85, 20, 130, 60)), said(("cat", 0.95, 85, 20, 100, 60))
    assert found([(said(), WHOLE), (half, LEFT), (said(("cat", 0.6, 5, 20, 50, 60)), RIGHT)]) == [
        ("cat", 0.6, 85, 20, 130, 60)
    ]
    assert found([(whole, WHOLE), (half, LEFT)]) == [("cat", 0.6, 85, 20, 130, 60)]


def test_a_box_at_the_border_of_the_image_itself_is_whole():
    assert found([(said(), WHOLE), (said(("cat", 0.9, 0, 0, 20, 20), ("cat", 0.5, 0, 0, 60, 60)), LEFT)]) == [
        ("cat", 0.9, 0, 0, 20, 20),
        ("cat", 0.5, 0, 0, 60, 60),
    ]


def test_other_classes_stay_beside_each_other():
    parts = [(said(), WHOLE), (said(("cat", 0.7, 10, 10, 40, 40), ("dog", 0.6, 10, 10, 40, 40)), LEFT)]
    assert [label for label, *_ in found(parts)] == ["cat", "dog"]


def test_the_whole_image_is_believed_of_large_things_unless_a_part_says_better():
    whole = said(("cat", 0.9, 30, 10, 45, 25), ("cat", 0.8, 20, 5, 120, 90), ("dog", 0.4, 110, 20, 150, 70))
    assert found([(whole, WHOLE), (said(), LEFT)]) == [("cat", 0.8, 20, 5, 120, 90), ("dog", 0.4, 110, 20, 150, 70)]
    part = said(("cat", 0.6, 32, 22, 70, 70))
    assert found([(whole, WHOLE), (part, RIGHT)]) == [("cat", 0.8, 20, 5, 120, 90), ("cat", 0.6, 112, 22, 150, 70)]


def test_one_part_alone_keeps_all_and_a_threshold_leaves_out_what_is_below_it():
    alone = said(("cat", 0.7, 10, 10, 40, 40), ("cat", 0.6, 10, 10, 40, 41), ("cat", 0.1, 50, 50, 60, 60))
    assert len(found([(alone, WHOLE)])) == 3
    assert len(found([(alone, WHOLE)], 0.6)) == 2
    assert found([(said(), WHOLE), (said(), LEFT)]) == []


def test_a_hundred_things_cut_into_four_parts_come_back_one_by_one():
    rng = np.random.default_rng(0)
    places = [(x, y) for x in range(5, 175, 17) for y in range(5, 95, 12)]
    boxes = [(x, y, x + rng.uniform(6, 12), y + rng.uniform(6, 9)) for x, y in places]
    parts = [(said(), WHOLE)]
    for tile in (LEFT, RIGHT):
        seen = []
        for x0, y0, x1, y1 in boxes:
            a, b = max(x0 - tile.left, 0), min(x1 - tile.left, tile.width)
            if b - a > 1:
                seen.append(("cat", 0.5 + 0.4 * rng.random(), a, y0, b, y1))
        parts.append((said(*seen), tile))
    back = sorted(row[2:] for row in found(parts))
    assert np.array(back) == pytest.approx(np.array(sorted(boxes)), abs=0.01)
