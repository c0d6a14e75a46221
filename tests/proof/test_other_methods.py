"""The methods of today, as references: what their inventors promise, on data where it holds."""

import numpy as np
import pytest
from scipy.stats import binom, ks_2samp, kstwobign

from drift_detector_pipeline.proof.other_methods import (
    MMD_REFERENCE,
    calibrate,
    estimates,
    hotelling,
    kernel_of,
    mmd,
    softmax_ks,
)


def test_softmax_ks_is_the_smallest_p_of_all_classes_times_their_number():
    rng = np.random.default_rng(0)
    old, new = rng.dirichlet(np.ones(4), 300), rng.dirichlet([2, 1, 1, 1], 60)
    largest = max(ks_2samp(old[:, k], new[:, k]).statistic for k in range(4))
    assert softmax_ks(old, new) == pytest.approx(min(1, 4 * kstwobign.sf(largest * np.sqrt(300 * 60 / 360))))


def test_a_kernel_is_made_of_rows_from_all_of_a_sorted_reference():
    kernel = kernel_of(np.sort(np.random.default_rng(3).normal(size=(2000, 1)), axis=0))
    assert len(kernel.rows) == MMD_REFERENCE
    assert abs(kernel.rows.mean()) < 0.2


@pytest.mark.parametrize("test", ["hotelling", "mmd"])
def test_a_test_is_quiet_on_normal_data_and_finds_a_shift(test):
    rng = np.random.default_rng(1)

    def p_value(shift):
        old, new = rng.normal(size=(200, 5)), rng.normal(size=(40, 5)) + shift
        return hotelling(old, new) if test == "hotelling" else mmd(kernel_of(old), new, rng)

    assert sum(p_value(0) <= 0.05 for _ in range(200)) <= binom.ppf(0.999, 200, 0.05)
    assert np.mean([p_value(1) <= 0.05 for _ in range(20)]) == 1


def test_estimates_from_confidence_are_right_where_confidence_is():
    rng = np.random.default_rng(2)

    def images(sharpness):
        """Calibrated images: labels are drawn from the probabilities that the logits stand for."""
        logits = rng.normal(size=(4000, 5)) * sharpness
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return logits, np.array([rng.choice(5, p=row) for row in chances])

    known = calibrate(*images(3.0))
    assert known.temperature == pytest.approx(1, abs=0.1)
    logits, labels = images(1.5)
    truth, found = (logits.argmax(axis=1) == labels).mean(), estimates(logits, known)
    assert found["average confidence"] == pytest.approx(truth, abs=0.03)
    assert found["DoC"] == pytest.approx(truth, abs=0.03)
    assert all(0 < value < known.accuracy for value in found.values())
