"""The stream's laws: evidence that is exact while nothing changes, alarms that come soon when something did."""

import itertools
import json

import numpy as np
import pytest
from scipy.stats import binom
from small_world import model, small_detector, world

from drift_detector_pipeline.corruptions.corrupt import corrupt
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.stream.alarm import alarm_json, alarm_words
from drift_detector_pipeline.drift.stream.bets import Bets
from drift_detector_pipeline.drift.stream.change import change_of
from drift_detector_pipeline.drift.stream.detector import StreamDetector, StreamLimits
from drift_detector_pipeline.drift.stream.harm import Harm
from drift_detector_pipeline.drift.stream.ranks import bins_of, gaps_of, noise, ordered_keys, places
from drift_detector_pipeline.errors import ConfigError, DataError

SOON = StreamLimits(alpha=0.01, horizon=1000)


@pytest.fixture(scope="module")
def detector():
    return small_detector()


@pytest.fixture(scope="module")
def clean(detector):
    """Scores and predictions of 200 new images."""
    return detector.rows_of(world(200, 7)[0])[:2]


@pytest.fixture(scope="module")
def noisy(detector):
    images = corrupt(world(120, 8)[0], "gaussian_noise", 4, keys=range(120))
    return detector.rows_of(images)[:2]


def test_the_evidence_after_t_images_is_t_on_average_over_all_orders():
    """Three numbers of the reference and four of the stream can stand in 5,040 orders, all equally likely."""
    orders = np.array(list(itertools.permutations(range(7))))
    reference, stream = np.sort(orders[:, :3], axis=1), orders[:, 3:]
    gaps = gaps_of(3)
    assert gaps.tolist() == [1, 1, 1, 1]
    bets = Bets(gaps, len(orders))
    for t in range(1, 5):
        evidence = bets.step((stream[:, t - 1, None] > reference).sum(axis=1))
        assert evidence.mean() == pytest.approx(t, abs=1e-9)
    assert evidence.std() > 1


@pytest.mark.parametrize("images", [1, 7, 50, 179, 400, 2000])
def test_bins_hold_all_gaps_and_are_finest_in_the_tails(images):
    gaps = gaps_of(images)
    assert gaps.sum() == images + 1
    assert gaps.tolist() == gaps.tolist()[::-1] or np.abs(gaps - gaps[::-1]).max() <= 1
    assert gaps[0] == 1 and gaps.min() >= 1
    if images == 2000:
        assert len(gaps) == 24 and gaps[:7].tolist() == [1, 2, 4, 8, 16, 32, 64]


def test_no_more_false_alarms_than_asked_for_whatever_the_numbers_are():
    """1,000 references of 40, each with 60 images; skewed channels, one of whole numbers, one of a single one."""
    rng, replays, n, horizon, alpha = np.random.default_rng(0), 1000, 40, 60, 0.2
    raw = rng.standard_t(2, (replays, n + horizon, 4)) + rng.exponential(1, (replays, n + horizon, 1))
    raw[:, :, 1], raw[:, :, 2] = np.round(raw[:, :, 1]), 0
    raw = raw.astype(np.float32)
    bets = Bets(gaps_of(n), replays * 4)
    bins = np.stack([
        places(one[n:], noise(2**32 + seed, np.arange(horizon), 4), bins_of(one[:n], seed))
        for seed, one in enumerate(raw)
    ])  # fmt: skip
    alarmed, loose = np.zeros(replays, bool), np.zeros(replays, bool)
    for t in range(horizon):
        evidence = bets.step(bins[:, t].ravel()).reshape(replays, 4).max(axis=1)
        alarmed |= evidence >= 4 * horizon / alpha
        loose |= evidence >= 4 * horizon / alpha / 20
    assert alarmed.sum() <= binom.ppf(0.999, replays, alpha)
    assert loose.mean() > alpha  # the same law at a threshold that promises nothing


def test_keys_order_numbers_exactly_and_break_ties_by_luck():
    values = np.array([[-np.inf, -3.5, -1e-30, -0.0, 0.0, 1e-30, 2.0, np.inf]], np.float32).T
    luck = np.zeros(values.shape, np.uint32)
    keys = ordered_keys(values, luck).ravel()
    assert (np.diff(keys) >= 0).all() and keys[3] == keys[4]
    assert ordered_keys(values[3:4], luck[:1] + 1) > keys[4]
    fallen = places(np.zeros((20_000, 1), np.float32), noise(5, np.arange(20_000), 1), bins_of(np.zeros((99, 1)), 3))
    shares = np.bincount(fallen.ravel(), minlength=len(gaps_of(99))) / 20_000
    assert np.abs(shares - gaps_of(99) / 100).max() < 0.06  # the reference's own luck, and no more


