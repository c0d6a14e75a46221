"""A few validation images and what a finished model says about them, for people who look at a run.

In: a session at its end. Out: tracker.SamplePrediction, always the same images of a data set. Read by train.py.
"""

import numpy as np
import torch

from drift_detector_pipeline.images.transforms import inference_crop
from drift_detector_pipeline.modeling.inference import predict_logits
from drift_detector_pipeline.modeling.loaders import Batch
from drift_detector_pipeline.modeling.session import Session
from drift_detector_pipeline.runs.tracking.tracker import SamplePrediction

COUNT = 16


def sample_predictions(session: Session) -> list[SamplePrediction]:
    """Predict up to `COUNT` validation images, evenly spaced over the split, with the final weights."""
    data, side_px = session.data, session.settings.data.img_size
    split = data.images.indices("val")
    chosen = split[np.linspace(0, len(split) - 1, min(COUNT, len(split))).round().astype(np.int64)]
    images = np.stack([inference_crop(data.images[int(index)], side_px) for index in chosen])
    labels = data.images.labels[chosen]
    batch = Batch(torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels))
    logits = torch.from_numpy(predict_logits(session.result, batch, session.network, session.machine))
    probabilities, predicted = logits.softmax(1).max(1)
    return [
        SamplePrediction(image, data.classes[label], data.classes[guess], probability)
        for image, label, guess, probability in zip(
            images, labels.tolist(), predicted.tolist(), probabilities.tolist(), strict=True
        )
    ]
