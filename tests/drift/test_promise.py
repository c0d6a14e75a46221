"""A margin that keeps one reference's own rate: smaller for larger references, and enough where it is tried."""

import numpy as np
import pytest

from drift_detector_pipeline.drift.permutation import labellings_of, scale_of
from drift_detector_pipeline.drift.permutation import test_window as judged  # pytest takes the name of a test for one

COLUMNS, NOBODY = 8, np.zeros(10_000, np.int64)


def prepared(images, size, alpha=0.05, permutations=199, seed=0, kept=True):
    scores = np.random.default_rng(seed).normal(size=(images, COLUMNS)).astype(np.float32)
    scale = scale_of(np.zeros(COLUMNS, np.float32), np.eye(COLUMNS, dtype=np.float32))
    return labellings_of(
        scores, NOBODY[:images], 1, size, scale, permutations, seed, kept_alpha=alpha if kept else None
    )  # fmt: skip


def test_a_larger_reference_needs_less_and_a_larger_window_more():
    margins = {(images, size): prepared(images, size).margin for images in (100, 400, 2000) for size in (16, 64)}
    assert min(margins.values()) > 1
    assert margins[100, 64] > margins[400, 64] > margins[2000, 64]
    assert margins[100, 64] > margins[100, 16]


def test_without_a_promise_for_the_reference_p_is_the_exact_one_and_with_it_never_smaller():
    rng = np.random.default_rng(1)
    plain, kept = prepared(200, 32, kept=False), prepared(200, 32)
    assert plain.margin == 1
    for shift in (0, 0.1, 0.3):
        window = (rng.normal(size=(32, COLUMNS)) + shift).astype(np.float32), NOBODY[:32]
        exact, held = judged(plain, *window), judged(kept, *window)
        assert exact.p == exact.p_average == held.p_average <= held.p


@pytest.mark.slow
def test_nearly_all_references_keep_their_own_rate_and_without_the_margin_many_do_not():
    """60 references, 1,500 windows each, at 5 %: shares above it are at most 5 % and, without, nearly a half."""
    rng, above = np.random.default_rng(2), {"average": 0, "reference": 0}
    for seed in range(60):
        labellings = prepared(150, 48, seed=seed)
        windows = rng.normal(size=(1500, 48, COLUMNS)).astype(np.float32)
        tested = [judged(labellings, window, NOBODY[:48]) for window in windows]
        above["average"] += np.mean([one.p_average <= 0.05 for one in tested]) > 0.05
        above["reference"] += np.mean([one.p <= 0.05 for one in tested]) > 0.05
    assert above["reference"] <= 6 < 15 <= above["average"]  # of 60; 6 is beyond 3 by what chance allows
