"""splits.py: the laws of the three roles, on many random sources."""

import hashlib
import random
from collections import Counter
from itertools import pairwise

import pytest

from drift_detector_pipeline.processed.splits import SPLITS, assign, some_of
from drift_detector_pipeline.raw.listing import RawImage


def source(seed: int, *, val_folder: bool) -> list[RawImage]:
    """A random source: 2 to 5 classes of 1 to 60 images."""
    chance, images = random.Random(seed), []
    for label in range(chance.randint(2, 5)):
        for number in range(chance.randint(1, 60)):
            in_val = chance.random() < 0.3 if val_folder and number else (False if val_folder else None)
            key = f"{label}/{number}-{seed}.png"
            images.append(RawImage(f"{'val' if in_val else 'train'}/{key}", str(label), in_val, key))
    return images


@pytest.mark.parametrize("val_folder", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_counts_follow_the_documented_rule(seed: int, val_folder: bool) -> None:
    images = source(seed, val_folder=val_folder)
    counts = Counter(zip((image.class_name for image in images), assign(images, 0.2, 0.1), strict=True))
    for name in {image.class_name for image in images}:
        total = sum(image.class_name == name for image in images)
        given = sum(image.class_name == name and bool(image.in_val_folder) for image in images)
        val = given if val_folder else min(total - 1, max(1, round(0.2 * total)))
        fit = min(total - val - 1, round(0.1 * (total - val)))
        assert [counts[name, split] for split in SPLITS] == [total - val - fit, fit, val]


@pytest.mark.parametrize("seed", range(5))
def test_val_is_the_smallest_hashes_and_fit_the_next(seed: int) -> None:
    images = source(seed, val_folder=False)
    splits = dict(zip(images, assign(images, 0.3, 0.3), strict=True))
    for name in {image.class_name for image in images}:
        members = [image for image in images if image.class_name == name]
        members.sort(key=lambda image: hashlib.sha256(image.key.encode()).digest())
        order = [("val", "fit", "train").index(splits[image]) for image in members]
        assert order == sorted(order)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_images_changes_nothing(seed: int) -> None:
    images = source(seed, val_folder=False)
    shuffled = random.Random(1).sample(images, len(images))
    assert dict(zip(images, assign(images, 0.2, 0.1), strict=True)) == dict(
        zip(shuffled, assign(shuffled, 0.2, 0.1), strict=True)
    )


def test_a_class_of_another_size_does_not_move_the_images_of_this_one() -> None:
    images = source(3, val_folder=False)
    alone = [image for image in images if image.class_name == "0"]
    together = [split for image, split in zip(images, assign(images, 0.2, 0.1), strict=True) if image.class_name == "0"]
    assert assign(alone, 0.2, 0.1) == together


@pytest.mark.parametrize("seed", range(10))
def test_a_validation_folder_is_val_and_nothing_else_is(seed: int) -> None:
    images = source(seed, val_folder=True)
    for image, split in zip(images, assign(images, 0.2, 0.1), strict=True):
        assert (split == "val") == bool(image.in_val_folder)


@pytest.mark.parametrize("val_folder", [False, True])
def test_no_fit_fraction_means_no_fit_images(val_folder: bool) -> None:
    assert "fit" not in assign(source(0, val_folder=val_folder), 0.2, 0)


@pytest.mark.parametrize("fractions", [(0.99, 0.99), (0.0, 0.99), (0.99, 0.0)])
def test_every_class_keeps_an_image_to_train_on_and_two_give_one_to_val(fractions: tuple[float, float]) -> None:
    for total in range(1, 8):
        images = [RawImage(f"a/{number}", "a", None, f"a/{number}") for number in range(total)]
        splits = assign(images, *fractions)
        assert "train" in splits
        assert ("val" in splits) == (total > 1)


def test_names_that_are_no_utf8_are_hashed_by_their_bytes() -> None:
    images = [RawImage(f"a/{number}\udce9", "a", None, f"a/{number}\udce9") for number in range(3)]
    first = min(images, key=lambda image: hashlib.sha256(f"{image.key[:-1]}".encode() + b"\xe9").digest())
    assert assign(images, 0.2, 0)[images.index(first)] == "val"


def test_nothing_in_nothing_out() -> None:
    assert assign([], 0.2, 0.1) == []


PATHS = [f"{label}/{number}.png" for label, count in enumerate((60, 30, 9, 1)) for number in range(count)]
LABELS = [int(path[0]) for path in PATHS]


@pytest.mark.parametrize("limit", [4, 7, 20, 50, 99])
def test_a_limit_takes_each_class_in_proportion_and_the_first_of_each(limit: int) -> None:
    chosen = some_of(PATHS, LABELS, limit)
    assert len(chosen) == limit and chosen == sorted(set(chosen))
    counts = Counter(LABELS[position] for position in chosen)
    for label, size in enumerate((60, 30, 9, 1)):
        assert abs(counts[label] - limit * size / 100) < 1.5
        assert counts[label] >= 1
        by_hash = sorted((hashlib.sha256(path.encode()).digest(), path) for path in PATHS if path[0] == str(label))
        assert {PATHS[position] for position in chosen if LABELS[position] == label} == {
            path for _, path in by_hash[: counts[label]]
        }


def test_a_smaller_limit_gives_a_part_of_what_a_larger_one_gives_whatever_the_order_of_the_images() -> None:
    chosen = [{PATHS[position] for position in some_of(PATHS, LABELS, limit)} for limit in (1, 3, 10, 40, 100, 1000)]
    assert all(small < large for small, large in pairwise(chosen[:4]))
    assert chosen[4] == chosen[5] == set(PATHS)
    order = random.Random(0).sample(range(100), 100)
    moved = [PATHS[position] for position in order]
    assert {moved[position] for position in some_of(moved, [LABELS[one] for one in order], 40)} == chosen[3]
