"""JSON that was written here and may have been changed since: read again, each part of the kind it was.

In: the text of a file. Out: plain values, or a NamedTuple of them. Read by whoever keeps what is known as JSON.
"""

import functools
import json
from collections.abc import Hashable
from typing import Annotated, Any, TypeVar, cast

from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError

Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]

_Kind = TypeVar("_Kind")
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


def parsed(text: str | bytes) -> Any:
    """The values of JSON. Raises ValueError if it is none, also where it is nested deeper than can be read."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def typed(kind: type[_Kind], values: object) -> _Kind:
    """The NamedTuple `kind` of an object's values, as they are. Raises ValueError that names what does not fit."""
    if not isinstance(values, dict):
        raise ValueError("expected an object")
    try:
        found: _Kind = _adapter(cast(Hashable, kind)).validate_python(values)
        return found
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=_STRICT)
