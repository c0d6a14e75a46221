"""Verdicts over the log: one a disjoint window, whoever judges, and the same to the bit whenever it is asked again."""

import html
import json
import threading
from contextlib import closing

import numpy as np
import pytest
import sqlalchemy
from answered import facts_of, rows_of
from small_world import model as model_of_the_world
from small_world import small_detector, world

from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.decision import Again, Limits
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.serving import verdicts as judging
from drift_detector_pipeline.serving.crops import Crops, look_at_crops
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.stored_verdicts import newest_verdicts, store, stored_verdict, verdict_of
from drift_detector_pipeline.serving.tables import verdict as verdict_table
from drift_detector_pipeline.serving.verdicts import judge_again, judge_windows, look_at, report_of

WINDOW = 40
LOUD = ("notice", "alert")


@pytest.fixture
def detector(small_detector_folder):
    return DriftDetector.load(small_detector_folder, model_of_the_world)


@pytest.fixture
def log(database):
    with closing(RequestLog(database)) as opened:
        yield opened


@pytest.fixture
def sqlite_log(tmp_path):
    with closing(RequestLog(f"sqlite:///{tmp_path}/log.sqlite")) as opened:
        yield opened


def darkened(count, seed):
    return world(count, seed)[0] // 2


def fill(log, detector, images, source="", first=0):
    """Log the answers to these images; return the model's id."""
    model = log.register(facts_of(detector))
    for row in rows_of(images, detector, source, first):
        log.put(model, row)
    assert log.flush()
    return model


def no_more_than_once(found):
    """No request is in two of these windows."""
    inside = [(one.source, number) for one in found for number in range(one.first_request, one.last_request + 1)]
    return len(inside) == len(set(inside))


def test_whoever_is_told_to_end_does_so_between_two_windows(sqlite_log, detector):
    model = fill(sqlite_log, detector, world(3 * WINDOW, 1)[0])
    asked = iter([False, False, False, True])
    assert len(judge_windows(sqlite_log, model, detector, window=WINDOW, ended=lambda: next(asked, True))) == 1
    assert len(judge_windows(sqlite_log, model, detector, window=WINDOW)) == 2


def test_every_disjoint_window_of_a_source_is_judged_once(log, detector):
    model = fill(log, detector, world(2 * WINDOW + 7, 1)[0], "door")
    fill(log, detector, darkened(WINDOW, 2), "gate")
    found = judge_windows(log, model, detector, window=WINDOW)
    door, gate = ([one for one in found if one.source == source] for source in ("door", "gate"))
    assert [(one.first_request, one.last_request) for one in door] == [(1, WINDOW), (WINDOW + 1, 2 * WINDOW)]
    assert [(one.first_request, one.last_request) for one in gate] == [(2 * WINDOW + 8, 3 * WINDOW + 7)]
    assert door[0].level == "quiet" and gate[0].level in LOUD
    assert all(one.counted and one.images == WINDOW and one.repeated == 0 for one in found)
    assert judge_windows(log, model, detector, window=WINDOW) == []
    assert newest_verdicts(log, model, 9) == found[::-1]
    assert newest_verdicts(log, model, 9, "gate") == gate
    assert [stored_verdict(log, one.id) for one in found] == found


def test_a_window_goes_on_where_the_last_one_ended(log, detector):
    model = fill(log, detector, world(WINDOW + 25, 1)[0])
    judge_windows(log, model, detector, window=WINDOW)
    fill(log, detector, world(WINDOW, 2)[0], "another")
    fill(log, detector, world(15, 3)[0])
    [other, found] = sorted(judge_windows(log, model, detector, window=WINDOW), key=lambda one: one.source == "")
    assert (found.first_request, found.last_request) == (WINDOW + 1, 2 * WINDOW + 40) and found.images == WINDOW
    assert (other.first_request, other.last_request) == (WINDOW + 26, 2 * WINDOW + 25)


