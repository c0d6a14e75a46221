"""What answers look like: the schemas of the documentation, and the JSON itself.

In: what the model said. Out: bytes of JSON. Built by hand and not checked against the schemas at each request, which
costs more than the rest of an answer; the tests do that.
"""

import json
from typing import Any

import numpy as np
from pydantic import BaseModel, Field
from starlette.responses import Response

from drift_detector_pipeline.networks.boxes.found import Found
from drift_detector_pipeline.serving.batcher import Answered
from drift_detector_pipeline.tasks.boxes.answers import answer, on_image

TOP = 3


class Share(BaseModel):
    """A class and how probable it is."""

    label: str
    probability: float = Field(ge=0, le=1)


class ScoreBody(BaseModel):
    """One of the numbers that drift is tested on."""

    name: str
    channel: str = Field(description="the word for people: brightness, sharpness, novelty, ...")
    value: float
    rank: float = Field(ge=0, le=1, description="share of training images that have less; equal ones count half")


class AnswerBody(BaseModel):
    """What is said of one image."""

    label: str
    probability: float = Field(ge=0, le=1)
    top3: list[Share] = Field(description="the likeliest classes, at most three")
    scores: list[ScoreBody] | None = Field(None, description="only with ?scores=true")


class BoxBody(BaseModel):
    """One thing that is found in an image."""

    label: str
    score: float = Field(ge=0, le=1)
    box: list[float] = Field(min_length=4, max_length=4, description="x0, y0, x1, y1 in px of the upright image")


class BoxesBody(BaseModel):
    """What is found in one image, by a model that finds boxes."""

    height: int = Field(description="px of the image, as people see it")
    width: int
    boxes: list[BoxBody] = Field(description="best first, at most 100, scores of 0.05 and more")
    scores: list[ScoreBody] | None = Field(None, description="only with ?scores=true")


class PredictBody(BaseModel):
    """What is said of a request's images, in their order."""

    model: str = Field(description="first 12 hexadecimal digits of the SHA-256 of the file that computed all of this")
    request_id: str
    milliseconds: float = Field(ge=0, description="in the service, from the first byte of the request on")
    answers: list[AnswerBody | BoxesBody] = Field(description="labels or boxes, whichever the model says")


def predicted(answers: list[Answered], request_id: str, milliseconds: float, *, scores: bool) -> dict[str, Any]:
    """A `PredictBody`."""
    return {
        "model": answers[0].engine.model,
        "request_id": request_id,
        "milliseconds": round(milliseconds, 3),
        "answers": [_answer(one, scores=scores) for one in answers],
    }


def as_json(value: dict[str, Any], status: int = 200) -> Response:
    """A response that holds `value`."""
    return Response(json.dumps(value, ensure_ascii=False).encode(), status, media_type="application/json")


def _answer(answered: Answered, *, scores: bool) -> dict[str, Any]:
    classes, chances = answered.engine.artefact.classes, answered.probabilities
    if answered.found is not None:
        found = _boxes(answered.found, answered)
    else:
        order = np.argsort(-chances, kind="stable")[:TOP].tolist()
        top = [{"label": classes[place], "probability": float(chances[place])} for place in order]
        found = {**top[0], "top3": top}
    if scores and answered.phi is not None:
        found["scores"] = answered.engine.explain(answered.phi)
    return found


def _boxes(found: Found, answered: Answered) -> dict[str, Any]:
    """In px of the image, or of the crop where only that was sent."""
    artefact, crop = answered.engine.artefact, answered.crop
    [said] = answer([found], artefact.classes)
    if crop is None:
        return {"height": artefact.side_px, "width": artefact.side_px, **said}
    height, width = crop.image
    return {"height": height, "width": width, **on_image(said, crop.image, artefact.side_px, stored=crop.stored)}
