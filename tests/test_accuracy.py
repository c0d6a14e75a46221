"""Accuracy without labels: close where mistakes look alike, honest about how far it was off."""

import numpy as np
import pytest

from drift_detector_pipeline.drift.accuracy import (
    COVERAGE,
    SIZES,
    Sample,
    estimate,
    fit_risk,
    measure_errors,
    risk,
    unseen_risks,
)

IMAGES = 600
FOLDS = np.arange(IMAGES) % 5


def sample(kind, harder, seed, slope=1.0):
    """Images whose mistakes follow two of three signals; `harder` makes both and mistakes grow."""
    rng = np.random.default_rng(seed)
    signals = rng.normal([harder, 0.5 * harder, 0], size=(IMAGES, 3))
    chance = 1 / (1 + np.exp(2.2 - slope * signals[:, 0] - signals[:, 1]))
    return Sample(kind, np.arange(IMAGES), signals.astype(np.float32), rng.random(IMAGES) < chance)


def world():
    return [sample("", 0, 1)] + [
        sample(f"kind{kind}", level, 10 * kind + level) for kind in range(5) for level in (1, 2)
    ]


def test_risks_are_probabilities_of_being_wrong():
    model = fit_risk(world(), FOLDS)
    for seed, harder in enumerate((0, 1, 2, 3)):
        new = sample("new", harder, 100 + seed)
        risks = risk(new.signals, model)
        assert ((risks >= 0) & (risks <= 1)).all()
        assert abs(risks.mean() - new.wrong.mean()) < 0.06
    assert np.corrcoef(risks, new.wrong)[0, 1] > 0.2


def test_an_estimate_starts_from_the_known_accuracy_and_stays_in_0_to_1():
    errors = measure_errors(world(), unseen_risks(world(), FOLDS))
    same = estimate(np.full(64, 0.1), (0.93, 0.1), errors)
    assert same.accuracy == pytest.approx(0.93)
    assert 0 <= same.low < same.accuracy < same.high <= 1
    assert estimate(np.full(64, 0.4), (0.93, 0.1), errors).accuracy == pytest.approx(0.63)
    assert estimate(np.ones(64), (0.5, 0.1), errors).accuracy == 0


def test_intervals_narrow_with_the_window_but_not_beyond_what_was_measured():
    errors = measure_errors(world(), unseen_risks(world(), FOLDS))
    widths = [found.high - found.low for found in (estimate(np.full(m, 0.2), (0.9, 0.2), errors) for m in SIZES)]
    assert widths == sorted(widths, reverse=True)
    last, far = (estimate(np.full(m, 0.2), (0.9, 0.2), errors) for m in (SIZES[-1], 100 * SIZES[-1]))
    assert far.high - far.low == pytest.approx(last.high - last.low)


@pytest.mark.parametrize("size", [32, 256])
def test_the_interval_holds_the_truth_about_as_often_as_it_says_for_a_new_kind(size):
    samples = world()
    clean = unseen_risks(samples, FOLDS)
    errors, model = measure_errors(samples, clean), fit_risk(samples, FOLDS)
    known = 1 - samples[0].wrong.mean(), clean[0].mean()
    rng, held = np.random.default_rng(5), []
    for seed in range(40):
        new = sample("new", rng.uniform(0, 2.5), 1000 + seed)
        for _ in range(5):
            chosen = rng.choice(IMAGES, size, replace=False)
            found = estimate(risk(new.signals[chosen], model), known, errors)
            held.append(found.low <= 1 - new.wrong[chosen].mean() <= found.high)
    assert np.mean(held) >= COVERAGE - 0.08


def test_what_was_left_out_changes_nothing_in_its_own_risks():
    samples = world()
    before = unseen_risks(samples, FOLDS)
    number, inside = 3, FOLDS == 2
    wrong = samples[number].wrong.copy()
    wrong[inside] = ~wrong[inside]
    samples[number] = samples[number]._replace(wrong=wrong)
    after = unseen_risks(samples, FOLDS)
    np.testing.assert_array_equal(before[number], after[number])  # its whole kind
    np.testing.assert_array_equal(before[0][inside], after[0][inside])  # clean images of the fold that changed
    assert (before[0][~inside] != after[0][~inside]).any()


def test_without_mistakes_there_is_nothing_to_learn():
    perfect = [each._replace(wrong=np.zeros(IMAGES, bool)) for each in world()]
    with pytest.raises(ValueError, match="right and wrong predictions"):
        fit_risk(perfect, FOLDS)
