"""Strangers stand out by one number, and images of known classes do not."""

import numpy as np

from drift_detector_pipeline.drift.scores.output_scores import fit_outputs
from drift_detector_pipeline.drift.scores.phi import image_folds
from drift_detector_pipeline.drift.scores.signals import Signals
from drift_detector_pipeline.drift.scores.strangeness import fit_strangeness, strangeness

CLASSES, WIDTH = 6, 20
CENTRES = np.random.default_rng(0).normal(size=(CLASSES + 1, WIDTH)) * 1.2  # the last class is unknown


def drawn(count, rng, label=None):
    labels = rng.integers(0, CLASSES, count) if label is None else np.full(count, label)
    features = (CENTRES[labels] + rng.normal(size=(count, WIDTH))).astype(np.float32)
    logits = -((features[:, None] - CENTRES[None, :CLASSES]) ** 2).sum(axis=2) / 2
    return Signals(np.zeros((count, 16)), np.zeros((count, 0)), features, logits.astype(np.float32)), labels


def learned(rng, count=600):
    clean, labels = drawn(count, rng)
    return fit_outputs(clean.features, clean.logits, labels), fit_strangeness(clean, labels, image_folds(count))


def test_an_unknown_class_scores_higher_than_known_ones():
    rng = np.random.default_rng(1)
    outputs, strange = learned(rng)
    known, new = (
        strangeness(one.features, one.logits, outputs, strange)
        for one, _ in (drawn(500, rng), drawn(500, rng, CLASSES))
    )
    assert known.dtype == np.float32 and known.min() >= 0 and known.max() <= 1
    assert np.mean(new[:, None] > known[None]) > 0.85


def test_new_images_of_known_classes_score_as_those_it_was_learned_from():
    """Measured without the images of its fold, a clean image's rank is uniform: its cube is 1/4 in the mean."""
    rng = np.random.default_rng(2)
    outputs, strange = learned(rng)
    new, _ = drawn(4000, rng)
    assert abs(strangeness(new.features, new.logits, outputs, strange).mean() - 0.25) < 0.03


def test_a_score_is_one_images_own():
    rng = np.random.default_rng(3)
    outputs, strange = learned(rng)
    some, _ = drawn(50, rng)
    together = strangeness(some.features, some.logits, outputs, strange)
    alone = [strangeness(some.features[[one]], some.logits[[one]], outputs, strange)[0] for one in range(50)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)
