"""How accurate the model was, by labels: a share with its interval, no estimate any more.

In: a basket and labels of its images. Out: a `Truth`, and sentences beside the estimate. Read by labels.py and by
whoever decides something about a model.
"""

from collections.abc import Mapping
from typing import NamedTuple

from drift_detector_pipeline.lifecycle.labelling.basket_file import Basket
from drift_detector_pipeline.tasks.classification.metrics import wilson_interval


class Truth(NamedTuple):
    """Of a basket's images that were drawn at random, each with the same chance: no weights are needed."""

    right: int  # of those with a label
    labelled: int
    unlabelled: int  # drawn, and nobody has said what they show
    low: float  # of the 95 % interval (Wilson), in 0..1
    high: float

    @property
    def accuracy(self) -> float:
        """In 0..1: the share of different images that were labelled correctly."""
        return self.right / self.labelled


def truth_of(basket: Basket, labels: Mapping[str, str]) -> Truth | None:
    """The accuracy on the rows that a basket is about, by `labels` of SHA-256; None if no random image has one."""
    drawn = [item for item in basket.images if item.chosen == "random"]
    labelled = [item for item in drawn if item.sha256 in labels]
    if not labelled:
        return None
    right = sum(labels[item.sha256] == item.predicted for item in labelled)
    return Truth(right, len(labelled), len(drawn) - len(labelled), *wilson_interval(right, len(labelled)))


def truth_words(basket: Basket, labels: Mapping[str, str]) -> list[str]:
    """The same in plain sentences, beside what was estimated; the most important first."""
    found = truth_of(basket, labels)
    if found is None:
        return ["No image that was drawn at random has a label, so nothing can be said about accuracy."]
    words = [
        f"True accuracy since request {basket.rows['first']}: {_percent(found.accuracy)} (95 % interval "
        f"{_percent(found.low)} to {_percent(found.high)}): {found.right} of {found.labelled} images drawn at random "
        "were labelled correctly."
    ]
    if found.unlabelled:
        drawn = found.labelled + found.unlabelled
        worst, best = found.right / drawn, (found.right + found.unlabelled) / drawn
        words.append(
            f"{found.unlabelled} more were drawn and have no label: were all of these wrong, or all right, it would be "
            f"{_percent(worst)}, or {_percent(best)}."
        )
    return [*words, _of_estimate(basket), *_of_the_others(basket, labels)]


def _of_estimate(basket: Basket) -> str:
    found = basket.estimate
    if found is None:
        return "Nothing was estimated before."
    said = f"{_percent(found['accuracy'])} ({_percent(found['low'])} to {_percent(found['high'])})"
    unsure = "" if found["known"] else ", and was called unknown"
    return f"The estimate without labels, of {found['of']}, was {said}{unsure}."


def _of_the_others(basket: Basket, labels: Mapping[str, str]) -> list[str]:
    others = [item for item in basket.images if item.chosen != "random" and item.sha256 in labels]
    if not others:
        return []
    right = sum(labels[item.sha256] == item.predicted for item in others)
    return [
        f"Of {len(others)} that were chosen because they carry the change or look strange {right} were labelled "
        "correctly; that says nothing about all others."
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
