"""Both networks: what they learn from and what they say, on a small backbone."""

import copy

import numpy as np
import pytest
import torch
from small_detectors import SIDE_PX, boxes_of, detector, pictures
from torch import nn

from drift_detector_pipeline.config import load
from drift_detector_pipeline.networks.boxes.catalog import check, create, infer
from drift_detector_pipeline.networks.boxes.targets import is_ignored


def sure_of_itself(module: nn.Module) -> nn.Module:
    """YOLOX begins by finding nothing; this one finds much."""
    for head in getattr(module, "heads", []):
        nn.init.constant_(head.something.bias, 3.0)
        nn.init.constant_(head.classes.bias, 0.0)
    return module


@pytest.mark.parametrize("name", ["fasterrcnn", "yolox"])
def test_what_is_said_of_an_image_does_not_depend_on_its_neighbours(name: str) -> None:
    module, images = sure_of_itself(detector(name)).eval(), pictures(4)
    targets = [boxes_of(seed) for seed in range(4)]
    with torch.inference_mode():
        before = infer(module, images, targets)
        others = torch.cat([images[:1], pictures(3, seed=9)])
        after = infer(module, others, [targets[0], *[boxes_of(seed) for seed in (7, 8, 9)]])
    for one, other in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(before[0].boxes)


@pytest.mark.parametrize("name", ["fasterrcnn", "yolox"])
def test_the_loss_of_an_image_is_the_same_again_and_leaves_the_generator_alone(name: str) -> None:
    module = detector(name).eval()
    torch.manual_seed(5)
    first = infer(module, pictures(1), [boxes_of(1)])[0]
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == drawn
    assert infer(module, pictures(1), [boxes_of(1)])[0].loss.tolist() == first.loss.tolist()
    assert infer(module, pictures(1))[0].scores.tolist() == first.scores.tolist()  # the truth changes no answer


@pytest.mark.parametrize("name", ["fasterrcnn", "yolox"])
def test_it_learns_three_pictures_by_heart(name: str) -> None:
    torch.manual_seed(0)
    module = detector(name).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3)
    images, targets = pictures(3), [boxes_of(seed) for seed in range(3)]
    losses = []
    for step in range(12):
        torch.manual_seed(step)
        losses.append(module(images, targets))
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.stack(losses[-3:]).mean() < 0.9 * torch.stack(losses[:3]).mean()


@pytest.mark.parametrize("name", ["fasterrcnn", "yolox"])
def test_the_same_seed_gives_the_same_gradient(name: str) -> None:
    def gradient() -> list[torch.Tensor]:
        module = copy.deepcopy(start).train()
        torch.manual_seed(3)
        module(pictures(2), [boxes_of(0), boxes_of(1)]).backward()
        return [weight.grad for weight in module.parameters()]

    start = detector(name)
    assert all(torch.equal(one, other) for one, other in zip(gradient(), gradient(), strict=True))


@pytest.mark.parametrize("name", ["fasterrcnn", "yolox"])
def test_images_without_boxes_teach_too(name: str) -> None:
    module = detector(name).train()
    loss = module(pictures(2), [boxes_of(0)._replace(boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64),
                                                     ignore=np.zeros(0, bool))] * 2)  # fmt: skip
    loss.backward()
    assert torch.isfinite(loss) and loss > 0
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in module.parameters())


@pytest.mark.parametrize("name", ["fasterrcnn", "yolox"])
def test_nothing_is_background_where_all_is_ignored(name: str) -> None:
    everywhere = boxes_of(0)._replace(
        boxes=np.array([[-999, -999, 999, 999]], np.float32), labels=np.zeros(1, np.int64), ignore=np.ones(1, bool)
    )
    module = detector(name).train()
    loss = module(pictures(1), [everywhere])
    assert loss == 0
    loss.backward()  # a process beside others must give each weight a gradient, or these wait for it for ever
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in module.parameters())


@pytest.mark.parametrize("preset", ["fasterrcnn", "fasterrcnn_lite0", "yolox", "yolox_lite0"])
def test_every_preset_is_a_network_for_boxes(preset: str) -> None:
    settings = load(["data=digits", f"model={preset}"]).settings.model
    check(create(settings.name, 2, 96, settings.options), settings.name, 2, 96)


def test_a_place_is_ignored_if_more_than_half_of_it_lies_in_a_region() -> None:
    places = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [5, 0, 15, 10], [20, 20, 30, 30]])
    assert is_ignored(places, torch.tensor([[0.0, 0, 10, 10], [18, 18, 40, 40]])).tolist() == [True, True, False, True]
    assert not is_ignored(places, torch.zeros(0, 4)).any()


@pytest.mark.parametrize("name", ["fasterrcnn", "yolox"])
def test_the_check_lets_it_pass(name: str) -> None:
    check(detector(name), name, 3, SIDE_PX)
