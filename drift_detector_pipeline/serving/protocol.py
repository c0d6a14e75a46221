"""The Open Inference Protocol, version 2, over REST: the service is a KServe predictor, and Triton's clients can ask.

In: inputs `images` (UINT8, [n, S, S, 3], crops as the model takes them; of clips [n, k, S, S, 3], too) or `encoded`
(BYTES, [n], image files as base64). Out: outputs `probabilities` (FP32, [n, K]) and, of a model with a drift reference,
`phi` (FP32, [n, scores]); of a model that finds boxes, `boxes` (FP32, [n, M, 6]): x0, y0, x1, y1, score, class, rows
without a box -1.
"""

import hashlib
import math
import re
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.release.artefact import MOST_FRAMES
from drift_detector_pipeline.serving.batcher import Answered
from drift_detector_pipeline.serving.engine import Engine
from drift_detector_pipeline.serving.problems import RequestError, documented
from drift_detector_pipeline.serving.replies import as_json
from drift_detector_pipeline.serving.service import Asker, Service
from drift_detector_pipeline.serving.uploads import MOST_IMAGES, checked_count, from_base64

VERSION = "2"
Name = Annotated[str, Path(max_length=200)]
_SOURCE = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Tensor(BaseModel):
    """An input or an output."""

    name: str
    shape: list[Annotated[int, Field(ge=0)]] = Field(max_length=8)
    datatype: str
    parameters: dict[str, Any] | None = None
    data: list[Any]


class Wanted(BaseModel):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """What is asked."""

    id: str | None = Field(None, max_length=64)
    parameters: dict[str, Any] | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=1)
    outputs: list[Wanted] | None = None


class InferReply(BaseModel):
    """What is answered."""

    model_name: str
    model_version: str = Field(description="first 12 hexadecimal digits of the file's SHA-256")
    id: str
    outputs: list[Tensor]


class TensorFacts(BaseModel):
    """An input or an output, before there is one; -1: any number."""

    name: str
    shape: list[int]
    datatype: str


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorFacts]
    outputs: list[TensorFacts]


class ServerMetadata(BaseModel):
    """What the service is."""

    name: str
    version: str
    extensions: list[str]


