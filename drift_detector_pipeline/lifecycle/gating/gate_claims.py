"""What a candidate has to show, claim by claim: each holds or not, at one level, and all of them must hold.

In: what candidate and champion said of the same images. Out: a `Claim`, a row of the gate's table. Read by gate.py.
All claims must hold, so each is tested at the full level and the chance to let a candidate through that breaks any of
them is no larger (intersection-union, Berger 1982). n images.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float64s, Labels
from drift_detector_pipeline.lifecycle.gating.gate_images import CLEAN, LABELS, OTHERS, World
from drift_detector_pipeline.lifecycle.gating.gate_statistics import (
    gain_bounds,
    images_for,
    images_for_mean,
    images_likely,
    mean_bounds,
)
from drift_detector_pipeline.settings_in_use import Gate


class Asked(NamedTuple):
    """What decides whether a claim holds."""

    settings: Gate
    alpha: float  # of each claim
    must_gain: str  # the world in which the candidate has to be more accurate
    specialist: bool  # healed: made for that world alone, and to be rolled back once it is over


class Answers(NamedTuple):
    """What a model says of n images."""

    probabilities: Float64s  # (n, classes)

    @property
    def predicted(self) -> Labels:
        """The likeliest classes, (n,)."""
        best: Labels = self.probabilities.argmax(axis=1)
        return best

    def brier(self, labels: Labels) -> Float64s:
        """Half the Brier score of each image, (n,) in 0 to 1, over all classes (Brier 1950): a proper score.

        The squared distance of confidence and being right is none between models of different accuracy: one that is
        unsure and nearly always wrong would win against one that is right twice in three and says so.
        """
        truth = np.arange(self.probabilities.shape[1]) == labels[:, None]
        score: Float64s = ((self.probabilities - truth) ** 2).sum(axis=1) / 2
        return score


class Claim(NamedTuple):
    """One row of the table. Gains are positive where the candidate is better."""

    name: str
    n: int
    champion: float
    candidate: float
    difference: float
    low: float | None  # one-sided bounds of the difference; None where nothing is drawn at random
    high: float | None
    asked: float  # what the lower bound must exceed
    needed: int | None  # images that would probably do if the difference is as seen; None: more would not help
    passed: bool
    words: str


def claims_of(world: World, champion: Answers, candidate: Answers, asked: Asked) -> list[Claim]:
    """What is asked in a world: of all that nothing is lost, of the one that must gain more.

    Of a specialist what it loses elsewhere is told and not asked.
    """
    settings, given = asked.settings, (world, champion, candidate, asked.alpha)
    margins = {CLEAN: settings.clean_margin, OTHERS: settings.others_margin}
    found = list[Claim]()
    if world.name in margins:
        claim = accuracy_claim(world.name, *given, margins[world.name])
        found.append(_only_told(claim) if asked.specialist else claim)
    elif world.name == LABELS != asked.must_gain and len(world.labels) >= settings.least_labels:
        found.append(labels_claim(*given))
    if world.name == asked.must_gain:
        found.append(accuracy_claim(gain_in(world.name), *given, 0.0))
    if world.name == (asked.must_gain if asked.specialist else CLEAN):
        found.append(calibration_claim(*given, settings.brier_margin))
    return found


def gain_in(world: str) -> str:
    """The name of the claim that a candidate gains in a world."""
    return f"gain ({world})"


def accuracy_claim(
    name: str, world: World, champion: Answers, candidate: Answers, alpha: float, margin: float
) -> Claim:
    """The candidate is less than `margin` less accurate; with margin 0: more accurate."""
    ours, theirs = (answers.predicted == world.labels for answers in (candidate, champion))
    fixed, broken, n = int((ours & ~theirs).sum()), int((theirs & ~ours).sum()), len(world.labels)
    low, high = gain_bounds(fixed, broken, n, alpha)
    gain, least = (fixed - broken) / n, images_for(margin, alpha) if margin else 0
    likely = images_likely((fixed + broken) / n, gain + margin, alpha)
    needed = None if likely is None else max(likely, least)
    told = f"{fixed} fixed, {broken} broken"
    words = f"{told}; {_enough(low > -margin, n, least, needed)}" if n < least or low <= -margin else told
    return Claim(
        name, n, float(theirs.mean()), float(ours.mean()), gain, low, high, 0.0 - margin, needed, low > -margin, words
    )


def calibration_claim(world: World, champion: Answers, candidate: Answers, alpha: float, margin: float) -> Claim:
    """The mean Brier score, halved, grows by less than `margin`."""
    scores = [one.brier(world.labels) for one in (champion, candidate)]
    gains = scores[0] - scores[1]
    low, high = mean_bounds(gains, 1.0, alpha)
    least, gain, n = images_for_mean(margin, 1.0, alpha), float(gains.mean()), len(gains)
    likely = images_likely(float(gains.var()), gain + margin, alpha)
    needed = None if likely is None else max(likely, least)
    words = "" if low > -margin else _enough(False, n, least, needed)
    before, after = (float(score.mean()) for score in scores)
    return Claim("calibration", n, before, after, gain, low, high, 0.0 - margin, needed, low > -margin, words)


def labels_claim(world: World, champion: Answers, candidate: Answers, alpha: float) -> Claim:
    """Of labelled images from the changed world at least as many are right: true labels may veto what twins promise."""
    claim = accuracy_claim(world.name, world, champion, candidate, alpha, 0.0)
    holds = claim.difference >= 0
    words = claim.words.partition(";")[0] + ("" if holds else "; true labels speak against it")
    return claim._replace(asked=0.0, needed=None, passed=holds, words=words)


def cost_claim(name: str, champion: float, candidate: float, most: float) -> Claim:
    """What it costs is at most `most` times what the champion costs."""
    ratio = candidate / champion
    words = f"{ratio:.2f} times the champion's" + ("" if ratio <= most else f", at most {most:g} are allowed")
    return Claim(name, 0, champion, candidate, champion - candidate, None, None, 0.0, None, ratio <= most, words)


def _only_told(claim: Claim) -> Claim:
    words = f"{claim.words.partition(';')[0]}; not asked of a healed model, which is for the changed world alone"
    return claim._replace(asked=-1.0, needed=None, passed=True, words=words)


def by_kind(world: World, champion: Answers, candidate: Answers) -> list[tuple[str, int, float, float]]:
    """Kind, images, accuracy of champion and candidate, the kind that loses most first."""
    found = list[tuple[str, int, float, float]]()
    for kind in np.unique(world.kinds).tolist():
        own = world.kinds == kind
        shares = [float((one.predicted[own] == world.labels[own]).mean()) for one in (champion, candidate)]
        found.append((str(kind), int(own.sum()), shares[0], shares[1]))
    return sorted(found, key=lambda row: row[3] - row[2])


def reasons(claims: Sequence[Claim]) -> list[str]:
    """Why a candidate is refused; empty if it is not."""
    return [_reason(claim) for claim in claims if not claim.passed]


def _reason(claim: Claim) -> str:
    if claim.low is None:
        return f"{claim.name}: {claim.words}"
    if claim.name == "calibration":
        return f"calibration: off by {claim.candidate:.4f} for {claim.champion:.4f}; {claim.words}"
    said = f"{claim.name}: {100 * claim.champion:.1f} % right before, {100 * claim.candidate:.1f} % with it"
    asked = f"{100 * claim.asked:+.1f}" if claim.asked else "0"
    return f"{said}, so at least {100 * claim.low:+.2f} points where more than {asked} is asked; {claim.words}"


def _enough(holds: bool, n: int, least: int, needed: int | None) -> str:
    if n < least:
        return f"{n} images can never show so little: at least {least} are needed, or a wider margin"
    if holds or needed is None:
        return "" if holds else "more images would not help"
    return f"about {needed:,} images would tell, if it is as it seems" if needed > n else "bad luck, or no gain"
