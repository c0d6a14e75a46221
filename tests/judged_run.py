"""Not a test: a run on small digits with its drift reference, which tests of drift commands share."""

import numpy as np
from conftest import called
from PIL import Image

from drift_detector_pipeline.config import load
from drift_detector_pipeline.corruptions.corrupt import corrupt
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.processed.roles import roles_of


def make_judged_run(place):
    """Fill `place` with run/, digits/ and, of the run's pool, the images in clean/ and noisy/; return it."""
    overrides = [
        "data=digits", f"data.processed_path={place / 'digits'}", "data.stored_side_px=16", "data.img_size=16",
        "data.dataloader_workers=0", "model.name=conv_small", "model.options.channels=[16,16,32]", "training.epochs=2",
        "data.fit_fraction=0.1", "training.batch_size=50", "wandb.mode=disabled", f"hydra.run.dir={place / 'run'}",
    ]  # fmt: skip
    composed = load(overrides)
    process(composed.settings.data)
    assert train(composed).exit_status == 0
    done = called("drift.build_reference", str(place / "run"))
    assert done.returncode == 0, done.stderr
    processed = open_processed(composed.settings.data)
    chosen = roles_of(processed).pool[:48].tolist()
    clean = np.stack([processed.images[index] for index in chosen])
    for name, images in {"clean": clean, "noisy": corrupt(clean, "gaussian_noise", 5, keys=chosen)}.items():
        (place / name).mkdir()
        for index, image in zip(chosen, images, strict=True):
            Image.fromarray(image).save(place / name / f"{index}.png")
    return place
