"""A request's body -> the bytes of its images, however they were sent.

In: a raw body, several parts of a form, or JSON with base64. Out: one `bytes` an image, not looked into. Read by app.py
and, for base64, protocol.py.
"""

import base64
import binascii
import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from drift_detector_pipeline.first_bytes import is_video
from drift_detector_pipeline.serving.clips import is_array
from drift_detector_pipeline.serving.problems import RequestError

MOST_IMAGES = 64  # of one request
_MOST_FIELDS = 16  # of a form that are no files; they are passed over


async def images_of(request: Request) -> list[bytes]:
    """The images of a request, at least one. Raises RequestError if there is none, or more than MOST_IMAGES."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        found = await _of_form(request)
    elif kind == "application/json":
        found = _of_json(await request.body())
    else:  # whatever a client calls it: its first bytes tell what it is
        found = [await request.body()]
    if not found or not all(found):
        raise RequestError(
            "malformed", "no image in it; send one as the body, as parts of a form, or as base64 in JSON"
        )
    return checked_count(found)


def film_in(contents: list[bytes]) -> bytes | None:
    """The video, or the .npz of frames, of a request that is about one; None of a request of images.

    Raises RequestError if there is more in it.
    """
    found = next((one for one in contents if is_video(one) or is_array(one)), None)
    if found is not None and len(contents) > 1:
        raise RequestError("value", f"{len(contents)} files, one of them a video or .npz: send it alone, one a request")
    return found


def checked_count(images: list[bytes]) -> list[bytes]:
    """The same. Raises RequestError if there are more than MOST_IMAGES."""
    if len(images) > MOST_IMAGES:
        raise RequestError(
            "value", f"{len(images)} images in one request, at most {MOST_IMAGES}; send several requests"
        )
    return images


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises RequestError if it is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("malformed", f"no JSON: {str(error)[:100]}") from error
    if not isinstance(value, dict):
        raise RequestError("malformed", "expected a JSON object")
    return value


def from_base64(text: object) -> bytes:
    """Bytes of base64, also of a data URI. Raises RequestError if it is none."""
    if not isinstance(text, str):
        raise RequestError("malformed", "expected images as base64 text")
    plain = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError("malformed", f"an image is no base64: {error}") from error


async def _of_form(request: Request) -> list[bytes]:
    try:
        async with request.form(max_files=MOST_IMAGES, max_fields=_MOST_FIELDS) as form:
            return [await part.read() for _, part in form.multi_items() if not isinstance(part, str)]
    except HTTPException as error:
        raise RequestError("malformed", f"the form cannot be read: {error.detail}") from error


def _of_json(body: bytes) -> list[bytes]:
    images = read_json(body).get("images")
    if not isinstance(images, list):
        raise RequestError("malformed", 'expected {"images": ["<base64>", ...]}')
    return [from_base64(one) for one in images]
