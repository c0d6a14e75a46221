"""A name -> a task. One line a task."""

from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.tasks.boxes.task import BOXES
from drift_detector_pipeline.tasks.classification.task import CLASSIFICATION
from drift_detector_pipeline.tasks.clips.task import CLIPS
from drift_detector_pipeline.tasks.task import Task

TASKS = {task.name: task for task in (CLASSIFICATION, BOXES, CLIPS)}


def task_named(name: str | None) -> Task:
    """The task that a manifest or a weight file names; None, as in files from before there were tasks: classification.

    Raises ModelError if this version does not know it.
    """
    if name is None:
        return CLASSIFICATION
    if name not in TASKS:
        raise ModelError(f"the task {name!r} is not known here, only {', '.join(TASKS)}; update this pipeline")
    return TASKS[name]
