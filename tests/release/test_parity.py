"""What the table says is so: parity, labels, bits alone and among others, and what is refused."""

import numpy as np
import pytest

from drift_detector_pipeline.release.executable import Said
from drift_detector_pipeline.release.parity import (
    MOST_IMAGES,
    Exam,
    Row,
    as_markdown,
    as_text,
    chosen,
    measure,
    refusal,
    rows_independent,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
LABELS = (IMAGES.mean((1, 2, 3)) > 127).astype(np.int64)


def say(images, shift=0.0):
    """Right about every image unless `shift` moves some over the border."""
    light = images.astype(np.float32).mean((1, 2, 3))
    logits = np.stack([127 - light, light + shift - 127], axis=1)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Said(odds / odds.sum(axis=1, keepdims=True), logits, logits, None)


def exam():
    return Exam(IMAGES, LABELS, say(IMAGES).probabilities)


def test_the_network_itself_differs_in_nothing():
    row = measure("itself", say, exam())
    assert (row.images, row.parity, row.labels_changed, row.accuracy, row.rows_independent) == (40, 0, 0, 1, True)
    assert 0.9 < row.low < row.high == pytest.approx(1)
    assert row.milliseconds_1 > row.milliseconds_8 > 0


def test_labels_that_change_and_accuracy_that_is_lost_are_counted():
    row = measure("moved", lambda images: say(images, shift=12), exam())
    moved = (say(IMAGES, 12).logits.argmax(1) != LABELS).mean()
    assert 0 < moved < 0.6
    assert row.labels_changed == pytest.approx(moved)
    assert row.accuracy == pytest.approx(1 - moved)
    assert row.parity == pytest.approx(np.abs(say(IMAGES, 12).probabilities - say(IMAGES).probabilities).max())


@pytest.mark.parametrize(
    "meddle",
    [
        lambda images, said: said.logits + len(images) * 1e-6,
        lambda images, said: said.logits + images[-1].mean() * 1e-6,
        lambda images, said: said.logits[::-1] if len(images) > 8 else said.logits,
    ],
    ids=["by size", "by neighbours", "by place"],
)
def test_bits_that_depend_on_the_batch_are_noticed(meddle):
    def says(images):
        said = say(images)
        return said._replace(features=np.asarray(meddle(images, said), np.float64))

    assert rows_independent(say, IMAGES)
    assert not rows_independent(says, IMAGES)


@pytest.mark.parametrize(
    ("changed", "accuracy", "said"),
    [
        (0.01, 0.9, ""),
        (0.0101, 0.9, r"1.01% of 1000 labels change, allowed 1.00%"),
        (0.0, 0.8965, r"0.35 points of accuracy lost, allowed 0.30"),
        (0.0, 0.95, ""),
        (0.0, 0.897, ""),  # as much as allowed; the difference of the two floats is more
        (0.5, 0.1, "50.00% of 1000 labels change, allowed 1.00%; 80.00 points of accuracy lost, allowed 0.30"),
    ],
)
def test_what_changes_too_much_is_refused_with_figures(changed, accuracy, said):
    own = Row("own", 1000, accuracy=0.9)
    assert refusal(Row("x", 1000, labels_changed=changed, accuracy=accuracy), own, 0.01, 0.003) == said


def test_few_images_are_all_asked_about_and_many_at_random():
    assert chosen(30).tolist() == list(range(30))
    many = chosen(10 * MOST_IMAGES)
    assert len(np.unique(many)) == MOST_IMAGES and many.max() > 9 * MOST_IMAGES


def test_the_table_can_be_read_by_people_and_by_markdown():
    rows = [measure("itself", say, exam(), 1.25, "served"), Row("TensorRT", note="missing: an NVIDIA GPU")]
    text, markdown = as_text(rows), as_markdown(rows)
    assert "100.00% (91.2% to 100.0%)" in text and "same bits" in text and "1.2" in text
    assert text.splitlines()[-1].split() == ["TensorRT", "missing:", "an", "NVIDIA", "GPU"]
    assert len({line.count("|") for line in markdown.splitlines()}) == 1
