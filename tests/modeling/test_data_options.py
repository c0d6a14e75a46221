"""Options of `data` in a real run: they decide the bits, a resume gives the same ones, and off they leave no trace."""

from contextlib import ExitStack

import numpy as np
import pytest

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, ResumeError
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.interruption import caught
from drift_detector_pipeline.modeling.session import open_session, training_batches, validation_batches
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.runs.checkpoints import read_identity
from drift_detector_pipeline.runs.machine import prepared
from drift_detector_pipeline.runs.receipts import read_receipt

IDENTITY = {  # of `data`, as the first runs noted it
    "data.img_size": 8, "data.augmentation.min_area": 1.0, "data.augmentation.shift_px": 3,
    "data.augmentation.flip": False, "data.augmentation.cutout_px": 0,
}  # fmt: skip
OPTIONS = {
    "data.balance": ["data.balance=sampling"],
    "data.limit": ["data.limit=150"],
    "data.augmentation.colour_jitter.brightness": ["data.augmentation.colour_jitter={brightness: 0.4, hue: 0.1}"],
    "data.augmentation.rand_augment.operations": ["data.augmentation.rand_augment.operations=2"],
    "data.augmentation.flip": ["data.augmentation.flip=alternating"],
    "data.augmentation.mix": ["data.augmentation.mix=cutmix", "data.augmentation.mix_alpha=0.5"],
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Overrides for a small MLP on real digits."""
    overrides = [
        "data=digits", f"data.processed_path={tmp_path_factory.mktemp('data')}/digits", "data.stored_side_px=8",
        "data.img_size=8", "data.val_fraction=0.7", "data.dataloader_workers=0", "model.name=mlp",
        "training.epochs=2", "training.batch_size=60", "run.precision=fp32", "run.device=cpu", "run.checkpoint_every=2",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return overrides


@pytest.fixture(scope="module")
def plain(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "run"
    train(load([*digits, f"hydra.run.dir={folder}"]))
    return folder


class Gone(BaseException):
    """Ends a training in the middle, with no chance to write anything."""


def leave(step):
    if step == 3:
        raise Gone


@pytest.mark.parametrize("named", OPTIONS)
@pytest.mark.slow
def test_an_option_decides_the_bits_and_a_resume_keeps_them(named, digits, plain, tmp_path):
    chosen = [*digits, *OPTIONS[named]]
    train(load([*chosen, f"hydra.run.dir={tmp_path}/undisturbed"]))
    with pytest.raises(Gone):
        train(load([*chosen, f"hydra.run.dir={tmp_path}/run"]), leave)
    with pytest.raises(ResumeError, match=named):
        train(load([*digits, f"run.resume={tmp_path}/run"]))
    train(load([*chosen, "data.dataloader_workers=2", f"run.resume={tmp_path}/run"]))
    weights = [read_receipt(folder).weights_sha256 for folder in (tmp_path / "undisturbed", tmp_path / "run", plain)]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_options_that_are_off_leave_no_trace_in_the_identity_of_a_run(plain):
    identity = read_identity(plain / "checkpoints")
    assert {key: value for key, value in identity.items() if key.startswith("data.")} == IDENTITY | {
        "data.fingerprint": read_receipt(plain).data_fingerprint
    }


def test_a_limit_holds_for_what_is_trained_on_validated_and_evaluated(digits, tmp_path):
    composed = load([*digits, "data.limit=150", f"hydra.run.dir={tmp_path}/run"])
    with prepared(composed.settings.run) as machine, caught() as interruption, ExitStack() as held:
        session = open_session(composed, machine, interruption, held)
        assert session.steps_per_epoch == 2
        assert len(list(training_batches(session))) == 4
        labels = [target for batch in validation_batches(session) for target in batch.targets]
        session.tracker.close()
    assert len(labels) == 150 and np.ptp(np.bincount(labels)) <= 2
    full = open_processed(composed.settings.data).images
    assert len(full.indices("train", 150)) == 150 < len(full.indices("train"))
    train(load([*digits, "data.limit=150", f"hydra.run.dir={tmp_path}/done"]))
    rows = (evaluate(tmp_path / "done") / "predictions.csv").read_text().splitlines()
    assert len(rows) == 151


def test_a_batch_larger_than_the_limit_is_refused(digits, tmp_path):
    with pytest.raises(ConfigError, match="has 50 to train on"):
        train(load([*digits, "data.limit=50", f"hydra.run.dir={tmp_path}/run"]))
