"""A row of phi has the same bits alone and in any batch: a service answers in batches of whatever waits."""

import numpy as np

from drift_detector_pipeline.drift.scores.phi import describe_scores, fit_scores, phi
from drift_detector_pipeline.drift.scores.pixels import pixel_scores
from drift_detector_pipeline.drift.scores.products import row_products
from drift_detector_pipeline.drift.scores.signals import Signals, Twin


def signals(count, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 40, 40, 3), dtype=np.uint8)
    columns = [rng.normal(size=(count, width)).astype(np.float32) for width in (96, 130, 7)]
    return Signals(pixel_scores(images), *columns), images


def test_a_row_of_phi_has_the_same_bits_in_batches_of_1_to_64() -> None:
    clean, _ = signals(150, 1)
    twins = [
        Twin("noise", 1, np.arange(100), Signals(*(values[:100] + shift for values in clean)))
        for shift in np.linspace(0.1, 1, 9, dtype=np.float32)
    ]
    learned = fit_scores(clean, np.arange(150) % 7, twins, 40)
    window, images = signals(64, 2)
    whole = phi(window, learned)
    assert len(np.unique(whole[:, -12])) > 30  # numbers that could differ
    for size in range(1, 65):
        starts = range(0, 64, size)
        pixels = [pixel_scores(images[start : start + size]) for start in starts]
        parts = [
            window.take(slice(start, start + size))._replace(pixels=own)
            for start, own in zip(starts, pixels, strict=True)
        ]
        unlike = (np.concatenate([phi(part, learned) for part in parts]) != whole).any(axis=0)
        assert [score.name for score, other in zip(describe_scores(learned), unlike, strict=True) if other] == []


def test_products_are_those_of_blas_but_for_the_last_digits() -> None:
    rng = np.random.default_rng(0)
    rows, matrix = rng.normal(size=(33, 70)), rng.normal(size=(70, 9))
    assert np.allclose(row_products(rows, matrix), rows @ matrix, rtol=1e-12)
    assert row_products(rows[:0], matrix).shape == (0, 9)
    assert np.array_equal(
        row_products(rows[:, ::-1], matrix[::-1].T.copy().T), row_products(rows[:, ::-1].copy(), matrix[::-1].copy())
    )
