"""Not a test: a training of seconds on clips that are drawn here, packed without a video being written."""

from drawn_clips import pack_clips

from drift_detector_pipeline.config import load, load_section
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.release.export import export_run
from drift_detector_pipeline.settings_in_use import Export


def words(root, **changes):
    """Settings of a training of seconds on the drawn clips below `root`."""
    given = {"data.processed_path": root / "processed", "model.name": "conv_small", "data.k_frames": 4} | changes
    return [
        "data=clips", "data.raw_path=drawn", "data.stored_side_px=48", "data.img_size=24", "data.dataloader_workers=0",
        "model.options.channels=[8,16]", "training.epochs=4", "training.batch_size=4",
        "training.learning_rate=3e-3", "run.device=cpu", "run.precision=fp32", "run.checkpoint_every=2",
        *(f"{key}={value}" for key, value in given.items()),
    ]  # fmt: skip


def make_run(root, frames=12, **changes):
    """root/processed and root/run, finished."""
    pack_clips(load(words(root)).settings.data, sources=4, clips=2, frames=frames)
    assert train(load([*words(root, **changes), f"hydra.run.dir={root}/run"])).exit_status == 0


def make_moving(root):
    """The same whose deviation over time counts, and root/artefact, with a reference of eight sources."""
    splits = ["val"] * 4 + ["fit"] * 6
    pack_clips(load(words(root)).settings.data, sources=13, clips=2, splits=splits)
    moving = ["model.options.pooling=mean_and_deviation", "training.epochs=12", "training.learning_rate=3e-2"]
    assert train(load([*words(root), *moving, f"hydra.run.dir={root}/run"])).exit_status == 0
    allowed = ["export.max_labels_changed=1", "export.max_accuracy_lost=1"]
    export_run(root / "run", load_section(Export, [f"export.path={root}/artefact", *allowed]))
