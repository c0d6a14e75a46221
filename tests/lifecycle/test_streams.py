"""A step of a stream: the same bits however rows are cut, copies and nonsense left out and counted, ids for numbers."""

import json

import numpy as np
import pytest
from logged import HAZE, Answering, make_models

from drift_detector_pipeline.drift.stream.detector import StreamLimits
from drift_detector_pipeline.lifecycle.detectors import detector_of
from drift_detector_pipeline.lifecycle.streams import AT_ONCE, SEEN, Kept, Streams, requests_of
from drift_detector_pipeline.serving.rows import StoredRow


@pytest.fixture(scope="module")
def answering(made_once):
    return Answering(made_once("small_models", make_models))


@pytest.fixture(scope="module")
def streams(answering):
    return Streams(7, detector_of(answering.facts, answering.models), StreamLimits())


def stored(rows, first=1, step=3):
    """As the log gives them; ids have gaps where other sources have rows."""
    return [StoredRow(first + step * number, row.at, 7, *row[1:]) for number, row in enumerate(rows)]


def steps(streams, rows, size, kept=None, source=""):
    """Take rows so many at a time; through JSON between steps, as the log keeps it."""
    raised, sums = [], np.zeros(2, int)
    for start in range(0, len(rows), size):
        step = streams.step(source, kept, rows[start : start + size])
        kept = Kept(step.kept.last_request, json.loads(json.dumps(step.kept.state)))
        raised += step.raised
        sums += (step.repeated, step.unusable)
    return kept, raised, tuple(sums.tolist())


def test_rows_give_the_same_state_and_alarms_however_they_are_cut(streams, answering):
    rows = stored(answering.rows(300, 11) + answering.rows(120, 12, contrast=HAZE))
    whole = steps(streams, rows, AT_ONCE)
    assert [one.level for one in whole[1]] == ["notice", "alert"]
    for size in (1, 7, 64):
        assert steps(streams, rows, size) == whole


def test_an_alarm_names_the_rows_and_the_time_of_the_log(streams, answering):
    rows = stored(answering.rows(300, 11) + answering.rows(120, 12, contrast=HAZE))
    _, (notice, alert), _ = steps(streams, rows, 50)
    first_hazy = rows[300].id
    assert abs(notice.since - first_hazy) <= 9 and notice.since == alert.since
    assert notice.detail["since_low"] <= notice.since <= notice.detail["since_high"]
    raised = next(row for row in rows if row.id == notice.request)
    assert first_hazy <= notice.request < alert.request and notice.at == raised.at
    assert raised.request_id in notice.detail["alarm"]["summary"][0]
    assert (notice.model_id, notice.cause, notice.acknowledged_at) == (7, None, None)


def test_an_alert_long_after_its_notice_still_names_the_first_row_of_the_change(streams, answering):
    calm = StreamLimits(tolerated_loss=0.9)  # nothing hurts
    patient = Streams(7, streams.detector, calm)
    rows = stored(answering.rows(100, 11) + answering.rows(3200, 12, contrast=HAZE))
    kept, (notice,), _ = steps(patient, rows, 500)
    state = json.loads(json.dumps(kept.state))
    state["stream"]["sources"][""]["harm"]["noticed"] = [1e9] * 5  # as if it had hurt for long
    more = stored(answering.rows(5, 13, contrast=HAZE), first=rows[-1].id + 1)
    _, (alert,), _ = steps(patient, more, 5, Kept(kept.last_request, state))
    assert alert.level == "alert" and alert.since == notice.since < requests_of(state)[0]


def test_copies_are_left_out_and_counted_and_raise_nothing(streams, answering):
    rows = answering.rows(60, 11)
    calm = steps(streams, stored(rows), 10)
    again = [copy for row in rows for copy in [row] * 9]
    kept, raised, (repeated, unusable) = steps(streams, stored(again), 100)
    assert raised == [] and (repeated, unusable) == (8 * 60, 0)
    assert kept.state["stream"] == calm[0].state["stream"]
    assert kept.state["counts"] == {"rows": 540, "repeated": 480, "unusable": 0}


def test_an_image_that_comes_again_after_many_others_counts_again(streams, answering):
    rows = answering.rows(SEEN + 1, 11)
    _, _, (repeated, _) = steps(streams, stored([*rows, rows[0], rows[-1]]), 100)
    assert repeated == 1  # the last one, not the first


