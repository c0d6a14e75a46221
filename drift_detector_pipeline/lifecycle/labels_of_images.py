"""What is for models that say labels of images alone, and what to do with the others.

In: a model's task, and what was asked of it. Out: nothing, or a ConfigError. Read by baskets, gates, healing and
retraining.
"""

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.release.artefact import BOXES, CLIPS

_OTHERS = {  # of a task: what its model does, and how the source comes to hold the change
    BOXES: (
        "finds boxes",
        "Draw the true boxes of some images of the change in a tool of yours, add both to the source (make convert "
        "reads its layout)",
    ),
    CLIPS: (
        "says labels of clips",
        "Add videos of the change, in folders of their classes or listed in clips.csv, to the source",
    ),
}


def refuse_task(task: str | None, model: object, what: str) -> None:
    """Raise ConfigError if `what` cannot be done of `model`, as it does not say labels of images; with what can be."""
    if task in _OTHERS:
        does, more = _OTHERS[task]
        raise ConfigError(
            f"{model}: it {does}, and {what} is for models that say labels of images. {more} and train again "
            "(make train, make export); make evaluate tells which of two runs is better, and "
            'make promote VERSION=... WHY=... ARGS="force=true" adopts one'
        )
