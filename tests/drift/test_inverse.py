"""A fault that its inverse undoes is named, and what was answered before is judged by what the mended images show."""

import numpy as np
import pytest
import torch
from small_world import SIDE_PX, world

from drift_detector_pipeline.corruptions.faults import apply_fault
from drift_detector_pipeline.drift.cause_words import words_for
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.scores.signals import Outputs
from drift_detector_pipeline.drift.verdict_words import as_json, summary

SHADE = np.linspace(25, -25, SIDE_PX)[None, :, None, None]  # light comes from above, so that one can see what is turned


def shaded(count, seed):
    images, labels = world(count, seed)
    return np.clip(images + SHADE, 0, 255).astype(np.uint8), labels


def model(images):
    """Tells stripes across from stripes down, and feels where the light comes from."""
    light = images.astype(np.float32).mean(axis=3)
    across, down = (np.abs(np.diff(light, axis=axis)).mean(axis=(1, 2)) for axis in (2, 1))
    half = SIDE_PX // 2
    above = light[:, :half].mean(axis=(1, 2)) - light[:, half:].mean(axis=(1, 2))
    beside = light[:, :, :half].mean(axis=(1, 2)) - light[:, :, half:].mean(axis=(1, 2))
    features = np.stack([across, down, above / 10, beside / 10, light.mean(axis=(1, 2)) / 10], axis=1)
    logits = np.stack([down - across, across - down], axis=1) / 3
    return Outputs(torch.from_numpy(logits), torch.from_numpy(features))


model.identity = "stripes in light from above"


@pytest.fixture(scope="module")
def detector():
    return DriftDetector.build(model, *shaded(160, 1), *shaded(300, 2), kinds=("gaussian_noise", "contrast"), twins=60)


def changed(images, fault):
    return apply_fault(images, fault, 1, keys=range(len(images)))


@pytest.mark.parametrize("fault", ["turned_90", "turned_270", "inverted", "upside_down"])
def test_a_fault_is_named_by_its_inverse_and_the_accuracy_is_that_of_the_answers_it_brought(detector, fault):
    images, labels = shaded(200, 3)
    window = changed(images, fault)
    verdict = detector.check(window)
    true = float((model(window).logits.numpy().argmax(axis=1) == labels).mean())
    assert verdict.accuracy.undone == verdict.cause.kind == fault
    assert verdict.accuracy.accuracy == pytest.approx(true, abs=0.06)  # a quarter turn makes each class the other one
    assert verdict.accuracy.low <= true <= verdict.accuracy.high
    assert any(f"when they no longer are {words_for(fault).seen}" in sentence for sentence in summary(verdict))
    assert as_json(verdict)["accuracy"]["undone"] == fault


def test_no_inverse_explains_ordinary_images_other_mixes_or_other_changes(detector):
    fired, noticed = 0, 0
    for seed in range(6):
        images, labels = shaded(120, 10 + seed)
        darker = np.clip(images * 0.8, 0, 255).astype(np.uint8)
        for window in (images[:48], images[labels == 0][:48], darker[:48], np.roll(images, 3, axis=1)[:48]):
            verdict = detector.check(window)
            noticed += verdict.level != "quiet"
            fired += bool(verdict.accuracy.undone)
    assert noticed >= 12  # so that there was something to explain
    assert fired == 0
