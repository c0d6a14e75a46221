"""What clips are worth: over clips, over sources, at every threshold; compared with scikit-learn and known laws."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from drift_detector_pipeline.tasks.clips.curve import positive_class, threshold_curve
from drift_detector_pipeline.tasks.clips.metrics import measure
from drift_detector_pipeline.tasks.clips.sources import by_source, interval


def test_a_source_counts_once_however_many_clips_it_has():
    logits = np.array([[1, 0]] * 9 + [[0, 1]], np.float32)
    found = measure(logits, np.zeros(10, np.int64), ["long"] * 9 + ["short"])
    assert (found.headline, found.source_accuracy) == (0.9, 0.5)
    assert [(one.source, one.n, one.right) for one in found.per_source] == [("long", 9, 9), ("short", 1, 0)]
    words = found.words("10 val images")
    assert "90.00 % of 10 val clips right" in words and "drawing the 2 sources anew" in words and "50.00 %" in words


def test_of_a_single_source_there_is_no_interval():
    found = measure(np.eye(2, dtype=np.float32), np.array([0, 1]), ["one", "one"])
    assert found.interval_90 is None and "nothing is known of others" in found.words("2 val images")


def test_a_perfect_score_of_few_sources_is_not_certain():
    low, high = interval(np.full(6, 10), np.full(6, 10), 0.95)
    assert (low, high) == (pytest.approx(0.61, abs=0.01), 1.0)
    assert interval(np.full(6, 10), np.zeros(6, np.int64), 0.95) == pytest.approx((1 - high, 1 - low))


def test_clips_that_repeat_each_other_tell_no_more_than_one_of_them():
    """Twenty sources of ten equal clips: the interval is that of twenty clips, three times as wide as of 200."""
    right = np.arange(20) % 4 > 0
    alike = interval(np.full(20, 10), 10 * right.astype(np.int64), 0.9)
    single = interval(np.ones(20, np.int64), right.astype(np.int64), 0.9)
    independent = interval(np.ones(200, np.int64), np.tile(right, 10).astype(np.int64), 0.9)
    assert alike == single
    assert (alike[1] - alike[0]) / (independent[1] - independent[0]) == pytest.approx(np.sqrt(10), rel=0.15)
    assert alike[0] < 0.75 < alike[1]


def test_the_interval_holds_what_it_promises():
    """Sources that differ, with few or many clips: 400 draws of a world whose accuracy is 0.65."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        counts = rng.integers(1, 15, 30)
        right = rng.binomial(counts, rng.beta(0.65 * 6, 0.35 * 6, 30))
        low, high = interval(counts, right, 0.9)
        held += low <= 0.65 <= high
    assert 0.86 < held / 400 < 0.94


def test_sources_are_told_apart_by_their_whole_name():
    scores = by_source(["ä", "a", "ä", "10", "1"], np.array([True, False, False, True, True]))
    assert {one.source: (one.n, one.right) for one in scores} == {"1": (1, 1), "10": (1, 1), "a": (1, 0), "ä": (2, 1)}


@pytest.mark.parametrize("ties", [False, True])
def test_the_curve_is_scikit_learns(ties):
    rng = np.random.default_rng(1)
    truth = rng.random(80) < 0.4
    chances = (0.6 * truth + rng.random(80)) / 1.6
    chances = chances.round(1) if ties else chances
    curve = threshold_curve(chances, truth, "fight")
    assert curve.roc_area == pytest.approx(roc_auc_score(truth, chances))
    assert curve.average_precision == pytest.approx(average_precision_score(truth, chances))
    assert [point.threshold for point in curve.points] == sorted(set(chances.tolist()), reverse=True)
    for point in [*curve.points, curve.at_half]:
        said = chances >= point.threshold
        assert point.accuracy == pytest.approx((said == truth).mean())
        assert point.recall == pytest.approx(recall_score(truth, said))
        if said.any():
            assert point.precision == pytest.approx(precision_score(truth, said))
            assert point.f1 == pytest.approx(f1_score(truth, said))
    assert curve.best.f1 == max(point.f1 for point in curve.points)


def test_a_curve_without_one_of_the_classes_says_what_is_not_defined():
    curve = threshold_curve(np.array([0.9, 0.2]), np.array([True, True]), "fight")
    assert curve.roc_area is None and curve.points[-1].false_alarms is None and curve.average_precision == 1
    curve = threshold_curve(np.array([0.9, 0.2]), np.array([False, False]), "fight")
    assert curve.roc_area is None and curve.average_precision is None and curve.at_half.recall is None


@pytest.mark.parametrize(
    ("classes", "positive"),
    [(["fight", "no_fight"], 0), (["accident", "non-accident"], 0), (["normal", "theft"], 1), (["0", "1"], 1),
     (["object", "person"], 1), (["not ok", "notable"], 1), (["Normal", "no"], 1)],
)  # fmt: skip
def test_what_is_looked_for_is_what_is_not_denied(classes, positive):
    assert positive_class(classes) == positive
