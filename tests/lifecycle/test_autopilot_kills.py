"""An autopilot that is killed at any step loses nothing and does nothing twice, and the champion is always whole."""

import os
import random
import shutil
from collections import Counter
from contextlib import closing

import pytest
from changed import change_a_world, write_all
from flights import Flights, Place
from test_autopilot import make_bright_artefact

from drift_detector_pipeline.lifecycle.decisions import INTERRUPTED, decisions
from drift_detector_pipeline.lifecycle.labelling.basket_file import baskets, read_basket
from drift_detector_pipeline.lifecycle.watching.alarms import alarms
from drift_detector_pipeline.release.registry import champion, history, open_version, promote, register
from drift_detector_pipeline.serving.request_log import RequestLog

# A try that was cut off counts in the week's budget, too; here it is not to run out.
NAMES, WORDS = ("basket", "return"), ["lifecycle=heal", "lifecycle.tries_a_week=1000"]


@pytest.fixture(scope="module")
def stories(made_once, models, tmp_path_factory):
    """What there is before an autopilot looks: by name a folder to copy, and the words it flies with."""
    root = tmp_path_factory.mktemp("stories")
    bright = made_once("bright_model", lambda place: make_bright_artefact(place / "bright")) / "bright"
    changed = change_a_world(f"sqlite:///{root}/log.sqlite", models)
    write_all(changed.contents, root / "photos")
    changed.log.close()
    for name, former in (("basket", None), ("return", bright)):
        place = root / name / "models"
        first = register(models / "first", place)
        promote(first, why="the first", place=place)
        if former:
            promote(register(former, place), why="for summer", force=True, place=place)
            promote(first, why="autumn", force=True, place=place)
        shutil.copyfile(root / "log.sqlite", root / name / "log.sqlite")
    return root


@pytest.fixture(scope="module")
def flights():
    found = Flights()
    yield found
    found.close()


def begun(stories, name, place):
    """A copy of a story."""
    shutil.copytree(stories / name, place)
    return Place(
        f"sqlite:///{place}/log.sqlite", stories / "photos", place / "models", place / "baskets", place / "labels"
    )


def whole(place):
    """The champion, every byte of it checked."""
    standing = champion(place.models)
    open_version(standing.version, place.models)
    return standing.version


def told(place):
    """What an autopilot left: decisions that were not cut off, alarms, champions, baskets by their alarm."""
    with closing(RequestLog(place.database)) as log:
        done = [(one.alarm_id, one.action) for one in decisions(log) if one.outcome != INTERRUPTED]
        open_ended = [one for one in decisions(log) if one.ended_at is None]
        settled = [(one.id, one.acknowledged_by) for one in alarms(log)]
    made = Counter(read_basket(folder).alarm["id"] for folder in baskets(place.baskets))
    return done, open_ended, settled, [one.version for one in history(place.models)], made


def killed_until_done(flights, place, words, choose, steps):
    """Fly again and again, each killed at a step, until one comes to its end; how many were killed."""
    kills, standing = 0, {whole(place)}
    while (status := flights.fly(place, words, choose.randint(1, steps))[0]) != 0:
        assert status == -9
        kills += 1
        standing.add(whole(place))
    assert flights.fly(place, words)[0] == 0
    assert len(standing | {whole(place)}) <= 2  # who answered before, and who answers now
    return kills


def many_kills(flights, stories, tmp_path, wanted, seed):
    """Stories until so many were killed: kills by story, how many stories, those that ended otherwise than in peace."""
    kills, different, choose, number = Counter(), [], random.Random(seed), 0
    peace, steps = {}, {}
    for name in NAMES:
        place = begun(stories, name, tmp_path / f"{name} in peace")
        status, steps[name] = flights.fly(place, WORDS)
        assert status == 0
        peace[name] = told(place)
    while kills.total() < wanted:
        name = NAMES[number % 2]
        place = begun(stories, name, tmp_path / f"{name}{number}")
        kills[name] += killed_until_done(flights, place, WORDS, choose, round(1.25 * steps[name]))
        if (found := told(place)) != peace[name]:
            different.append((name, number, found, peace[name]))
        shutil.rmtree(tmp_path / f"{name}{number}")
        number += 1
    return kills, number, different


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_again_and_again_it_loses_nothing_and_does_nothing_twice(flights, stories, tmp_path) -> None:
    """KILLS=100 in the environment: so many."""
    kills, number, different = many_kills(flights, stories, tmp_path, int(os.environ.get("KILLS", "8")), seed=1)
    print(f"{kills.total()} kills in {number} stories, {dict(kills)}; {len(different)} ended otherwise")
    assert not different
