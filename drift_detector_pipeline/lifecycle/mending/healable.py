"""Which changes are healed, and why others are not.

In: what has happened to the images, as a verdict names it. Out: nothing, or a sentence. Read by heal.py, and by cli.py
before PyTorch is imported.
"""

from drift_detector_pipeline.corruptions.faults import FAULTS
from drift_detector_pipeline.drift.cause import CONTENT, MIX, UNKNOWN
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.lifecycle.gating.gate_images import levels_near

_WHY_NOT = {
    UNKNOWN: "what has happened is not known, so nobody could say whether it helps; label some: make basket",
    CONTENT: "something else is shown, and statistics teach nothing new; label some and train on: make basket",
    MIX: "looks are as they were; statistics of another mix of classes would spoil what is right",
}


def refuse_cause(cause: str) -> None:
    """Raise ConfigError, in one sentence, unless a cause is one change of looks that can be made and healed."""
    if cause in _WHY_NOT:
        raise ConfigError(f"cause={cause}: not healed, {_WHY_NOT[cause]}")
    if " and " in cause or "," in cause:
        raise ConfigError(f"cause={cause}: two at once are not healed, as no twins show what both do together")
    levels_near(cause, None)
    if cause in FAULTS and not FAULTS[cause].keeps_meaning:
        raise ConfigError(f"cause={cause}: not healed, statistics turn no image back; mend the service, or retrain")
