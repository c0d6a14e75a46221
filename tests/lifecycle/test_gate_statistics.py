"""The gate's bounds keep their level under the null and find what is there, going by simulations and laws."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from drift_detector_pipeline.lifecycle.gate_statistics import (
    alpha_at,
    chance,
    gain_bounds,
    images_for,
    images_for_mean,
    images_likely,
    mean_bounds,
)

ALPHA = 0.05
WORST = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 3000)  # of 3,000 simulated pairs, but for one time in 700


def share_passing(n, margin, broken, fixed, pairs=3000):
    """How often a candidate that breaks and fixes such shares of all images is found to lose less than `margin`."""
    drawn = np.random.default_rng(1).multinomial(n, [fixed, broken, 1 - fixed - broken], size=pairs)
    different, times = np.unique(drawn[:, :2], axis=0, return_counts=True)
    passed = [chance(*pair, n, -margin) <= ALPHA for pair in different.tolist()]
    return times[passed].sum() / pairs


@pytest.mark.parametrize(("n", "margin"), [(60, 0.05), (180, 0.02), (800, 0.005)])
@pytest.mark.parametrize("fixed", [0.0, 0.004, 0.03, pytest.param(0.15, marks=pytest.mark.slow)])
def test_a_candidate_that_loses_just_the_margin_seldom_passes(n, margin, fixed):
    assert share_passing(n, margin, fixed + margin, fixed) <= WORST


@pytest.mark.parametrize("n", [40, 180, 2000])
@pytest.mark.parametrize("changed", [0.01, pytest.param(0.1, marks=pytest.mark.slow)])
def test_a_candidate_that_gains_nothing_is_seldom_found_to_gain(n, changed):
    assert share_passing(n, 0.0, changed / 2, changed / 2) <= WORST


def test_the_usual_normal_approximation_would_not_keep_the_level():
    """Why an exact test is worth its cost: where few images change, Wald's bound lets twice as many through."""
    n, margin = 800, 0.005
    gain = -np.random.default_rng(2).binomial(n, margin, size=3000) / n
    low = gain - 1.645 * np.sqrt((-gain - gain**2) / n)
    assert (low > -margin).mean() > 1.5 * ALPHA > 1.5 * share_passing(n, margin, margin, 0.0)


@pytest.mark.parametrize(
    ("n", "margin", "broken", "fixed", "least"),
    [(8000, 0.005, 0.01, 0.01, 0.8), (2000, 0.0, 0.01, 0.03, 0.95), (180, 0.0, 0.01, 0.12, 0.9)],
)
def test_what_is_there_is_found(n, margin, broken, fixed, least):
    assert share_passing(n, margin, broken, fixed, 500) >= least


def test_a_gain_needs_no_more_evidence_than_a_sign_test_asks():
    """At a margin of nothing the unconditional test is at least about as strong as the conditional one."""
    for fixed, broken in ((5, 0), (9, 1), (30, 15), (200, 160)):
        sign = binomtest(fixed, fixed + broken, alternative="greater").pvalue
        assert chance(fixed, broken, 1000, 0.0) <= 1.05 * sign


def test_bounds_enclose_the_gain_and_agree_with_the_p_value():
    low, high = gain_bounds(30, 12, 500, ALPHA)
    assert low < 18 / 500 < high
    assert chance(30, 12, 500, low) == pytest.approx(ALPHA, abs=0.002)
    assert (-high, -low) == pytest.approx(gain_bounds(12, 30, 500, ALPHA), abs=1e-9)


def test_more_looks_leave_less_for_each_and_never_more_than_alpha_in_all():
    spent = [alpha_at(look, ALPHA) for look in range(1, 10_000)]
    assert spent == sorted(spent, reverse=True) and sum(spent) < ALPHA < sum(spent) + 1e-5


@pytest.mark.parametrize("margin", [0.005, 0.02, 0.1])
def test_so_many_images_without_a_broken_one_are_needed_and_enough(margin):
    least = images_for(margin, ALPHA)
    assert gain_bounds(0, 0, least, ALPHA)[0] > -margin >= gain_bounds(0, 0, least - 2, ALPHA)[0]


@pytest.mark.parametrize("margin", [0.01, 0.05])
def test_so_many_images_that_gain_nothing_are_needed(margin):
    least = images_for_mean(margin, 1.0, ALPHA)
    assert mean_bounds(np.zeros(least - 2), 1.0, ALPHA)[0] <= -margin < mean_bounds(np.zeros(2 * least), 1.0, ALPHA)[0]


def test_with_the_images_that_are_said_to_be_needed_it_mostly_succeeds():
    n = images_likely(0.04, 0.01, ALPHA)
    assert 0.7 < share_passing(n, 0.0, 0.015, 0.025, 1000) < 0.9
    assert images_likely(0.04, 0.0, ALPHA) is None


RARE = "a loss of 1 in one image of a hundred, which so few images may not show"


@pytest.mark.parametrize("law", ["normal", RARE])
def test_a_mean_that_is_just_the_margin_seldom_passes(law):
    rng, passed = np.random.default_rng(3), 0
    for _ in range(1000):
        gains = rng.normal(-0.01, 0.05, 300) if law == "normal" else -(rng.random(300) < 0.01).astype(float)
        passed += mean_bounds(gains.clip(-1, 1), 1.0, ALPHA)[0] > -0.01
    assert passed / 1000 <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 1000)


def test_a_mean_without_loss_is_found_to_have_none():
    gains = np.random.default_rng(4).normal(0, 0.05, 4000)
    assert mean_bounds(gains, 1.0, ALPHA)[0] > -0.005


def test_the_order_in_which_images_come_proves_nothing():
    """Sorted so that bets would win first and stop: the bound shuffles by itself."""
    gains = np.concatenate([np.full(500, 0.2), np.full(500, -0.2)])
    low, high = mean_bounds(gains, 1.0, ALPHA)
    assert low < 0 < high
