"""The numbers of an evaluation, against scikit-learn, SciPy, PyTorch and what must hold of them."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

from drift_detector_pipeline.tasks.classification.metrics import (
    BINS,
    calibration_error,
    confusion,
    cross_entropies,
    measure,
    probabilities,
    reliability,
    wilson_interval,
)


def drawn(images=500, classes=7, seed=0, sharpness=2.0):
    """Logits that are right more often than not, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes)) + sharpness * np.eye(classes)[labels]
    return logits.astype(np.float32), labels


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_loss_and_confusions_are_those_of_scikit_learn(seed):
    logits, labels = drawn(seed=seed)
    found = measure(logits, labels)
    predicted = logits.argmax(1)
    assert found.n == 500
    assert found.accuracy == accuracy_score(labels, predicted)
    assert found.loss == pytest.approx(log_loss(labels, probabilities(logits)), rel=1e-12)
    assert (found.confusion == confusion_matrix(labels, predicted, labels=range(7))).all()


@pytest.mark.parametrize("seed", range(5))
def test_scores_per_class_are_those_of_scikit_learn_and_undefined_ones_are_none(seed):
    logits, labels = drawn(images=40, classes=12, seed=seed)
    logits[:, 5] = -50  # never predicted
    logits, labels = logits[labels != 3], labels[labels != 3]  # not in the split
    logits[:, 11] -= 100 * (labels != 11)
    expected = precision_recall_fscore_support(labels, logits.argmax(1), labels=range(12), zero_division=np.nan)
    for number, scores in enumerate(measure(logits, labels).per_class):
        ours = [math.nan if value is None else value for value in (scores.precision, scores.recall, scores.f1)]
        assert ours == pytest.approx([column[number] for column in expected[:3]], nan_ok=True)
        assert scores.n == expected[3][number]
    assert measure(logits, labels).per_class[5].precision is None
    assert measure(logits, labels).per_class[3].recall is None


def test_cross_entropy_and_probabilities_are_those_of_torch_in_float64():
    logits, labels = drawn()
    exact = torch.from_numpy(logits).double()
    expected = torch.nn.functional.cross_entropy(exact, torch.from_numpy(labels), reduction="none").numpy()
    np.testing.assert_allclose(cross_entropies(logits, labels), expected, rtol=1e-12)
    np.testing.assert_allclose(probabilities(logits), exact.softmax(1).numpy(), rtol=1e-12)


def test_logits_of_any_size_give_finite_losses():
    logits = np.array([[1e4, -1e4, 0], [-3e38, 3e38, 0]], dtype=np.float32)
    assert cross_entropies(logits, np.array([0, 0])).tolist() == [0, pytest.approx(6e38, rel=1e-3)]
    assert probabilities(logits).sum(1).tolist() == [1, 1]


def test_an_images_numbers_depend_on_nothing_but_its_own_logits():
    logits, labels = drawn(images=100)
    whole, losses = probabilities(logits), cross_entropies(logits, labels)
    for start, end in [(0, 1), (3, 10), (17, 100), (99, 100)]:
        assert (probabilities(logits[start:end]) == whole[start:end]).all()
        assert (cross_entropies(logits[start:end], labels[start:end]) == losses[start:end]).all()


def test_the_order_of_images_changes_no_digit_of_the_loss():
    logits, labels = drawn(images=1000)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(1000)
        assert measure(logits[order], labels[order]).loss == measure(logits, labels).loss


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (5, 10), (3357, 3925), (1, 10_000)])
def test_the_interval_is_wilsons(right, n):
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_holds_the_true_accuracy_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    for accuracy in (0.5, 0.9, 0.97):
        found = [wilson_interval(int(right), 400) for right in rng.binomial(400, accuracy, 4000)]
        assert np.mean([low <= accuracy <= high for low, high in found]) == pytest.approx(0.95, abs=0.015)


def ece_by_hand(confidences, right):
    """Guo et al. 2017, equation 3, one bin after the other."""
    total = 0.0
    for number in range(BINS):
        inside = (confidences > number / BINS) & (confidences <= (number + 1) / BINS)
        if inside.any():
            total += inside.mean() * abs(confidences[inside].mean() - right[inside].mean())
    return total


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 6.0])
def test_the_calibration_error_is_that_of_its_definition(sharpness):
    logits, labels = drawn(sharpness=sharpness)
    confidences, right = probabilities(logits).max(1), logits.argmax(1) == labels
    assert measure(logits, labels).calibration_error == pytest.approx(ece_by_hand(confidences, right), abs=1e-12)


def test_calibrated_answers_have_a_small_error_and_boasting_ones_the_distance():
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.2, 1, 100_000)
    calibrated = rng.random(100_000) < confidences
    assert calibration_error(reliability(confidences, calibrated)) < 0.01
    assert calibration_error(reliability(np.full(1000, 0.99), np.arange(1000) < 700)) == pytest.approx(0.29)


def test_every_prediction_is_in_one_bin_and_the_edges_belong_to_the_lower_one():
    confidences = np.array([1e-9, 1 / BINS, 0.5, 1.0])
    bins = reliability(confidences, np.array([True, False, True, True]))
    assert sum(part.n for part in bins) == 4
    assert (bins[0].n, bins[-1].n) == (2, 1)
    assert bins[0].accuracy == 0.5
    assert bins[1].accuracy is bins[1].confidence is None
    assert [part.high for part in bins[:-1]] == [part.low for part in bins[1:]]


def test_confusions_of_every_pair_are_counted_once():
    pairs = list(itertools.product(range(3), repeat=2))
    labels, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    assert (confusion(predicted, labels, 3) == 1).all()
    assert confusion(np.array([2, 2]), np.array([0, 0]), 3).tolist() == [[0, 0, 2], [0, 0, 0], [0, 0, 0]]
