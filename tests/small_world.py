"""A detector of a tiny world, built in seconds: stripes across or down, told apart by a function without weights."""

import numpy as np
import torch

from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.scores.signals import Outputs

SIDE_PX = 16


def world(count, seed):
    """Images uint8 (count, 16, 16, 3) of two classes, and labels, some of them wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    across = np.sin(np.arange(SIDE_PX)[None, None] * rng.uniform(0.5, 1.1, (count, 1, 1)) + phase)
    stripes = np.where(labels[:, None, None] == 1, across, across.transpose(0, 2, 1))
    light = rng.normal(120, 15, (count, 1, 1)) + rng.normal(40, 8, (count, 1, 1)) * stripes
    pixels = light[..., None] + rng.normal(0, 6, (count, 1, 1, 3)) + rng.normal(0, 4, (count, SIDE_PX, SIDE_PX, 3))
    return pixels.clip(0, 255).astype(np.uint8), np.where(rng.random(count) < 0.05, 1 - labels, labels)


def model(images):
    """Features are mean steps across and down; logits compare them."""
    light = images.astype(np.float32).mean(axis=3)
    across, down = (np.abs(np.diff(light, axis=axis)).mean(axis=(1, 2)) for axis in (2, 1))
    features = np.stack([across, down, light.mean(axis=(1, 2)) / 10, light.std(axis=(1, 2)) / 10], axis=1)
    logits = np.stack([down - across, across - down], axis=1) / 3
    return Outputs(torch.from_numpy(logits), torch.from_numpy(features))


model.identity = "stripes"


def small_detector(images=300, seed=0):
    """A detector of that world with so many reference images."""
    fit, ref = world(120, 1000 + seed), world(images, 2000 + seed)
    kinds = ("gaussian_noise", "defocus_blur", "contrast")
    return DriftDetector.build(model, *fit, *ref, kinds=kinds, twins=60)
