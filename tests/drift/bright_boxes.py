"""Not a test: drawn scenes, and a finder of bright rectangles in place of a network: fast, and really fooled."""

import numpy as np
from scipy import ndimage

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.drift.boxes.detector import BoxDetector, BoxModel, LabelledViews
from drift_detector_pipeline.drift.boxes.signals import BoxOutputs
from drift_detector_pipeline.drift.preparation import Preparation
from drift_detector_pipeline.images.letterbox import letterbox
from drift_detector_pipeline.networks.boxes.found import found

SIDE = 64
CLASSES = ["red", "green"]
KINDS = ("gaussian_noise", "defocus_blur", "contrast", "fog")


def scene(rng, boxes):
    """An image of 48 x 64 px with rectangles, red or green, and where they are."""
    pixels = rng.normal(70, 6, (48, SIDE, 3))
    taken, labels = [], []
    for _ in range(boxes):
        width, height = rng.integers(8, 16, 2)
        x, y = rng.integers(0, SIDE - width), rng.integers(0, 48 - height)
        if any(x < b[2] + 2 and b[0] < x + width + 2 and y < b[3] + 2 and b[1] < y + height + 2 for b in taken):
            continue
        label = int(rng.integers(2))
        pixels[y : y + height, x : x + width, label] += rng.uniform(60, 130)
        taken.append([x, y, x + width, y + height])
        labels.append(label)
    truth = Boxes(
        np.array(taken, np.float32).reshape(-1, 4), np.array(labels, np.int64), np.zeros(len(labels), np.bool_)
    )
    return letterbox(np.clip(pixels, 0, 255).astype(np.uint8), SIDE), truth


def scenes(images, seed, most=5):
    rng = np.random.default_rng(seed)
    views, truth = zip(*(scene(rng, int(rng.integers(0, most + 1))) for _ in range(images)), strict=True)
    return LabelledViews(np.stack(views), list(truth))


def finder(views):
    """Raw boxes at several levels of brightness, as a network proposes several for one thing."""
    outputs = []
    for view in views.astype(np.float32):
        boxes, chances = [], []
        for label in range(2):
            excess = view[..., label] - view[..., 1 - label]
            for level in (30, 40, 50):
                regions, _ = ndimage.label(excess > level)
                for rows, columns in ndimage.find_objects(regions):
                    box = [columns.start, rows.start, columns.stop, rows.stop]
                    if (box[2] - box[0]) * (box[3] - box[1]) >= 4:
                        inside = excess[rows, columns].mean()
                        boxes.append(box)
                        chance = np.zeros(2)
                        chance[label] = 1 / (1 + np.exp(-(inside - 45) / 12))
                        chances.append(chance)
        raw = np.array(boxes, np.float32).reshape(-1, 4), np.array(chances, np.float32).reshape(-1, 2)
        outputs.append(found(*raw, SIDE, 0.5))
    small = views.reshape(len(views), 8, 8, 8, 8, 3).mean((2, 4)).reshape(len(views), -1).astype(np.float32)
    return BoxOutputs(outputs, small[:, ::16], small[:, ::8])


MODEL = BoxModel(finder, "finder 1")


def make_detector():
    return BoxDetector.build(
        MODEL, scenes(40, 1), scenes(48, 2), classes=CLASSES, kinds=KINDS, twins=32,
        preparation=Preparation(SIDE, SIDE, shape="letterbox"),
    )  # fmt: skip
