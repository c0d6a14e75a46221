"""The endpoints: what may be asked, what is answered, what goes wrong, documented at /docs and /openapi.json.

In: a `Service`. Out: an ASGI application, admission.py outermost. Read by __main__.py and by the tests.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.serving import drift_answers, shadow_answers
from drift_detector_pipeline.serving.admission import Admission, App, Limits, Receive, Scope, Send
from drift_detector_pipeline.serving.clips import is_array
from drift_detector_pipeline.serving.engine import Engine
from drift_detector_pipeline.serving.keys import Keys
from drift_detector_pipeline.serving.metrics import CONTENT_TYPE
from drift_detector_pipeline.serving.problems import MEDIA_TYPE, ProblemBody, RequestError, documented
from drift_detector_pipeline.serving.protocol import asker_of, routes
from drift_detector_pipeline.serving.replies import PredictBody, as_json, body, of_clip, of_video, predicted
from drift_detector_pipeline.serving.service import Asker, Service
from drift_detector_pipeline.serving.uploads import film_in, images_of
from drift_detector_pipeline.video.track import SURE

PAGE = Path(__file__).parent / "page"
_BODY = ("malformed", "key", "slow", "large", "busy", "stopping")  # what may happen to any request with a body
_IMAGES = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"images": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                    "required": ["images"],
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"images": {"type": "array", "items": {"type": "string", "format": "byte"}}},
                    "required": ["images"],
                }
            },
        },
    }
}
_FILE = {"schema": {"type": "string", "format": "binary"}}
_FILMS = dict.fromkeys(("video/mp4", "video/webm", "application/x-npz"), _FILE)
_FILM_TOO = {
    "requestBody": {
        "required": True,
        "content": {**_IMAGES["requestBody"]["content"], **_FILMS},  # type: ignore[dict-item]
    }
}
Source = Annotated[
    str, Header(alias="X-Source", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="camera or client, judged by itself")
]


class ModelName(BaseModel):
    """Which artefact answers from now on."""

    folder: str = Field(
        max_length=200, pattern=r"^\w[\w .-]*$", description="its folder's name, beside the one started with"
    )


def build_app(service: Service, keys: Keys) -> Admission:
    """The application; it starts and stops `service`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="drift_detector_pipeline", version="1", docs_url=None, redoc_url=None, lifespan=lifespan,
        description="Labels for images, and whether the world still looks as it did in training.",
    )  # fmt: skip
    limits = Limits(int(service.settings.max_upload_mb * 1e6), service.settings.in_flight)
    _add_problems(app)
    admission = Admission(_shortcut(app, service), limits, keys, service.metrics, lambda: service.engine.model)
    service.metrics.watch("drift_in_flight", "Requests that are being read or answered", lambda: admission.in_flight)

    def check_ready() -> None:
        if admission.draining:
            raise RequestError("stopping", "ask another one, or this address again in a moment")

    _add_life(app, service, check_ready)
    _add_answers(app, service)
    app.include_router(drift_answers.routes(service, asker_of, _IMAGES))
    app.include_router(shadow_answers.routes(service))
    app.include_router(routes(service, check_ready))
    _add_pages(app)
    return admission


def _add_life(app: FastAPI, service: Service, check_ready: Any) -> None:
    @app.get("/health", tags=["Operation"])
    async def health() -> dict[str, str]:
        """Whether the process lives."""
        return {"status": "alive"}

    @app.get("/ready", tags=["Operation"], responses=documented("stopping"))
    async def ready() -> dict[str, str]:
        """Whether requests are answered: the model is warm, and nobody has asked the service to stop."""
        check_ready()
        return {"status": "ready", "model": service.engine.model}

    @app.get("/metrics", tags=["Operation"], response_class=Response, responses=documented("key"))
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/model", tags=["Model"], responses=documented("key"))
    async def model() -> dict[str, Any]:
        """The model that answers: classes, sizes, hashes, what was measured when it was exported."""
        return service.engine.facts()

    @app.post("/model", tags=["Model"], responses=documented(*_BODY, "forbidden", "unknown", "unable", "value"))
    async def swap(asked: ModelName) -> dict[str, Any]:
        """Exchange the model between two batches; needs the admin key. Nothing changes if the new one is damaged."""
        return (await service.swap(asked.folder)).facts()


