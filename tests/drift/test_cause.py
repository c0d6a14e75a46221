"""The cause of a drift: known changes are named, unknown ones are not, a mix is a mix, and words say it."""

import json
import re
from itertools import permutations

import numpy as np
import pytest

from drift_detector_pipeline.corruptions.corrupt import KINDS
from drift_detector_pipeline.corruptions.faults import FAULTS, levels_of
from drift_detector_pipeline.drift.cause import CONTENT, MIX, UNKNOWN, Cause, Seen, find_cause
from drift_detector_pipeline.drift.cause_words import WORDS, in_words, remedy, words_for
from drift_detector_pipeline.drift.causes import Causes, Change, Clean, learn_causes
from drift_detector_pipeline.drift.scores.phi import CHANNELS
from drift_detector_pipeline.drift.twins import CHANGES

SCORES, CLASSES, FIT, REF = 12, 4, 800, 600
NAMES = ["ant", "bee", "cat", "dog"]
CONTENT_SCORES = np.arange(SCORES) >= 8  # the last four tell the classes apart
WAYS = {"fog": 0, "contrast": 1, "dark": 2, "jpeg": 3, "upside_down": 4}  # each moves a score of its own, and the next


def images(count: int, seed: int, shares=None) -> tuple[np.ndarray, np.ndarray]:
    """Scores and classes of clean images: float32 (N, 12), (N,)."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, count, p=shares)
    scores = rng.standard_normal((count, SCORES))
    scores[np.arange(count), 8 + labels] += 2
    return scores.astype(np.float32), labels


def changed(scores: np.ndarray, kind: str, level: float, seed: int = 0) -> np.ndarray:
    moved = scores.copy()
    moved[:, WAYS[kind]] += np.float32(0.8 * level)
    moved[:, WAYS[kind] + 1] -= np.float32(0.5 * level)
    return moved * np.float32(1 - 0.04 * level)


@pytest.fixture(scope="module")
def causes() -> Causes:
    scores, labels = images(FIT, 0)
    rng = np.random.default_rng(1)
    changes = []
    for kind in WAYS:
        for level in levels_of(kind):
            rows = np.sort(rng.choice(FIT, 200, replace=False))
            changes.append(Change(kind, level, rows, changed(scores[rows], kind, level)))
    found = learn_causes(Clean(scores, labels, labels, CLASSES), changes)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def reference() -> Seen:
    return Seen(*images(REF, 2))


def asked(causes: Causes, reference: Seen, scores: np.ndarray, predicted: np.ndarray) -> Cause:
    return find_cause(causes, reference, Seen(scores, predicted), NAMES, CONTENT_SCORES)


@pytest.mark.parametrize("apart", [0.0, 0.6])
@pytest.mark.parametrize("happened", ["turned_180", "upside_down"])
def test_what_only_a_mirror_tells_apart_is_named_by_what_is_commoner_unless_the_network_tells(apart, happened) -> None:
    """Both move the first score, by as much but for chance; the second one only if the network sees a difference."""

    def moved(scores, kind, seed):
        rng = np.random.default_rng(seed)
        found = scores + rng.normal(0, 1, scores.shape).astype(np.float32)
        found[:, 0] += np.float32(1.5)
        found[:, 1] += np.float32(apart if kind == "turned_180" else -apart)
        return found

    scores, labels = images(FIT, 0)
    twins = {kind: moved(scores[:200], kind, seed) for seed, kind in enumerate(("upside_down", "turned_180"))}
    learned = learn_causes(
        Clean(scores, labels, labels, CLASSES),
        [Change(kind, 1, np.arange(200), found) for kind, found in twins.items()],
    )
    window, predicted = images(64, 20)
    seen = Seen(moved(window, happened, 9), predicted)
    found = find_cause(learned, Seen(*images(REF, 2)), seen, NAMES, CONTENT_SCORES)
    if apart:
        assert found.kind == happened and found.probability > 0.9
    else:
        assert (found.kind, found.alternatives[0][0]) == ("turned_180", "upside_down")
        assert found.probability == pytest.approx(2 / 3, abs=0.02)


@pytest.mark.parametrize("kind", WAYS)
def test_a_known_change_is_named_with_its_severity(kind, causes, reference):
    for level in levels_of(kind):
        scores, labels = images(64, 10 + level)
        found = asked(causes, reference, changed(scores, kind, level), labels)
        assert (found.kind, found.far < 1) == (kind, True)
        assert abs(found.severity - level) <= 0.5
        assert found.probability > 0.9


def test_a_strength_between_two_levels_is_told_as_such(causes, reference):
    scores, labels = images(400, 3)
    assert asked(causes, reference, changed(scores, "fog", 3.5), labels).severity == pytest.approx(3.5, abs=0.3)


@pytest.mark.parametrize("kind", WAYS)
def test_a_change_that_was_left_out_is_unknown(kind, causes, reference):
    kept = causes.kinds != kind
    parts = ("kinds", "levels", "images", "moves", "spreads")
    others = causes._replace(**{part: getattr(causes, part)[kept] for part in parts})
    scores, labels = images(64, 4)
    level = levels_of(kind)[-1]
    found = asked(others, reference, changed(scores, kind, 2 * level), labels)
    assert found.kind == UNKNOWN and found.far > 1
    assert kind not in {name for name, _ in found.alternatives}


def test_two_changes_at_once_are_told_apart(causes, reference):
    scores, labels = images(128, 5)
    found = asked(causes, reference, changed(changed(scores, "fog", 5), "jpeg", 5), labels)
    assert {found.kind, found.second} == {"fog", "jpeg"}
    assert ", and also " in in_words(found)


def test_a_change_of_class_mix_is_one_and_its_shares_are_told(causes, reference):
    found = asked(causes, reference, *images(128, 6, shares=[0.7, 0.1, 0.1, 0.1]))
    assert found.kind == MIX
    name, then, now = found.mix[0]
    assert (name, then, now) == ("ant", pytest.approx(0.25, abs=0.05), pytest.approx(0.7, abs=0.1))
    assert "The mix of classes changed, not the looks" in in_words(found)
    assert f"about {name}: {100 * now:.0f} % instead of" in in_words(found)  # a name may be a number


def test_a_change_of_looks_is_named_though_the_mix_changed_too(causes, reference):
    scores, labels = images(128, 7, shares=[0.6, 0.2, 0.1, 0.1])
    assert asked(causes, reference, changed(scores, "contrast", 4), labels).kind == "contrast"


def test_something_new_of_the_same_looks_is_called_content(causes, reference):
    scores, labels = images(128, 8)
    scores[:, 8:] -= np.float32(1.2)  # like no class at all
    assert asked(causes, reference, scores, labels).kind == CONTENT


def test_what_did_not_change_is_no_known_cause(causes, reference):
    kinds = [asked(causes, reference, *images(64, 100 + seed)).kind for seed in range(20)]
    assert kinds.count(UNKNOWN) >= 18


def test_changes_that_leave_images_as_they_are_are_not_learned():
    scores, labels = images(200, 9)
    rows = np.arange(100)
    clean, same = Clean(scores, labels, labels, CLASSES), Change("gray", 1, rows, scores[rows])
    assert learn_causes(clean, [same]) is None
    found = learn_causes(clean, [same, Change("fog", 3, rows, changed(scores[rows], "fog", 3))])
    assert found.kinds.tolist() == ["fog"]


def test_every_change_has_words_a_channel_and_a_remedy():
    assert set(WORDS) == {*KINDS, *FAULTS} == set(CHANGES)
    for kind in (*WORDS, MIX, CONTENT, UNKNOWN):
        assert words_for(kind).channel in CHANNELS
        assert words_for(kind).remedy.endswith((".", ")"))
    assert len({words.seen for words in WORDS.values()}) == len(WORDS)


def test_two_likely_causes_are_named_without_saying_what_they_begin_with_twice():
    for kind, other in permutations(WORDS, 2):
        first, second = words_for(kind).seen, words_for(other).seen
        said = in_words(Cause(kind, None, 0.5, 0.4, ((other, 0.4),)))
        short, long = sorted((first, second), key=len)
        assert said.count(short) == 1 or not re.match(rf"{short}\b", long)
        assert said.endswith(" (probability 50 %).") and long.removeprefix(short).lstrip(", ") in said


def test_words_name_the_cause_its_strength_and_the_doubt():
    plain = Cause("fog", 3.1, 0.97, 0.4, (("contrast", 0.02),))
    assert in_words(plain) == "They are clearly foggy (severity 3.1 of 5, probability 97 %)."
    doubtful = plain._replace(kind="upside_down", severity=1.0, probability=0.6, alternatives=(("turned_180", 0.4),))
    assert in_words(doubtful) == "They are upside down or turned by half (probability 60 %)."
    for kind, other, said in (
        ("gaussian_noise", "shot_noise", "They are clearly grainy, perhaps as in little light (severity 3.0 of 5"),
        ("shot_noise", "gaussian_noise", "They are clearly grainy, probably as in little light (severity 3.0 of 5"),
        ("shot_noise", "fog", "They are clearly grainy, as in little light, or foggy (severity 3.0 of 5"),
        ("fog", CONTENT, "They are clearly foggy or of something new (severity 3.0 of 5"),
    ):
        assert in_words(plain._replace(kind=kind, severity=3.0, alternatives=((other, 0.4),))).startswith(said)
    unknown = Cause(UNKNOWN, None, 0.0, 3.0, (("fog", 0.9), ("snow", 0.1)))
    assert in_words(unknown).startswith("The cause is unknown") and "foggy" in in_words(unknown)
    assert "BGR" in remedy(Cause("swapped_channels", 1.0, 1.0, 0.1))
    json.dumps(plain._asdict())