def test_six_copies_would_raise_a_notice_if_they_counted(streams, answering):
    """Why they are left out."""
    rows = answering.rows(40, 5)
    same = [row._replace(image_sha256=bytes([number]) * 32) for number in range(30) for row in rows[:1]]
    _, raised, _ = steps(streams, stored(same), 10)
    assert [one.level for one in raised][:1] == ["notice"]


def test_scores_that_are_none_of_this_model_are_left_out_and_counted(streams, answering):
    rows = answering.rows(50, 11)
    nan = np.frombuffer(rows[5].phi, "<f4").copy()
    nan[3] = np.nan
    wrong = [rows[0]._replace(phi=b""), rows[0]._replace(phi=rows[0].phi[:-4]), rows[0]._replace(phi=nan.tobytes()),
             rows[0]._replace(predicted=3), rows[0]._replace(predicted=-1)]  # fmt: skip
    kept, raised, (repeated, unusable) = steps(streams, stored([*wrong, *rows]), 9)
    assert (raised, repeated, unusable) == ([], 0, 5)
    assert kept.state["stream"] == steps(streams, stored(rows), 9)[0].state["stream"]
    only, _, _ = steps(streams, stored(wrong), 9)
    assert only.last_request == 13 and only.state["counts"]["unusable"] == 5


def test_what_was_acknowledged_begins_anew_and_can_alarm_again(streams, answering):
    kept, raised, _ = steps(streams, stored(answering.rows(100, 11) + answering.rows(80, 12, contrast=HAZE)), 50)
    assert [one.level for one in raised] == ["notice", "alert"]
    more = stored(answering.rows(80, 14, contrast=HAZE), first=kept.last_request + 1)
    assert steps(streams, more, 50, kept)[1] == []  # it rests
    again = Kept(kept.last_request, {**kept.state, "restart": True})
    after, raised, _ = steps(streams, more, 50, again)
    assert [one.level for one in raised] == ["notice", "alert"] and raised[0].since >= more[0].id
    assert after.state["stream"]["sources"][""]["images"] == 260 and after.state["restart"] is False


def test_changed_limits_count_at_once_for_a_quiet_stream_and_later_for_one_with_an_alarm(streams, answering):
    other = Streams(7, streams.detector, StreamLimits(alpha=0.05))
    kept, _, _ = steps(streams, stored(answering.rows(100, 11)), 50)
    more = stored(answering.rows(20, 13), first=kept.last_request + 1)
    changed, _, _ = steps(other, more, 50, kept)
    assert changed.state["stream"]["limits"]["alpha"] == 0.05
    assert changed.state["stream"]["sources"][""]["images"] == 120
    loud, _, _ = steps(streams, stored(answering.rows(80, 12, contrast=HAZE), first=changed.last_request + 1), 50, kept)
    resting, raised, _ = steps(other, more, 50, loud)
    assert raised == [] and resting.state["stream"]["limits"]["alpha"] == 0.01
    again, _, _ = steps(other, more, 50, Kept(loud.last_request, {**loud.state, "restart": True}))
    assert again.state["stream"]["limits"]["alpha"] == 0.05


@pytest.mark.parametrize(
    "damage",
    [
        {"seen": "?"},
        {"requests": "AAAA"},
        {"stream": None},
        {"stream": {"limits": {"alpha": 2}}},
        {"since": 3, "stream": {}},
    ],
)
def test_a_state_that_cannot_be_continued_begins_anew_and_says_so(streams, answering, damage, caplog):
    rows = stored(answering.rows(60, 11))
    kept, _, _ = steps(streams, rows, 50)
    more = stored(answering.rows(40, 13), first=kept.last_request + 1)
    caplog.set_level("WARNING", "drift_detector_pipeline")
    after, _, _ = steps(streams, more, 50, Kept(kept.last_request, {**kept.state, **damage}))
    assert after.state["stream"]["sources"][""]["images"] == 40
    assert "stream '' of model 7 begins anew" in caplog.text


def test_a_state_of_a_source_stays_small(streams, answering):
    kept, _, _ = steps(streams, stored(answering.rows(3000, 11), step=517), AT_ONCE)
    assert len(json.dumps(kept.state)) < 50_000
    assert len(requests_of(kept.state)) == 2048 and requests_of(kept.state)[-1] == kept.last_request