def _shortcut(app: FastAPI, service: Service) -> App:
    """The application, but POST /predict without a query goes past its routes.

    Finding a route and checking parameters that are not there would be a third of what the event loop does for it.
    """
    handlers = dict(app.exception_handlers)
    unforeseen = handlers.pop(Exception)

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = app  # without it Starlette raises other errors for damaged forms
        await (await _answer(service, Request(scope, receive), scores=False))(scope, receive, send)

    direct = ServerErrorMiddleware(ExceptionMiddleware(answered, handlers), unforeseen)

    async def way(scope: Scope, receive: Receive, send: Send) -> None:
        usual = scope["type"] == "http" and scope["path"] == "/predict" and scope["method"] == "POST"
        await (direct if usual and not scope["query_string"] else app)(scope, receive, send)

    return way


async def _answer(service: Service, request: Request, *, scores: bool) -> Response:
    asker = asker_of(request)
    contents = await images_of(request)
    if (film := film_in(contents)) is not None:
        return await _watch(service, request, asker, film)
    answers = await service.predict(contents, asker)
    milliseconds = 1000 * (time.perf_counter() - asker.started)
    return as_json(predicted(answers, asker.request_id, milliseconds, scores=scores))


async def _watch(service: Service, request: Request, asker: Asker, film: bytes) -> Response:
    """Answer a video or an array of frames."""
    threshold, engine = service.settings.threshold, service.engine_for(asker.source)
    if engine.looks_at_clips or is_array(film):
        clip = await service.look_at_clip(film, asker, request.is_disconnected)
        return _said(clip.answered.engine, asker, of_clip(clip, threshold))
    watched = await service.watch(film, asker, request.is_disconnected)
    engine, sure = watched.frames[0].answered.engine, SURE if threshold is None else threshold
    # Thousands of boxes would hold up everybody.
    return await asyncio.to_thread(lambda: _said(engine, asker, of_video(watched, sure)))


def _said(engine: Engine, asker: Asker, answer: dict[str, Any]) -> Response:
    return as_json(body(engine, asker.request_id, 1000 * (time.perf_counter() - asker.started), [answer]))


def _add_answers(app: FastAPI, service: Service) -> None:
    problems = documented(*_BODY, "type", "image", "video", "value")

    @app.post("/predict", tags=["Answers"], response_model=PredictBody, responses=problems, openapi_extra=_FILM_TOO)
    async def predict(
        request: Request,
        source: Source = "",
        scores: Annotated[bool, Query(description="what drift is tested on, too")] = False,
    ) -> Response:
        """Answer one image or several, a short video, or a clip as .npz: as the body, a form, or base64 in JSON."""
        return await _answer(service, request, scores=scores)


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html")

    app.mount("/page", StaticFiles(directory=PAGE))


def _add_problems(app: FastAPI) -> None:
    def said(request: Request, problem: RequestError) -> Response:
        return Response(problem.body(request.state.request_id), problem.status, problem.headers(), MEDIA_TYPE)

    @app.exception_handler(RequestError)
    async def own(request: Request, problem: RequestError) -> Response:
        return said(request, problem)

    @app.exception_handler(DataError)
    async def unusable(request: Request, error: DataError) -> Response:
        return said(request, RequestError("failed", str(error)))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return said(request, RequestError("value", f"{where[:200]}: {first['msg'][:200]}"))

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        kind = {404: "unknown", 405: "method"}.get(error.status_code, "malformed")
        answer = said(request, RequestError(kind, f"{request.method} {request.url.path[:200]}: see /docs"))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        return said(request, RequestError("failed", "an unforeseen fault; the log of the service says more"))

    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            schema["components"]["schemas"]["ProblemBody"] = ProblemBody.model_json_schema()
            for own in (one for path in schema["paths"].values() for one in path.values()):
                _say_problems(own)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _say_problems(operation: dict[str, Any]) -> None:
    """FastAPI documents its own 422, which never comes."""
    ours = documented("value")[422]
    if "HTTPValidationError" in str(operation["responses"].get("422", "")):
        operation["responses"]["422"] = ours
