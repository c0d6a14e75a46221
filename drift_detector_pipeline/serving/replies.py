"""What answers look like: the schemas of the documentation, and the JSON itself.

In: what the model said. Out: bytes of JSON. Built by hand and not checked against the schemas at each request, which
costs more than the rest of an answer; the tests do that.
"""

import json
from typing import Any

import numpy as np
from pydantic import BaseModel, Field
from starlette.responses import Response

from drift_detector_pipeline.arrays import Float32s, Float64s
from drift_detector_pipeline.networks.boxes.found import Found
from drift_detector_pipeline.serving.batcher import Answered
from drift_detector_pipeline.serving.clips import ClipSaid
from drift_detector_pipeline.serving.engine import Engine
from drift_detector_pipeline.serving.videos import Watched
from drift_detector_pipeline.tasks.boxes.answers import answer, on_image
from drift_detector_pipeline.tasks.clips.curve import decide
from drift_detector_pipeline.video.numbering import Numbering

TOP = 3
_SIZE = ("height", "width")  # a video says them once


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


class FrameBoxBody(BoxBody):
    """The same in a frame of a video."""

    track: int | None = Field(description="the same thing has the same number in all frames; null: too faint to follow")


class FrameBody(BaseModel):
    """What is said of one frame: boxes, or a label with its probability and the likeliest classes."""

    frame: int = Field(ge=0)
    seconds: float = Field(ge=0, description="since the first frame")
    boxes: list[FrameBoxBody] | None = None
    label: str | None = None
    probability: float | None = None
    top3: list[Share] | None = None


class VideoBody(BaseModel):
    """What is said of a short video."""

    height: int = Field(description="px of a frame, as a player shows it")
    width: int
    frames: list[FrameBody] = Field(min_length=1)
    problem: str | None = Field(description="why there are no more frames, if the file could not be read to its end")


class SecondBody(BaseModel):
    """What is said of the clip that begins at a second of a video."""

    second: int = Field(ge=0)
    start: float
    end: float = Field(description="a clip's length later, or where the video ends")
    label: str
    probability: float
    top3: list[Share]


class ClipBody(BaseModel):
    """What happens in a clip, by a model of clips."""

    height: int = Field(description="px of the frames that were looked at")
    width: int
    label: str
    probability: float = Field(ge=0, le=1)
    top3: list[Share]
    frames: int = Field(description="whose mean this is; 0: the mean of the seconds that could be had")
    seconds: float | None = Field(description="of a video; null: an array, which has no times")
    timeline: list[SecondBody] = Field(description="of a video, the clip that begins at each second")
    problem: str | None = Field(description="what of the video could not be read, if anything")


class PredictBody(BaseModel):
    """What is said of a request's images, in their order, or of its video."""

    model: str = Field(description="first 12 hexadecimal digits of the SHA-256 of the file that computed all of this")
    request_id: str
    milliseconds: float = Field(ge=0, description="in the service, from the first byte of the request on")
    answers: list[ClipBody | AnswerBody | BoxesBody | VideoBody] = Field(
        description="labels, boxes or clips, as the model says; or a video frame by frame"
    )


def predicted(answers: list[Answered], request_id: str, milliseconds: float, *, scores: bool) -> dict[str, Any]:
    """A `PredictBody`."""
    said = [_answer(one, scores=scores) for one in answers]
    return body(answers[0].engine, request_id, milliseconds, said)


def body(engine: Engine, request_id: str, milliseconds: float, answers: list[dict[str, Any]]) -> dict[str, Any]:
    """A `PredictBody` around answers."""
    return {
        "model": engine.model,
        "request_id": request_id,
        "milliseconds": round(milliseconds, 3),
        "answers": answers,
    }


def of_clip(clip: ClipSaid, threshold: float | None) -> dict[str, Any]:
    """A `ClipBody`; with two classes the one that is looked for is said from the probability `threshold` on."""
    classes, crop = clip.answered.engine.artefact.classes, clip.answered.crop
    assert crop is not None

    def decided(probabilities: Float64s) -> dict[str, Any]:
        said = _labels(probabilities, classes)
        return said if threshold is None or len(classes) != 2 else decide(said, classes, threshold)

    return {
        "height": crop.image[0], "width": crop.image[1], **decided(clip.probabilities), "frames": clip.frames,
        "seconds": clip.seconds, "problem": clip.problem,
        "timeline": [
            {"second": int(one.start), "start": one.start, "end": one.end, **decided(one.probabilities)}
            for one in clip.timeline
        ],
    }  # fmt: skip


def of_video(watched: Watched, threshold: float) -> dict[str, Any]:
    """A `VideoBody`; a box begins a thing from the score `threshold` on. Takes a while: not for an event loop."""
    engine = watched.frames[0].answered.engine
    numbering = Numbering(watched.rate, threshold, engine.artefact.classes)
    frames = list[dict[str, Any]]()
    for seen in watched.frames:
        said = _answer(seen.answered, scores=False)
        line = {"frame": seen.number, "seconds": seen.seconds} | {
            name: said[name] for name in said if name not in _SIZE
        }
        numbering.number(line)
        frames.append(line)
    height, width = watched.one[0].image
    return {"height": height, "width": width, "frames": frames, "problem": watched.problem}


def as_json(value: dict[str, Any], status: int = 200) -> Response:
    """A response that holds `value`."""
    return Response(json.dumps(value, ensure_ascii=False).encode(), status, media_type="application/json")


def _answer(answered: Answered, *, scores: bool) -> dict[str, Any]:
    if answered.found is not None:
        found = _boxes(answered.found, answered)
    else:
        found = _labels(answered.probabilities, answered.engine.artefact.classes)
    if scores and answered.phi is not None:
        found["scores"] = answered.engine.explain(answered.phi)
    return found


def _labels(chances: Float32s | Float64s, classes: list[str]) -> dict[str, Any]:
    order = np.argsort(-chances, kind="stable")[:TOP].tolist()
    top = [{"label": classes[place], "probability": float(chances[place])} for place in order]
    return {**top[0], "top3": top}


def _boxes(found: Found, answered: Answered) -> dict[str, Any]:
    """In px of the image, or of the crop where only that was sent."""
    artefact, crop = answered.engine.artefact, answered.crop
    [said] = answer([found], artefact.classes)
    if crop is None:
        return {"height": artefact.side_px, "width": artefact.side_px, **said}
    height, width = crop.image
    return {"height": height, "width": width, **on_image(said, crop.image, artefact.side_px, stored=crop.stored)}