def routes(service: Service, check_ready: Callable[[], None]) -> APIRouter:
    """The endpoints below /v2."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
    _add_life(router, check_ready)
    _add_model(router, service, check_ready)
    problems = documented("malformed", "key", "unknown", "slow", "large", "type", "image", "value", "busy", "stopping")

    @router.post("/models/{name}/infer", response_model=InferReply, responses=problems)
    @router.post("/models/{name}/versions/{version}/infer", response_model=InferReply, responses=problems)
    async def infer(request: Request, asked: InferRequest, name: Name, version: str | None = None) -> Response:
        """Answer images: crops as numbers in `images`, or image files as base64 in `encoded`."""
        asker = asker_of(request)
        _check_name(service.engine_for(asker.source), name, version)
        answers = await _answers(service, asked.inputs[0], asker)
        _check_version(answers, version)
        return as_json(_reply(answers, asked, asker))

    return router


def _add_life(router: APIRouter, check_ready: Callable[[], None]) -> None:
    @router.get("", response_model=ServerMetadata, responses=documented("key"))
    async def server() -> Response:
        """Name and version of the service."""
        return as_json({"name": "drift_detector_pipeline", "version": VERSION, "extensions": []})

    @router.get("/health/live")
    async def live() -> dict[str, bool]:
        """Whether the process lives."""
        return {"live": True}

    @router.get("/health/ready", responses=documented("stopping"))
    async def ready() -> dict[str, bool]:
        """Whether requests are answered."""
        check_ready()
        return {"ready": True}


def _add_model(router: APIRouter, service: Service, check_ready: Callable[[], None]) -> None:
    problems = documented("unknown", "key", "value")

    of_ready = documented("unknown", "key", "stopping", "value")

    @router.get("/models/{name}/ready", responses=of_ready)
    @router.get("/models/{name}/versions/{version}/ready", responses=of_ready)
    async def model_ready(name: Name, version: str | None = None) -> dict[str, Any]:
        """Whether this model answers."""
        _check_name(service.engine, name, version)
        check_ready()
        return {"name": name, "ready": True}

    @router.get("/models/{name}", response_model=ModelMetadata, responses=problems)
    @router.get("/models/{name}/versions/{version}", response_model=ModelMetadata, responses=problems)
    async def metadata(name: Name, version: str | None = None) -> Response:
        """What the model takes and gives."""
        _check_name(service.engine, name, version)
        return as_json(_metadata(service))


def asker_of(request: Request) -> Asker:
    """Who asks, by what admission.py found in the headers. Raises RequestError if the source is no name."""
    source = request.headers.get("x-source", "")
    if source and not _SOURCE.fullmatch(source):
        raise RequestError("value", "X-Source: 1 to 64 of the characters A-Z a-z 0-9 . _ -")
    return Asker(request.state.request_id, source, request.state.started)


async def _answers(service: Service, given: Tensor, asker: Asker) -> list[Answered]:
    if given.name == "encoded" and given.datatype == "BYTES":
        if given.shape != [len(given.data)] or not given.data:
            raise RequestError("value", f"encoded: {len(given.data)} values do not have the shape {given.shape}")
        return await service.predict(checked_count([from_base64(one) for one in given.data]), asker)
    if given.name == "images" and given.datatype == "UINT8":
        crops = _crops(given, service.engine_for(asker.source))
        if crops.ndim == 5:
            return [await service.predict_clip(clip, asker) for clip in crops]
        return await service.predict_crops(
            list(crops), [hashlib.sha256(crop.tobytes()).digest() for crop in crops], asker
        )
    raise RequestError("value", "expected one input: images (UINT8) or encoded (BYTES)")


def _crops(given: Tensor, engine: Engine) -> Pixels:
    """uint8 of the shape that is said, (n, S, S, 3) or (n, k, S, S, 3). Raises RequestError if the numbers are none."""
    try:
        values = np.asarray(given.data)
    except ValueError as error:
        raise RequestError("value", "images: lists of unequal length") from error
    shapes = (4, 5) if engine.looks_at_clips else (4,)
    of_clips = ", or [n, k, S, S, 3]" if engine.looks_at_clips else ""
    few = 0 < math.prod(given.shape[:-3]) <= (MOST_FRAMES if len(given.shape) == 5 else MOST_IMAGES)
    if len(given.shape) not in shapes or not few or values.size != math.prod(given.shape):
        expected = f"[n, S, S, 3] with n in 1..{MOST_IMAGES}{of_clips}"
        raise RequestError("value", f"images: expected {expected}, got {values.size} numbers")
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
        raise RequestError("value", "images: expected whole numbers in 0..255")
    return values.astype(np.uint8).reshape(given.shape)


def _reply(answers: list[Answered], asked: InferRequest, asker: Asker) -> dict[str, Any]:
    engine = answers[0].engine
    columns = {"probabilities": [one.probabilities for one in answers]}
    if engine.finds_boxes:
        columns = {"boxes": [_table(one) for one in answers]}
    if engine.detector is not None:
        columns["phi"] = [one.phi for one in answers if one.phi is not None]
    wanted = [one.name for one in asked.outputs or []] or list(columns)
    if unknown := [name for name in wanted if name not in columns]:
        raise RequestError("value", f"outputs: {unknown[0][:100]}: this model gives {', '.join(columns)}")
    outputs = [_tensor(name, np.stack(_of_one_length(columns[name]))) for name in dict.fromkeys(wanted)]
    own = {"model_name": engine.artefact.name, "model_version": engine.model, "id": asked.id or asker.request_id}
    return {**own, "outputs": outputs}


def _table(answered: Answered) -> Float32s:
    """(M, 6): x0, y0, x1, y1 in px of the crop, score, place of the class."""
    assert answered.found is not None
    found = answered.found
    return np.column_stack([found.boxes, found.scores, found.labels]).astype(np.float32)


def _of_one_length(rows: list[Float32s]) -> list[Float32s]:
    """Tables filled up with -1 to the longest of them; rows of one length as they are."""
    longest = max(map(len, rows))
    return [np.pad(row, [(0, longest - len(row)), *[(0, 0)] * (row.ndim - 1)], constant_values=-1) for row in rows]


def _tensor(name: str, values: Float32s) -> dict[str, Any]:
    return {"name": name, "shape": list(values.shape), "datatype": "FP32", "data": values.ravel().tolist()}


def _check_name(engine: Engine, name: str, version: str | None) -> None:
    if name != engine.artefact.name or version not in (None, engine.model):
        raise RequestError("unknown", f"the model here is {engine.artefact.name}, version {engine.model}")


def _check_version(answers: list[Answered], version: str | None) -> None:
    """Of a request that came just before a swap."""
    if version not in (None, answers[0].engine.model):
        raise RequestError("unknown", f"version {answers[0].engine.model} answers by now")


def _metadata(service: Service) -> dict[str, Any]:
    engine = service.engine
    side, classes = engine.artefact.side_px, len(engine.artefact.classes)
    outputs = [{"name": "probabilities", "shape": [-1, classes], "datatype": "FP32"}]
    if engine.finds_boxes:
        outputs = [{"name": "boxes", "shape": [-1, -1, 6], "datatype": "FP32"}]
    if engine.detector is not None:
        outputs.append({"name": "phi", "shape": [-1, len(engine.scores)], "datatype": "FP32"})
    return {
        "name": engine.artefact.name,
        "versions": [engine.model],
        "platform": f"onnx_{engine.artefact.runtime}",
        "inputs": [
            {"name": "images", "shape": [-1, side, side, 3], "datatype": "UINT8"},
            {"name": "encoded", "shape": [-1], "datatype": "BYTES"},
        ],
        "outputs": outputs,
    }
