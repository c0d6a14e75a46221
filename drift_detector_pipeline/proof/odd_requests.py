"""What nobody should send: images that promise much, damaged ones, other things, uploads that are cut or never end.

In: an address. Out: which statuses were answered how often. Read by endurance.py, and by the tests of the service.
"""

import asyncio
import io
import json
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import httpx
import numpy as np
from PIL import Image

from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.serving.problems import RETRY_S

FORMATS = ("png", "jpeg", "gif", "bmp", "tiff", "webp", "avif", "jpeg2000", "ppm")
AT_ONCE = 8
_PNG = b"\x89PNG\r\n\x1a\n"
_BEGUN = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"
_DRIP_S, _PATIENCE_S = 1.0, 60.0
_TRIES = 10  # of a question that is told to come again
Statuses = Counter[int]


class Bomb(NamedTuple):
    """A small file that promises much."""

    name: str
    content: bytes
    status: int  # that it is to be answered with


def bombs(image: bytes) -> Iterator[Bomb]:
    """`image` is a small PNG."""
    packed = zlib.compress(b"\x00" * (1 + 3 * 13_000) * 300, 9)
    for name, size in (("png of 169 megapixels", [13_000, 13_000]), ("png of 100:1", [60_000, 600])):
        header = np.array(size, ">u4").tobytes() + bytes([8, 2, 0, 0, 0])
        yield Bomb(name, _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed), 422)
    remarks = zlib.compress(b"x" * 30_000_000, 9)
    yield Bomb("text of 30 MB", image[:33] + _chunk(b"zTXt", b"a\0\0" + remarks) + image[33:], 200)
    yield Bomb("png of tiny chunks", image[:33] + _chunk(b"teXt", b"") * 30_000 + image[33:], 200)
    yield Bomb("gif of 25 megapixels", _saved(Image.new("L", (5_000, 5_000)), "gif"), 200)
    gray = Image.fromarray(np.full((4_000, 4_000), 60_000, np.uint16))
    yield Bomb("16 bits, 16 megapixels", _saved(gray, "png"), 200)


def largest(kind: str) -> list[bytes]:
    """An image of a format that has nearly as many pixels as are taken, and one that has some more."""
    sides = (4_460, 4_500) if kind == "webp" else (6_320, 6_400)
    return [_saved(Image.new("RGB", (side, side), (90, 120, 40)), kind) for side in sides]


def damaged(pixels: np.ndarray, count: int, seed: int = 5) -> Iterator[bytes]:
    """Files of every format with six other bytes each, every third one cut."""
    rng = np.random.default_rng(seed)
    sources = [_saved(Image.fromarray(pixels), kind) for kind in FORMATS]
    for number in range(count):
        content = bytearray(sources[number % len(sources)])
        for place in rng.integers(0, len(content), 6):
            content[place] = rng.integers(0, 256)
        yield bytes(content[: int(rng.integers(1, len(content))) if number % 3 == 0 else None])


def other_things() -> list[tuple[bytes, str]]:
    """What is no image, with the type that is said of it."""
    deep = b'{"images":' * 20_000
    field = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--"
    many = json.dumps({"images": ["AAAA"] * 65}).encode()
    by_kind = {
        "image/png": [b"", b"\0", _PNG, b"PK\x03\x04" + bytes(99)],
        "image/jpeg": [b"%PDF-1.7\n", b"\xff\xd8\xff"],
        "image/svg+xml": [b"<svg xmlns='http://www.w3.org/2000/svg'/>"],
        "text/html": [b"<html></html>"],
        "video/mp4": [bytes(4) + b"ftypmp42" + bytes(99)],
        "application/octet-stream": [bytes(1_000_000), b"#!/bin/sh\n"],
        "application/json": [
            b"{", b"[]", b"null", b'{"images": 3}', b'{"images": []}', b'{"images": ["!"]}', b'{"images": [null]}',
            deep, many,
        ],
        "multipart/form-data": [b"--x\r\n"],
        "multipart/form-data; boundary=x": [b"--x\r\n", field, b"--x\r\n" * 50_000],
    }  # fmt: skip
    return [(content, kind) for kind, contents in by_kind.items() for content in contents]


async def send_all(address: str, things: Sequence[tuple[bytes, str]], title: str) -> Statuses:
    """Send bodies with their types to /predict and to /drift, AT_ONCE at a time."""
    asked = [(path, *thing) for thing in things for path in ("/predict", "/drift")]
    found, waiting = Statuses(), iter(asked)
    with progress_bar(total=len(asked), title=title, unit=" requests") as bar:

        async def one(client: httpx.AsyncClient) -> None:
            for path, content, kind in waiting:
                answer = await client.post(path, content=content, headers={"Content-Type": kind})
                found[answer.status_code] += 1
                bar.update()

        async with httpx.AsyncClient(base_url=address, timeout=120) as client:
            await asyncio.gather(*(one(client) for _ in range(AT_ONCE)))
    return found


async def cut(address: str, count: int) -> None:
    """Begin uploads and go away."""
    for _ in range(count):
        _, writer = await _connected(address)
        writer.write(_BEGUN)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def slow(address: str, count: int) -> Statuses:
    """Uploads of a byte a second, all at once, that never end, and as many headers; 0: closed without an answer."""
    half = [b"GET / HTTP/1.1\r\nX: ", _BEGUN]
    return Statuses(await asyncio.gather(*(_dripped(address, half[number % 2]) for number in range(2 * count))))


async def _dripped(address: str, begun: bytes) -> int:
    reader, writer = await _connected(address)
    until = time.monotonic() + _PATIENCE_S
    try:
        while time.monotonic() < until:
            writer.write(begun)
            begun = b"x"
            try:
                line = await asyncio.wait_for(reader.readline(), _DRIP_S)
            except TimeoutError:
                continue
            return int(line.split()[1]) if line else 0
    except ConnectionError:
        return 0
    finally:
        writer.close()
    raise TimeoutError(f"{address}: an upload that does not end was not given up within {_PATIENCE_S:g} s")


async def _connected(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


def ask_from_documentation(address: str, examples: int, key: str) -> Statuses:
    """Ask every endpoint at most `examples` odd questions made from /openapi.json; `key` may exchange the model.

    Raises an error that shows the question if an answer is 500 or above, or has a status, type or form that the
    documentation does not name. Needs what developing needs: make requirements_dev.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies, at import
        import hypothesis
        import schemathesis
        from schemathesis.checks import not_a_server_error
        from schemathesis.specs.openapi import checks
    wanted: list[Any] = [
        not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
        checks.response_schema_conformance,
    ]  # fmt: skip
    settings = hypothesis.settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    schema, found = schemathesis.openapi.from_url(f"{address}/openapi.json"), Statuses()
    for operation in schema.get_all_operations():

        @settings
        @hypothesis.given(case=operation.ok().as_strategy())  # type: ignore[union-attr]  # ours is a whole schema
        def ask(case: Any) -> None:
            sent = {"X-API-Key": key}
            answer = case.call(headers=sent, timeout=300)
            for _ in range(_TRIES):
                if answer.status_code == 503:  # a machine too busy for a spot check: asked again, as it says
                    time.sleep(RETRY_S)
                    answer = case.call(headers=sent, timeout=300)
            case.validate_response(answer, checks=wanted, headers=sent)
            found[answer.status_code] += 1

        ask()
    return found


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def _saved(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()
