"""A network that undoes a fault of the pipeline before it looks: what arrives turned is turned back.

In: a network, the name of a fault of REVERSIBLE. Out: a copy with the same weights; whether recent images bear it out.
Read by heal.py. N images, S their side.

Statistics turn no image back, and training for turned images costs accuracy on others. But a fault with an exact
inverse needs neither: behind the inverse the network sees the images it was trained on. The inverse is part of the
network, so that every way of running it has it, and drift is measured from how images arrive.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.corruptions.faults import REVERSIBLE, undo_fault
from drift_detector_pipeline.drift.inverse import undone
from drift_detector_pipeline.drift.reference import Reference
from drift_detector_pipeline.drift.scores.signals import Forward, read_signals
from drift_detector_pipeline.networks.models import Network

_QUARTERS = {"turned_90": -1, "turned_180": 2, "turned_270": 1}  # to the left, of rows and columns
_FLIPPED = {"upside_down": 2, "mirrored": 3}  # axis
_MOST = 256  # images that each inverse is tried on; of a turned delivery 8 % of draws of 64 told nothing, 0.5 % of 128


def undoing(network: Network, fault: str) -> Network:
    """A copy that undoes `fault` on its input, float32 (N, 3, S, S), normalised. Raises ValueError for another fault.

    Weights and the names of layers are the network's own.
    """
    if fault not in REVERSIBLE:
        raise ValueError(f"expected a fault of {REVERSIBLE}, got {fault!r}")
    module = copy.deepcopy(network.module).eval()
    undo = partial(_undo, fault=fault, mean=network.mean, std=network.std)
    module.register_forward_pre_hook(partial(_first, undo))
    return network._replace(module=module)


def borne_out(reference: Reference, way: Forward, crops: Pixels) -> list[str]:
    """Faults whose inverse makes uint8 (N, S, S, 3) look as the reference does, the likeliest first.

    Several where the network sees no difference: one that learned from mirrored images, too, takes upside down for
    turned by half, and answers the same behind either inverse.
    """
    again = undone(
        reference, read_signals(crops, way), lambda kind, some: read_signals(undo_fault(crops[some], kind, 1), way),
        most=_MOST,
    )  # fmt: skip
    if again is None or again.cause is None:
        return []
    return [again.cause.kind, *(kind for kind, _ in again.cause.alternatives)]


def _first(
    undo: Callable[[torch.Tensor], torch.Tensor], module: torch.nn.Module, given: tuple[torch.Tensor]
) -> tuple[torch.Tensor]:
    del module
    return (undo(given[0]),)


def _undo(inputs: torch.Tensor, *, fault: str, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    if fault in _QUARTERS:
        return torch.rot90(inputs, _QUARTERS[fault], (2, 3))
    if fault in _FLIPPED:
        return inputs.flip(_FLIPPED[fault])
    centre, spread = (torch.tensor(values).to(inputs)[:, None, None] for values in (mean, std))
    values = inputs * spread + centre
    return ((values.flip(1) if fault == "swapped_channels" else 1 - values) - centre) / spread
