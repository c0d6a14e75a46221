"""What kinds of settings there are. Read by the two files that name them all."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1, le=10**9)]  # what is more than that is a slip, and no array's length


def _is_named(value: Any) -> Any:
    """An empty word would be the folder one stands in, with all that is in it."""
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise PydanticCustomError("path", "Input should be a path that is not empty")
    return value


FilePath = Annotated[Path, Field(strict=False), BeforeValidator(_is_named)]


class Section(BaseModel):
    """Settings that stand together, such as `training`: no others than these, and none of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
