"""What kinds of settings there are. Read by the two files that name them all."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
FilePath = Annotated[Path, Field(strict=False)]


class Section(BaseModel):
    """Settings that stand together, such as `training`: no others than these, and none of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
