"""Boxes as rows: judged once their images are gone, to the bit, and watched one after another."""

import json

import numpy as np
import pytest
from bright_boxes import CLASSES, MODEL, make_detector, scenes

from drift_detector_pipeline.drift.boxes.detector import BoxDetector
from drift_detector_pipeline.drift.boxes.twins import change_views
from drift_detector_pipeline.drift.boxes.worth import map50_of
from drift_detector_pipeline.drift.kept_rows import kept_of
from drift_detector_pipeline.drift.kinds import page_of, told_by, words_of
from drift_detector_pipeline.drift.stream.alarm import alarm_from, alarm_state, alarm_words
from drift_detector_pipeline.drift.stream.detector import StreamDetector, StreamLimits
from drift_detector_pipeline.errors import DataError

SOON = StreamLimits(alpha=0.01, horizon=1000)


@pytest.fixture(scope="module")
def detector():
    return make_detector()


@pytest.fixture(scope="module")
def pale(detector):
    """Scenes with a third of their contrast, and their rows."""
    plain = scenes(64, 5)
    views = change_views(plain.views, "contrast", 4, np.arange(64))
    return views, plain.truth, detector.rows_of(views)


def kept(detector, views):
    """What a service keeps of images."""
    return [
        kept_of(row, one) for row, one in zip(detector.rows_of(views).scores, detector.found_in(views), strict=True)
    ]


def test_rows_that_were_kept_give_the_verdict_that_their_images_give(detector, pale):
    views, _, _ = pale
    rows = detector.rows_from(kept(detector, views), np.zeros(64, np.int64))
    names = list(map(str, range(64)))
    assert detector.check_scores(*rows, names=names) == detector.check(views)
    assert max(map(len, kept(detector, views))) < 4 * len(detector.columns) + 6 * 101
    with pytest.raises(DataError, match="image 1 of 1: 10 bytes of scores"):
        detector.rows_from([b"1234567890"], np.zeros(1, np.int64))
    with pytest.raises(DataError, match="sure: expected"):
        detector.check_scores(rows.scores, rows.predicted)


def test_a_verdict_comes_back_from_its_json_to_the_bit(detector, pale):
    verdict = detector.check(pale[0])
    plain = json.loads(json.dumps(detector.words.as_json(verdict)))
    assert words_of("boxes").from_json(plain, verdict.worth.likely_loss) == verdict
    assert told_by(plain).in_words().startswith("mAP50 ")
    page = page_of(verdict, None, detector, {"run": "r", "named": ["n"], "when": "w", "command": []})
    assert "No picture of them was kept" in page and page.count("data:image/jpeg") == len(verdict.carriers)


def test_a_stream_of_boxes_is_quiet_until_they_become_fewer_and_says_so(detector):
    watch = StreamDetector(detector, SOON)
    assert watch.take(*detector.rows_of(scenes(150, 11).views)) == []
    alarm = watch.take(*detector.rows_of(scenes(150, 12, most=1).views))[0]
    assert "fewer boxes (boxes -" in alarm_words(alarm)[1] or "without any box" in alarm_words(alarm)[1]
    assert "mAP50 is about" in alarm_words(alarm)[2] and alarm.measure == "map50"
    assert alarm_from(json.loads(json.dumps(alarm_state(alarm)))) == alarm


def test_what_images_seem_to_lack_of_map50_rises_as_far_as_map50_falls(detector, pale):
    """So harm is told in the measure that is tolerated; an alert comes of it."""
    _, truth, rows = pale
    fallen = detector.reference.usual.map50 - map50_of(detector.found_in(pale[0]), truth, len(CLASSES))
    risen = detector.risks(rows).mean() - detector.world_risks().mean()
    assert fallen > 0.1 and risen == pytest.approx(fallen, abs=0.15)
    watch = StreamDetector(detector, SOON)
    assert [one.level for one in watch.take(*rows)] == ["notice", "alert"]


def test_one_call_or_many_and_a_saved_state_give_the_same_bits(detector, pale, tmp_path):
    whole, parts = StreamDetector(detector, SOON), StreamDetector(detector, SOON)
    whole.take(*pale[2])
    for start in range(0, 64, 7):
        parts.take(*pale[2].take(range(start, min(64, start + 7))))
        parts.save(tmp_path / "state.json")
        parts = StreamDetector.load(tmp_path / "state.json", detector, SOON)
    assert parts.state() == whole.state()


def test_an_older_reference_still_judges_windows_and_says_what_streams_need(detector, tmp_path):
    detector.save(tmp_path)
    older = BoxDetector.load(tmp_path, MODEL)
    older._reference = older.reference._replace(expected=None)
    assert older.check(scenes(32, 3).views).level == "quiet"
    with pytest.raises(DataError, match=r"older than streams of boxes; build it again.*make drift_reference"):
        StreamDetector(older, SOON)
