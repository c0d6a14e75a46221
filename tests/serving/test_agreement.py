"""A candidate beside the champion, of boxes: how many of each class both say, from what the log keeps."""

import numpy as np
import pytest
from small_boxes import make_boxes_artefact

from drift_detector_pipeline.drift.kept_rows import kept_of
from drift_detector_pipeline.networks.boxes.found import Found
from drift_detector_pipeline.release.artefact import write_artefact
from drift_detector_pipeline.serving.agreement import Said, agree
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import ModelFacts, Row
from drift_detector_pipeline.serving.shadow_answers import Compared, compare

BLUE, RED = 0, 1


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """A champion, and a candidate with the same classes in another order."""
    root = tmp_path_factory.mktemp("boxes")
    make_boxes_artefact(root / "champion")
    candidate = make_boxes_artefact(root / "candidate")
    write_artefact(candidate._replace(classes=candidate.classes[::-1]))
    return open_engine(root / "champion"), open_engine(root / "candidate")


def kept(*boxes):
    """What the log keeps of boxes, each a score and a class."""
    scores, labels = (np.array([box[part] for box in boxes]) for part in (0, 1))
    places, agreement = np.zeros((len(boxes), 4), np.float32), np.zeros(len(boxes), np.float32)
    found = Found(places, scores.astype(np.float32), labels.astype(np.int64), agreement, agreement[:0])
    return kept_of(np.zeros(0, np.float32), found)


ONE = kept((0.9, RED), (0.7, BLUE))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (kept((0.8, BLUE), (0.6, RED)), True),  # these two stand for red and blue here
        (kept((0.8, BLUE), (0.45, RED)), True),
        (kept((0.8, BLUE), (0.2, RED)), False),
        (kept((0.8, BLUE), (0.6, RED), (0.55, BLUE)), False),
        (kept((0.9, RED), (0.7, RED)), False),
    ],
)
def test_two_models_agree_if_they_say_as_many_boxes_of_each_class(engines, other, same):
    champion, candidate = engines
    assert agree(Said(candidate, BLUE, other), Said(champion, RED, ONE)) is same
    assert agree(Said(champion, RED, ONE), Said(candidate, BLUE, other)) is same


def test_without_scores_in_the_log_the_surest_class_is_compared(engines):
    champion, candidate = engines
    assert agree(Said(candidate, BLUE, b""), Said(champion, RED, ONE))
    assert not agree(Said(candidate, RED, b""), Said(champion, RED, b""))


def test_what_the_log_keeps_of_both_is_compared_image_by_image(engines, tmp_path):
    champion, candidate = engines
    log = RequestLog(f"sqlite:///{tmp_path}/log.sqlite")
    for engine in engines:
        facts = ModelFacts("0" * 64, "", "onnxruntime", "fp32", "cells", engine.artefact.classes, [])
        engine.log_id = log.register(facts)
    for place, said in enumerate([kept((0.8, BLUE), (0.6, RED)), kept((0.8, BLUE)), kept((0.8, BLUE), (0.2, RED))]):
        row = Row(0.0, str(place), "", bytes([place]) * 32, RED, 0.9, 1.0, ONE)
        log.put(champion.log_id, row)
        log.put(candidate.log_id, row._replace(predicted=BLUE, phi=said, shadow=True))
    assert log.flush()
    assert compare(log, candidate, champion) == Compared(3, 2)
    log.close()
