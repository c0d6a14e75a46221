"""An image's logits depend on the image and the weights, not on its neighbours."""

import numpy as np
import pytest
import torch

from drift_detector_pipeline.config import load
from drift_detector_pipeline.modeling.inference import predict_outputs, score
from drift_detector_pipeline.modeling.loaders import Batch
from drift_detector_pipeline.networks.models import build, seed_everything
from drift_detector_pipeline.runs.machine import prepared
from drift_detector_pipeline.tasks.classification.task import CLASSIFICATION

BATCH = CLASSIFICATION.batch
MODELS = [("mlp", 16), ("conv_small", 16), ("resnet18", 32), ("mobilenetv3_small_050", 32)]


def batch_of(images, labels=None):
    return Batch(images, None if labels is None else labels.tolist())


def logits_of(module, batch, network, machine):
    return predict_outputs(module, batch, network, machine, CLASSIFICATION)


@pytest.fixture(params=["fp32", "bf16"])
def machine(request):
    run = load(["data=digits", f"run.precision={request.param}", "run.device=cpu"]).settings.run
    with prepared(run) as machine:
        yield machine


def network_of(name, side, machine):
    seed_everything(5)
    network = build(load(["data=digits", f"model.name={name}"]).settings.model, 10, side)
    with torch.no_grad():
        network.module.train()(torch.randn(16, 3, side, side))  # BatchNorm statistics of its own
    network.module.to(memory_format=machine.memory_format)
    return network


@pytest.mark.parametrize(("name", "side"), MODELS)
def test_neighbours_order_and_number_change_no_bit(name, side, machine):
    network = network_of(name, side, machine)
    images = torch.randint(0, 256, (BATCH, 3, side, side), dtype=torch.uint8)
    whole = logits_of(network.module, batch_of(images), network, machine)
    order = torch.randperm(BATCH)
    assert (logits_of(network.module, batch_of(images[order]), network, machine) == whole[order]).all()
    for part in (slice(0, 1), slice(40, 47), slice(1, BATCH)):
        assert (logits_of(network.module, batch_of(images[part]), network, machine) == whole[part]).all()


def test_logits_are_float32_and_the_module_is_in_evaluation_mode(machine):
    network = network_of("conv_small", 16, machine)
    logits = logits_of(network.module.train(), batch_of(torch.zeros(3, 3, 16, 16).byte()), network, machine)
    assert (logits.dtype, logits.shape) == (np.float32, (3, 10))
    assert not network.module.training


def test_more_images_than_a_batch_are_refused(machine):
    network = network_of("mlp", 16, machine)
    with pytest.raises(ValueError, match="at most 64 images, got 65"):
        logits_of(network.module, batch_of(torch.zeros(BATCH + 1, 3, 16, 16).byte()), network, machine)


@pytest.mark.slow
def test_scores_do_not_depend_on_how_images_are_cut_into_batches(machine):
    network = network_of("conv_small", 16, machine)
    images, labels = torch.randint(0, 256, (30, 3, 16, 16), dtype=torch.uint8), torch.randint(0, 10, (30,))

    def scores(size):
        cut = zip(images.split(size), labels.split(size), strict=True)
        return score(network.module, (batch_of(*one) for one in cut), network, machine, CLASSIFICATION)[:5]

    assert scores(64) == scores(7) == scores(1)
    assert 0 < scores(64)[1] < 1
