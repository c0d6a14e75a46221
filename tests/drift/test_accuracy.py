"""Accuracy without labels: close where mistakes look alike, honest about how far it was off."""

import numpy as np
import pytest

from drift_detector_pipeline.drift.accuracy import (
    COVERAGE,
    SIZES,
    Accuracy,
    Errors,
    Evidence,
    Known,
    estimate,
    fit_lookalikes,
    learn_accuracy,
    share_wrong,
)
from drift_detector_pipeline.drift.risk import MistakeSample, fit_risk, risk, unseen_risks

IMAGES = 600
FOLDS = np.arange(IMAGES) % 5
CLASSES = 10
LEVELS = (1, 2)


def sample(kind, harder, seed, *, place=0.0, wrongly_sure=0.0):
    """Images whose mistakes follow two of three signals; `harder` makes both and mistakes grow.

    `place` is where they lie among looks; `wrongly_sure` is the share of mistakes that signals know nothing of.
    """
    rng = np.random.default_rng(seed)
    signals = rng.normal([harder, 0.5 * harder, 0], size=(IMAGES, 3))
    chance = 1 / (1 + np.exp(2.2 - signals[:, 0] - signals[:, 1]))
    wrong = (rng.random(IMAGES) < chance) | (rng.random(IMAGES) < wrongly_sure)
    looks = rng.normal([place, 0.2 * harder], 0.3, size=(IMAGES, 2))
    return MistakeSample(kind, np.arange(IMAGES), signals.astype(np.float32), looks.astype(np.float32), wrong)


def world():
    return [sample("", 0, 1)] + [
        sample(f"kind{kind}", level, 10 * kind + level, place=kind) for kind in range(5) for level in LEVELS
    ]


@pytest.fixture(scope="module")
def learned() -> Accuracy:
    return learn_accuracy(world(), FOLDS, CLASSES)


def window(risks, place=-5.0):
    """Images with known risks, at a place among looks where nothing was learned."""
    looks = np.random.default_rng(0).normal(place, 0.3, size=(len(risks), 2))
    return Evidence(np.asarray(risks, dtype=float), looks.astype(np.float32))


def of(one, model, chosen=slice(None)):
    return Evidence(risk(one.signals[chosen], model.risk), one.looks[chosen])


def test_risks_are_probabilities_of_being_wrong():
    model = fit_risk(world(), FOLDS, CLASSES)
    for seed, harder in enumerate((0, 1, 2, 3)):
        new = sample("new", harder, 100 + seed)
        risks = risk(new.signals, model)
        assert ((risks >= 0) & (risks <= 1 - 1 / CLASSES + 1e-6)).all()  # never worse than guessing
        assert abs(risks.mean() - new.wrong.mean()) < 0.06
    assert np.corrcoef(risks, new.wrong)[0, 1] > 0.2


def test_an_estimate_starts_from_the_known_accuracy_and_stays_in_0_to_1(learned):
    same = estimate(window(np.full(64, 0.1)), Known(0.93, 0.1), learned)
    assert same.accuracy == pytest.approx(0.93)
    assert 0 <= same.low < same.accuracy < same.high <= 1
    assert estimate(window(np.full(64, 0.4)), Known(0.93, 0.1), learned).accuracy == pytest.approx(0.63)
    assert estimate(window(np.ones(64)), Known(0.5, 0.1), learned).accuracy == 0


def test_intervals_narrow_with_the_window_but_not_beyond_what_was_measured(learned):
    sizes = (*SIZES, 100 * SIZES[-1])
    found = [estimate(window(np.full(size, 0.2), place=0), Known(0.9, 0.2), learned) for size in sizes]
    widths = [each.high - each.low for each in found]
    assert widths[:-1] == sorted(widths[:-1], reverse=True)
    assert widths[-1] == pytest.approx(widths[-2], rel=0.15)  # looks are other ones


@pytest.mark.parametrize("size", [32, 256, 512])
def test_the_interval_holds_the_truth_about_as_often_as_it_says_for_a_new_kind(size, learned):
    """...with a reference of images that nothing was learned from, and windows nearly as large as what was."""
    rng, held = np.random.default_rng(5), []
    for seed in range(60):
        reference = of(labelled := sample("", 0, 2000 + seed), learned)
        error = float(np.sqrt((reference.risks * (1 - reference.risks)).mean() / IMAGES))
        known = Known(1 - labelled.wrong.mean(), share_wrong(reference, learned.lookalikes), error)
        new = sample("new", rng.uniform(0, 2.5), 1000 + seed, place=rng.uniform(0, 5))
        for _ in range(5):
            chosen = rng.choice(IMAGES, size, replace=False)
            found = estimate(of(new, learned, chosen), known, learned)
            held.append(found.low <= 1 - new.wrong[chosen].mean() <= found.high)
    assert COVERAGE - 0.08 <= np.mean(held) <= COVERAGE + 0.08


@pytest.mark.parametrize("size", [32, 256])
def test_a_likely_loss_is_exceeded_by_the_true_one_at_the_odds_it_promises(size, learned):
    """Mistakes are drawn from the very risks that are known, so odds of 3 to 1 are to be met, and not by far more."""
    rng, model = np.random.default_rng(0), learned._replace(lookalikes=learned.lookalikes._replace(amplitude=[0.0]))
    exceeded = []
    for _ in range(800):
        seen = window(rng.beta(1, 3, size))
        wrong = rng.random(size) < seen.risks
        exceeded.append(0.9 - (1 - wrong.mean()) >= estimate(seen, Known(0.9, 0.1), model).likely_loss)
    assert 0.7 < np.mean(exceeded) < 0.84


