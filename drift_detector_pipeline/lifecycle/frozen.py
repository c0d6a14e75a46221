"""A network that normalises by statistics of recent images, frozen: no labels, no gradients, the same bits for ever.

In: a module and crops. Out: a copy of it; whether the copy gains anything on labelled twins. Read by heal.py. N images,
S their side.

Schneider et al. 2020 and Nado et al. 2020 re-estimate BatchNorm's statistics batch by batch, which ruins a network
where labels of a batch hang together (Gong et al. 2022). Here it is done once, with images balanced by predicted class.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from drift_detector_pipeline.arrays import Indices, Labels, Pixels
from drift_detector_pipeline.drift.scores.adapted import adapts, blended_statistics
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.drift.second_look import balanced
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.lifecycle.gate_images import changed_at_random
from drift_detector_pipeline.lifecycle.gate_statistics import gain_bounds
from drift_detector_pipeline.networks.models import Network

MOST_TWINS = 2000  # labelled images that a copy is tried on
_ALPHA = 0.05
_SEED = 2  # of twins; those of references have 0, those of gates 1
_BATCH = 64


class TwinGain(NamedTuple):
    """How a copy does on labelled twins of the change it is for."""

    n: int
    before: float  # accuracy of the network itself
    after: float
    low: float  # one-sided 95 % bound of the gain


def freeze(network: Network, crops: Pixels, *, most: int, prior: int) -> tuple[Network, Indices]:
    """A copy with statistics of at most `most` of uint8 (N, S, S, 3), its own counted as `prior` images; which ones.

    Raises ModelError for a network without BatchNorm.
    """
    if not adapts(network.module):
        raise ModelError("no BatchNorm in this network, so no statistics to take anew; train it on: make retrain")
    chosen = balanced(predictions(network, crops), np.random.default_rng(0), most, 1.0)
    inputs = through(network.module, network.mean, network.std).inputs(crops[chosen])
    statistics = blended_statistics(network.module, inputs, prior)
    frozen = copy.deepcopy(network.module)
    with torch.no_grad():
        for name, buffer in frozen.named_buffers():
            if name in statistics:
                buffer.copy_(statistics[name])
    return network._replace(module=frozen.eval()), chosen


def twin_gain(
    network: Network, frozen: Network, crops: Pixels, labels: Labels, cells: Sequence[tuple[str, int]]
) -> TwinGain:
    """Try both on labelled uint8 (N, S, S, 3), each changed by one of `cells`; at most MOST_TWINS of them."""
    some = np.sort(np.random.default_rng(0).permutation(len(crops))[:MOST_TWINS])
    twins = changed_at_random(crops[some], cells, some, _SEED)
    before, after = (predictions(one, twins) == labels[some] for one in (network, frozen))
    fixed, broken = int((after & ~before).sum()), int((before & ~after).sum())
    low, _ = gain_bounds(fixed, broken, len(some), _ALPHA)
    return TwinGain(len(some), float(before.mean()), float(after.mean()), low)


def predictions(network: Network, crops: Pixels) -> Labels:
    """The class that a network predicts for each of uint8 (N, S, S, 3)."""
    forward = through(network.module, network.mean, network.std)
    parts = [forward(crops[start : start + _BATCH]).logits for start in range(0, len(crops), _BATCH)]
    return np.concatenate([np.asarray(part).argmax(axis=1) for part in parts])
