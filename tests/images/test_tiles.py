"""Parts of an image cover it, overlap, and have one size."""

import numpy as np
import pytest

from drift_detector_pipeline.images.tiles import OVERLAP, Tile, tiles


@pytest.mark.parametrize(("height", "width", "tile_px"), [(1000, 1700, 640), (641, 640, 640), (300, 5000, 256)])
def test_parts_cover_the_image_and_overlap(height, width, tile_px):
    whole, *parts = tiles(height, width, tile_px)
    assert whole == Tile(0, 0, width, height)
    assert {(part.width, part.height) for part in parts} == {(min(width, tile_px), min(height, tile_px))}
    seen = np.zeros((height, width), int)
    for part in parts:
        seen[part.top : part.top + part.height, part.left : part.left + part.width] += 1
    assert seen.min() == 1
    for starts, length in (
        (sorted({part.left for part in parts}), width),
        (sorted({part.top for part in parts}), height),
    ):
        assert all(tile_px - gap >= OVERLAP * tile_px - 1 for gap in np.diff(starts))
        assert starts[0] == 0
        assert starts[-1] + min(length, tile_px) == length


@pytest.mark.parametrize("tile_px", [None, 640])
def test_a_small_image_stays_whole(tile_px):
    assert tiles(480, 640, tile_px) == [Tile(0, 0, 640, 480)]
