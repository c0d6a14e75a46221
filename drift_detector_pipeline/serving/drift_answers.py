"""The endpoints about drift: the newest counted verdict, earlier ones, their reports, and spot checks.

In: the log. Out: what `drift` said, as JSON and as a page. Counted verdicts are of disjoint windows; a look may be
asked for at any time, and since many looks would find something by chance alone, it never becomes one of them.
"""

import datetime
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from drift_detector_pipeline.drift.detecting import Detector
from drift_detector_pipeline.drift.kinds import words_of
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.serving.crops import Crops
from drift_detector_pipeline.serving.engine import Engine
from drift_detector_pipeline.serving.looks import AGAIN_S
from drift_detector_pipeline.serving.problems import RequestError, documented
from drift_detector_pipeline.serving.replies import as_json
from drift_detector_pipeline.serving.rows import StoredRow, StoredVerdict, once
from drift_detector_pipeline.serving.service import Asker, Service
from drift_detector_pipeline.serving.stored_verdicts import newest_verdicts, stored_verdict
from drift_detector_pipeline.serving.uploads import images_of
from drift_detector_pipeline.serving.verdicts import Look, look_at, report_of

MOST_HISTORY, MOST_ROWS = 1000, 10_000
_WRITTEN_S = 1.0  # so long is waited for rows on their way into the log
_PAGE_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # one file that needs nothing else
_UNKNOWN = "not in this log"
_OF_CLIPS = "drift of clips is told from those of many sources, which come one by one; ask about those answered last"

Source = Annotated[
    str | None, Query(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="one camera or client; all without")
]
_Result = TypeVar("_Result")


class VerdictBody(BaseModel):
    """What was said of one window."""

    id: int | None = Field(description="null of a spot check")
    at: str = Field(description="UTC, ISO 8601")
    source: str
    images: int = Field(description="of a model of clips: clips; what is judged are their sources")
    repeated: int = Field(description="requests left out since their image was judged already")
    counted: bool = Field(description="false: a spot check, which keeps no promise about false notices")
    level: str = Field(description="quiet, notice, alert, or too few images")
    p: float | None
    accuracy: float | None = Field(description="estimated, in 0..1; null of a model that finds boxes")
    map50: float | None = Field(description="the same of a model that finds boxes: estimated mAP50")
    low: float | None = Field(description="of the 90 % interval of either")
    high: float | None
    by_copy: bool = Field(
        description="an adapted copy saw the images; else detail.accuracy.undone names what was undone of them, or the "
        "estimate is from scores alone"
    )
    summary: list[str] = Field(description="in plain sentences, the most important first")
    report: str | None = Field(description="where the whole report is")
    detail: dict[str, Any] | None = Field(None, description="all that verdict.json holds")


class DriftBody(BaseModel):
    """What is known of drift."""

    model: str
    window: int = Field(description="images of a counted verdict")
    behind: bool = Field(description="whether the log is older than it should be")
    newest: VerdictBody | None = Field(description="the newest counted verdict; null: no window is full yet")
    history: list[VerdictBody] = Field(description="counted verdicts, the newest first, without their detail")


def routes(service: Service, asker_of: Callable[[Request], Asker], images: dict[str, Any]) -> APIRouter:
    """The endpoints below /drift; `images` documents their bodies."""
    router = APIRouter(prefix="/drift", tags=["Drift"])
    _addstored(router, service)
    problems = documented(
        "malformed", "key", "slow", "large", "type", "image", "unable", "value", "busy", "stopping", "log"
    )

    @router.post("", response_model=VerdictBody, responses=problems, openapi_extra=images)
    async def look(
        request: Request,
        last: Annotated[int | None, Query(ge=1, le=MOST_ROWS, description="judge so many logged images")] = None,
        source: Source = None,
    ) -> Response:
        """Judge the images of this request, or with ?last=256 and no body those answered last; nobody counts it."""
        engine, detector = _watched(service.engine_for(source))
        if last is None and detector.pools_sources:
            raise RequestError("unable", f"{_OF_CLIPS}: POST /drift?last={service.settings.window}")
        async with service.looks.place():
            if last is None:
                found, detector = await _look_at_images(service, await images_of(request), asker_of(request))
            else:
                found = await service.looks.make(lambda: _look_at_last(service, engine, last, source))
        return as_json(_looked(found, source or "", detector))

    return router


