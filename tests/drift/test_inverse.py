"""A fault that its inverse undoes is named, and what was answered before is judged by what the mended images show."""

import numpy as np
import pytest
import torch
from small_world import SIDE_PX, world

from drift_detector_pipeline.corruptions.faults import apply_fault
from drift_detector_pipeline.drift import asking
from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.cause_words import words_for
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.parts import joined, parts_of
from drift_detector_pipeline.drift.scores.signals import Outputs
from drift_detector_pipeline.drift.verdict_words import as_json, from_json, summary

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


def every_fourth(images, changed_images):
    return np.where((np.arange(len(images)) % 4 == 0)[:, None, None, None], changed_images, images)


def test_of_a_window_of_which_a_quarter_changed_these_are_counted_and_judged_by_themselves(detector, monkeypatch):
    images, labels = shaded(120, 4)
    nothing = np.clip(128 + np.random.default_rng(9).normal(0, 8, images.shape), 0, 255).astype(np.uint8)
    window = every_fourth(images, nothing)
    verdict = detector.check(window)
    true = float((model(window).logits.numpy().argmax(axis=1) == labels).mean())
    assert (verdict.apart, verdict.level, verdict.cause.kind) == (30, "alert", "gaussian_noise")
    assert verdict.accuracy.low <= true <= verdict.accuracy.high
    assert "30 of them differ clearly from the others." in summary(verdict)
    assert set(verdict.carriers) <= set(range(0, 120, 4))
    monkeypatch.setattr(asking, "parts_of", lambda reference, scores: [np.arange(len(scores))])
    assert detector.check(window).level == "notice"  # as one window: a loss of 14 points in silence


def test_nothing_is_said_of_the_accuracy_on_black_images(detector):
    images, _ = shaded(120, 5)
    whole, some = detector.check(np.zeros_like(images)), detector.check(every_fourth(images, np.zeros_like(images)))
    assert (whole.level, whole.accuracy.known, whole.accuracy.low, whole.apart) == ("alert", False, 0, None)
    assert (some.level, some.apart) == ("alert", 30)
    assert some.accuracy.low <= 3 / 4 and some.accuracy.high - some.accuracy.low >= 0.2


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_images_that_changed_alike_or_not_at_all_are_of_one_part(detector, share):
    for seed in range(8):
        images, _ = shaded(64, 20 + seed)
        for fault in ("inverted", "night", "dark", "zoomed_in"):
            rows = detector.rows_of(changed(images, fault) if share else images)
            assert len(parts_of(detector.reference, rows.scores)) == 1


def test_estimates_of_parts_add_up_by_their_sizes_and_one_that_is_unknown_stays_in_the_interval():
    good, none = Estimate(0.9, 0.8, 0.95, 0.01), Estimate(0.5, 0.0, 1.0, 1.0, known=False)
    both = joined([30, 10], [good, none])
    assert (both.accuracy, both.low, both.high, both.likely_loss) == pytest.approx((0.8, 0.6, 0.9625, 0.2575))
    assert both.known and not joined([10, 30], [good, none]).known
    assert joined([64], [good]) is good
    mended = joined([30, 10], [good, none._replace(undone="inverted")])  # so that a log knows where its cause is from
    assert (mended.undone, mended.by_copy, both.by_copy) == ("inverted", False, True)


def test_a_verdict_that_was_kept_before_parts_were_told_is_read(detector):
    verdict = detector.check(shaded(48, 6)[0])
    kept = as_json(verdict)
    assert from_json(kept, verdict.accuracy.likely_loss) == verdict
    del kept["apart"]
    assert from_json(kept, verdict.accuracy.likely_loss).apart is None
