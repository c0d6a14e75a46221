"""Not a test: a training of seconds on pictures with boxes that are drawn here."""

import numpy as np
from drawn_boxes import draw_source
from PIL import Image
from small_detectors import BACKBONE

from drift_detector_pipeline.config import load
from drift_detector_pipeline.corruptions.faults import change
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.drift.build_reference import build_reference
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.processed.manifest import open_processed


def words(root, name="yolox", **changes):
    """Settings of a training of seconds on the drawn pictures below `root`."""
    given = {"data.raw_path": root / "source", "data.processed_path": root / "processed", "model.name": name} | changes
    return [
        "data=boxes", "data.stored_side_px=80", "data.img_size=64", "data.val_fraction=0.3", "data.fit_fraction=0.1",
        "data.augmentation.min_area=1.0", f"model.options.backbone={BACKBONE}", "data.dataloader_workers=0",
        "training.epochs=12", "training.batch_size=4", "training.learning_rate=3e-3", "run.device=cpu",
        "run.precision=fp32", "run.checkpoint_every=2",
        *(f"{key}={value}" for key, value in given.items()),
    ]  # fmt: skip


def make_run(root, name="yolox"):
    draw_source(root / "source", images=20)
    process(load(words(root)).settings.data)
    assert train(load([*words(root, name), f"hydra.run.dir={root}/run"])).exit_status == 0


ROLES = {"data.val_fraction": 0.3, "data.fit_fraction": 0.4, "training.epochs": 6}


def make_run_with_reference(root):
    """A run with a reference; images of its val beside it, as they are and pale."""
    draw_source(root / "source", images=80)
    settings = load([*words(root, **ROLES), f"hydra.run.dir={root}/run"])
    process(settings.settings.data)
    assert train(settings).exit_status == 0
    images = open_processed(settings.settings.data).images
    for name in ("clean", "pale"):
        (root / name).mkdir()
    for index in images.indices("val").tolist():
        pixels = np.array(images[index])
        Image.fromarray(pixels).save(root / "clean" / f"{index}.png")
        pale = change(pixels[None], "contrast", 5, keys=[index])[0]
        Image.fromarray(pale).save(root / "pale" / f"{index}.png")
    build_reference(root / "run", [])
