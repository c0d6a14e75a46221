"""Any classifier over time: the mean of what it says of frames, padding left out, the deviation as an option."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.networks.clips import OverTime, check_over_time, create_over_time
from drift_detector_pipeline.networks.models import build, set_training
from drift_detector_pipeline.networks.weights import describe, load_model, save_weights
from drift_detector_pipeline.settings import Model
from drift_detector_pipeline.tasks.clips.task import CLIPS
from drift_detector_pipeline.tasks.clips.view import ClipTarget

SMALL = {"channels": [8, 16]}
B, K, SIDE = 3, 5, 16


def network(pooling="mean", **options):
    torch.manual_seed(0)
    return create_over_time("conv_small", 2, SIDE, SMALL | {"pooling": pooling} | options)


def clips(seed=0):
    return torch.randn(B, K, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_a_clip_is_the_mean_of_its_frames():
    module, given = network().eval(), clips()
    each = torch.stack([module.frame(given[:, at]) for at in range(K)], 1)
    assert torch.allclose(module(given), each.mean(1), atol=1e-6)
    assert torch.allclose(module.of_frames(given)[0], each, atol=1e-6)
    inferred = torch.tensor(np.stack(CLIPS.infer(module, given, None)))
    assert torch.allclose(inferred, each.mean(1), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "mean_and_deviation"])
def test_padding_weighs_nothing_whatever_it_shows(pooling):
    module, given = network(pooling).eval(), clips()
    if pooling != "mean":
        nn.init.normal_(module.deviation.weight)
    frames = torch.tensor([5, 2, 1])
    other = given.clone()
    other[1, 2:], other[2, 1:] = 1e4, -1e4
    assert torch.equal(module(given, frames), module(other, frames))
    assert not torch.allclose(module(given, frames), module(given), atol=1e-3)
    targets = [ClipTarget(0, int(count), "s") for count in frames]
    assert np.array_equal(*(CLIPS.infer(module, some, targets) for some in (given, other)))
    np.testing.assert_allclose(np.stack(CLIPS.infer(module, given, targets)), module(given, frames), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "mean_and_deviation"])
def test_in_training_padding_is_not_shown_to_normalisation_either(pooling):
    """Weights, gradients and running statistics are those of a step without the padding."""
    given, frames = clips(), torch.tensor([5, 2, 1])
    other = given.clone()
    other[1, 2:], other[2, 1:] = 50, -50
    seen = []
    for some in (given, other):
        module = network(pooling)
        set_training(module)
        nn.functional.cross_entropy(module(some, frames), torch.tensor([0, 1, 1])).backward()
        seen.append([*module.state_dict().values(), *(weight.grad for weight in module.parameters())])
    assert all(torch.equal(one, two) for one, two in zip(*seen, strict=True))


@torch.no_grad()
def test_the_deviation_starts_at_nothing_and_sees_what_moves():
    module, mean = network("mean_and_deviation").eval(), network().eval()
    assert torch.allclose(module(clips()), mean(clips()), atol=1e-6)
    nn.init.ones_(module.deviation.weight)
    still = clips()[:, :1].expand(-1, K, -1, -1, -1)
    moved, stood = (abs(module(some) - mean(some)).max().item() for some in (clips(), still))
    assert stood < 0.1 < moved
    assert torch.equal(copy.deepcopy(module)(clips()), module(clips()))


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "mlp"])
@pytest.mark.slow
def test_any_classifier_will_do(name):
    for pooling in ("mean", "mean_and_deviation"):
        module = create_over_time(name, 3, 32, {"pooling": pooling})
        check_over_time(module, name, 3, 32)
        assert module(torch.zeros(2, 3, 3, 32, 32)).shape == (2, 3)


def test_what_is_no_pooling_and_no_network_is_said():
    with pytest.raises(ModelError, match=r"model\.options\.pooling=max: choose from mean, mean_and_deviation"):
        network("max")
    with pytest.raises(ModelError, match="ends in one linear layer"):
        OverTime(nn.Conv2d(3, 2, 1), 2, "mean_and_deviation")


def test_a_weight_file_of_clips_is_enough_to_rebuild_it(tmp_path):
    settings = Model(name="conv_small", pretrained=False, pretrained_path=None, num_classes=None, frozen_stages=1,
                     options=SMALL | {"pooling": "mean_and_deviation"})  # fmt: skip
    made = build(settings, 2, SIDE, CLIPS.create, CLIPS.check)
    assert not any(weight.requires_grad for name, weight in made.module.named_parameters() if "frame.groups.0" in name)
    nn.init.normal_(made.module.deviation.weight)
    cut = CLIPS.cut(type("Data", (), {"clip_seconds": 2.0, "stored_frames": 32, "k_frames": 6})())
    description = describe(settings, made, ["a", "b"], SIDE, 20, "fp32", "clips", cut)
    save_weights(tmp_path / "w.safetensors", made.module.state_dict(), description)
    module, said = load_model(tmp_path / "w.safetensors", CLIPS.create)
    assert torch.equal(module(clips()), made.module.eval()(clips()))
    assert (said["task"], said["preprocessing"]["k_frames"], said["options"]["pooling"]) == (
        "clips", 6, "mean_and_deviation",
    )  # fmt: skip


def test_clips_start_from_weights_of_images_and_images_from_those_of_clips(tmp_path):
    """What is pretrained is the network for a frame, whichever of the two a file is about."""

    def start(name, source, *task):
        file = None if source is None else tmp_path / f"{source}.safetensors"
        settings = Model(
            name="conv_small", pretrained=False, pretrained_path=file, num_classes=None, frozen_stages=0, options=SMALL
        )
        made = build(settings, 2, SIDE, *task)
        description = describe(settings, made, ["a", "b"], SIDE, 20, "fp32")
        save_weights(tmp_path / f"{name}.safetensors", made.module.state_dict(), description)
        return made.module

    first = start("images", None)
    of_clips = start("clips", "images", CLIPS.create, CLIPS.check)
    back = start("again", "clips")
    for module in (of_clips.frame, back):
        assert all(torch.equal(weight, module.state_dict()[name]) for name, weight in first.state_dict().items())