def test_models_have_windows_of_their_own(log, detector):
    fill(log, detector, world(WINDOW // 2, 1)[0])
    other = log.register(facts_of(detector)._replace(reference_sha256="another"))
    for row in rows_of(world(WINDOW, 2)[0], detector):
        log.put(other, row)
    log.flush()
    fill(log, detector, world(WINDOW // 2, 3)[0])
    found = [judge_windows(log, model, detector, window=WINDOW) for model in log.models()]
    assert [[one.images for one in own] for own in found] == [[WINDOW], [WINDOW]]


def test_images_that_come_again_count_once(log, detector):
    images = world(30, 1)[0]
    model = fill(log, detector, np.concatenate([images, images[:10]]))
    [found] = judge_windows(log, model, detector, window=WINDOW)
    assert (found.images, found.repeated) == (30, 10)
    expected = look_at(log.newest(model, WINDOW)[:30], detector).verdict
    assert verdict_of(found) == expected
    alone = fill(log, detector, images[:1].repeat(WINDOW, axis=0), "stuck camera")
    [stuck] = judge_windows(log, alone, detector, window=WINDOW)
    assert (stuck.level, stuck.images, stuck.repeated, stuck.p) == ("too few images", 1, WINDOW - 1, None)
    assert judge_again(log, stuck.id, detector) == verdict_of(stuck)


def test_a_stored_verdict_is_the_same_to_the_bit_when_judged_again(log, detector, small_detector_folder):
    model = fill(log, detector, world(WINDOW, 1)[0])
    fill(log, detector, darkened(WINDOW, 2))
    for one in judge_windows(log, model, detector, window=WINDOW):
        again = judge_again(log, one.id, DriftDetector.load(small_detector_folder, model_of_the_world))
        assert again == verdict_of(one)
        assert (again.p, again.level, again.accuracy.accuracy) == (one.p, one.level, one.accuracy)
        assert not one.by_copy and not one.detail["accuracy"]["by_copy"]
    assert again.level in LOUD and again.cause is not None
    assert set(again.carrier_names) <= {row.request_id for row in log.newest(model, WINDOW)}


def test_it_is_judged_again_as_it_was_asked_back_then(sqlite_log, detector):
    model = fill(sqlite_log, detector, darkened(WINDOW, 2))
    detector.limits = Limits(alpha=0.02, permutations=1999)
    [found] = judge_windows(sqlite_log, model, detector, window=WINDOW)
    detector.limits = Limits()
    assert judge_again(sqlite_log, found.id, detector) == verdict_of(found)
    assert detector.limits == Limits()
    assert look_at(sqlite_log.newest(model, WINDOW), detector).verdict.p != found.p


def looked_at(log, detector, images):
    """The verdict of a service that kept the crops of these images."""
    crops = Crops(10**6)
    for row, crop in zip(rows_of(images, detector), images, strict=True):
        crops.put("", row.image_sha256, crop)
    model = fill(log, detector, images)
    [found] = judge_windows(log, model, detector, window=WINDOW, look_again=look_at_crops(crops, detector))
    return found


def test_with_crops_a_copy_is_asked_and_what_it_said_is_kept(log, detector):
    images = darkened(WINDOW, 2)
    found = looked_at(log, detector, images)
    assert found.by_copy and found.detail["accuracy"]["by_copy"]
    direct = detector.check_crops(images)
    assert direct.accuracy.by_copy and found.accuracy == pytest.approx(direct.accuracy.accuracy, abs=1e-5)
    assert judge_again(log, found.id, detector) == verdict_of(found)


def test_with_crops_a_fault_is_undone_and_what_that_told_is_kept(log, detector):
    images = 255 - world(WINDOW, 2)[0]
    found = looked_at(log, detector, images)
    direct = detector.check_crops(images)
    assert found.detail["accuracy"]["undone"] == direct.accuracy.undone == "inverted" and not found.by_copy
    assert found.detail["cause"]["kind"] == direct.cause.kind == "inverted"
    assert found.accuracy == pytest.approx(direct.accuracy.accuracy, abs=1e-5)
    assert judge_again(log, found.id, detector) == verdict_of(found)
    page = report_of(log, found.id, detector)
    assert "once more with the change undone" in page and "scores alone" not in page


def test_a_quiet_window_needs_no_second_look(sqlite_log, detector):
    model = fill(sqlite_log, detector, world(WINDOW, 1)[0])
    asked = []
    [found] = judge_windows(sqlite_log, model, detector, window=WINDOW, look_again=lambda *of: asked.append(of))
    assert (found.level, found.by_copy, asked) == ("quiet", False, [])


def test_a_second_look_is_at_each_image_once(sqlite_log, detector):
    images = darkened(30, 2)
    model = fill(sqlite_log, detector, np.concatenate([images, images[:10]]))
    asked = []

    def look_again(rows, looks_changed):
        asked.append([row.request_id for row in rows])
        return Again(Estimate(0.5, 0.25, 0.75, 0.4, by_copy=True))

    [found] = judge_windows(sqlite_log, model, detector, window=WINDOW, look_again=look_again)
    assert asked == [[f"r{number}" for number in range(30)]]
    assert (found.accuracy, found.low, found.high, found.by_copy) == (0.5, 0.25, 0.75, True)


def test_services_that_share_a_log_count_each_window_once(database, detector):
    """Two that write and judge at once, each with its own connection."""
    images, found, errors = world(6 * WINDOW, 1)[0], [], []

    def serve(part):
        try:
            with closing(RequestLog(database)) as log:
                model = log.register(facts_of(detector))
                for start in range(0, 3 * WINDOW, 20):
                    for row in rows_of(images[part::2][start : start + 20], detector, "shared", start):
                        log.put(model, row)
                    log.flush()
                    found.extend(judge_windows(log, model, detector, window=WINDOW))
        except DataError as error:
            errors.append(error)

    services = [threading.Thread(target=serve, args=[part]) for part in range(2)]
    for service in services:
        service.start()
    for service in services:
        service.join()
    assert errors == []
    with closing(RequestLog(database)) as log:
        stored = newest_verdicts(log, count=99)[::-1]
        assert [one.images + one.repeated for one in stored] == [WINDOW] * 6
        assert [(one.first_request, one.last_request) for one in stored] == [
            (WINDOW * number + 1, WINDOW * (number + 1)) for number in range(6)
        ]
        assert sorted({one.id: one for one in found}.values(), key=lambda one: one.id) == stored  # losers read winners
        assert all(judge_again(log, one.id, detector) == verdict_of(one) for one in stored)


def test_who_comes_second_gets_what_the_first_one_stored(log, detector):
    model = fill(log, detector, world(WINDOW + 5, 1)[0])
    [first] = judge_windows(log, model, detector, window=WINDOW)
    assert store(log, first._replace(id=0, at=first.at + 1, p=0.5)) == first
    moved = first._replace(id=0, first_request=6, last_request=WINDOW + 5)  # as if the oldest rows had gone meanwhile
    assert store(log, moved) == first
    assert newest_verdicts(log, model, 9) == [first]


def test_the_database_itself_refuses_a_window_twice(log, detector):
    model = fill(log, detector, world(WINDOW, 1)[0])
    [found] = judge_windows(log, model, detector, window=WINDOW)
    values = {name: value for name, value in found._asdict().items() if name != "id"}
    with pytest.raises(sqlalchemy.exc.IntegrityError), log.engine.begin() as connection:
        connection.execute(sqlalchemy.insert(verdict_table).values(values))


def test_a_look_on_demand_is_counted_nowhere(sqlite_log, detector):
    model = fill(sqlite_log, detector, darkened(WINDOW, 2))
    look = look_at(sqlite_log.newest(model, 20), detector)
    assert look.verdict.level in LOUD and (look.verdict.images, look.repeated) == (20, 0)
    at_hand = look_at(rows_of(darkened(20, 2), detector), detector)
    assert at_hand.verdict.level in LOUD
    assert newest_verdicts(sqlite_log, model) == []
    [found] = judge_windows(sqlite_log, model, detector, window=WINDOW)
    assert found.first_request == 1


def test_rows_that_were_deleted_cannot_be_judged_again_and_the_report_stays(sqlite_log, detector):
    model = fill(sqlite_log, detector, darkened(WINDOW, 2))
    [found] = judge_windows(sqlite_log, model, detector, window=WINDOW)
    before = report_of(sqlite_log, found.id, detector)
    assert sqlite_log.forget(1.7e9 + 10) == 10
    with pytest.raises(DataError, match=rf"verdict {found.id}: 30 of its 40 rows are left"):
        judge_again(sqlite_log, found.id, detector)
    assert report_of(sqlite_log, found.id, detector) == before


def test_another_detector_is_refused(sqlite_log, detector):
    model = fill(sqlite_log, detector, world(WINDOW, 1)[0])
    [found] = judge_windows(sqlite_log, model, detector, window=WINDOW)
    other = small_detector(images=200)
    with pytest.raises(ModelError, match=r"'images': 300.*'images': 200"):
        judge_again(sqlite_log, found.id, other)
    other.reference = other.reference._replace(scores=other.reference.scores[:, 1:])
    with pytest.raises(DataError, match="judge with the detector of the model that answered"):
        look_at(sqlite_log.newest(model, 20), other)
    with pytest.raises(DataError, match="verdict 99: not in this log"):
        stored_verdict(sqlite_log, 99)


def test_a_report_can_be_had_of_any_stored_window_without_its_pictures(sqlite_log, detector):
    model = fill(sqlite_log, detector, darkened(WINDOW, 2), "door")
    [found] = judge_windows(sqlite_log, model, detector, window=WINDOW)
    page = report_of(sqlite_log, found.id, detector)
    assert all(words in html.unescape(page) for words in found.detail["summary"][1:])
    assert f"requests 1 to {WINDOW} of door" in page and "stripes ffffffffffff" in page
    assert all(name in page for name in found.detail["carrier_names"])
    assert "No picture of these images was kept" in page and 'class="now"' not in page
    assert page.count('alt="a typical image of the training world"') == len(found.detail["carriers"])
    assert "Estimated\nfrom scores alone, the cheaper way" in page
    assert page.count("<svg") == 2 and "<script" not in page


def test_the_detail_is_what_the_drift_report_writes_of_a_verdict(sqlite_log, detector):
    model = fill(sqlite_log, detector, darkened(WINDOW, 2))
    [found] = judge_windows(sqlite_log, model, detector, window=WINDOW)
    assert {"level", "p", "summary", "channels", "cause", "mix", "limits", "reference"} <= found.detail.keys()
    assert found.detail["limits"] == Limits()._asdict()
    assert json.loads(json.dumps(found.detail)) == found.detail


def test_judging_goes_on_after_another_service_has_judged_a_part(sqlite_log, detector, monkeypatch):
    """The other one stores the first window between our reading it and our storing it."""
    model = fill(sqlite_log, detector, world(2 * WINDOW, 1)[0])
    real, came_between = judging.store, []

    def slow(log, judged):
        if not came_between:
            came_between.append(real(log, judged._replace(at=1.0)))
        return real(log, judged)

    monkeypatch.setattr(judging, "store", slow)
    found = judge_windows(sqlite_log, model, detector, window=WINDOW)
    assert found[0] == came_between[0] and found[0].at == 1.0
    assert len(found) == 2 and no_more_than_once(found)
