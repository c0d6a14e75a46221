"""A copy that adapts to a window takes its statistics, and its confidence says how often the original is right."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from drift_detector_pipeline.drift.accuracy import Known
from drift_detector_pipeline.drift.copy_accuracy import (
    LARGEST,
    CopyErrors,
    LabelledWindow,
    bounds_for_another,
    estimate_by_copy,
    fit_usual,
    learn_copy,
)
from drift_detector_pipeline.drift.scores.adapted import PRIOR, adapts, blended_statistics
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.drift.scores.signals import Layers, read_signals
from drift_detector_pipeline.drift.second_look import (
    Answers,
    answers_of,
    balanced,
    fit_recentring,
    look_again,
    look_at_windows,
)

CLASSES, SIDE = 4, 8
RNG = np.random.default_rng(0)
KNOWN = Known(0.9, 0.1, 0.01)
FIT = 1000  # images that windows are drawn from
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def network(*, normalised=True):
    torch.manual_seed(0)
    first = nn.BatchNorm2d(5) if normalised else nn.GroupNorm(1, 5)
    last = nn.BatchNorm2d(6) if normalised else nn.GroupNorm(1, 6)
    layers = (nn.Conv2d(3, 5, 3), first, nn.ReLU(), nn.Conv2d(5, 6, 3), last, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(6, CLASSES)).eval()


def pictures(count, light=128):
    return np.clip(RNG.normal(light, 40, (count, SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def looks(size, aside=0.0):
    """How the images of a window look: two columns in standard deviations of clean ones."""
    return RNG.normal(aside, 1, (size, 2)).astype(np.float32)


def estimated(one, usual, judge):
    return estimate_by_copy(one.answers, one.looks, usual, KNOWN, judge)


def window(size, astray, *, change="", family="", strong=False, unsure=0.0):
    """A window in which a share of the network's answers is wrong; its copy is mostly right and knows how sure it is.

    `unsure` makes it less so.
    """
    labels = RNG.integers(0, CLASSES, size)
    own, copied = np.full((size, CLASSES), -4.0), np.zeros((size, CLASSES))
    wrong = RNG.random(size) < astray
    own[np.arange(size), (labels + wrong) % CLASSES] = 4
    mistaken = RNG.random(size) < 0.1 + unsure / 3
    copied[np.arange(size), (labels + mistaken) % CLASSES] = RNG.normal(3 - 2 * unsure, 1, size)
    answers = Answers(own.astype(np.float32), copied.astype(np.float32))
    return LabelledWindow(change, family, strong, answers, labels, looks(size))


@pytest.fixture(scope="module")
def taught():
    clean = [window(size, 0.1) for size in (16, 64, 256) for _ in range(6)]
    changed = [
        window(size, astray, change=f"{family} {level}", family=family, strong=level == 2, unsure=unsure)
        for family, unsure in (("a", 0.0), ("b", 0.1), ("c", 0.3))
        for level, astray in enumerate((0.1, 0.3, 0.7))
        for size in (256, 64, 16) * 5
    ]
    judge = learn_copy(clean, changed, KNOWN, FIT)
    return judge, fit_usual([one.answers for one in clean], KNOWN.accuracy, judge.temperature)


def test_statistics_are_the_networks_own_blended_with_those_of_the_images():
    module, inputs = network(), torch.randn(48, 3, SIDE, SIDE) * 2 + 1
    before = copy.deepcopy(module.state_dict())
    found = blended_statistics(module, inputs)
    seen, own = module[0](inputs), PRIOR / (PRIOR + 48)
    expected = own * module[1].running_mean + (1 - own) * seen.mean((0, 2, 3))
    torch.testing.assert_close(found["1.running_mean"], expected.detach())
    assert set(found) == {f"{layer}.running_{name}" for layer in (1, 4) for name in ("mean", "var")}
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())  # it is left alone


def test_deeper_layers_see_what_adapted_ones_give():
    module, inputs = network(), torch.randn(64, 3, SIDE, SIDE) * 3 + 2
    found = blended_statistics(module, inputs)
    adapted = copy.deepcopy(module)
    adapted.load_state_dict(found, strict=False)
    seen, own = adapted[:4](inputs), PRIOR / (PRIOR + 64)
    expected = own * module[4].running_mean + (1 - own) * seen.mean((0, 2, 3))
    torch.testing.assert_close(found["4.running_mean"], expected.detach(), rtol=1e-4, atol=1e-4)


def test_a_second_pass_is_a_function_of_images_and_statistics():
    module, images = network(), pictures(32, light=30)
    forward = through(module, MEAN, STD, Layers((), "8"))
    signals = read_signals(images, forward)
    look = look_again(images, signals, forward, np.arange(32))
    adapted = copy.deepcopy(module)
    adapted.load_state_dict(forward.adapted(images[look.some]).statistics, strict=False)
    again = read_signals(images, through(adapted, MEAN, STD, Layers((), "8")))
    np.testing.assert_allclose(look.logits, again.logits, rtol=1e-4, atol=1e-4)
    assert not np.allclose(look.logits, signals.logits, atol=1e-2)


def test_a_network_without_batchnorm_has_its_features_moved_back():
    module = network(normalised=False)
    assert not adapts(module)
    forward = through(module, MEAN, STD, Layers((), "8"))
    clean, dark = (read_signals(pictures(200, light), forward) for light in (128, 40))
    recentring = fit_recentring(clean, [dark])
    look = look_again(pictures(200, 40), dark, forward, np.arange(200))
    assert look.logits is None
    moved = answers_of(look, dark, recentring).copy
    usual, astray = clean.logits.mean(axis=0), dark.logits.mean(axis=0)
    assert np.abs(moved.mean(axis=0) - usual).max() < 0.5 * np.abs(astray - usual).max()


def test_windows_are_no_larger_than_the_images_there_are():
    images, forward = pictures(20), through(network(), MEAN, STD, Layers((), "8"))
    looks = look_at_windows(images, read_signals(images, forward), forward, {64: 1, 8: 2})
    assert [len(look.rows) for look in looks] == [20, 8, 8]


def test_a_copy_adapts_to_all_predicted_classes_alike():
    predicted = np.repeat([0, 1, 2], [80, 12, 8])
    chosen = balanced(predicted, np.random.default_rng(0))
    assert len(chosen) == len(set(chosen.tolist())) == 75
    assert np.bincount(predicted[chosen]).tolist() == [55, 12, 8]


@pytest.mark.parametrize("astray", [0.05, 0.4, 0.8])
def test_the_estimate_follows_the_truth_however_sure_the_network_is_of_itself(taught, astray):
    judge, usual = taught
    off, held = [], []
    for _ in range(20):
        one = window(256, astray, unsure=RNG.choice([0.0, 0.1, 0.3]))
        truth = float((one.answers.own.argmax(axis=1) == one.labels).mean())
        found = estimated(one, usual, judge)
        off.append(found.accuracy - truth)
        held.append(found.low <= truth <= found.high)
    assert np.abs(off).mean() < 0.1  # the network, asked itself, would be off by all it is astray
    assert np.mean(held) >= 0.7  # nine of ten are meant, in the mean over changes
    assert found.by_copy
    assert found.known


def test_what_clean_images_show_of_copies_says_less_the_more_is_lost(taught):
    judge, usual = taught
    better = KNOWN._replace(accuracy=KNOWN.accuracy + 0.05)  # more of the clean images are right than copies think
    none = judge._replace(process=judge.process._replace(weights=np.zeros_like(judge.process.weights)))
    shifts = []
    for unsure in (0.0, 0.5, 1.2):
        one = window(256, 0.0, unsure=unsure)
        before, after = (estimate_by_copy(one.answers, one.looks, usual, known, none) for known in (KNOWN, better))
        shifts.append(after.accuracy - before.accuracy)
    assert 0.02 < shifts[0] <= 0.05
    assert shifts[0] > 2 * shifts[1] > 4 * shifts[2]


def test_changes_of_which_there_are_few_images_teach_too():
    clean = [window(size, 0.1) for size in (16, 64, 256) for _ in range(6)]
    many = [window(size, 0.3, change="fog 3", family="weather") for size in (16, 256)]
    few = [window(size, 0.7, change="turned 1", family="orientation", unsure=0.3) for size in (16, 200)]
    taught = learn_copy(clean, [*many, *few], KNOWN, FIT).process.places
    assert len(taught) == 2  # the largest of each change, not those of the one that has the most images


def test_small_windows_have_wide_intervals(taught):
    judge, usual = taught
    few, many = (estimated(window(size, 0.4), usual, judge) for size in (16, 256))
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_further_out_than_anything_taught_nothing_is_known_and_a_loss_is_likely(taught):
    judge, usual = taught
    labels = RNG.integers(0, CLASSES, 64)
    own = np.eye(CLASSES, dtype=np.float32)[labels] * 8
    flat = Answers(own, RNG.normal(0, 1e-3, (64, CLASSES)).astype(np.float32))  # the copy has no idea at all
    taught_sure = judge.process.places[:, 2].min()
    found = estimate_by_copy(flat, looks(64), usual._replace(sureness=usual.sureness + 1), KNOWN, judge)
    assert taught_sure > -1
    assert not found.known
    assert found.low == 0
    assert found.high >= KNOWN.accuracy
    assert found.likely_loss == 1


@pytest.mark.parametrize("families", [3, 6, 11])
def test_bounds_hold_nine_of_ten_errors_of_a_family_never_met(families):
    rng, held, by_quantiles = np.random.default_rng(1), [], []
    for _ in range(200):
        taught = [rng.normal(rng.normal(0, 1), 0.5, 20) for _ in range(families)]
        new = rng.normal(rng.normal(0, 1, (50, 1)), 0.5, (50, 20))
        for found, (low, high) in (
            (held, bounds_for_another(taught)),
            (by_quantiles, np.quantile(np.concatenate(taught), [0.05, 0.95])),
        ):
            found.append(((low <= new) & (new <= high)).mean())
    assert 0.87 <= np.mean(held) <= 0.94
    assert np.mean(by_quantiles) < np.mean(held) - 0.03  # few families: the next one is unlike any of them


def doubted(rng, size, ease, *, change="", family="", misled=0.0):
    """A window whose copy knows how probable each prediction is, but for `misled`, which is added to all of them."""
    right = rng.beta(ease, 1, size)
    predicted = rng.integers(0, CLASSES, size)
    labels = (predicted + (rng.random(size) >= right)) % CLASSES
    said = np.clip(right + misled, 0.01, 0.99)
    chances = np.repeat((1 - said)[:, None] / (CLASSES - 1), CLASSES, axis=1)
    chances[np.arange(size), predicted] = said
    own = np.eye(CLASSES, dtype=np.float32)[predicted] * 8
    return LabelledWindow(change, family, False, Answers(own, np.log(chances).astype(np.float32)), labels, looks(size))


def test_intervals_hold_small_windows_as_they_hold_large_ones():
    rng = np.random.default_rng(2)
    clean = [doubted(rng, size, 9) for size in (16, 64, 256) for _ in range(8)]
    changed = [
        doubted(rng, size, ease, change=f"{family} {ease}", family=family, misled=0.02 * misled)
        for family, misled in zip("abcdef", rng.normal(size=6), strict=True)
        for ease in (1, 2, 4)
        for size in (256, 64, 16, 16)
    ]
    judge = learn_copy(clean, changed, KNOWN, FIT)
    usual = fit_usual([one.answers for one in clean], KNOWN.accuracy, judge.temperature)
    for size in (16, 64, 256):
        held = []
        for _ in range(150):
            one = doubted(rng, size, rng.choice([1, 2, 4]), misled=0.02 * rng.normal())
            found = estimated(one, usual, judge)
            held.append(found.low <= (one.answers.own.argmax(axis=1) == one.labels).mean() <= found.high)
        assert np.mean(held) >= 0.85  # nine of ten are meant, over the worlds that teach six families
    small, large = (estimated(doubted(rng, size, 2), usual, judge) for size in (16, 256))
    assert small.high - small.low > 2 * (large.high - large.low)


def test_the_luck_of_the_images_that_taught_an_interval_is_in_its_width(taught):
    judge, usual = taught
    one = window(256, 0.4)
    found = {
        images: estimated(one, usual, judge._replace(errors=CopyErrors(*np.float32([[images], [-2], [2]]))))
        for images in (40, 400, 1e9, LARGEST)  # the last: an older reference, which does not say how many
    }
    width = {images: said.high - said.low for images, said in found.items()}
    assert width[1e9] == pytest.approx(width[LARGEST])
    for images in (40, 400):
        luck = found[images].accuracy * (1 - found[images].accuracy) / images
        assert width[images] == pytest.approx(np.sqrt(width[1e9] ** 2 + 16 * luck))
    assert len({one.likely_loss for one in found.values()}) == 1  # alerts are as they were


def test_bounds_by_size_of_older_references_are_read_between_sizes(taught):
    judge, usual = taught
    bounds = ([16, 256], [-1, -3], [1, 3])
    older = judge._replace(errors=CopyErrors(*(np.array(values, dtype=np.float32) for values in bounds)))
    alike = judge._replace(errors=CopyErrors(*(np.array([value], dtype=np.float32) for value in (256, -2, 2))))
    one = window(64, 0.4)  # of a size half way
    found, expected = (estimated(one, usual, each) for each in (older, alike))
    assert found.high - found.low == pytest.approx(expected.high - expected.low)
