"""Which changes are healed, as far as it is known before any image is seen, and why others are not.

In: what has happened to the images, as a verdict names it, and their names. Out: nothing, or a sentence. Read by
heal.py, and by cli.py before PyTorch is imported.
"""

from collections.abc import Sequence

from drift_detector_pipeline.drift.cause import CONTENT, MIX, UNKNOWN, UNTOLD
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.images.named_files import sources_of
from drift_detector_pipeline.lifecycle.gating.gate_images import levels_near

LEAST = 64  # images below which statistics say too little
WHY_NOT = {
    UNKNOWN: "what has happened is not known, so nobody could say whether it helps; label some: make basket",
    CONTENT: "something else is shown, and statistics teach nothing new; label some and train on: make basket",
    MIX: "looks are as they were; statistics of another mix of classes would spoil what is right",
}


def refuse_cause(cause: str) -> None:
    """Raise ConfigError, in one sentence, if no image need be seen to know that a cause cannot be healed."""
    if cause in UNTOLD:
        return
    if cause in WHY_NOT:
        raise ConfigError(f"cause={cause}: not healed, {WHY_NOT[cause]}")
    if " and " in cause or "," in cause:
        raise ConfigError(f"cause={cause}: two at once are not healed, as no twins show what both do together")
    levels_near(cause, None)


class TooFewImagesError(DataError):
    """There are too few recent images so far; more may come."""


def refuse_few(images: Sequence[str]) -> None:
    """Raise DataError if `images` name too few files to heal with, whatever they show; archives are not opened."""
    named = sources_of(images)
    if len(named) < LEAST and not any(one.is_archive for one in named):
        raise DataError(
            f"{' '.join(images)}: too few files to heal with: {len(named)}, and at least {LEAST} images are needed"
        )
