"""The page about boxes says what there is, also where there is nothing."""

import numpy as np
import pytest
from test_boxes_metrics import output, truth

from drift_detector_pipeline.pages import fill_page
from drift_detector_pipeline.tasks.boxes.task import BOXES, counted
from drift_detector_pipeline.tasks.task import Evaluation

CLASSES = ["cat", "dog", "über <fish>"]
FACTS = {
    "model": "yolox", "data": "sea", "split": "val", "selected_on_val": False, "training": None, "run": "outputs/x",
    "weights": "final", "weights_sha256": "ab", "data_fingerprint": "cd", "img_size": 96, "when": "today",
    "device": "cpu", "instruction_set": "AVX2", "precision": "fp32", "threads": 1, "seconds_total": 2,
    "seconds_forward": 1,
}  # fmt: skip
CAT, DOG = [10, 10, 50, 50], [40, 30, 90, 80]


def page_of(outputs, targets):
    metrics = BOXES.measure(outputs, targets)
    evaluation = Evaluation(
        FACTS, metrics, CLASSES, [f"{number}.png" for number in range(len(targets))], targets,
        BOXES.answer(outputs, CLASSES), lambda place: np.full((96, 96, 3), 90, np.uint8),
    )  # fmt: skip
    report = BOXES.report(evaluation)
    words = metrics.words(f"{metrics.n} val images")
    html = fill_page(
        report.template, title="yolox on sea, val", facts=FACTS, command="make evaluate", metrics=metrics, words=words,
        headline=BOXES.headline, **report.page,
    )  # fmt: skip
    return report, html


def test_a_page_names_figures_errors_and_the_worst_image():
    targets = [truth([[*CAT, 0]]), truth([[*DOG, 1]]), truth([])]
    outputs = [output([[*CAT, 0.9, 0]]), output([[*CAT, 0.8, 0]]), output([])]
    report, html = page_of(outputs, targets)
    assert "mAP50 0.500" in html and "Not in these images: über &lt;fish&gt;" in html
    assert [path for path, _ in report.page["worst"]] == ["1.png"]
    assert {"precision_recall.png", "confusion.png", "scores.png", "errors.png", "worst_images.png"} <= set(
        report.pictures
    )
    assert report.numbers["map50_interval_95"][1] <= 1
    assert [row["sought"] for row in report.details["per_class"]] == [1, 1, 0]


@pytest.mark.parametrize(
    ("outputs", "targets", "says"),
    [
        ([output([])] * 2, [truth([[*CAT, 0]]), truth([])], "mAP50 0.000"),
        ([output([[*CAT, 0.9, 1]])], [truth([])], "there is no box to be found"),
        ([output([])], [truth([])], "there is no box to be found"),
        ([output([[*CAT, 0.9, 0]])], [truth([[*CAT, 0]])], "mAP50 1.000"),
    ],
    ids=["nothing found", "nothing to find", "nothing at all", "all right"],
)
def test_nothing_found_and_nothing_to_find_have_a_page_too(outputs, targets, says):
    report, html = page_of(outputs, targets)
    assert says in html and "What is lost, and why" in html
    assert (not report.page["worst"]) == ("There are none" in html)


def test_a_caption_counts_what_is_shown_beside_what_is_there():
    said = BOXES.answer([output([[*CAT, 0.9, 0], [*DOG, 0.8, 1], [0, 0, 9, 9, 0.2, 1]])], CLASSES)[0]
    caption = BOXES.caption(said, truth([[*CAT, 0], [*DOG, 1]]), CLASSES)
    assert caption == ("1 cat, 1 dog", "1 cat, 1 dog", True, None)
    assert not BOXES.caption(said, truth([[*CAT, 0]]), CLASSES).right
    assert counted([]) == "none"


def test_boxes_of_a_view_are_px_of_the_image_whatever_it_was_stored_as():
    """1000 x 750 px, stored as 640 x 480, seen as 96 x 72 in a square of 96."""
    said = {"boxes": [{"label": "cat", "score": 0.9, "box": [0.0, 36.0, 48.0, 96.0]}]}
    for stored in ({}, {"stored": (480, 640)}):
        [box] = BOXES.on_image(said, (750, 1000), 96, **stored)["boxes"]
        assert box == {"label": "cat", "score": 0.9, "box": [0.0, 375.0, 500.0, 750.0]}
    assert BOXES.on_image({"boxes": []}, (750, 1000), 96) == {"boxes": []}
    assert BOXES.rows(said) == [["cat", 0.9, 0.0, 36.0, 48.0, 96.0]]
    assert BOXES.rows({"boxes": []}) == [[None] * 6]
