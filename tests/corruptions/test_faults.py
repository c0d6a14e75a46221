"""Faults of pipelines: functions of (seed, key, fault, level), larger with the level, undone by their inverses."""

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from drift_detector_pipeline.corruptions.corrupt import KINDS, SEVERITIES, corrupt
from drift_detector_pipeline.corruptions.faults import FAULTS, GROUPS, apply_fault, change, levels_of, undo_fault

RANDOM = {"night", "lens_dirt", "banner", "covered", "gray_noise"}
CELLS = [(name, level) for name, fault in FAULTS.items() for level in fault.levels]
EXACT = {"swapped_channels", "inverted", "upside_down", "mirrored", "turned_90", "turned_180", "turned_270"}


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """Twelve pieces of two real photographs: uint8 (12, 32, 32, 3)."""
    rng = np.random.default_rng(0)
    pieces = []
    for index in range(12):
        source = load_sample_images().images[index % 2][::4, ::4]
        top, left = rng.integers(0, source.shape[0] - 32), rng.integers(0, source.shape[1] - 32)
        pieces.append(source[top : top + 32, left : left + 32])
    return np.stack(pieces)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("sides", [(8, 8), (9, 13), (40, 33)])
def test_every_fault_works_at_any_side_from_8_px_on(name, sides):
    images = np.random.default_rng(1).integers(0, 256, (2, *sides, 3), dtype=np.uint8)
    before = images.copy()
    for level in FAULTS[name].levels:
        faulty = apply_fault(images, name, level, keys=[4, 5])
        assert (faulty.shape, faulty.dtype) == (images.shape, np.uint8)
        assert (faulty != images).any()
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", FAULTS)
def test_an_image_comes_out_the_same_in_any_batch(name):
    images = np.random.default_rng(2).integers(0, 256, (10, 200, 200, 3), dtype=np.uint8)  # two chunks
    together = apply_fault(images, name, FAULTS[name].levels[-1], keys=range(10))
    order = [9, 2, 7]
    alone = apply_fault(images[order], name, FAULTS[name].levels[-1], keys=order)
    np.testing.assert_array_equal(alone, together[order])


@pytest.mark.parametrize("name", FAULTS)
def test_seed_and_key_decide_what_is_random(name, photos):
    level = FAULTS[name].levels[-1]
    once = apply_fault(photos, name, level, keys=range(12))
    np.testing.assert_array_equal(apply_fault(photos, name, level, keys=range(12)), once)
    assert (apply_fault(photos, name, level, keys=range(12), seed=1) != once).any() == (name in RANDOM)
    assert (apply_fault(photos, name, level, keys=range(12, 24)) != once).any() == (name in RANDOM)


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if len(fault.levels) > 1])
def test_a_higher_level_changes_more(name, photos):
    moved = [distance(apply_fault(photos, name, level, keys=range(12)), photos) for level in FAULTS[name].levels]
    assert moved == sorted(moved)
    assert moved[-1] > 1.3 * moved[0]


@pytest.mark.parametrize(("name", "level"), [cell for cell in CELLS if FAULTS[cell[0]].inverse])
def test_an_inverse_brings_images_back_or_nearer(name, level, photos):
    faulty = apply_fault(photos, name, level, keys=range(12))
    left = distance(undo_fault(faulty, name, level), photos)
    assert left == 0 if name in EXACT else left < distance(faulty, photos)


def test_what_goes_by_name_has_a_group_and_no_corruption_has_it(photos):
    assert not set(FAULTS) & set(KINDS)
    assert {fault.group for fault in FAULTS.values()} == set(GROUPS)
    assert {fault.inverse for fault in FAULTS.values() if fault.inverse} <= set(FAULTS)
    np.testing.assert_array_equal(change(photos, "fog", 3, keys=range(12)), corrupt(photos, "fog", 3, keys=range(12)))
    np.testing.assert_array_equal(change(photos, "inverted", 1, keys=range(12)), 255 - photos)
    assert levels_of("fog") == SEVERITIES and levels_of("gray") == (1,) and levels_of("dark") == (1, 2, 3)


def test_what_does_not_exist_is_refused(photos):
    with pytest.raises(ValueError, match="expected a fault"):
        apply_fault(photos, "fog", 1, keys=range(12))
    with pytest.raises(ValueError, match="one of its levels"):
        apply_fault(photos, "gray", 2, keys=range(12))
    with pytest.raises(ValueError, match="a key for each"):
        change(photos, "gray", 1, keys=range(3))
    with pytest.raises(ValueError, match="with an inverse"):
        undo_fault(photos, "gray", 1)
    with pytest.raises(ValueError, match="expected a kind of"):
        levels_of("rain")
