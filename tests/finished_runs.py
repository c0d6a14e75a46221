"""Not a test: a finished run that tests of evaluating and predicting share; whoever changes it copies it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import make_folder, pack_tar

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.machine import prepared


def has_bf16() -> bool:
    """Whether this machine computes in bfloat16 by itself."""
    with prepared(load(["data=digits", "run.device=cpu"]).settings.run) as machine:
        return machine.precision == "bf16"


PRECISIONS = ["fp32", pytest.param("bf16", marks=pytest.mark.skipif(not has_bf16(), reason="no bf16 units"))]


def finished_run(made_once: Callable[[str, Callable[[Path], object]], Path], precision: str) -> Path:
    """A folder with run/, processed/, animals/ and animals.tgz: 210 images, 84 of them val, one batch and a part."""
    return made_once(f"finished_{precision}", lambda root: _train(root, precision))


def own_copy(root: Path, target: Path) -> Path:
    """Copy the run of such a folder to `target`; its receipt still names the data it was trained on."""
    return Path(shutil.copytree(root / "run", target))


def _train(root: Path, precision: str) -> None:
    make_folder(root / "animals", 70)
    archive = pack_tar(root / "animals", root / "animals.tgz")
    overrides = [
        "data=folder", f"data.raw_path={archive}", f"data.processed_path={root}/processed", "data.stored_side_px=24",
        "data.img_size=16", "data.val_fraction=0.4", "data.fit_fraction=0.1", "data.dataloader_workers=0",
        "model.name=conv_small", "model.options.channels=[16,16,32]", "training.epochs=2", "training.batch_size=24",
        f"run.precision={precision}", "run.device=cpu", f"hydra.run.dir={root}/run",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    assert train(load(overrides)).exit_status == 0
