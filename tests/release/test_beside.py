"""The table's rows that are never served: a pruned net is really smaller, TensorRT says what is missing."""

import numpy as np
import pytest
import torch
from exported import CONV, MLP, RESNET, SCALE, network, some_images

from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.release.beside import say_through, tensorrt
from drift_detector_pipeline.release.pruned import prune, retrain


def weights(module):
    return sum(values.numel() for values in module.parameters())


@pytest.mark.parametrize("kind", [CONV, RESNET], ids=lambda kind: kind[0])
def test_half_the_channels_inside_blocks_are_gone_and_it_still_answers(kind):
    module = network(*kind)
    before = weights(module)
    smaller = prune(module)
    assert weights(smaller) < 0.75 * before and weights(module) == before
    images = torch.rand(2, 3, kind[1], kind[1])
    with torch.no_grad():
        assert smaller(images).shape == module(images).shape == (2, 5)
        assert not torch.equal(smaller(images), module(images))


def test_the_channels_with_the_largest_weights_stay():
    module = network(*CONV)
    inner = module.groups[0][0]
    with torch.no_grad():
        inner.weight[::2] *= 10
    kept = prune(module).groups[0][0].weight
    assert torch.equal(kept, inner.weight[::2])


def test_a_network_without_such_blocks_is_not_pruned():
    assert prune(network(*MLP)) is None


@pytest.mark.slow
def test_training_again_brings_labels_back():
    module, images = network(*CONV), some_images(1024, 16)
    labels = (images.mean((1, 2, 3)) > 120).astype(np.int64)
    smaller = prune(module)

    def right():
        said = say_through(through(smaller, *SCALE))(images)
        return float((said.logits.argmax(axis=1) == labels).mean())

    before = right()
    for _ in range(24):
        retrain(smaller, SCALE, images, labels)
    assert right() > before + 0.2
    assert not smaller.training


def test_tensorrt_says_what_is_missing_or_how_to_build_it():
    note = tensorrt().note
    if torch.cuda.is_available():
        assert "tensorrt" in note or "trtexec" in note
    else:
        assert note.startswith("missing: an NVIDIA GPU")
