"""The endpoint about a model in the shadow: how often it says something else, what it costs, how both are judged.

In: the log, where its rows stand beside those of the answers that were given. Out: `GET /shadow` as JSON.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy import literal, select
from starlette.responses import Response

from drift_detector_pipeline.serving.agreement import Said, agree
from drift_detector_pipeline.serving.database import asking
from drift_detector_pipeline.serving.drift_answers import VerdictBody, asked, stored
from drift_detector_pipeline.serving.engine import Engine
from drift_detector_pipeline.serving.problems import RequestError, documented
from drift_detector_pipeline.serving.replies import as_json
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.service import Service
from drift_detector_pipeline.serving.stored_verdicts import newest_verdicts
from drift_detector_pipeline.serving.tables import request
from drift_detector_pipeline.tasks.classification.metrics import wilson_interval

MOST = 10_000  # newest images that are compared
_BEFORE = 5_000  # rows at most between an answer and what the candidate said of the same image


class OneModel(BaseModel):
    """One of the two."""

    model: str
    version: str
    milliseconds: float | None = Field(description="processor time an image, on average since the service started")
    newest: VerdictBody | None = Field(description="its newest counted verdict, with the estimated accuracy")


class ShadowBody(BaseModel):
    """What is known of a candidate in the shadow."""

    champion: OneModel
    candidate: OneModel
    images: int = Field(description="different ones, of the newest, that both of them have answered")
    disagreements: int = Field(
        description="images that got another label, or other than as many boxes of each class (scores of 0.5 and more)"
    )
    disagreement: float | None = Field(description="share of them, in 0..1")
    low: float | None = Field(description="of its 95 % interval")
    high: float | None
    dropped: int = Field(description="images that the candidate was not asked about, as it was behind")


class Compared(NamedTuple):
    """How often two models said the same of an image."""

    images: int
    disagreements: int


def routes(service: Service) -> APIRouter:
    """`GET /shadow`."""
    router = APIRouter(tags=["Drift"])

    @router.get("/shadow", response_model=ShadowBody, responses=documented("key", "unable", "log"))
    def shadow() -> Response:
        """The model in the shadow beside the one that answers: disagreement, cost, newest verdicts."""
        trial, engine = service.shadow, service.engine
        if trial is None:
            raise RequestError("unable", "no model is in the shadow; start the service with serving.shadow=VERSION")
        found = asked(lambda: compare(service.log, trial.engine, engine))
        low, high = wilson_interval(found.disagreements, found.images) if found.images else (None, None)
        own = {"images": found.images, "disagreements": found.disagreements, "low": low, "high": high}
        share = found.disagreements / found.images if found.images else None
        both = {"champion": _one(service, engine), "candidate": _one(service, trial.engine)}
        return as_json({**both, **own, "disagreement": share, "dropped": trial.dropped})

    return router


def compare(log: RequestLog, candidate: Engine, champion: Engine, most: int = MOST) -> Compared:
    """Compare the newest `most` rows of `candidate` in the shadow with the answers of `champion` to the same images.

    An image that came several times counts once. Raises DataError if the database does not answer.
    """
    kept = request.c.phi if candidate.finds_boxes else literal(b"").label("phi")
    columns = (request.c.request_id, request.c.image_sha256, request.c.predicted, kept)
    shadowed = select(request.c.id, *columns).where(request.c.model_id == candidate.log_id, request.c.shadow)
    given = select(*columns).where(request.c.model_id == champion.log_id, request.c.shadow.is_(False))
    with asking(), log.engine.connect() as connection:
        newest = connection.execute(shadowed.order_by(request.c.id.desc()).limit(most)).all()
        if not newest:
            return Compared(0, 0)
        between = request.c.id.between(newest[-1].id - _BEFORE, newest[0].id)
        answers = {
            (row.request_id, row.image_sha256): Said(champion, row.predicted, row.phi)
            for row in connection.execute(given.where(between))
        }
    return _compared(newest, answers, candidate)


def _compared(newest: Iterable[Any], answers: Mapping[tuple[str, bytes], Said], candidate: Engine) -> Compared:
    same = dict[bytes, bool]()
    for row in newest:
        if (given := answers.get((row.request_id, row.image_sha256))) is not None:
            same.setdefault(row.image_sha256, agree(Said(candidate, row.predicted, row.phi), given))
    return Compared(len(same), sum(not one for one in same.values()))


def _one(service: Service, engine: Engine) -> dict[str, object]:
    verdicts = asked(lambda: newest_verdicts(service.log, engine.log_id))
    newest = stored(verdicts[0], with_detail=False) if verdicts else None
    spent = service.shadow and service.shadow.spent.milliseconds(engine)
    return {"model": engine.model, "version": engine.version, "milliseconds": spent, "newest": newest}
