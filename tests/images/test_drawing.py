"""Boxes are drawn where they are, in their class's colour, the truth dashed."""

import numpy as np

from drift_detector_pipeline.images.drawing import Drawn, colour_of, draw_boxes

GROUND = np.full((60, 80, 3), 90, np.uint8)


def test_a_box_is_drawn_along_its_edges_and_nowhere_else():
    picture = draw_boxes(GROUND, [Drawn([10, 20, 50, 40], "", 1)])
    changed = (picture != GROUND).any(2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (20, 39, 10, 49)
    assert not changed[23:37, 13:47].any()
    assert tuple(picture[20, 30]) == colour_of(1)


def test_the_truth_is_dashed_in_black_and_white():
    picture = draw_boxes(GROUND, [Drawn([10, 20, 70, 50], "", 0, dashed=True)])
    edge = {tuple(pixel) for pixel in picture[20, 12:68].tolist()}
    assert edge == {(0, 0, 0), (255, 255, 255)}


def test_a_name_is_written_beside_its_box_and_stays_in_the_picture():
    for box in ([0, 0, 80, 60], [70, 1, 80, 10], [0, 30, 20, 50]):
        plain, named = (draw_boxes(GROUND, [Drawn(box, text, 2)]) for text in ("", "über fish 0.93"))
        assert (plain != named).any()
        assert named.shape == GROUND.shape


def test_boxes_of_any_kind_can_be_drawn():
    draw_boxes(GROUND, [Drawn([5, 5, 5.2, 5.1], "speck", 30), Drawn([-4, -9, 300, 200], "all", 9)], factor=2)


def test_the_colours_of_many_classes_differ():
    assert len({colour_of(number) for number in range(80)}) == 80
