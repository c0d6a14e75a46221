"""Faster R-CNN in shapes that depend on no image: it says what the network says."""

import pytest
import torch
from small_detectors import detector, pictures

from drift_detector_pipeline.networks.boxes.fixed_regions import _left


@pytest.mark.parametrize("side_px", [32, 320])  # with fewer places than regions, and with two maps that are looked at
def test_the_graph_says_what_the_network_says_and_fills_up_with_nothing(side_px):
    network = detector("fasterrcnn").eval()
    images = torch.nn.functional.interpolate(pictures(2), size=(side_px, side_px))
    with torch.no_grad():
        boxes, chances = network.raw_from(network.backbone(images))
        expected = network(images)
    assert boxes.shape == (2, 200, 3, 4) and chances.shape == (2, 200, 3)
    for said, how_sure, (wanted, chances_wanted) in zip(boxes, chances, expected, strict=True):
        real = how_sure.any(1)
        assert real.sum() == len(wanted) and (len(wanted) < 200) == (side_px == 32)
        away = (said[real][None] - wanted[:, None]).abs().amax((2, 3))  # the order of equal scores is a matter of bits
        assert away.amin(1).max() < 1e-3
        torch.testing.assert_close(how_sure[real][away.argmin(1)], chances_wanted, atol=1e-5, rtol=0)


def test_a_box_that_was_put_away_puts_no_other_away():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 2, 10, 12], [0, 4, 10, 14], [0, 0, 10, 10]])[None, None]
    real = torch.tensor([True, True, True, False])[None, None]
    assert _left(boxes, real, 0.6).flatten().tolist() == [True, False, True, False]
    assert _left(boxes, real, 0.7).flatten().tolist() == [True, True, True, False]