def _addstored(router: APIRouter, service: Service) -> None:
    page: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {}}, "description": "One page, complete"}}
    of_page = {**documented("key", "unknown", "unable", "value", "log"), **page}

    @router.get("", response_model=DriftBody, responses=documented("key", "unable", "value", "log"))
    def drift(history: Annotated[int, Query(ge=0, le=MOST_HISTORY)] = 0, source: Source = None) -> Response:
        """The newest counted verdict, and so many before."""
        engine, _ = _watched(service.engine_for(source))
        found = asked(lambda: newest_verdicts(service.log, engine.log_id, max(1, history), source))
        newest = stored(found[0], with_detail=True) if found else None
        plain = [stored(one, with_detail=False) for one in found[:history]]
        own = {"model": engine.model, "window": service.settings.window, "behind": service.log.behind}
        return as_json({**own, "newest": newest, "history": plain})

    @router.get("/{verdict}/report", response_class=Response, responses=of_page)
    def report(verdict: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> Response:
        """The report of a counted verdict, as a page."""
        own = asked(lambda: stored_verdict(service.log, verdict)).model_id
        found = next((one for one in service.loaded() if one.log_id == own), None)
        if found is None:
            raise RequestError("unable", f"verdict {verdict} is about another model than those that answer now")
        _, detector = _watched(found)
        text = asked(lambda: report_of(service.log, verdict, detector))
        return Response(text, media_type="text/html", headers={"content-security-policy": _PAGE_POLICY})


def _watched(engine: Engine) -> tuple[Engine, Detector]:
    """A model and its detector. Raises RequestError if it has none."""
    if engine.detector is None:
        raise RequestError("unable", engine.why_no_drift)
    return engine, engine.detector


def asked(ask: Callable[[], _Result]) -> _Result:
    """What the log says. Raises RequestError if it does not answer, or has no such thing."""
    try:
        return ask()
    except DataError as error:
        raise RequestError("unknown" if _UNKNOWN in str(error) else "log", str(error)) from error


def _look_at_last(service: Service, engine: Engine, last: int, source: str | None) -> Look:
    """Judge logged rows; from the thread of spot checks."""
    service.log.flush(_WRITTEN_S)
    rows = asked(lambda: service.log.newest(engine.log_id, last, source))
    return _judged(service, engine, rows)


async def _look_at_images(service: Service, contents: list[bytes], asker: Asker) -> tuple[Look, Detector]:
    found = await service.read(contents, asker.source)
    engine = found[0][1].engine
    if engine.detector is None:
        raise RequestError("unable", "the model was just exchanged for one without a drift reference")
    crops = Crops(sum(prepared.crop.pixels.nbytes for prepared, _ in found))
    rows = list[StoredRow]()
    for place, (prepared, answered) in enumerate(found, 1):
        crops.put("", prepared.sha256, prepared.crop.pixels)
        best, scores = int(answered.probabilities.argmax()), answered.kept
        chance = float(answered.probabilities[best])
        rows.append(StoredRow(place, 0.0, engine.log_id, str(place), "", prepared.sha256, best, chance, 0.0, scores))
    return await service.looks.make(lambda: _judged(service, engine, rows, crops)), engine.detector


def _judged(service: Service, engine: Engine, rows: Sequence[StoredRow], crops: Crops | None = None) -> Look:
    _, detector = _watched(engine)
    look_again = service.judge.looks_again(engine, crops, patience_s=AGAIN_S)
    return look_at(rows, service.looks.own(detector), partial(look_again, once(rows)))


def stored(verdict: StoredVerdict, *, with_detail: bool) -> dict[str, Any]:
    """A `VerdictBody`."""
    plain = {name: getattr(verdict, name) for name in VerdictBody.model_fields if name in StoredVerdict._fields}
    at = datetime.datetime.fromtimestamp(verdict.at, datetime.UTC).isoformat(timespec="seconds")
    own = {"at": at, "summary": verdict.detail.get("summary", []), "report": f"/drift/{verdict.id}/report"}
    own |= _by_measure(words_of(verdict.detail.get("task")).measure, verdict.accuracy)
    return {**plain, **own, "detail": verdict.detail if with_detail else None}


def _looked(look: Look, source: str, detector: Detector) -> dict[str, Any]:
    detail = detector.words.as_json(look.verdict)
    found = look.verdict.worth
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "id": None, "at": now, "source": source, "images": look.images, "repeated": look.repeated,
        "counted": False, "level": look.verdict.level, "p": look.verdict.p,
        **_by_measure(detector.words.measure, found and found.accuracy),
        "low": found and found.low, "high": found and found.high,
        "by_copy": bool(found and found.by_copy), "summary": detail["summary"], "report": None, "detail": detail,
    }  # fmt: skip


def _by_measure(measure: str, value: float | None) -> dict[str, float | None]:
    return {name: value if name == measure else None for name in ("accuracy", "map50")}
