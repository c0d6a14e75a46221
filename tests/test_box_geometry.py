"""Arithmetic of boxes, beside torchvision's and by hand."""

import numpy as np
import torch
from torchvision.ops import batched_nms, box_iou

from drift_detector_pipeline.box_geometry import area, clip, covered, iou, nms


def drawn(number: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 80, (number, 2))
    return np.concatenate([low, low + rng.uniform(1, 40, (number, 2))], 1).astype(np.float32)


def test_iou_is_torchvisions() -> None:
    boxes, others = drawn(30, 0), drawn(20, 1)
    expected = box_iou(torch.from_numpy(boxes), torch.from_numpy(others)).numpy()
    np.testing.assert_allclose(iou(boxes, others), expected, atol=1e-6)


def test_of_two_halves_that_share_a_quarter() -> None:
    one, other = np.array([[0, 0, 10, 10]], np.float32), np.array([[5, 5, 15, 15]], np.float32)
    assert iou(one, other)[0, 0] == np.float32(25 / 175)
    assert covered(one, other)[0, 0] == 0.25


def test_boxes_without_area_overlap_nothing() -> None:
    flat = np.array([[3, 3, 3, 9], [9, 9, 3, 3]], np.float32)
    assert area(flat).tolist() == [0, 0]
    assert not iou(flat, flat).any() and not covered(flat, flat).any()
    assert iou(np.zeros((0, 4), np.float32), flat).shape == (0, 2)


def test_clipped_boxes_lie_in_the_image() -> None:
    boxes = np.array([[-5, -5, 50, 8], [60, 2, 70, 9]], np.float32)
    assert clip(boxes, 40, 30).tolist() == [[0, 0, 40, 8], [40, 2, 40, 9]]


def test_nms_keeps_what_torchvision_keeps() -> None:
    boxes = drawn(300, 2)
    rng = np.random.default_rng(3)
    scores, labels = rng.permutation(300).astype(np.float32), rng.integers(0, 3, 300)
    expected = batched_nms(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(labels), 0.5)
    assert nms(boxes, scores, labels, 0.5, 300).places.tolist() == expected.tolist()
    assert nms(boxes, scores, labels, 0.5, 7).places.tolist() == expected[:7].tolist()


def test_among_equals_the_first_is_kept() -> None:
    boxes = np.repeat(np.array([[0, 0, 8, 8]], np.float32), 40, axis=0)
    kept = nms(boxes, np.full(40, 0.5, np.float32), np.arange(40) % 2, 0.5, 40)
    assert kept.places.tolist() == [0, 1]


def test_agreement_is_the_mean_overlap_with_what_was_put_away() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6], [50, 50, 60, 60]], np.float32)
    kept = nms(boxes, np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.zeros(4, np.int64), 0.5, 9)
    assert kept.places.tolist() == [0, 3]
    np.testing.assert_allclose(kept.agreement, [0.7, 0.0], atol=1e-6)


def test_nothing_gives_nothing() -> None:
    none = nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), 0.5, 9)
    assert none.places.shape == none.agreement.shape == (0,)
