"""A gate as one page: the table in plain words, and pictures of images whose answer changed.

In: what a gate came to and what both models said. Out: gate.html. Read by gate.py.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.lifecycle.gate_claims import Answers
from drift_detector_pipeline.lifecycle.gate_images import CLEAN, LABELS, OTHERS, World
from drift_detector_pipeline.pages import data_uri, image_png, write_page

PAGE = "gate.html"
_SHOWN = 8  # pictures of each sort in each world
_LEAST_PX = 96  # side of a picture: small images are enlarged, pixel by pixel


class Seen(NamedTuple):
    """An image of which the two models say different things, one of them the truth."""

    world: str
    kind: str
    fixed: bool  # right by the candidate; else broken
    picture: str  # address
    path: str
    truth: int  # numbers of classes
    before: int
    after: int


def changed_answers(world: World, champion: Answers, candidate: Answers) -> list[Seen]:
    """A few images that were fixed and a few that were broken."""
    right = [one.predicted == world.labels for one in (champion, candidate)]
    found = list[Seen]()
    for fixed, chosen in ((True, right[1] & ~right[0]), (False, right[0] & ~right[1])):
        for place in np.flatnonzero(chosen)[:_SHOWN].tolist():
            answers = int(champion.predicted[place]), int(candidate.predicted[place])
            picture = data_uri(image_png(_enlarged(world.crops[place])))
            kind, path = str(world.kinds[place]), world.paths[place]
            found.append(Seen(world.name, kind, fixed, picture, path, int(world.labels[place]), *answers))
    return found


def write_gate_page(folder: Path, result: dict[str, Any], pictures: Sequence[Seen], classes: Sequence[str]) -> None:
    """Write gate.html; `result`: a `GateResult` by its fields."""
    names = list(dict.fromkeys(one.world for one in pictures))
    shown = [(_world_in_words(name), *_sorted(name, pictures)) for name in names]
    candidate, champion = (result[role]["version"] for role in ("candidate", "champion"))
    asked = [_asked_in_words(row) for row in result["rows"]]
    title = f"May {candidate} replace {champion}?"
    write_page(folder / PAGE, "gate.html", title=title, result=result, shown=shown, classes=classes, asked=asked)


def _sorted(world: str, pictures: Sequence[Seen]) -> tuple[list[Seen], list[Seen]]:
    own = [one for one in pictures if one.world == world]
    return [one for one in own if one.fixed], [one for one in own if not one.fixed]


def _asked_in_words(claim: Any) -> str:
    if claim.low is None:
        return "within bounds"
    if claim.asked == -1:
        return "nothing"
    if claim.name == LABELS:
        return "not fewer right"
    return "more accurate" if not claim.asked else f"loses less than {-100 * claim.asked:g} points"


def _world_in_words(name: str) -> str:
    said = {CLEAN: "Clean images", OTHERS: "Other kinds of change", LABELS: "Labelled images from the changed world"}
    return said.get(name, f"Images changed by {name.replace('_', ' ')}")


def _enlarged(crop: Pixels) -> Pixels:
    times = max(1, -(-_LEAST_PX // crop.shape[0]))
    return crop.repeat(times, axis=0).repeat(times, axis=1)
