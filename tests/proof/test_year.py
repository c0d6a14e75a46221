"""The simulated year: its world keeps its promises, and a month of it tells the whole story."""

import contextlib
import json

import numpy as np
import pytest
from PIL import Image

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.proof.year.__main__ import PLANS, Beginning, live
from drift_detector_pipeline.proof.year.marks import marks
from drift_detector_pipeline.proof.year.online_mmd import OnlineMmd
from drift_detector_pipeline.proof.year.spread import together
from drift_detector_pipeline.proof.year.world import MIX, NOBODY, ORDER, STRANGERS, Spell, World, days, divide

SPELLS = (Spell(2, 3, "inverted", (1,)), Spell(5, 6, MIX), Spell(8, 8, STRANGERS))


@pytest.fixture
def world():
    """900 images that tell their number, of three classes and 90 of none."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (990, 8, 8, 3)).astype(np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(990) % 250, np.arange(990) // 250
    return World(images, np.concatenate([np.arange(900) % 3, np.full(90, NOBODY)]), ["a", "b", "c"])


def year(world, seed=0):
    return list(days(world, SPELLS, 10, 40, seed))


def test_a_year_is_the_same_again_and_another_by_another_seed(world) -> None:
    first, again, other = year(world), year(world), year(world, seed=1)
    assert all((one.images == two.images).all() for one, two in zip(first, again, strict=True))
    assert not all((one.labels == two.labels).all() for one, two in zip(first, other, strict=True))


def test_every_image_comes_once_and_only_strangers_have_no_label(world) -> None:
    came = [image.tobytes() for day in year(world) if day.cause != "inverted" for image in day.images]
    assert len(came) == len(set(came)) == 320
    assert {day.number for day in year(world) if (day.labels == NOBODY).any()} == {8}


def test_a_spell_changes_its_days_alone_and_a_mix_only_the_classes(world) -> None:
    known = {image.tobytes() for image in world.images}
    found = year(world)
    assert {day.number for day in found if not {image.tobytes() for image in day.images} <= known} == {2, 3}
    shares = {day.number: (day.labels == 0).mean() for day in found}
    assert min(shares[5], shares[6]) > 0.6 and max(shares[0], shares[1], shares[9]) < 0.6


def test_a_level_rises_within_its_spell() -> None:
    assert [Spell(10, 19, "fog", (1, 3, 5)).level(day) for day in range(10, 20)] == [1, 1, 1, 1, 3, 3, 3, 5, 5, 5]


def test_a_world_that_is_too_small_is_refused_before_anybody_trains(world) -> None:
    with pytest.raises(ConfigError, match=r"day 2\d: too few images of class"):
        days(world, (), 40, 40, 0)


def test_a_delivery_sorted_by_class_has_one_class_a_day(world) -> None:
    found = list(days(world, (Spell(3, 5, ORDER),), 8, 40, 0))
    assert [len(set(day.labels.tolist())) for day in found] == [3, 3, 3, 1, 1, 1, 3, 3]


def test_the_online_test_is_calm_at_home_and_alarms_within_a_window_elsewhere() -> None:
    rng = np.random.default_rng(0)
    test = OnlineMmd(rng.normal(size=(400, 8)).astype(np.float32), 1000)
    runs = [test.first(rng.normal(size=(500, 8)).astype(np.float32)) for _ in range(20)]
    assert 2 <= sum(one is not None for one in runs) <= 15  # 39 % of runs are expected to alarm within 500 of 1,000
    assert test.first(rng.normal(1.0, size=(500, 8)).astype(np.float32)) == 16


def told(seed=0, loop=0.8, oracle=0.81):
    """The report of four days, of which two were foggy and cost 40 points; the loop healed on the second."""
    day, fog = {"first": 1, "last": 2}, {"cause": "fog", "usual": 0.9, "nothing": 0.5}
    spell = day | fog | {"named": "fog", "alert_delay": 7, "levels": [3]}
    return {
        "seed": seed, "images": 80, "minutes": 1.0, "processor": "", "spells": [spell], "labels": 1,
        "alarms": [{"level": "notice", "false": False}, {"level": "alert", "false": False},
                   {"level": "notice", "false": True}],
        "champions": [{"version": "a", "action": "promote"}, {"version": "b", "action": "heal"}],
        "by_day": {"first": [0.9, 0.5, 0.5, 0.9], "loop": [0.9, 0.5, 0.7, 0.9], "versions": ["a", "a", "b", "a"]},
        "decisions": [{}, {}], "adoptions": [{"gain": 0.2}, {"gain": -0.3}],
        "accuracy": {"loop": loop, "nothing done": 0.7},
        "others": {"oracle": {"by_day": [oracle], "spells": [{"cause": "fog", "nothing": 0.5, "healed": 0.8}]}},
    }  # fmt: skip


def test_marks_count_what_was_asked_for() -> None:
    found = marks(told())
    assert (found["false_notices"], found["false_alerts"], found["harmful"], found["alerted"]) == (1, 0, 1, 1)
    assert found["won_back"] == {"heal": [pytest.approx(0.5)], "retrain": []}
    assert found["could_win_back"] == {"healed": [pytest.approx(0.75)], "retrained": []}
    assert (found["adoptions"], found["harmful_adoptions"], found["causes_right"]) == (2, 1, 1)


@pytest.mark.parametrize("cause", ["class mix", "class order"])
def test_a_costly_mix_of_classes_stands_apart_as_it_never_alerts(cause) -> None:
    report = told()
    mix = report["spells"][0] | {"cause": cause, "named": "class mix", "alert_delay": None}
    found = marks(report | {"spells": [*report["spells"], mix]})
    assert (found["harmful"], found["alerted"], found["costly_mixes"], found["causes_right"]) == (1, 1, 1, 2)


def test_years_of_several_seeds_are_put_together_with_their_spread() -> None:
    reports = [told(0, 0.8), told(1, 0.9, 0.95)]
    found = together([one | {"marks": marks(one)} for one in reports])
    assert found["accuracy"]["loop"] == {"mean": pytest.approx(0.85), "sd": pytest.approx(0.0707, abs=1e-3),
                                         "values": [0.8, 0.9]}  # fmt: skip
    met = {row["figure"]: row["met"] for row in found["figures"]}
    assert (
        met["harmful changes alerted"] and not met["false notices an image"] and met["won back by retraining"] is None
    )
    assert met["accuracy beside: nothing"] and not met["accuracy beside: oracle"]


def digits(place):
    composed = load(["data=digits", f"data.processed_path={place}"])
    process(composed.settings.data)
    return open_processed(composed.settings.data, "")


def test_pipeline_and_world_share_no_image(tmp_path) -> None:
    processed = digits(tmp_path / "digits")
    world = divide(processed, 1000, tmp_path / "raw", 0)
    own = {np.asarray(Image.open(path)).tobytes() for path in (tmp_path / "raw").rglob("*.png")}
    assert len(list((tmp_path / "raw").rglob("*.png"))) == 1000 and not (tmp_path / "raw" / "9").exists()
    others = [image.tobytes() for image in world.images]
    assert len(others) == 797 and (world.labels == NOBODY).sum() == 180
    assert len(own.intersection(others)) <= 2  # digits that were written alike


@pytest.mark.slow
def test_in_a_month_a_change_is_noticed_named_healed_and_undone_when_it_is_over(tmp_path, monkeypatch) -> None:
    small = [*PLANS["digits"].training, "model.options.channels=[16,32,32]"]  # a reference of it takes half the time
    monkeypatch.setitem(PLANS, "digits", PLANS["digits"]._replace(training=small))
    with contextlib.chdir(tmp_path):
        digits("data/processed/digits")
        report = live(Beginning("digits", 0))
        assert (tmp_path / report["folder"] / "year.html").read_text().count("<table>") == 4
        json.dumps(report)
    [spell] = report["spells"]
    assert spell["delay"] <= 20 and spell["alert_delay"] <= 40 and spell["named"] == "contrast"
    first, healed, *trained, last = (one["action"] for one in report["champions"])
    assert (first, healed, last) == ("promote", "heal", "promote") and trained in ([], ["retrain"])
    assert report["champions"][-1]["version"] == report["champions"][0]["version"]
    assert report["accuracy"]["loop"] > report["accuracy"]["nothing done"] + 0.1
    assert spell["won_back"] > 0.4
    # The healed model's world is drawn from twins, which are near the truth and not it: it may notice, and nobody acts.
    assert not any(one["false"] and one["level"] == "alert" for one in report["alarms"])
