"""distortions.py: torchvision's operations, with amounts from the given generator alone."""

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as tv
from torchvision.transforms.v2 import functional

from drift_detector_pipeline.images.augmentation import augment
from drift_detector_pipeline.images.distortions import OPERATIONS, distorted, jitter_colours, rand_augment
from drift_detector_pipeline.settings import Augmentation, ColourJitter, RandAugment

SIDE = 24
ADJUST = {
    "brightness": functional.adjust_brightness,
    "contrast": functional.adjust_contrast,
    "saturation": functional.adjust_saturation,
    "hue": functional.adjust_hue,
}
ALL_ON = Augmentation(
    min_area=0.5, shift_px=2, flip=True, cutout_px=4,
    colour_jitter=ColourJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    rand_augment=RandAugment(operations=2, magnitude=9),
)  # fmt: skip


def picture(seed: int = 0) -> torch.Tensor:
    """A soft colourful uint8 view (1, 3, S, S), in channels-last memory as augmentation makes it."""
    noise = np.random.default_rng(seed).integers(20, 236, (6, 6, 3), dtype=np.uint8)
    grown = np.kron(noise, np.ones((4, 4, 1), dtype=np.uint8))
    return torch.from_numpy(grown).unsqueeze(0).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", ADJUST)
def test_jitter_is_torchvisions_adjustment_by_an_even_draw_from_the_range(name: str) -> None:
    view, how = picture(), ColourJitter(**{name: 0.3})
    low, high = (-0.3, 0.3) if name == "hue" else (0.7, 1.3)
    amounts = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        seen = jitter_colours(view, how, np.random.default_rng(seed))
        rng.permutation(1)
        amounts.append(rng.uniform(low, high))
        assert torch.equal(seen, ADJUST[name](view, amounts[-1]))
    assert min(amounts) < low + 0.1 and max(amounts) > high - 0.1
    assert not torch.equal(jitter_colours(view, how, np.random.default_rng(0)), view)


def test_jitter_without_strength_changes_nothing_and_draws_nothing() -> None:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert jitter_colours(picture(), ColourJitter(), rng) is not None
    assert torch.equal(jitter_colours(picture(), ColourJitter(), rng), picture())
    assert torch.equal(rand_augment(picture(), RandAugment(), rng), picture())
    assert rng.bit_generator.state == before


def test_the_four_changes_come_in_any_order() -> None:
    """Two of them do not commute, so both orders show as two results of one pair of amounts."""
    view, how = picture(), ColourJitter(brightness=0.5, contrast=0.5)
    orders = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        order, amounts = rng.permutation(2).tolist(), rng.uniform(0.5, 1.5, size=2).tolist()
        expected = view
        for place, amount in zip(order, amounts, strict=True):
            expected = (functional.adjust_brightness, functional.adjust_contrast)[place](expected, amount)
        assert torch.equal(jitter_colours(view, how, np.random.default_rng(seed)), expected)
        orders.add(tuple(order))
    assert orders == {(0, 1), (1, 0)}


@pytest.mark.parametrize("magnitude", [0, 9, 17, 30])
def test_rand_augment_gives_what_torchvisions_own_gives_and_nothing_else(magnitude: int) -> None:
    """One operation has 14 outcomes, 23 with both directions; both ways of drawing must find the same set.

    Shears are about another point: torchvision's class takes the corner, here it is the centre, as for rotations. They
    are compared below.
    """
    view = picture().contiguous()
    reference = tv.RandAugment(
        num_ops=1, magnitude=magnitude, interpolation=InterpolationMode.BILINEAR, fill=[124, 116, 104]
    )
    reference._AUGMENTATION_SPACE = {  # the reference's own table without its two shears
        name: space for name, space in reference._AUGMENTATION_SPACE.items() if not name.startswith("Shear")
    }
    theirs = set()
    for seed in range(500):
        torch.manual_seed(seed)
        theirs.add(reference(view).numpy().tobytes())
    kept = [name for name in OPERATIONS if not name.startswith("shear")]
    ours = {distorted(view, name, magnitude / 30, sign).numpy().tobytes() for name in kept for sign in (-1, 1)}
    assert ours == theirs
    assert magnitude == 0 or len(ours) >= 14


def test_a_shear_keeps_the_centre_and_moves_the_edges_against_each_other() -> None:
    view = picture().contiguous()
    for name, angles in (("shear_x", lambda degrees: [degrees, 0.0]), ("shear_y", lambda degrees: [0.0, degrees])):
        degrees = float(np.degrees(np.arctan(0.3)))
        expected = functional.affine(
            view, angle=0.0, translate=[0, 0], scale=1.0, shear=angles(degrees),
            interpolation=InterpolationMode.BILINEAR, fill=[124, 116, 104],
        )  # fmt: skip
        assert torch.equal(distorted(view, name, 1.0, 1), expected)
        assert not torch.equal(distorted(view, name, 1.0, 1), distorted(view, name, 1.0, -1))


def test_each_operation_and_both_directions_are_drawn_about_equally_often() -> None:
    view, how = picture().contiguous(), RandAugment(operations=1, magnitude=9)
    outcomes: dict[bytes, set[str]] = {}
    for name in OPERATIONS:
        for sign in (-1, 1):
            outcomes.setdefault(distorted(view, name, 0.3, sign).numpy().tobytes(), set()).add(name)
    counts = dict.fromkeys(outcomes, 0)
    for seed in range(1400):
        counts[rand_augment(view, how, np.random.default_rng(seed)).numpy().tobytes()] += 1
    assert len(outcomes) == 23  # nine operations have two directions
    assert all(20 < count < 160 for count in counts.values())  # of 50, or of 100 where both directions are one


def test_more_operations_follow_one_another() -> None:
    view, how = picture().contiguous(), RandAugment(operations=3, magnitude=12)
    for seed in range(20):
        rng, expected = np.random.default_rng(seed), view
        for _ in range(3):
            name, sign = OPERATIONS[rng.integers(14)], 1 if rng.random() < 0.5 else -1
            expected = distorted(expected, name, 0.4, sign)
        assert torch.equal(rand_augment(view, how, np.random.default_rng(seed)), expected)


def test_views_are_functions_of_the_generator_and_leave_pytorchs_alone() -> None:
    stored = picture()[0].permute(1, 2, 0).numpy()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = [augment(stored, SIDE, ALL_ON, np.random.default_rng(seed)) for seed in range(30)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    again = [augment(stored, SIDE, ALL_ON, np.random.default_rng(seed)) for seed in range(30)]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert len({view.numpy().tobytes() for view in first}) == 30


@pytest.mark.parametrize("side_px", [8, 24, 33])
def test_a_view_keeps_its_shape_and_type_and_the_stored_image_its_pixels(side_px: int) -> None:
    stored = picture()[0].permute(1, 2, 0).contiguous().numpy()
    before = stored.copy()
    for seed in range(60):
        seen = augment(stored, side_px, ALL_ON, np.random.default_rng(seed))
        assert (seen.shape, seen.dtype) == ((side_px, side_px, 3), torch.uint8)
        seen.fill_(0)
    assert np.array_equal(stored, before)
    plain = Augmentation(min_area=1, shift_px=0, flip=False, rand_augment=RandAugment(operations=1, magnitude=0))
    for seed in range(40):  # among them the identity
        augment(stored, SIDE, plain, np.random.default_rng(seed)).fill_(0)
    assert np.array_equal(stored, before)
