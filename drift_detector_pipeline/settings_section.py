"""What every part of the settings is: typed, frozen, without a key that nobody knows.

Read by settings.py and settings_loop.py.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
FilePath = Annotated[Path, Field(strict=False)]


class Section(BaseModel):
    """A part of conf/."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
