"""What found boxes are worth: the same numbers as two other programs, and sense where there is nothing to count."""

import contextlib
import io
from typing import NamedTuple

import numpy as np
import pytest

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.tasks.boxes.matching import all_found, average_precision, best_threshold, confusions
from drift_detector_pipeline.tasks.boxes.metrics import measure
from drift_detector_pipeline.tasks.boxes.tide import split_errors


class Output(NamedTuple):
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    agreement: np.ndarray
    loss: np.ndarray


def output(rows, loss=0.5):
    """Rows of (x0, y0, x1, y1, score, label), best first."""
    rows = sorted(rows, key=lambda row: -row[4])
    table = np.array(rows, np.float64).reshape(-1, 6)
    scores = table[:, 4].astype(np.float32)
    return Output(table[:, :4].astype(np.float32), scores, table[:, 5].astype(int), 0 * scores, np.float32([loss]))


def truth(rows, ignore=()):
    """Rows of (x0, y0, x1, y1, label)."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    flags = np.array([place in ignore for place in range(len(table))], bool)
    return Boxes(table[:, :4].astype(np.float32), table[:, 4].astype(int), flags)


def world(seed, images=24, classes=3):
    """True boxes, some to be ignored, and boxes found near them, twice, elsewhere, or as something else."""
    rng, outputs, targets = np.random.default_rng(seed), [], []
    for _ in range(images):
        count = int(rng.integers(0, 7))
        low = rng.uniform(0, 250, (count, 2))
        boxes = np.concatenate([low, low + rng.uniform(22, 140, (count, 2))], axis=1)
        labels, ignore = rng.integers(0, classes, count), rng.random(count) < 0.15
        labels = np.where(ignore & (rng.random(count) < 0.5), -1, labels)
        targets.append(Boxes(boxes.astype(np.float32), labels, ignore))
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 5, (2 * count, 4))
        as_what = np.where(
            rng.random(2 * count) < 0.8, np.maximum(labels, 0).repeat(2), rng.integers(0, classes, 2 * count)
        )
        rows = [
            [*box, score, label]
            for box, score, label in zip(near, rng.random(2 * count).round(2), as_what, strict=True)
        ]
        rows += [[x, y, x + 40, y + 40, rng.random(), rng.integers(classes)] for x, y in rng.uniform(0, 250, (3, 2))]
        outputs.append(output(rows))
    return outputs, targets


def pycocotools_says(outputs, targets, classes=3):
    """mAP, mAP50, mAP75 and by size of the reference implementation; -1 where nothing is to be found."""
    coco, cocoeval = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    true, found = [], []
    for image, target in enumerate(targets, start=1):
        for (x0, y0, x1, y1), label, ignore in zip(target.boxes.tolist(), target.labels, target.ignore, strict=True):
            for own in range(classes) if label < 0 else [int(label)]:
                true.append({"id": len(true) + 1, "image_id": image, "category_id": own + 1, "iscrowd": int(ignore),
                             "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)})  # fmt: skip
    for image, one in enumerate(outputs, start=1):
        for (x0, y0, x1, y1), score, label in zip(one.boxes.tolist(), one.scores.tolist(), one.labels, strict=True):
            found.append({"image_id": image, "category_id": int(label) + 1, "score": score,
                          "bbox": [x0, y0, x1 - x0, y1 - y0]})  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        given = coco.COCO()
        given.dataset = {"images": [{"id": number + 1} for number in range(len(targets))], "annotations": true,
                         "categories": [{"id": label + 1} for label in range(classes)]}  # fmt: skip
        given.createIndex()
        evaluation = cocoeval.COCOeval(given, given.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:6]


@pytest.mark.parametrize("seed", range(4))
def test_the_figures_are_those_of_pycocotools(seed):
    outputs, targets = world(seed)
    metrics = measure(outputs, targets)
    sizes = [-1 if value is None else value for value in metrics.sizes.values()]
    ours = [metrics.map, metrics.map50, metrics.map75, *sizes]
    assert ours == pytest.approx(pycocotools_says(outputs, targets), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_matching_of_our_own_gives_the_same_average_precision(seed):
    metrics = measure(*world(seed))
    each = {label: average_precision(matches) for label, matches in metrics.matches.items()}
    assert metrics.per_class.keys() == each.keys()
    for label, (whole, half) in metrics.per_class.items():
        assert (each[label].mean(), each[label][0]) == pytest.approx((whole, half), abs=1e-9)


def test_drawing_each_image_once_is_the_average_precision_and_twice_is_that_of_the_images_twice():
    outputs, targets = world(7, images=10)
    weights = np.array([2, 0, 1, 3, 0, 1, 1, 1, 0, 1])
    again = [place for place, count in enumerate(weights) for _ in range(count)]
    repeated = measure([outputs[place] for place in again], [targets[place] for place in again])
    drawn = measure(outputs, targets)
    for label, matches in repeated.matches.items():
        assert average_precision(drawn.matches[label], weights) == pytest.approx(average_precision(matches), abs=0.02)


def test_the_interval_holds_the_figure_and_is_wider_for_fewer_images():
    few, many = measure(*world(3, images=8)), measure(*world(3, images=80))
    for metrics in (few, many):
        low, high = metrics.intervals["map50"]
        assert low <= metrics.map50 <= high
    widths = [metrics.intervals["map50"][1] - metrics.intervals["map50"][0] for metrics in (few, many)]
    assert widths[0] > 1.5 * widths[1]
    assert "95 % interval" in few.words("8 val images")


def test_nothing_found_is_worth_nothing():
    metrics = measure([output([])] * 3, [truth([[0, 0, 50, 50, 0]])] * 3)
    assert (metrics.map50, metrics.map, metrics.sizes["medium"], metrics.sizes["small"]) == (0, 0, 0, None)
    assert metrics.intervals["map50"] == (0, 0)


def test_where_nothing_is_to_be_found_it_says_so():
    metrics = measure([output([[0, 0, 9, 9, 0.8, 1]])] * 2, [truth([]), truth([[0, 0, 9, 9, -1]], ignore=[0])])
    assert metrics.map50 == 0 and metrics.intervals["map50"] is None
    assert "no box to be found" in metrics.words("2 val images")


def test_a_class_that_is_not_there_counts_in_no_average():
    metrics = measure([output([[0, 0, 50, 50, 0.9, 0], [60, 60, 90, 90, 0.8, 2]])], [truth([[0, 0, 50, 50, 0]])])
    assert metrics.map50 == pytest.approx(1)
    assert list(metrics.per_class) == [0]


def test_the_loss_is_the_mean_of_the_images_losses():
    outputs = [output([], loss) for loss in (0.25, 1.5, 0.5)]
    assert measure(outputs, [truth([])] * 3).loss == 0.75


def test_confusions_count_every_true_box_once():
    outputs, targets = world(5)
    counts = confusions(outputs, targets, 3, 0.3)
    assert counts[:3].sum() == sum(int((~one.ignore).sum()) for one in targets)
    one = confusions([output([[0, 0, 50, 50, 0.9, 1], [80, 0, 99, 20, 0.6, 1], [0, 70, 20, 99, 0.2, 0]])],
                     [truth([[0, 0, 50, 52, 0], [80, 80, 99, 99, 2]])], 3, 0.5)  # fmt: skip
    assert one.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]


def test_all_is_found_if_every_box_is_and_nothing_else():
    true = truth([[0, 0, 50, 50, 0], [60, 60, 90, 90, 1]])
    right = [[0, 0, 50, 49, 0.9, 0], [60, 60, 90, 92, 0.8, 1]]
    assert all_found(output(right), true)
    assert not all_found(output(right[:1]), true)
    assert not all_found(output([*right, [0, 60, 30, 90, 0.7, 0]]), true)
    assert all_found(output([]), truth([]))


def test_the_threshold_is_where_f1_is_highest():
    found = output([[0, 0, 50, 50, 0.9, 0], [60, 0, 90, 50, 0.6, 0], [0, 60, 50, 90, 0.3, 0]])
    metrics = measure([found], [truth([[0, 0, 50, 50, 0], [60, 0, 90, 50, 0]])])
    assert 0.59 <= best_threshold(list(metrics.matches.values())) <= 0.6
    assert best_threshold([]) == 0.5


ERRORS = {  # one true box of class 0 at 0 0 50 50 (and one of class 1 far away, found rightly), and what is said of it
    "class": [[0, 0, 50, 50, 0.8, 1]],
    "place": [[20, 0, 70, 50, 0.8, 0]],
    "both": [[20, 0, 70, 50, 0.8, 1]],
    "double": [[0, 0, 50, 50, 0.9, 0], [0, 0, 50, 48, 0.8, 0]],
    "background": [[0, 0, 50, 50, 0.9, 0], [200, 0, 250, 50, 0.8, 0]],
    "missed": [],
}


@pytest.mark.parametrize("kind", ERRORS)
def test_each_kind_of_error_is_told_from_the_others(kind):
    far = [100, 100, 150, 150, 0.9, 1]
    splits = split_errors([output([far, *ERRORS[kind]])], [truth([[0, 0, 50, 50, 0], [100, 100, 150, 150, 1]])], 0.5)
    counts = {split.kind: split.boxes for split in splits}
    expected = dict.fromkeys(ERRORS, 0) | {kind: 1}
    if kind == "both":  # nothing that can be mended speaks of the true box
        expected["missed"] = 1
    assert counts == expected
    rises = {split.kind: split.rise for split in splits}
    if kind in ("class", "place", "missed"):
        assert rises[kind] == pytest.approx(0.5)


def test_mending_all_kinds_of_errors_one_by_one_never_lowers_the_figure():
    outputs, targets = world(2)
    splits = split_errors(outputs, targets, 0.4)
    assert all(0 <= split.rise <= 1 for split in splits)
    assert sum(split.rise for split in splits) > 0.1


def test_a_found_box_where_anything_is_to_be_ignored_is_no_error():
    true = truth([[0, 0, 50, 50, 0], [100, 0, 200, 100, -1]], ignore=[1])
    found = output([[0, 0, 50, 50, 0.9, 0], [120, 10, 160, 60, 0.95, 1], [120, 10, 160, 60, 0.93, 0]])
    assert measure([found], [true]).map50 == pytest.approx(1)
    assert all(split.boxes == 0 for split in split_errors([found], [true], 0.5))
    assert confusions([found], [true], 2, 0.5).sum() == 1
