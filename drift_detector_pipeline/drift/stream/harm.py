"""Does it hurt? Evidence that the mean predicted error of a stream is larger than what is tolerated.

In: the predicted error of each image, 0..1. Out: whether to raise an alert. Read by the detector.

A bet pays 1 + c (r - limit) / limit, on average at most 1 as long as the mean of r, given the past, is at most `limit`:
an e-process (Ramdas et al. 2023), whatever r looks like. Begun anew at every image and added up it is an e-detector
(Shin, Ramdas & Rinaldo 2024) for harm that comes long after a notice; begun once, at the notice, it needs far less
evidence, for it is one test and not a million. An alert takes either, each with half of alpha.
"""

from typing import Any

import numpy as np
from scipy.special import ndtri

from drift_detector_pipeline.arrays import Float64s

SHARES = (0.05, 0.15, 0.3, 0.6, 0.9)  # of the money that a bet risks on every image
_SURE = 0.99  # that the mean of the reference is no larger than its bound, by the normal law


def bound_of(risks: Float64s, tolerated_loss: float) -> float:
    """The mean predicted error that is tolerated: an upper bound of the reference's (n,) and the loss."""
    spread = ndtri(_SURE) * risks.std() / np.sqrt(len(risks))
    return float(min(risks.mean() + spread + tolerated_loss, 0.999))


class Harm:
    """The state of the bets on predicted error; `step` takes an image."""

    def __init__(self, bound: float, alpha: float, horizon: int) -> None:
        self.bound, self._ever, self._once = bound, 2 * horizon / alpha, 2 / alpha
        self.always = [0.0] * len(SHARES)  # e-detector, a sum over beginnings for each bet
        self.noticed: list[float] | None = None  # e-process, begun at the notice
        self.block: list[float] = [0.0, 0]  # sum and number of errors that wait for their block to be full

    def notice(self) -> None:
        """Begin to count from a notice on."""
        self.noticed = [1.0] * len(SHARES)

    def step(self, risk: float, block: int) -> bool:
        """Take a predicted error; True if an alert is due. Means of `block` images count as one."""
        total, count = self.block[0] + risk, self.block[1] + 1
        if count < block:
            self.block = [total, count]
            return False
        self.block = [0.0, 0]
        relative = total / count / self.bound - 1
        paid = [1 + share * relative for share in SHARES]
        self.always = [min((1 + money) * gain, 1e300) for money, gain in zip(self.always, paid, strict=True)]
        if self.noticed is None:
            return False
        self.noticed = [min(money * gain, 1e300) for money, gain in zip(self.noticed, paid, strict=True)]
        return sum(self.always) >= self._ever * len(SHARES) or sum(self.noticed) >= self._once * len(SHARES)

    def state(self) -> dict[str, Any]:
        """All that changes, as plain values."""
        return {"always": self.always, "noticed": self.noticed, "block": self.block}

    def restore(self, state: dict[str, Any]) -> None:
        """Undo `state`."""
        self.always, self.noticed, self.block = state["always"], state["noticed"], state["block"]