def test_a_change_is_noticed_once_then_it_hurts_then_silence(detector, clean, noisy):
    watch = StreamDetector(detector, SOON)
    assert watch.take(*clean) == []
    alarms = watch.take(*noisy, names=[f"{number}.png" for number in range(120)])
    assert [alarm.level for alarm in alarms] in (["notice"], ["notice", "alert"])
    first = alarms[0]
    assert 200 < first.image <= 240
    assert first.name == f"{first.image - 201}.png"
    assert first.since_low <= first.since <= first.since_high <= first.image
    assert abs(first.since - 201) <= 10
    later = watch.take(*noisy) + watch.take(*noisy)
    assert [alarm.level for alarm in alarms + later].count("notice") == 1
    assert [alarm.level for alarm in alarms + later].count("alert") <= 1
    words = alarm_words(first)
    assert words[0].startswith(f"Since about image {first.since} (")
    assert json.loads(json.dumps(alarm_json(first)))["summary"] == words


def test_a_source_begins_anew_after_a_restart_and_others_never_notice(detector, clean, noisy):
    watch = StreamDetector(detector, SOON)
    assert watch.take(*noisy, source="north")
    assert watch.take(*clean, source="south") == []
    watch.restart("north")
    assert watch.take(*clean, source="north") == []
    again = watch.take(*noisy, source="north")
    assert again and again[0].source == "north" and again[0].image > 320


def test_one_call_or_many_give_the_same_state_to_the_bit(detector, clean, noisy):
    scores, predicted = (np.concatenate(pair) for pair in zip(clean, noisy, strict=True))
    groups = [None] * 100 + [f"scene {number // 3}" for number in range(220)]
    states, alarms = [], []
    for size in (1, 7, 320):
        watch, found = StreamDetector(detector, SOON), []
        for start in range(0, 320, size):
            part = slice(start, start + size)
            found += watch.take(scores[part], predicted[part], groups=groups[part])
        states.append(json.dumps(watch.state()))
        alarms.append(found)
    assert alarms[0] == alarms[1] == alarms[2] != []
    assert states[0] == states[1] == states[2]


