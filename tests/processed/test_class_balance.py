"""class_balance.py: rare classes as often as common ones, or worth as much."""

import numpy as np
import pytest

from drift_detector_pipeline.processed.class_balance import balanced_draw, class_weights

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 4], [60, 5, 17, 1]))


def draw(seed=0, labels=LABELS):
    return balanced_draw(labels, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(5))
def test_each_class_that_occurs_is_drawn_equally_often(seed):
    positions, repeats = draw(seed)
    assert len(positions) == len(repeats) == len(LABELS)
    counts = np.bincount(LABELS[positions], minlength=5)
    assert counts[3] == 0
    assert sorted(counts[[0, 1, 2, 4]]) == [20, 21, 21, 21]


def test_the_images_of_a_class_are_drawn_equally_often():
    positions, _ = draw()
    drawn = np.bincount(positions, minlength=len(LABELS))
    for label in (0, 1, 2, 4):
        assert np.ptp(drawn[label == LABELS]) <= 1
    assert drawn[LABELS == 1].min() >= 4 and drawn[LABELS == 0].max() == 1


def test_repeats_number_the_draws_of_an_image():
    positions, repeats = draw()
    for position in range(len(LABELS)):
        assert sorted(repeats[positions == position]) == list(range(int((positions == position).sum())))


def test_the_draw_is_a_function_of_the_generator_and_shows_all_images_of_a_large_class_in_time():
    assert np.array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1).positions, draw(2).positions)
    common = set(np.flatnonzero(LABELS == 0).tolist())
    assert set().union(*(set(draw(seed).positions.tolist()) & common for seed in range(30))) == common


def test_classes_are_spread_over_the_epoch():
    labels = LABELS[draw().positions]
    assert len(set(labels[:20].tolist())) >= 3 and len(set(labels[-20:].tolist())) >= 3


def test_weights_are_in_inverse_proportion_and_one_on_average():
    weights = class_weights(LABELS, 6)
    assert weights.dtype == np.float32 and weights.shape == (6,)
    assert weights[LABELS].mean() == pytest.approx(1)
    counts = np.bincount(LABELS, minlength=6)
    assert weights[counts > 0] * counts[counts > 0] == pytest.approx(len(LABELS) / 4)
    assert weights[3] == weights[5] == 0


def test_weights_of_equal_classes_are_one_and_those_of_all_classes_as_scikit_learn_has_them():
    from sklearn.utils.class_weight import compute_class_weight

    assert class_weights(np.arange(30) % 3, 3) == pytest.approx([1, 1, 1])
    labels = np.repeat([0, 1, 2], [3, 9, 40])
    assert class_weights(labels, 3) == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=labels))
