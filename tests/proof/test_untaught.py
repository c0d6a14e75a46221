"""Changes that nobody taught are what they say, and what lies outside an interval is counted."""

import numpy as np
import pytest

from drift_detector_pipeline.drift.accuracy import Known
from drift_detector_pipeline.drift.copy_accuracy import LARGEST, CopyErrors, CopyJudge
from drift_detector_pipeline.drift.reference import Copies, Learned, Reference
from drift_detector_pipeline.proof.untaught_study import SETS, as_if_many_taught, summary


@pytest.mark.parametrize("change", [one for own in SETS.values() for one in own.values()])
def test_every_change_gives_images_of_the_same_form_that_are_other_images(change):
    images = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), dtype=np.uint8)
    before = images.copy()
    changed = change(images)
    assert (changed.shape, changed.dtype) == (images.shape, np.uint8)
    assert not np.array_equal(changed, images)
    assert np.array_equal(images, before)


def cell(change, true, low, high, *, known=True, level="alert"):
    return {
        "change": change, "true": true, "estimate": (low + high) / 2, "low": low, "high": high, "known": known,
        "level": level,
    }  # fmt: skip


def test_losses_in_silence_and_truths_outside_are_named():
    cells = [
        cell("inside", 0.5, 0.4, 0.6),
        cell("just_outside", 0.36, 0.4, 0.6),
        cell("far_outside", 0.7, 0.4, 0.6),
        cell("silent", 0.7, 0.6, 0.8, level="notice"),
        cell("unknown", 0.1, 0.0, 0.9, known=False),
    ]
    found = summary(0.9, cells)
    assert (found["outside_by_5_points"], found["silent"]) == (["far_outside"], ["silent"])
    assert (found["changes"], found["accuracy_lost_20_points"], found["unknown"]) == (5, 5, 1)
    assert (found["held"], found["held_where_known"]) == (0.6, 0.5)
    assert found["width"] == pytest.approx(0.2)
    assert found["off_by"] == pytest.approx((0 + 0.14 + 0.2 + 0) / 4)


@pytest.mark.parametrize("sizes", [[143], [16, 64, 143]])
def test_only_how_many_images_taught_an_interval_is_forgotten(sizes):
    errors = CopyErrors(*(np.array(values, np.float32) for values in (sizes, [-2] * len(sizes), [2] * len(sizes))))
    learned = Learned(None, None, copies=Copies(None, CopyJudge(np.ones(1, np.float32), None, errors)))
    before = Reference(learned, np.zeros((2, 3)), np.zeros(2, int), Known(0.9, 0.1), labelled=True)
    after = as_if_many_taught(before).learned.copies.judge.errors
    assert after.sizes.tolist() == [*sizes[:-1], LARGEST]
    assert errors.sizes.tolist() == sizes
    assert after.low is errors.low and after.high is errors.high
    assert as_if_many_taught(before._replace(learned=learned._replace(copies=None))).learned.copies is None
