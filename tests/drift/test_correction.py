"""Errors that were taught correct those of windows with the same signs, and more so if they look the same."""

import numpy as np
import pytest

from drift_detector_pipeline.drift.correction import Place, correct, fit_process, older_process, scale_of

GRAINY, BANNER, NEW = (np.full(20, value) for value in (2.0, -2.0, 8.0))


def place(looks, *, lost=0.4, aside=0.0):
    return Place(np.array([0.9 - lost, 0.9 - lost, -0.1]), looks, aside, scale_of(lost, 256))


def taught(by_looks, noise=0.01):
    """Errors of eight windows of each of two changes with the same signs."""
    rng = np.random.default_rng(0)
    places = [place(looks + rng.normal(0, 0.05, 20)) for looks in (GRAINY, BANNER) for _ in range(8)]
    off = np.repeat(by_looks, 8) + rng.normal(0, noise, 16)
    return fit_process(places, off, np.full(16, noise**2))


def test_errors_of_one_change_are_corrected_where_it_is_seen_again():
    process = taught([-0.1, 0.1])
    found = [correct(place(looks), process).accuracy for looks in (GRAINY, BANNER, NEW)]
    np.testing.assert_allclose(found, [-0.1, 0.1, 0.0], atol=0.02)


def test_errors_of_all_changes_are_corrected_in_new_ones_too():
    assert correct(place(NEW), taught([-0.1, -0.1])).accuracy < -0.05


def test_what_is_new_is_less_sure_only_where_changes_with_the_same_signs_differ():
    apart, alike = taught([-0.1, 0.1]), taught([-0.1, -0.1])
    known, new = (correct(place(looks), apart).left for looks in (GRAINY, NEW))
    assert new > 4 * known
    assert correct(place(NEW), alike).left < new / 2


def test_looks_of_few_images_lie_aside_by_chance():
    process, rng = taught([-0.1, 0.1]), np.random.default_rng(1)
    drawn = [GRAINY + rng.normal(0, 0.4, 20) for _ in range(50)]
    few, many = ([correct(place(looks, aside=luck), process).accuracy for looks in drawn] for luck in (0.16, 0.0))
    assert np.mean(few) == pytest.approx(-0.1, abs=0.02)
    assert np.mean(many) > -0.07  # as if it was another change


def test_little_can_be_wrong_where_little_is_lost():
    sizes = [scale_of(lost, 256) for lost in (-0.1, 0.0, 0.05, 0.2, 0.5)]
    assert sizes[0] == sizes[1]
    assert sizes == sorted(sizes)
    assert sizes[-1] == pytest.approx(1)
    assert scale_of(0.0, 16) > scale_of(0.0, 256)  # sixteen images say less of what was lost
    left = [correct(place(NEW, lost=lost), taught([-0.1, 0.1])).left for lost in (0.0, 0.4)]
    assert left[0] < left[1] / 10


def test_signs_that_nothing_taught_is_near_are_told():
    process = taught([-0.1, 0.1])
    far = place(GRAINY)._replace(signs=np.array([0.1, 0.9, -0.8]))
    assert correct(place(GRAINY), process).near > 0.95
    assert correct(far, process).near < 0.1


def test_processes_of_older_references_say_what_they_said():
    rng = np.random.default_rng(0)
    places, off = rng.random((6, 3)), rng.normal(0, 0.05, 6)
    squared = ((places[:, None] - places) ** 2).mean(axis=2)
    inverse = np.linalg.inv(np.exp(-squared / (2 * 0.15**2)) + np.eye(6) / 10)
    process = older_process(places, inverse @ off, inverse, np.array([0.1]))
    near = np.exp(-((places - 0.4) ** 2).mean(axis=1) / (2 * 0.15**2))
    found = correct(Place(np.full(3, 0.4), GRAINY, 0.0, 0.3), process)
    assert found.accuracy == pytest.approx(near @ inverse @ off, rel=1e-5)
    assert found.left == pytest.approx(0.01 * (1 - near @ inverse @ near), rel=1e-4)
