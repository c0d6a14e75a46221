"""A few validation images and what a finished model says about them, for people who look at a run.

In: a session at its end. Out: tracker.SamplePrediction, always the same images of a data set. Read by train.py.
"""

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.modeling.inference import predict_outputs
from drift_detector_pipeline.modeling.loaders import batch_of
from drift_detector_pipeline.modeling.session import Session
from drift_detector_pipeline.runs.tracking.tracker import SamplePrediction
from drift_detector_pipeline.tasks.task import Answer, Output, Target, Task

COUNT = 16


def sample_predictions(session: Session) -> list[SamplePrediction]:
    """Predict up to `COUNT` validation images, evenly spaced over the split, with the final weights."""
    data, task = session.data, session.task
    split = data.images.indices("val")
    chosen = split[np.linspace(0, len(split) - 1, min(COUNT, len(split))).round().astype(np.int64)].tolist()
    how = task.look(session.settings.data, session.settings.data.img_size)
    views = [task.view(data.images[index], data.images.target(index), how, None) for index in chosen]
    outputs = list[Output]()
    for start in range(0, len(views), task.batch):
        part = views[start : start + task.batch]
        batch = batch_of([view.numpy() for view, _ in part], [target for _, target in part])
        outputs.extend(predict_outputs(session.result, batch, session.network, session.machine, task))
    return [
        _sample(task, view.numpy(), target, answer, data.classes)
        for (view, target), answer in zip(views, task.answer(outputs, data.classes), strict=True)
    ]


def _sample(task: Task, pixels: Pixels, target: Target, answer: Answer, classes: list[str]) -> SamplePrediction:
    caption = task.caption(answer, target, classes)
    return SamplePrediction(
        task.draw(pixels, answer, target, classes), caption.truth, caption.says, caption.probability
    )
