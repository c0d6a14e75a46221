"""The comparison of precisions: its intervals are those of a paired test."""

import numpy as np
import pytest
from scipy import stats

from drift_detector_pipeline.proof.precision_accuracy import compare_precisions


def test_equal_models_differ_by_nothing() -> None:
    right = np.random.default_rng(0).random((3, 500)) < 0.8
    report = compare_precisions(right, right)
    assert report["difference_points"] == 0
    assert report["interval_over_images_points"] == report["interval_over_seeds_points"] == [0, 0]


def test_intervals_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.random((3, 4000)) < 0.82, rng.random((3, 4000)) < 0.8
    report = compare_precisions(one, other)
    seeds = stats.ttest_rel(one.mean(axis=1), other.mean(axis=1)).confidence_interval()
    images = stats.ttest_rel(one.mean(axis=0), other.mean(axis=0)).confidence_interval()
    assert report["interval_over_seeds_points"] == pytest.approx([100 * seeds.low, 100 * seeds.high], abs=1e-3)
    assert report["interval_over_images_points"] == pytest.approx([100 * images.low, 100 * images.high], abs=2e-3)
    assert report["difference_points"] == pytest.approx(100 * (one.mean() - other.mean()), abs=1e-3)


def test_the_interval_over_images_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        one, other = rng.random((3, 400)) < 0.85, rng.random((3, 400)) < 0.8
        low, high = compare_precisions(one, other)["interval_over_images_points"]
        covered += low <= 5 <= high
    assert stats.binom.sf(covered - 1, 400, 0.95) > 1e-4
    assert stats.binom.cdf(covered, 400, 0.95) > 1e-4
