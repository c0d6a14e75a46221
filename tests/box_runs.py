"""Not a test: a training of seconds on pictures with boxes that are drawn here."""

from drawn_boxes import draw_source
from small_detectors import BACKBONE

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.modeling.train import train


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


def make_run(root):
    draw_source(root / "source", images=20)
    process(load(words(root)).settings.data)
    assert train(load([*words(root), f"hydra.run.dir={root}/run"])).exit_status == 0
