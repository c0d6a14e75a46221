"""JSON that was written here and may have been changed since: read again, each part of the kind it was.

In: a file, or its text. Out: plain values, or a NamedTuple of them. Read by whoever keeps what is known as JSON.
"""

import functools
import json
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from drift_detector_pipeline.whole_files import read_plain

if TYPE_CHECKING:
    from pydantic import TypeAdapter  # imported late: a service starts without

_Kind = TypeVar("_Kind")
_NEWER = "unknown here; a newer version of this program may have written it"


def read_json(path: Path) -> Any:
    """The values of a plain file of JSON. Raises OSError, or ValueError if it is another kind of file or no JSON."""
    return parsed(read_plain(path))


def parsed(text: str | bytes) -> Any:
    """The values of JSON. Raises ValueError if it is none, also where it is nested deeper than can be read."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def typed(kind: type[_Kind], values: object) -> _Kind:
    """The NamedTuple `kind` of an object's values, as they are. Raises ValueError that names what does not fit."""
    from pydantic import ValidationError

    if not isinstance(values, dict):
        raise ValueError("expected an object")
    try:
        found: _Kind = _adapter(cast(Hashable, kind)).validate_python(values)
        return found
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        said = _NEWER if first["type"] == "extra_forbidden" else first["msg"]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {said}") from error


@functools.cache
def _adapter(kind: Any) -> "TypeAdapter[Any]":
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))
