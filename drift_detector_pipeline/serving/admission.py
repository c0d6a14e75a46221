"""What is refused before a body is read, and the body itself, bounded in bytes and in seconds. Pure ASGI.

In: every request. Out: a problem at once, or the application with a body that is whole. Refusing must be cheap: under
three times the load a service can bear, most of its time would go into reading what it then refuses.

For requests with a body, in this order: a length above the limit (413), too many at once (503), no valid key (401);
then the body, counted as it comes (413), with a deadline (408) and a bound on what all requests hold together (503). A
service that is about to stop refuses nobody who got in: it says so at /ready, and closes its door.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

from drift_detector_pipeline.serving.keys import Keys
from drift_detector_pipeline.serving.metrics import Metrics
from drift_detector_pipeline.serving.problems import MEDIA_TYPE, RequestError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

UPLOADS_AT_ONCE = 8  # bodies of the largest size that memory is kept for; all that wait share it
_LINGER_S = 2.0  # for so long the rest of a refused body is read and dropped: a cut client would not see why
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_OPEN = ("/", "/health", "/ready", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready")  # without a key
_OPEN_FOLDER = "/page/"
_SECURITY = [
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Limits(NamedTuple):
    """What one service takes."""

    body_bytes: int  # of one request
    in_flight: int  # requests with a body, from its first byte to the answer
    upload_s: float = 20.0  # from a request's first byte to the last of its body


class GoneError(Exception):
    """The client went before its body was complete."""


class Admission:
    """The outermost layer of the application. `draining` is set by whoever ends the service."""

    def __init__(self, app: App, limits: Limits, keys: Keys, metrics: Metrics, model: Callable[[], str]) -> None:
        self._app, self._limits, self._keys, self._metrics, self._model = app, limits, keys, metrics, model
        self.in_flight = self.held_bytes = 0
        self.draining = False  # answered as before, but connections are not kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = _request_id(headers)
        scope.setdefault("state", {}).update(request_id=request_id, started=time.perf_counter())
        answering = _Answering(send, self._own_headers(request_id, headers))
        has_body = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        try:
            if has_body:
                await self._with_body(scope, headers, receive, answering)
            else:
                self._check_key(scope, headers)
                await self._app(scope, receive, answering)
        except RequestError as problem:
            await self._refuse(problem, request_id, receive, answering)
        except GoneError:
            self._metrics.refused.labels("cut").inc()

    async def _with_body(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, answering: "_Answering"
    ) -> None:
        self._check(scope, headers)
        self.in_flight += 1
        held = _Held(self)
        try:
            body = await self._read(receive, held)
            _name_json(scope, headers, body)
            await self._app(scope, _replayed(body, receive), answering)
        finally:
            self.in_flight -= 1
            held.release()
            if answering.status:
                self._metrics.seconds.observe(time.perf_counter() - scope["state"]["started"])
                self._metrics.requests.labels(self._model(), str(answering.status)).inc()

    def _check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._limits.body_bytes:
            raise self._too_large()
        if self.in_flight >= self._limits.in_flight:
            raise RequestError("busy", f"{self.in_flight} requests are being answered; come again, not all at once")
        self._check_key(scope, headers)

    def _check_key(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        path = scope["path"]
        if path == "/model" and scope["method"] == "POST":
            if self._keys.admin is None:
                raise RequestError(
                    "forbidden", "exchanging the model is off; start the service with SERVING_ADMIN_KEY set"
                )
            if not self._keys.may_change(headers):
                raise RequestError("key", "exchanging the model needs the admin key: Authorization: Bearer KEY")
        is_open = path in _OPEN or path.startswith(_OPEN_FOLDER)
        if not is_open and not self._keys.may_ask(headers):
            raise RequestError("key", "send one of the service's keys: Authorization: Bearer KEY, or X-API-Key: KEY")

    async def _read(self, receive: Receive, held: "_Held") -> bytes:
        parts = list[bytes]()
        try:
            async with asyncio.timeout(self._limits.upload_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise GoneError
                    part = message.get("body", b"")
                    self._take(held, len(part))
                    parts.append(part)
                    if not message.get("more_body", False):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError as error:
            raise RequestError("slow", f"no complete body within {self._limits.upload_s:g} s") from error

    def _take(self, held: "_Held", size: int) -> None:
        if held.size + size > self._limits.body_bytes:
            raise self._too_large()
        if self.held_bytes + size > UPLOADS_AT_ONCE * self._limits.body_bytes:
            raise RequestError("busy", "too many large bodies at once; come again")
        held.add(size)

    def _too_large(self) -> RequestError:
        most = self._limits.body_bytes / 1e6
        return RequestError("large", f"at most {most:g} MB a request; send a smaller image, or fewer at once")

    async def _refuse(self, problem: RequestError, request_id: str, receive: Receive, answering: "_Answering") -> None:
        self._metrics.refused.labels(problem.kind).inc()
        body = problem.body(request_id)
        headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body))} | problem.headers()
        linger, cut = problem.kind == "large", problem.kind in ("large", "slow")
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        raw += [(b"connection", b"close")] if cut else []
        await answering({"type": "http.response.start", "status": problem.status, "headers": raw})
        await answering({"type": "http.response.body", "body": body, "more_body": linger})
        if linger:
            await _drop_rest(receive)
            await answering({"type": "http.response.body", "body": b"", "more_body": False})

    def _own_headers(self, request_id: str, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        own = [(b"x-request-id", request_id.encode()), *_SECURITY]
        trace = headers.get(b"traceparent", b"")
        if _TRACE.fullmatch(trace):
            own.append((b"traceparent", trace))
        return [*own, (b"connection", b"close")] if self.draining else own


class _Answering:
    """`send` that adds headers and remembers the status."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send, self._headers, self.status = send, headers, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name for name, _ in message["headers"]}
            own = [pair for pair in self._headers if pair[0] not in given]
            message = {**message, "headers": [*message["headers"], *own]}
        await self._send(message)


class _Held:
    """The bytes that one request holds in memory."""

    def __init__(self, admission: Admission) -> None:
        self._admission, self.size = admission, 0

    def add(self, size: int) -> None:
        self.size += size
        self._admission.held_bytes += size

    def release(self) -> None:
        self._admission.held_bytes -= self.size
        self.size = 0


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _name_json(scope: Scope, headers: Mapping[bytes, bytes], body: bytes) -> None:
    """Call JSON what it is: `curl -d` calls it a form, and no image begins like this."""
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if body[:1] == b"{" and kind in (b"", b"application/x-www-form-urlencoded"):
        others = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
        scope["headers"] = [*others, (b"content-type", b"application/json")]


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive` that gives a body that was read, and then whatever else comes."""
    parts = [body]

    async def again() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await receive()

    return again


async def _drop_rest(receive: Receive) -> None:
    try:
        async with asyncio.timeout(_LINGER_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