def test_an_interval_allows_for_a_reference_that_was_lucky(learned):
    """...as it was measured on few images; mistakes are drawn from the very risks that are known."""
    rng, normal = np.random.default_rng(0), np.full(len(SIZES), 1.645)
    exact = learned._replace(
        lookalikes=learned.lookalikes._replace(amplitude=[0.0]), errors=Errors(low=-normal, high=normal)
    )
    held = {"lucky": [], "allowed for": []}
    for _ in range(400):
        few, many = window(rng.beta(1, 3, 100)), window(rng.beta(1, 3, 512))
        wrong, truth = (rng.random(len(seen.risks)) < seen.risks for seen in (few, many))
        error = float(np.sqrt((few.risks * (1 - few.risks)).mean() / 100))
        for name, known in (
            ("lucky", Known(1 - wrong.mean(), few.risks.mean())),
            ("allowed for", Known(1 - wrong.mean(), few.risks.mean(), error)),
        ):
            found = estimate(many, known, exact)
            held[name].append(found.low <= 1 - truth.mean() <= found.high)
    assert np.mean(held["lucky"]) < 0.7
    assert np.mean(held["allowed for"]) == pytest.approx(0.9, abs=0.05)


def test_few_images_must_look_worse_than_many_for_a_loss_to_be_likely(learned):
    few, many = (estimate(window(np.full(size, 0.2)), Known(0.9, 0.1), learned).likely_loss for size in (16, 512))
    assert few < many < 0.1


def test_windows_that_look_like_a_known_kind_are_corrected_for_what_its_risks_do_not_know():
    deceptive = sample("kind9", 1, 77, place=9, wrongly_sure=0.4)
    samples = [*world(), deceptive]
    risks = unseen_risks(samples, FOLDS, CLASSES)
    lookalikes = fit_lookalikes(samples, risks)
    model = fit_risk(samples, FOLDS, CLASSES)
    alike, unlike = (sample("new", 1, 78, place=place, wrongly_sure=0.4) for place in (9, 15))
    off = [
        share_wrong(Evidence(risk(new.signals, model), new.looks), lookalikes) - new.wrong.mean()
        for new in (alike, unlike)
    ]
    plain = risk(unlike.signals, model).mean() - unlike.wrong.mean()
    assert abs(off[0]) < 0.05 < 0.2 < abs(plain)
    assert off[1] == pytest.approx(plain, abs=1e-6)  # nothing looks like it


def test_few_images_find_their_lookalikes_nearly_as_well_as_many():
    deceptive = sample("kind9", 1, 77, place=9, wrongly_sure=0.4)
    samples = [*world(), deceptive]
    lookalikes = fit_lookalikes(samples, unseen_risks(samples, FOLDS, CLASSES))
    rng = np.random.default_rng(0)

    def correction(size):
        picks = [rng.choice(IMAGES, size, replace=False) for _ in range(100)]
        return np.mean([share_wrong(Evidence(np.zeros(size), deceptive.looks[pick]), lookalikes) for pick in picks])

    assert correction(16) > 0.7 * correction(IMAGES) > 0.1


@pytest.mark.slow
def test_an_interval_is_wider_where_nothing_looks_alike():
    """...if risks were off for kinds that are known: who never was off expects to be right again."""
    surprising = [sample(f"odd{kind}", 1, 50 + kind, place=2 * kind, wrongly_sure=0.1 * kind) for kind in range(5)]
    learned = learn_accuracy([*world(), *surprising], FOLDS, CLASSES)
    narrow, wide = (estimate(window(np.full(512, 0.5), place), Known(0.5, 0.5), learned) for place in (0, -5))
    assert narrow.high - narrow.low < 0.6 * (wide.high - wide.low)


@pytest.mark.parametrize("size", [0.03, 0.1])
def test_how_far_risks_may_be_off_is_learned_from_how_far_they_were(size):
    off = size * np.random.default_rng(0).normal(size=20)
    samples = [sample(f"kind{place}", 1, place, place=place) for place in range(20)]
    risks = [np.full(IMAGES, each.wrong.mean() - error) for each, error in zip(samples, off, strict=True)]
    assert fit_lookalikes(samples, risks).amplitude[0] == pytest.approx(size, rel=0.35)


def test_what_was_left_out_changes_nothing_in_its_own_risks():
    samples = world()
    number, inside = 3, FOLDS == 2
    kind = samples[number].kind
    before, without = unseen_risks(samples, FOLDS, CLASSES), unseen_risks(samples, FOLDS, CLASSES, kind)
    wrong = samples[number].wrong.copy()
    wrong[inside] = ~wrong[inside]
    samples[number] = samples[number]._replace(wrong=wrong)
    after = unseen_risks(samples, FOLDS, CLASSES)
    for one, other in zip(without, unseen_risks(samples, FOLDS, CLASSES, kind), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(before[0][inside], after[0][inside])  # images of the fold that changed
    assert (before[0][~inside] != after[0][~inside]).any()


def test_without_mistakes_there_is_nothing_to_learn():
    perfect = [each._replace(wrong=np.zeros(IMAGES, bool)) for each in world()]
    with pytest.raises(ValueError, match="right and wrong predictions"):
        fit_risk(perfect, FOLDS, CLASSES)
