"""Images of something else are told from images that look worse, and leave the accuracy unknown."""

import copy

import numpy as np
import pytest
from small_world import SIDE_PX, model, small_detector, world

from drift_detector_pipeline.corruptions.corrupt import corrupt
from drift_detector_pipeline.drift.cause import CONTENT, UNKNOWN
from drift_detector_pipeline.drift.content import only_strange_moved
from drift_detector_pipeline.drift.decision import Again, Limits, scale_for
from drift_detector_pipeline.drift.reading import read_chunks
from drift_detector_pipeline.drift.verdict_words import summary


@pytest.fixture(scope="module")
def detector():
    return small_detector()


def diagonal(count, seed):
    """Stripes of a third class, of the same light, contrast and noise as the two that are known."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    places = (rows[None] + columns[None]) * rng.uniform(0.5, 1.1, (count, 1, 1)) / np.sqrt(2)
    stripes = np.sin(places + rng.uniform(0, 2 * np.pi, (count, 1, 1)))
    light = rng.normal(120, 15, (count, 1, 1)) + rng.normal(40, 8, (count, 1, 1)) * stripes
    pixels = light[..., None] + rng.normal(0, 6, (count, 1, 1, 3)) + rng.normal(0, 4, (count, SIDE_PX, SIDE_PX, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def test_a_class_nobody_taught_leaves_the_accuracy_unknown_and_alerts(detector):
    verdict = detector.check(diagonal(128, 3))
    assert verdict.level == "alert"
    assert not verdict.accuracy.known
    assert verdict.accuracy.low == 0
    assert any(sentence.startswith("Accuracy unknown") for sentence in summary(verdict))


def test_a_few_strange_images_that_no_known_change_explains_alert_though_little_seems_lost(detector):
    images = np.concatenate([diagonal(12, 3), world(600, 4)[0][:116]])
    patient = copy.copy(detector)
    patient.limits = Limits(tolerated_loss=0.2)
    verdict = patient.check(images)
    assert verdict.cause.kind == UNKNOWN and verdict.p_values["strangers"] <= patient.limits.alpha
    assert (verdict.level, verdict.accuracy.known) == ("alert", False)
    assert 0.1 < 0.99 - verdict.accuracy.accuracy < 0.3  # the share of the strangers, or more
    reading = read_chunks([images], model, detector.reference.learned.parameters, 16)
    again = patient.check_scores(
        reading.scores, reading.predicted, ask_again=lambda looks_changed: Again(verdict.accuracy)
    )
    assert (again.level, again.accuracy, again.cause) == (verdict.level, verdict.accuracy, verdict.cause)


def some_or_all_moved(detector, share):
    """Usual images, of which every so manieth is stranger and was moved, each by as much as chance has it."""
    rows = detector.rows_of(world(128, 4)[0])
    scores, some = rows.scores.copy(), np.arange(128) % share == 0
    by = 0.3 * detector.reference.scores.std(axis=0)[:-1] * np.resize([1, -1], scores.shape[1] - 1)
    scores[some, :-1] += by * np.random.default_rng(4).exponential(size=(some.sum(), 1))
    scores[some, -1] = np.minimum(1, np.maximum(0.75, scores[some, -1]) if share > 1 else scores[some, -1] + 0.35)
    return scores.astype(np.float32), rows.predicted


def test_strangers_among_usual_images_are_named_though_they_look_different_too(detector):
    verdict = detector.check_scores(*some_or_all_moved(detector, 4))
    assert (verdict.level, verdict.cause.kind, verdict.accuracy.known) == ("alert", CONTENT, False)
    assert verdict.accuracy.low == 0 and any("Some or all of them seem to show" in one for one in summary(verdict))


def test_an_unknown_change_that_moves_all_images_is_not_taken_for_strangers(detector):
    verdict = detector.check_scores(*some_or_all_moved(detector, 1))
    assert (verdict.cause.kind, verdict.p_values["strangers"] <= 0.01) == (UNKNOWN, True)


def test_only_strange_images_moved_if_the_others_stayed(detector):
    scale, usual = scale_for(detector.reference.learned), (detector.reference.scores, detector.reference.predicted)
    some, every = (some_or_all_moved(detector, share) for share in (4, 1))
    assert only_strange_moved(usual, some, scale)
    assert not only_strange_moved(usual, every, scale)
    few = some[0][:, -1] <= np.quantile(usual[0][:, -1], 0.7)
    few[np.flatnonzero(~few)[:7]] = True
    assert not only_strange_moved(usual, (some[0][few], some[1][few]), scale)  # of 7 strange ones nothing is said
    strange = some[0][:, -1] > np.quantile(usual[0][:, -1], 0.7)
    assert not only_strange_moved(usual, (some[0][strange], some[1][strange]), scale)  # none is left that may stay
    assert not only_strange_moved((usual[0][:20], usual[1][:20]), some, scale)  # a reference with 6 strange ones


def test_an_estimate_that_was_stored_with_its_doubt_is_not_doubted_again(detector):
    images = diagonal(128, 3)
    found = detector.check(images)
    reading = read_chunks([images], model, detector.reference.learned.parameters, 16)
    again = detector.check_scores(
        reading.scores, reading.predicted, ask_again=lambda looks_changed: Again(found.accuracy)
    )
    assert again.accuracy == found.accuracy
    assert again.cause == found.cause


def test_known_classes_in_any_mix_are_not_something_else(detector):
    images, labels = world(600, 4)
    for window in (images[:128], images[labels == 0][:128], images[labels == 1][:128]):
        verdict = detector.check(window)
        assert verdict.accuracy.known
        assert verdict.level != "alert"


@pytest.mark.parametrize(("kind", "severity"), [("gaussian_noise", 3), ("defocus_blur", 2), ("brightness", 3)])
def test_a_change_of_looks_is_not_something_else(detector, kind, severity):
    images, _ = world(128, 5)
    verdict = detector.check(corrupt(images, kind, severity, keys=range(128)))
    assert verdict.level != "quiet"
    assert not any("show something else" in sentence for sentence in summary(verdict))