def test_a_saved_state_goes_on_as_if_nothing_had_happened(detector, clean, noisy, tmp_path):
    whole, first = StreamDetector(detector, SOON), StreamDetector(detector, SOON)
    for watch in (whole, first):
        watch.take(*clean, groups=[str(number // 2) for number in range(200)])
    first.save(tmp_path / "state.json")
    assert (tmp_path / "state.json").stat().st_size < 60_000
    loaded = StreamDetector.load(tmp_path / "state.json", detector, SOON)
    assert loaded.take(*noisy) == whole.take(*noisy) != []
    assert json.dumps(loaded.state()) == json.dumps(whole.state())


def test_a_state_of_another_reference_or_promise_is_refused(detector, clean, tmp_path):
    watch, path = StreamDetector(detector, SOON), tmp_path / "state.json"
    watch.take(*clean)
    watch.save(path)
    with pytest.raises(DataError, match=r"state\.json: begun with a different reference"):
        StreamDetector.load(path, small_detector(seed=1), SOON)
    with pytest.raises(ConfigError, match=r"state\.json: begun with StreamLimits\(alpha=0.01, horizon=1000"):
        StreamDetector.load(path, detector)
    state = json.loads(path.read_text())
    state["sources"][""]["bets"]["money"] = "AAAA"
    path.write_text(json.dumps(state))
    with pytest.raises(DataError, match=r"state\.json: damaged .*begin anew"):
        StreamDetector.load(path, detector, SOON)
    with pytest.raises(DataError, match="nowhere"):
        StreamDetector.load(tmp_path / "nowhere", detector, SOON)


@pytest.mark.parametrize("limits", [{"alpha": 0.0}, {"alpha": 1.0}, {"horizon": 0}, {"tolerated_loss": 1.0}])
def test_impossible_limits_are_refused(detector, limits):
    with pytest.raises(ConfigError, match="expected 0 < alpha < 1"):
        StreamDetector(detector, StreamLimits(**limits))


def test_frames_of_a_group_count_once_and_alone_they_break_the_promise_visibly(detector, clean):
    scores, predicted = (np.repeat(part, 12, axis=0) for part in clean)
    keys = [str(number // 12) for number in range(len(scores))]
    grouped, single = StreamDetector(detector, SOON), StreamDetector(detector, SOON)
    assert grouped.take(scores, predicted, groups=keys) + grouped.close_group() == []
    assert grouped.sources[""].bets.total == len(detector.reference.scores) + 1 + 200
    alarms = single.take(scores, predicted)
    assert alarms and not alarms[0].holds
    assert any("copies of earlier ones" in sentence for sentence in alarm_words(alarms[0]))


def test_images_go_in_as_arrays_or_files(detector, tmp_path):
    images = corrupt(world(40, 9)[0], "gaussian_noise", 5, keys=range(40))
    watch, alarms = StreamDetector(detector, SOON), []
    for image in images:
        alarms += [alarm] if (alarm := watch.update(image)) else []
    assert alarms and alarms[0].level == "notice"
    (tmp_path / "broken.png").write_bytes(b"no image")
    before = json.dumps(watch.state())
    with pytest.raises(DataError, match=r"broken\.png"):
        watch.update([tmp_path / "broken.png"])
    with pytest.raises(DataError, match="scores: expected"):
        watch.take(np.zeros((2, 3), np.float32), np.zeros(2, np.int64))
    assert json.dumps(watch.state()) == before


def test_a_detector_read_from_disk_continues_the_state_of_the_one_that_was_saved(detector, clean, tmp_path):
    watch = StreamDetector(detector, SOON)
    watch.take(*clean)
    watch.save(tmp_path / "state.json")
    detector.save(tmp_path)
    loaded = StreamDetector.load(tmp_path / "state.json", DriftDetector.load(tmp_path, model), SOON)
    assert json.dumps(loaded.state()) == json.dumps(watch.state())


def test_known_kinds_have_channels_and_a_reference_from_before_them_still_does(detector, noisy):
    watch = StreamDetector(detector, SOON)
    moves = watch.take(*noisy)[0].channels
    words = [moved.word for moved in moves]
    assert all(
        moved.sided == (moved.channel in ("error", "energy", "novelty", "labels") or moved.word == "texture")
        for moved in moves
        if moved.channel not in ("distance", "length")
    )
    assert moves[0].evidence >= 1 and all(0.5 <= moved.evidence <= moves[0].evidence for moved in moves)
    assert "texture" in words and len(words) == len(set(words))
    reference = detector.reference
    old = reference._replace(learned=reference.learned._replace(moves=None))
    before = StreamDetector(
        DriftDetector(old, detector.forward, detector.classes, detector.preparation, identity=detector.identity,
            thumbnails=[], facts={}), SOON,
    )  # fmt: skip
    assert set(watch.channels) - set(before.channels) == {
        "axis of gaussian_noise", "axis of defocus_blur", "axis of contrast"
    }  # fmt: skip
    assert before.take(*noisy)
    with pytest.raises(DataError, match="a different reference"):
        before.restore(watch.state())


def test_the_beginning_of_a_change_is_found_among_the_bins():
    gaps = gaps_of(500)
    rng = np.random.default_rng(0)
    reference = np.sort(rng.normal(size=500))
    held = 0
    for _ in range(100):
        numbers = np.concatenate([rng.normal(size=150), rng.normal(1.5, 1, 40)])
        bins = np.searchsorted(np.cumsum(gaps) - 1, np.searchsorted(reference, numbers), side="left")
        found = change_of(bins, gaps)
        held += found.low <= 150 <= found.high
        assert found.low <= found.since <= found.high
    assert found.move > 0.8
    assert held >= 80


def test_harm_is_rarely_seen_where_errors_stay_below_the_bound_and_soon_where_not():
    rng, false, delays = np.random.default_rng(0), 0, []
    for _ in range(400):
        harm = Harm(0.1, 0.1, 1000)
        harm.notice()
        false += any(harm.step(risk, 1) for risk in rng.beta(0.5, 4.5, 300))  # mean 0.1
    for _ in range(20):
        harm = Harm(0.1, 0.1, 1000)
        harm.notice()
        delays.append(next(image for image in itertools.count(1) if harm.step(rng.beta(1, 1), 1)))
    assert false <= binom.ppf(0.999, 400, 0.1)
    assert np.median(delays) <= 8
