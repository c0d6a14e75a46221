"""The window test's laws: exact when nothing changed, as strong as the textbook when something did."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from drift_detector_pipeline.drift import permutation
from drift_detector_pipeline.drift.permutation import (
    STATISTICS,
    appearance,
    combine,
    labellings_of,
    scale_of,
    shifts,
)
from drift_detector_pipeline.drift.permutation import test_window as judged  # pytest takes the name of a test for one

CLASSES = 4


def scores_of(count, rng, columns=5):
    """Skewed, heavy-tailed, correlated scores and classes that go with them; far from normal on purpose."""
    raw = rng.standard_t(3, (count, columns)) + rng.exponential(2, (count, 1))
    raw[:, -1] = np.round(raw[:, -1])  # with ties
    return raw.astype(np.float32), np.clip(raw[:, 0], 0, CLASSES - 1).astype(np.int64)


def unit_scale(columns):
    return scale_of(np.zeros(columns, np.float32), np.eye(columns, dtype=np.float32))


def fitted_scale(rng, columns=5):
    scores, _ = scores_of(500, rng, columns)
    return scale_of(scores.mean(axis=0), np.cov(scores.T).astype(np.float32))


def p_values(windows, rng, draw, n=50, m=16, permutations=99):
    """One p a window, each with a reference of its own."""
    scale = fitted_scale(rng)
    return np.array(
        [
            judged(labellings_of(*scores_of(n, rng), CLASSES, m, scale, permutations, seed), *draw(m, rng)).p
            for seed in range(windows)
        ]
    )


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2, 0.5])
def test_clean_windows_alarm_at_most_as_often_as_asked(alpha):
    found = p_values(1500, np.random.default_rng(1), scores_of)
    assert (found <= alpha).sum() <= binom.ppf(0.999, len(found), alpha)


def test_p_is_never_zero_and_hardly_ever_conservative():
    found = p_values(600, np.random.default_rng(2), scores_of)
    assert found.min() >= 1 / 100
    assert (found <= 0.2).sum() >= binom.ppf(0.001, len(found), 0.15)


def test_the_whole_reference_as_its_own_window_never_alarms():
    rng = np.random.default_rng(3)
    scale = fitted_scale(rng)
    for seed in range(20):
        scores, predicted = scores_of(80, rng)
        assert judged(labellings_of(scores, predicted, CLASSES, 80, scale, 99, seed), scores, predicted).p > 0.9


def test_random_subsets_of_the_reference_alarm_at_most_at_alpha():
    rng = np.random.default_rng(4)
    scores, predicted = scores_of(300, rng)
    labellings = labellings_of(scores, predicted, CLASSES, 32, fitted_scale(rng), 199)
    picks = [rng.choice(300, 32, replace=False) for _ in range(400)]
    alarms = sum(judged(labellings, scores[pick], predicted[pick]).p <= 0.05 for pick in picks)
    assert alarms <= binom.ppf(0.999, 400, 0.05)


def test_order_and_seed_move_p_only_within_its_monte_carlo_error():
    rng = np.random.default_rng(5)
    scale, reference, (scores, predicted) = fitted_scale(rng), scores_of(200, rng), scores_of(32, rng)
    scores = scores + 0.4
    found = []
    for seed in range(30):
        order = rng.permutation(32)
        labellings = labellings_of(*reference, CLASSES, 32, scale, 499, seed)
        found.append(judged(labellings, scores[order], predicted[order]).p)
    mean = np.mean(found)
    assert 0.01 < mean < 0.9
    assert np.std(found) < 2 * np.sqrt(mean * (1 - mean) / 499)


@pytest.mark.parametrize("shift", [0.3, 0.5, 0.8])
def test_a_planted_shift_is_found_as_often_as_the_textbook_says(shift):
    rng, n, m, alpha, windows = np.random.default_rng(6), 150, 32, 0.05, 500
    nobody = np.zeros(n, np.int64), np.zeros(m, np.int64)
    found = 0
    for seed in range(windows):
        old, new = rng.normal(size=(n, 1)).astype(np.float32), rng.normal(shift, size=(m, 1)).astype(np.float32)
        found += judged(labellings_of(old, nobody[0], 1, m, unit_scale(1), 199, seed), new, nobody[1]).p <= alpha
    strength, quantile = shift * np.sqrt(n * m / (n + m)), norm.isf(alpha / 2)
    expected = norm.sf(quantile - strength) + norm.cdf(-quantile - strength)
    low, high = binom.ppf([0.001, 0.999], windows, expected)
    assert low - 0.03 * windows <= found <= high + 0.03 * windows  # the spread is permuted, not known


def test_each_statistic_finds_what_it_is_for():
    rng, scale = np.random.default_rng(7), unit_scale(6)
    old, new = rng.normal(size=(400, 6)).astype(np.float32), rng.normal(size=(64, 6)).astype(np.float32)
    even, uneven = rng.integers(0, CLASSES, 400), np.zeros(64, np.int64)

    def outcome(scores, predicted):
        return judged(labellings_of(old, even, CLASSES, 64, scale), scores, predicted)

    quiet = rng.integers(0, CLASSES, 64)
    everywhere, one = outcome(new + 0.2, quiet), outcome(new + np.eye(6, dtype=np.float32)[2], quiet)
    mix = outcome(new, uneven)

    def blocks(features, strangers, moved):
        scale = scale_of(*unit_scale(6)[:1], np.eye(6, dtype=np.float32), features, strangers)
        return judged(labellings_of(old, even, CLASSES, 64, scale), new + np.array(moved, np.float32), quiet)

    content, strange, known = (
        blocks(2, 0, [0, 0, 0, 0, 0.4, 0.4]), blocks(0, 1, [0, 0, 0, 0, 0, 0.5]), blocks(0, 1, [0, 0, 0, 0, 0, -0.5])
    )  # fmt: skip
    assert everywhere.p <= 0.01 and everywhere.p_values["distance"] < everywhere.p_values["largest"]
    assert one.p <= 0.01 and one.p_values["largest"] <= 0.01
    assert mix.p <= 0.01 and mix.p_values["classes"] <= 0.001 < mix.p_values["distance"]
    assert content.p_values["features"] <= 0.001 < content.p_values["distance"]
    assert strange.p <= 0.01 and strange.p_values["strangers"] <= 0.001 < strange.p_values["distance"]
    assert known.p > 0.01 and known.p_values["strangers"] > 0.9  # fewer strangers than usual are nobody's worry


def test_ties_count_against_an_alarm():
    same = np.ones((100, len(STATISTICS)))
    assert combine(same).p == 1
    assert combine(same).p_values == dict.fromkeys(STATISTICS, 1.0)
    flat = np.full((60, 2), 0.1, np.float32), np.zeros(60, np.int64)
    assert judged(labellings_of(*flat, 1, 7, unit_scale(2), 99), flat[0][:7], flat[1][:7]).p == 1


def test_appearance_is_blind_to_the_class_mix_and_sees_a_change_within_classes():
    rng, centres = np.random.default_rng(8), np.random.default_rng(9).normal(size=(CLASSES, 3)) * 4

    def images(labels):
        return (centres[labels] + rng.normal(size=(len(labels), 3))).astype(np.float32), labels

    found = []
    for seed in range(200):
        reference = images(rng.integers(0, CLASSES, 100))
        scores, labels = images(rng.choice(CLASSES, 48, p=[0.7, 0.1, 0.1, 0.1]))
        found.append(appearance(reference, (scores, labels), unit_scale(3), 99, seed)[0])
    assert sum(p <= 0.05 for p in found) <= binom.ppf(0.999, 200, 0.05)
    assert appearance(reference, (scores + 0.8, labels), unit_scale(3))[0] <= 0.01


def test_classes_too_rare_to_compare_are_named():
    rng = np.random.default_rng(10)
    reference = rng.normal(size=(30, 2)).astype(np.float32), np.repeat([0, 1, 2], 10)
    window = rng.normal(size=(5, 2)).astype(np.float32), np.array([0, 0, 0, 1, 3])
    p, left_out = appearance(reference, window, unit_scale(2), 99)
    assert 0 < p <= 1
    assert left_out == [1, 2, 3]
    assert appearance(reference, (window[0][:1], np.array([3])), unit_scale(2), 99) == (None, [0, 1, 2, 3])


def test_shifts_are_in_standard_deviations_of_the_scale_and_only_real_ones_are_certain():
    rng, scale = np.random.default_rng(12), scale_of(np.zeros(3, np.float32), np.diag([4, 9, 1]).astype(np.float32))
    reference, window = (rng.normal(scale=scale.spread, size=(n, 3)).astype(np.float32) for n in (2000, 500))
    moved, certain = shifts(reference, window + np.float32([6, 3, 0]), scale)
    np.testing.assert_allclose(moved, [3, 1, 0], atol=0.2)
    assert certain.tolist() == [True, True, False]


def test_a_window_of_another_size_is_refused():
    rng = np.random.default_rng(11)
    labellings = labellings_of(*scores_of(30, rng), CLASSES, 8, fitted_scale(rng), 19)
    with pytest.raises(ValueError, match="a window of 8 images, got 7"):
        judged(labellings, *scores_of(7, rng))
    with pytest.raises(ValueError, match="expected images and permutations"):
        labellings_of(np.zeros((0, 5), np.float32), np.zeros(0, np.int64), CLASSES, 8, fitted_scale(rng))


def test_a_window_of_more_rows_than_are_held_at_a_time_is_tested_as_a_whole():
    rng = np.random.default_rng(13)
    scale, (scores, predicted) = fitted_scale(rng), scores_of(2 * permutation._ROWS + 77, rng)
    labellings = labellings_of(*scores_of(60, rng), CLASSES, len(scores), scale, 99)
    columns = permutation._columns(scores, predicted, CLASSES, scale)
    called = np.unpackbits(labellings.chosen, axis=1, count=len(scores)).astype(np.float64)
    assert called[0].all() and (called.sum(axis=1) + 60 >= len(scores)).all()
    inside, total = labellings.sums + called @ columns, labellings.total + columns.sum(axis=0)
    assert judged(labellings, scores, predicted) == combine(permutation._statistics(inside, total, labellings))
