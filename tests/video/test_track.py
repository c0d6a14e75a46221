"""Things keep their numbers: through crossings, gaps, faint frames and uneven times; and how often they lose them."""

import json

import numpy as np
import pytest
from conftest import ROOT

from drift_detector_pipeline.proof.video_tracking import MOTIONS, scene
from drift_detector_pipeline.proof.video_tracking import follow as followed
from drift_detector_pipeline.video.track import LONGEST_OUT_OF_SIGHT_S, Tracker

RATE = 25.0


def box(x, y, side=30.0):
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def follow(frames, rate=RATE, sure=0.5, label=0):
    """Numbers of each frame's boxes; a frame is a list of boxes or of (box, score)."""
    tracker, numbers = Tracker(rate, sure), []
    for place, boxes in enumerate(frames):
        pairs = [one if isinstance(one, tuple) else (one, 0.9) for one in boxes]
        numbers.append(
            tracker.update(place / rate, [one for one, _ in pairs], [label] * len(pairs), [score for _, score in pairs])
        )
    return numbers


def test_two_things_that_cross_keep_their_numbers():
    frames = [[box(50 + 6 * n, 100), box(350 - 6 * n, 104)] for n in range(50)]
    assert follow(frames) == [[1, 2]] * 50


def test_the_order_of_the_boxes_does_not_matter():
    frames = [[box(50 + 6 * n, 100), box(350 - 6 * n, 104)] for n in range(50)]
    numbers = follow([boxes[:: 1 - 2 * (n % 2)] for n, boxes in enumerate(frames)])
    assert numbers == [[1, 2] if n % 2 == 0 else [2, 1] for n in range(50)]


def test_a_thing_out_of_sight_for_half_a_second_comes_back_under_its_number():
    frames = [[] if 20 <= n < 32 else [box(50 + 5 * n, 80)] for n in range(60)]
    assert {number for numbers in follow(frames) for number in numbers} == {1}


def test_what_was_away_too_long_is_something_new():
    away = int(LONGEST_OUT_OF_SIGHT_S * RATE) + 2
    frames = [[box(90, 80)]] * 10 + [[]] * away + [[box(90, 80)]] * 10
    assert follow(frames)[9] == [1] and follow(frames)[-1] == [2]


def test_a_new_thing_gets_the_next_number_and_none_is_given_twice():
    frames = [[box(60, 60)] if n < 5 else [box(60, 60), box(300, 200)] for n in range(8)]
    frames += [[]] * 60 + [[box(60, 60), box(300, 200), box(500, 60)]]
    numbers = follow(frames)
    assert (numbers[0], numbers[5], numbers[-1]) == ([1], [1, 2], [3, 4, 5])


def test_a_faint_box_goes_on_with_a_thing_and_never_begins_one():
    frames = [[(box(50 + 3 * n, 80), 0.2 if 5 <= n < 12 else 0.9), (box(300, 200), 0.3)] for n in range(20)]
    assert follow(frames) == [[1, None]] * 20


def test_a_thing_never_changes_its_class():
    tracker = Tracker(RATE, 0.5)
    assert tracker.update(0.0, [box(50, 50)], [0], [0.9]) == [1]
    assert tracker.update(0.04, [box(50, 50)], [1], [0.9]) == [2]
    assert tracker.update(0.08, [box(50, 50), box(50, 50)], [1, 0], [0.9, 0.9]) == [2, 1]


def test_frames_far_apart_in_time_are_far_apart_in_place():
    """Ten frames are missing in the middle of a video of uneven times: the thing has gone on, and is found there."""
    moments = [n for n in range(60) if not 25 <= n < 35]
    tracker = Tracker(RATE, 0.5)
    said = [tracker.update(n / RATE, [box(30 + 8 * n, 90), box(700 - 8 * n, 110)], [0, 0], [0.9] * 2) for n in moments]
    assert said == [[1, 2]] * 50


def test_a_small_fast_thing_that_overlaps_with_nothing_it_was_is_followed():
    assert follow([[box(30 + 25 * n, 90, side=20.0)] for n in range(20)]) == [[1]] * 20


def test_the_figures_of_the_guide_equal_the_report_they_come_from():
    page, report = (ROOT / "docs/boxes.md").read_text(), json.loads((ROOT / "reports/video_tracking.json").read_text())
    for row in report["rows"]:
        if row["motion"] in ("usual", "fast", "crowded") and row["tracker"] in ("ours", "ByteTrackTracker"):
            assert f"{row['switches']:.1f} ± {row['standard_error']:.1f}" in page, row


def test_empty_frames_and_boxes_without_area_are_no_trouble():
    assert follow([[], [], [[10, 10, 10, 10]], [[10, 10, 10, 10]], []])[2:4] == [[1], [1]]


def test_the_same_boxes_give_the_same_numbers():
    frames = [[(one.box, one.score) for one in found] for found in scene(3, MOTIONS["noisy"])]
    assert follow(frames) == follow(frames)


@pytest.mark.parametrize(("motion", "most"), [("usual", 8), ("crowded", 12), ("fast", 25)])
def test_numbers_are_seldom_lost_where_much_moves_and_hides(motion, most):
    """Of some 1,000 boxes a scene, and 2,500 of the crowded one; without a motion model it is three times as often."""
    found = [followed(list(scene(seed, MOTIONS[motion])), Tracker(RATE, 0.5)) for seed in range(4)]
    assert np.mean([one.switches for one in found]) <= most, found
    assert min(one.numbered for one in found) > 0.95, found
