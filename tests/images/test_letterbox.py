"""All of an image lies in the square, and its boxes find the way back."""

import numpy as np
import pytest
from PIL import Image

from drift_detector_pipeline.images.letterbox import FILL, back, into, letterbox, scale_of, sides_in, without_border

SIZES = [(240, 320), (320, 240), (100, 37), (31, 500), (320, 320), (7, 9)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_image_fills_the_corner_and_one_colour_the_rest(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    square = letterbox(pixels, 64)
    inside = sides_in(height, width, 64)
    assert max(inside) == 64
    expected = Image.fromarray(pixels).resize(inside[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(square[: inside[0], : inside[1]], np.asarray(expected))
    outside = np.ones((64, 64), bool)
    outside[: inside[0], : inside[1]] = False
    assert (square[outside] == FILL).all()
    assert np.array_equal(without_border(square), expected)


def test_an_image_of_the_squares_size_keeps_its_bits():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 20, 3), dtype=np.uint8)
    assert np.array_equal(letterbox(pixels, 32)[:, :20], pixels)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_boxes_come_back_to_where_they_were(height, width):
    rng = np.random.default_rng(1)
    corners = np.sort(rng.uniform(0, 1, (20, 2, 2)), axis=1) * [width, height]
    boxes = corners.reshape(-1, 4).astype(np.float32)
    there = into(boxes, height, width, 160)
    assert there.max() <= 160.001
    assert np.allclose(back(there, height, width, 160), boxes, atol=1e-3)


def test_scales_are_those_of_the_rounded_sides():
    assert scale_of(100, 37, 64) == (0.64, 24 / 37)  # 23.68 px wide are 24


def test_what_reaches_beyond_the_image_comes_back_cut():
    assert back(np.array([[-3, 0, 64, 64]], np.float32), 20, 40, 64).tolist() == [[0, 0, 40, 20]]
