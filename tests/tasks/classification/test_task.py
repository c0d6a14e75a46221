"""Classification's loss: plain labels, labels by share, and classes that count more."""

import pytest
import torch
from torch.nn import functional

from drift_detector_pipeline.config import load
from drift_detector_pipeline.tasks.classification.task import CLASSIFICATION, Mixed

LOGITS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
LABELS = [0, 2, 1, 1, 0]


@pytest.fixture(params=[0.0, 0.1])
def training(request):
    return load(["data=digits", f"training.label_smoothing={request.param}"]).settings.training


def loss_of(targets, training, weights=None):
    return CLASSIFICATION.loss(lambda images: LOGITS, torch.zeros(5, 3, 8, 8), targets, training, weights)


def test_plain_labels_give_pytorchs_cross_entropy_to_the_bit(training):
    expected = functional.cross_entropy(LOGITS, torch.tensor(LABELS), label_smoothing=training.label_smoothing)
    assert loss_of(LABELS, training).item() == expected.item()


def test_labels_by_share_are_soft_targets(training):
    others, shares = [1, 2, 0, 2, 2], torch.tensor([0.2, 0.5, 1.0, 0.0, 0.7])
    soft = shares[:, None] * functional.one_hot(torch.tensor(LABELS), 3)
    soft = soft + (1 - shares)[:, None] * functional.one_hot(torch.tensor(others), 3)
    expected = functional.cross_entropy(LOGITS, soft, label_smoothing=training.label_smoothing)
    mixed = [Mixed(*one) for one in zip(LABELS, others, shares.tolist(), strict=True)]
    assert loss_of(mixed, training).item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_classes_weight_multiplies_the_loss_of_its_images():
    training = load(["data=digits", "training.label_smoothing=0"]).settings.training
    weights = torch.tensor([2.0, 0.5, 1.0])
    each = functional.cross_entropy(LOGITS, torch.tensor(LABELS), reduction="none")
    assert loss_of(LABELS, training, weights).item() == pytest.approx((weights[LABELS] * each).mean().item())
