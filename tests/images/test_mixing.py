"""mixing.py: two views in one, and how much of it is whose."""

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest

from drift_detector_pipeline.images.mixing import cutmix, mixup

SIDE = 20
DARK, BRIGHT = (torch.full((SIDE, SIDE, 3), value, dtype=torch.uint8) for value in (0, 200))


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_the_share_says_how_much_of_the_image_is_its_own(mix) -> None:
    for seed in range(200):
        mixed, share = mix(BRIGHT, DARK, 1.0, np.random.default_rng(seed))
        assert (mixed.shape, mixed.dtype) == (BRIGHT.shape, torch.uint8)
        assert 0 <= share <= 1
        assert float(mixed.double().mean()) == pytest.approx(200 * share, abs=0.5)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_it_is_a_function_of_the_generator_that_leaves_both_views_as_they_were(mix) -> None:
    torch.manual_seed(0)
    first = [mix(BRIGHT, DARK, 1.0, np.random.default_rng(seed)) for seed in range(50)]
    torch.manual_seed(1)
    again = [mix(BRIGHT, DARK, 1.0, np.random.default_rng(seed)) for seed in range(50)]
    assert all(torch.equal(one[0], other[0]) and one[1] == other[1] for one, other in zip(first, again, strict=True))
    assert len({share for _, share in first}) > 25
    assert (BRIGHT == 200).all() and (DARK == 0).all()


def test_mixup_is_the_weighted_mean_of_each_pixel() -> None:
    rng = np.random.default_rng(5)
    own, other = (torch.from_numpy(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(2))
    for seed in range(20):
        mixed, share = mixup(own, other, 0.4, np.random.default_rng(seed))
        exact = share * own.double() + (1 - share) * other.double()
        assert float((mixed.double() - exact).abs().max()) <= 0.5 + 1e-4


def test_cutmix_shows_one_rectangle_of_the_other_at_its_own_place() -> None:
    rng = np.random.default_rng(5)
    own, other = (torch.from_numpy(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(2))
    other = torch.where(other == own, other ^ 1, other)  # no pixel in common
    reached = torch.zeros(SIDE, SIDE, dtype=torch.int64)
    for seed in range(300):
        mixed, share = cutmix(own, other, 1.0, np.random.default_rng(seed))
        foreign = (mixed == other).all(dim=2)
        assert torch.equal(foreign, ~(mixed == own).all(dim=2))
        rows, columns = foreign.any(dim=1).nonzero(), foreign.any(dim=0).nonzero()
        assert int(foreign.sum()) == len(rows) * len(columns)
        assert share == pytest.approx(1 - int(foreign.sum()) / SIDE**2)
        reached += foreign
    assert reached.min() > 0


@pytest.mark.parametrize("alpha", [0.1, 1.0, 20.0])
def test_shares_follow_the_beta_distribution_of_alpha(alpha: float) -> None:
    shares = [mixup(BRIGHT[:2], DARK[:2], alpha, np.random.default_rng(seed))[1] for seed in range(1000)]
    assert kstest(shares, beta(alpha, alpha).cdf).pvalue > 1e-3
