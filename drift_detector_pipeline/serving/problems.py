"""What can go wrong with a request, as problem+json (RFC 9457): what it is called, what happened, what to do.

In: a `RequestError`, raised below an endpoint or by admission.py. Out: a status and a body that names the request. Read
by every module of the service.
"""

import json
from typing import Any, NamedTuple

from pydantic import BaseModel

MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """A kind of problem; its name is the end of its `type`."""

    status: int
    title: str


KINDS = {
    "malformed": Kind(400, "The request cannot be read"),
    "key": Kind(401, "A valid key is needed"),
    "forbidden": Kind(403, "Not with this key"),
    "unknown": Kind(404, "There is no such thing here"),
    "method": Kind(405, "Not with this method"),
    "slow": Kind(408, "The body came too slowly"),
    "unable": Kind(409, "This model cannot do that"),
    "large": Kind(413, "The body is too large"),
    "type": Kind(415, "These bytes are no image or video of a known format"),
    "image": Kind(422, "The image cannot be used"),
    "video": Kind(422, "The video cannot be used"),
    "value": Kind(422, "A value is out of range"),
    "failed": Kind(500, "The service failed"),
    "log": Kind(503, "The request log does not answer"),
    "busy": Kind(503, "Too many requests at once"),
    "stopping": Kind(503, "The service is about to stop"),
}
RETRY_S = 1  # what clients are told to wait at least; with some seconds of chance of their own, please


class RequestError(Exception):
    """A request that is not answered as it hoped; `detail` says what happened and what to do."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind].status

    def body(self, request_id: str) -> bytes:
        """The problem as JSON."""
        status, title = KINDS[self.kind]
        said = {"type": f"/docs#{self.kind}", "title": title, "status": status, "detail": self.detail}
        return json.dumps(said | {"request_id": request_id}).encode()

    def headers(self) -> dict[str, str]:
        """What goes with it: when to come again, or how to name oneself."""
        if self.status == 503:
            return {"retry-after": str(RETRY_S)}
        return {"www-authenticate": "Bearer"} if self.status == 401 else {}


class ProblemBody(BaseModel):
    """What every error looks like."""

    type: str  # /docs#busy; the part after # names the kind
    title: str
    status: int
    detail: str  # what happened to this very request, and what to do
    request_id: str  # as in the header X-Request-Id


def documented(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint that may meet these problems, and those that any may meet."""
    found = dict[int | str, dict[str, Any]]()
    for kind in (*kinds, "failed"):
        status, title = KINDS[kind]
        before = found.get(status, {}).get("description")
        found[status] = {
            "description": f"{before}; {title}" if before else title,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
        }
    return found
