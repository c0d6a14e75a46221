"""Few boxes out of many."""

import numpy as np

from drift_detector_pipeline.networks.boxes.found import MOST, found


def test_each_class_of_a_place_is_a_box_of_its_own() -> None:
    boxes = np.array([[0, 0, 9, 9], [30, 30, 40, 40]], np.float32)
    chances = np.array([[0.6, 0.3], [0.005, 0.8]], np.float32)
    said = found(boxes, chances, 64, 0.5)
    assert said.labels.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(said.scores, np.array([0.8, 0.6, 0.3], np.float32))
    assert said.loss.shape == (0,)


def test_a_class_may_have_boxes_of_its_own() -> None:
    boxes = np.array([[[0, 0, 9, 9], [20, 20, 30, 30]]], np.float32)
    said = found(boxes, np.array([[0.4, 0.6]], np.float32), 64, 0.5, loss=1.5)
    assert said.boxes.tolist() == [[20, 20, 30, 30], [0, 0, 9, 9]]
    assert said.loss.tolist() == [1.5]


def test_boxes_are_in_the_view_and_finite() -> None:
    boxes = np.array([[-9, -9, 70, 70], [np.nan, 0, 1, 1], [65, 65, 70, 70], [0, 0, np.inf, 5]], np.float32)
    said = found(boxes, np.full((4, 1), 0.5, np.float32), 64, 0.9)
    assert said.boxes.tolist() == [[0, 0, 64, 64], [0, 0, 64, 5]]
    assert all(np.isfinite(part).all() for part in said)


def test_at_most_a_hundred_are_said() -> None:
    corners = np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 2) * 4
    boxes = np.concatenate([corners, corners + 3], 1).astype(np.float32)
    assert len(found(boxes, np.full((400, 1), 0.5, np.float32), 128, 0.5).boxes) == MOST


def test_nothing_is_an_answer() -> None:
    said = found(np.zeros((5, 4), np.float32), np.zeros((5, 3), np.float32), 64, 0.5)
    assert said.boxes.shape == (0, 4) and said.labels.dtype == np.int64
