"""Windows of which only a part changed are told from those whose images all changed, each in its way."""

import numpy as np
import pytest
from small_world import small_detector, world

from drift_detector_pipeline.drift.verdict_words import summary


@pytest.fixture(scope="module")
def detector():
    return small_detector()


def darker(images, factor):
    return (images * factor).round().astype(np.uint8)


def test_the_part_that_changed_is_told_and_named(detector):
    images, _ = world(64, 8)
    verdict = detector.check(np.concatenate([images[:40], darker(images[40:], 0.3)]))
    assert verdict.apart == 24 and "24 of them differ clearly from the others." in summary(verdict)


def test_where_all_images_changed_in_two_ways_none_are_the_others(detector):
    images, _ = world(64, 8)
    verdict = detector.check(np.concatenate([darker(images[:40], 0.6), darker(images[40:], 0.2)]))
    assert verdict.level != "quiet" and verdict.apart is None
    assert not any("differ clearly" in sentence for sentence in summary(verdict))
