"""Drift of boxes, with a finder of bright rectangles in place of a network: fast, deterministic, and really fooled."""

import json

import numpy as np
import pytest
from bright_boxes import MODEL, SIDE, finder, make_detector, scenes
from PIL import Image

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.drift.boxes.box_scores import BOX_SCORES, Shown, box_scores, class_of
from drift_detector_pipeline.drift.boxes.detector import BoxDetector, BoxModel
from drift_detector_pipeline.drift.boxes.signals import read_box_signals, sides_of
from drift_detector_pipeline.drift.boxes.twins import change_views
from drift_detector_pipeline.drift.boxes.verdict_words import box_summary, box_verdict_as_json, moved_in_words
from drift_detector_pipeline.drift.boxes.worth import expected_map50, map50_of
from drift_detector_pipeline.drift.detecting import joined_rows
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.preparation import Preparation, open_images, preparation_from
from drift_detector_pipeline.drift.scores.pixels import pixel_scores
from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.images.letterbox import letterbox
from drift_detector_pipeline.networks.boxes.found import Found


@pytest.fixture(scope="module")
def detector():
    return make_detector()


def test_images_of_the_same_world_are_quiet_and_their_map50_is_inside_the_interval(detector):
    verdict = detector.check(scenes(32, 3).views)
    assert verdict.level == "quiet" and verdict.p > 0.01 and verdict.promise == "average"
    assert verdict.map50.known and verdict.map50.low <= verdict.reference_map50 <= verdict.map50.high
    assert "only 48 images" in " ".join(box_summary(verdict))


def test_fewer_boxes_are_noticed_and_named_though_the_pixels_are_as_they_were(detector):
    verdict = detector.check(scenes(48, 4, most=1).views)
    assert verdict.level != "quiet"
    assert moved_in_words(verdict)[0].startswith("fewer")


def test_pale_images_are_noticed_and_their_loss_of_map50_is_alarmed_about(detector):
    clean = scenes(32, 5)
    verdict = detector.check(change_views(clean.views, "contrast", 4, np.arange(32)))
    assert verdict.level == "alert" and verdict.map50.accuracy < verdict.reference_map50 - 0.05


def test_rows_that_others_have_read_give_the_verdict_of_the_images_themselves(detector):
    views = scenes(40, 4, most=1).views
    views[-1] = views[0]
    rows = joined_rows([detector.rows_of(views[:24]), detector.rows_of(views[24:])])
    verdict = detector.check_rows(rows, 1, detector.open(views))
    assert box_verdict_as_json(verdict) == box_verdict_as_json(detector.check(views))
    assert (verdict.copies, verdict.level == "quiet") == (1, False)
    assert detector.check_rows(joined_rows([]), 0, detector.open(views[:0])).images == 0


def test_a_saved_detector_says_the_same_and_is_bound_to_its_network(detector, tmp_path):
    detector.save(tmp_path)
    views = scenes(20, 6).views
    assert box_verdict_as_json(BoxDetector.load(tmp_path, MODEL).check(views)) == box_verdict_as_json(
        detector.check(views)
    )
    with pytest.raises(ModelError, match="not for finder 2"):
        BoxDetector.load(tmp_path, BoxModel(finder, "finder 2"))
    with pytest.raises(DataError, match="reference of boxes"):
        DriftDetector.load(tmp_path, lambda images: images)
    facts = json.loads((tmp_path / "reference.json").read_text())
    unsealed = {name: value for name, value in facts.items() if name != "facts_sha256"}
    for spoiled in (unsealed | {"classes": 3}, facts | {"map50": 0.5}, [facts], "facts", None):
        (tmp_path / "reference.json").write_text(json.dumps(spoiled))
        with pytest.raises(DataError, match=r"damaged .* build it again"):
            BoxDetector.load(tmp_path, MODEL)


def test_too_few_images_are_counted_and_not_judged(detector):
    verdict = detector.check(scenes(5, 7).views)
    assert verdict.level == "too few images" and verdict.images == 5 and verdict.p is None


def test_an_image_without_boxes_has_a_row_of_its_own():
    views = np.stack([letterbox(np.full((48, SIDE, 3), 70, np.uint8), SIDE)] * 2)
    signals = read_box_signals(views, finder)
    row = dict(zip(BOX_SCORES, box_scores(signals.found, signals.sides, Shown(0.5, (0, 1)))[0], strict=False))
    assert row["boxes"] == 0 and row["nothing"] == 1 and np.isnan(row["area"])
    assert class_of(signals.found[0], Shown(0.5, (0, 1)), 2) == 2


def test_what_a_letterbox_fills_is_neither_measured_nor_changed():
    view = scenes(1, 8).views[0]
    assert sides_of(view[None]) == [(48, SIDE)]
    changed = change_views(view[None], "gaussian_noise", 5, np.zeros(1, np.int64))[0]
    assert (changed[48:] == view[48:]).all() and (changed[:48] != view[:48]).any()
    assert np.array_equal(read_box_signals(view[None], finder).pixels, pixel_scores(view[None, :48]))


def test_scores_that_are_chances_expect_the_map50_that_is():
    """Right with the chance that is its score: over many images both come to the same."""
    rng = np.random.default_rng(0)
    truth, said = [], []
    for _ in range(400):
        scores = np.sort(rng.uniform(0.05, 1, 4))[::-1].astype(np.float32)
        boxes = np.array([[20 * one, 0, 20 * one + 10, 10] for one in range(4)], np.float32)
        right = rng.random(4) < scores
        nothing = np.zeros(4, np.float32)
        said.append(Found(boxes, scores, np.zeros(4, np.int64), nothing, np.zeros(0, np.float32)))
        truth.append(Boxes(boxes[right], np.zeros(right.sum(), np.int64), np.zeros(right.sum(), np.bool_)))
    expected = expected_map50(said, np.array([2.0], np.float32))
    assert abs(expected - map50_of(said, truth, 1)) < 0.02


def test_a_class_that_should_be_there_and_is_not_found_counts_as_lost():
    none = Found(*(np.zeros(shape, np.float32) for shape in ((0, 4), 0)), np.zeros(0, np.int64), *[np.zeros(0)] * 2)
    assert expected_map50([none] * 20, np.array([1.0], np.float32)) == 0
    one = none._replace(boxes=np.ones((1, 4)), scores=np.ones(1), labels=np.zeros(1, np.int64))
    assert expected_map50([one] * 20, np.array([1.0, 0.01], np.float32)) == 1
    assert expected_map50([one] * 20, np.array([1.0, 1.0], np.float32)) == 0.5


def test_an_album_of_files_is_letterboxed_and_an_old_reference_means_a_crop(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    how = Preparation(SIDE, SIDE, shape="letterbox")
    opened = open_images([tmp_path / "wide.png"], how).crops[0]
    assert np.array_equal(opened, letterbox(pixels, SIDE))
    assert preparation_from(json.loads(json.dumps(how.as_values()))) == how
    crop = Preparation(SIDE, SIDE)
    assert "shape" not in crop.as_values() and preparation_from(json.loads(json.dumps(crop.as_values()))) == crop
    with pytest.raises(ValueError, match="shape"):
        preparation_from(how.as_values() | {"shape": "round"})
