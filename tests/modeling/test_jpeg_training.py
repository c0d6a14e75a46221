"""Training from JPEGs: the same bits with any number of workers and after a kill, and those of raw pixels where files
are kept as they are."""

import json
from itertools import product

import numpy as np
import pytest
from conftest import write_image

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.loaders import load_batches
from drift_detector_pipeline.modeling.order import training_requests
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.tasks.classification.task import CLASSIFICATION

STEPS = 6


class Gone(BaseException):
    """Ends a training in the middle, with no chance to write anything."""


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    """JPEGs of the stored size, views as small as a quarter of them, both forms packed: settings by form."""
    place = tmp_path_factory.mktemp("jpegs")
    for label, number in product(("cat", "dog"), range(24)):
        write_image(place / "photographs" / label / f"{number}.jpg", number + 100 * (label == "dog"), (56, 48))
    found = {}
    for form in ("raw", "jpeg"):
        found[form] = [
            "data=folder", f"data.raw_path={place / 'photographs'}", f"data.processed_path={place / form}",
            "data.stored_side_px=48", "data.img_size=32", "data.val_fraction=0.3", f"data.stored_as={form}",
            "data.dataloader_workers=0", "model=mlp", "training.epochs=2", "training.batch_size=8",
            "run.checkpoint_every=2",
        ]  # fmt: skip
        process(load(found[form]).settings.data)
    return found


def weights(folder):
    return read_receipt(folder).weights_sha256["final_model.safetensors"]


def test_weights_are_those_of_raw_pixels_and_the_receipt_names_the_form(overrides, tmp_path):
    for form in ("raw", "jpeg"):
        assert train(load([*overrides[form], f"hydra.run.dir={tmp_path / form}"])).exit_status == 0
        assert read_receipt(tmp_path / form).stored_as == form
        assert read_receipt(tmp_path / form).final.step == STEPS
        evaluate(tmp_path / form)
    measured = [json.loads((tmp_path / form / "evaluation/val/metrics.json").read_text()) for form in ("raw", "jpeg")]
    assert measured[0]["loss"] == measured[1]["loss"]
    assert weights(tmp_path / "raw") == weights(tmp_path / "jpeg")


def test_two_workers_and_a_kill_change_no_bit_of_views_decoded_at_a_half(overrides, tmp_path):
    small = [*overrides["jpeg"], "data.img_size=12"]
    assert train(load([*small, f"hydra.run.dir={tmp_path / 'undisturbed'}"])).exit_status == 0

    def leave(done):
        if done == 3:
            raise Gone

    with pytest.raises(Gone):
        train(load([*small, f"hydra.run.dir={tmp_path / 'killed'}"]), leave)
    train(load([*small, f"run.resume={tmp_path / 'killed'}", "data.dataloader_workers=2"]))
    assert weights(tmp_path / "undisturbed") == weights(tmp_path / "killed")


@pytest.mark.parametrize("workers", [0, 1])
def test_bytes_that_rot_while_training_reads_them_end_it_in_one_sentence(workers, overrides, tmp_path):
    data = load([*overrides["jpeg"], f"data.processed_path={tmp_path / 'rotten'}", "data.fit_fraction=0"]).settings.data
    process(data)
    images = open_processed(data).images
    file = tmp_path / "rotten" / "images.bin"
    file.write_bytes(bytes(np.zeros(file.stat().st_size, np.uint8)))
    requests = training_requests(images.indices("train"), seed=0, first_step=0, batch_size=4, sizes_px=[32])
    with pytest.raises(DataError, match=r"^\S+images.bin: (cat|dog).*: no complete image .*run: make process_data$"):
        list(load_batches(images, requests, CLASSIFICATION, data=data, seed=0, workers=workers))
