"""Drift of boxes, with a finder of bright rectangles in place of a network: fast, deterministic, and really fooled."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.drift.boxes.box_scores import BOX_SCORES, Shown, box_scores, class_of
from drift_detector_pipeline.drift.boxes.detector import BoxDetector, BoxModel, LabelledViews
from drift_detector_pipeline.drift.boxes.signals import BoxOutputs, read_box_signals, sides_of
from drift_detector_pipeline.drift.boxes.twins import change_views
from drift_detector_pipeline.drift.boxes.verdict_words import box_summary, box_verdict_as_json, moved_in_words
from drift_detector_pipeline.drift.boxes.worth import expected_map50, map50_of
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.preparation import Preparation, open_images, preparation_from
from drift_detector_pipeline.drift.scores.pixels import pixel_scores
from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.images.letterbox import letterbox
from drift_detector_pipeline.networks.boxes.found import Found, found

SIDE = 64
CLASSES = ["red", "green"]
KINDS = ("gaussian_noise", "defocus_blur", "contrast", "fog")


def scene(rng, boxes):
    """An image of 48 x 64 px with rectangles, red or green, and where they are."""
    pixels = rng.normal(70, 6, (48, SIDE, 3))
    taken, labels = [], []
    for _ in range(boxes):
        width, height = rng.integers(8, 16, 2)
        x, y = rng.integers(0, SIDE - width), rng.integers(0, 48 - height)
        if any(x < b[2] + 2 and b[0] < x + width + 2 and y < b[3] + 2 and b[1] < y + height + 2 for b in taken):
            continue
        label = int(rng.integers(2))
        pixels[y : y + height, x : x + width, label] += rng.uniform(60, 130)
        taken.append([x, y, x + width, y + height])
        labels.append(label)
    truth = Boxes(
        np.array(taken, np.float32).reshape(-1, 4), np.array(labels, np.int64), np.zeros(len(labels), np.bool_)
    )
    return letterbox(np.clip(pixels, 0, 255).astype(np.uint8), SIDE), truth


def scenes(images, seed, most=5):
    rng = np.random.default_rng(seed)
    views, truth = zip(*(scene(rng, int(rng.integers(0, most + 1))) for _ in range(images)), strict=True)
    return LabelledViews(np.stack(views), list(truth))


def finder(views):
    """Raw boxes at several levels of brightness, as a network proposes several for one thing."""
    outputs = []
    for view in views.astype(np.float32):
        boxes, chances = [], []
        for label in range(2):
            excess = view[..., label] - view[..., 1 - label]
            for level in (30, 40, 50):
                regions, _ = ndimage.label(excess > level)
                for rows, columns in ndimage.find_objects(regions):
                    box = [columns.start, rows.start, columns.stop, rows.stop]
                    if (box[2] - box[0]) * (box[3] - box[1]) >= 4:
                        inside = excess[rows, columns].mean()
                        boxes.append(box)
                        chance = np.zeros(2)
                        chance[label] = 1 / (1 + np.exp(-(inside - 45) / 12))
                        chances.append(chance)
        raw = np.array(boxes, np.float32).reshape(-1, 4), np.array(chances, np.float32).reshape(-1, 2)
        outputs.append(found(*raw, SIDE, 0.5))
    small = views.reshape(len(views), 8, 8, 8, 8, 3).mean((2, 4)).reshape(len(views), -1).astype(np.float32)
    return BoxOutputs(outputs, small[:, ::16], small[:, ::8])


MODEL = BoxModel(finder, "finder 1")


@pytest.fixture(scope="module")
def detector():
    return BoxDetector.build(
        MODEL, scenes(40, 1), scenes(48, 2), classes=CLASSES, kinds=KINDS, twins=32,
        preparation=Preparation(SIDE, SIDE, shape="letterbox"),
    )  # fmt: skip


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
    (tmp_path / "reference.json").write_text(json.dumps(facts | {"classes": 3}))
    with pytest.raises(DataError, match="damaged"):
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
