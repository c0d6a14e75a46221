"""A task that nobody foresaw, in sixty lines: how bright is an image? Only the catalog is told of it."""

import json
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, ModelError
from drift_detector_pipeline.images.augmentation import augment
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.labels import predict
from drift_detector_pipeline.modeling.summary import summarize
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.networks.models import create as create_network
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.tasks import catalog
from drift_detector_pipeline.tasks.headline import Headline
from drift_detector_pipeline.tasks.task import Caption, Report, Task


class Worth(NamedTuple):
    n: int
    loss: float
    headline: float

    def words(self, images):
        return f"brightness of {images} off by {self.headline:.4f}"


def view(stored, target, how, rng):
    random = how.augmentation is not None and rng is not None
    seen = augment(stored, how.side_px, how.augmentation, rng) if random else inference_crop(stored, how.side_px)
    seen = torch.as_tensor(seen)
    return seen, float(seen.float().mean() / 255)


def create(name, classes, side_px, options, *, pretrained=False):
    return create_network(name, 1, side_px, options, pretrained=pretrained)


def check(module, name, classes, side_px):
    if module.eval()(torch.zeros(1, 3, side_px, side_px)).shape != (1, 1):
        raise ModelError(f"model.name={name}: one number is expected")


def loss(forward, images, targets, training, class_weights):
    wanted = torch.tensor(targets, device=images.device)
    return nn.functional.mse_loss(forward(images).float()[:, 0], wanted)


def infer(module, images, targets):
    return module(images).float().cpu().numpy()


def measure(outputs, targets):
    off = np.stack(outputs)[:, 0] - np.array(targets, dtype=np.float32)
    return Worth(len(off), float((off**2).mean()), float(np.abs(off).mean()))


def answer(outputs, classes):
    return [{"brightness": float(one[0])} for one in outputs]


def caption(said, target, classes):
    return Caption(f"{said['brightness']:.2f}", f"{target:.2f}", abs(said["brightness"] - target) < 0.1, None)


def draw(pixels, said, target, classes):
    return pixels


def report(evaluation):
    return Report({"mean_absolute_error": evaluation.metrics.headline}, {}, {}, "evaluation.html", {})


BRIGHTNESS = Task(
    name="brightness", headline=Headline("error", larger_is_better=False, is_share=False), columns=("brightness",),
    truth_column="true_brightness", batch=64, stored_side="shorter", join=None, further_files=None,
    check_data=lambda data: None, view=view, blend=None, assemble=None,
    create=create, check=check, loss=loss, infer=infer, on_image=lambda said, *sides, **stored: said,
    rows=lambda said: [[said["brightness"]]],
    measure=measure, answer=answer, caption=caption, draw=draw, report=report,
)  # fmt: skip


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """Settings of a short training on digits whose processed folder says that it is about brightness."""
    monkeypatch.setitem(catalog.TASKS, "brightness", BRIGHTNESS)
    monkeypatch.chdir(tmp_path)
    words = ["data=digits", "data.processed_path=digits", "data.stored_side_px=8", "data.img_size=8", "run.device=cpu",
             "data.dataloader_workers=1", "model.name=mlp", "run.precision=fp32", "training.learning_rate=0.01",
             "wandb.mode=disabled"]  # fmt: skip
    process(load(words).settings.data)
    manifest = tmp_path / "digits" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"task": "brightness"}))
    return words


@pytest.mark.slow
def test_a_task_of_ones_own_goes_through_training_evaluation_and_prediction(digits, tmp_path, capsys):
    folder = train(load([*digits, "training.epochs=4", "hydra.run.dir=run"])).folder
    receipt = read_receipt(folder)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    errors = [row["val_error"] for row in rows]
    assert errors[-1] < errors[0]  # it has learned
    assert receipt.best.value(receipt.headline) == min(errors)  # the smaller the better
    metrics = json.loads((evaluate(folder) / "metrics.json").read_text())
    assert metrics["mean_absolute_error"] == receipt.score
    assert metrics["training"]["equal"] is True
    page = (folder / "evaluation" / "val" / "report.html").read_text()
    assert f"off by {errors[-1]:.4f}" in page
    lines = (folder / "evaluation" / "val" / "predictions.csv").read_text().splitlines()
    assert lines[0] == "path,true_brightness,brightness"
    assert summarize([folder])["val_error_mean"] == pytest.approx(errors[-1], abs=1e-5)

    for gray in (40, 200):
        Image.new("RGB", (8, 8), (gray,) * 3).save(tmp_path / f"{gray}.png")
    done = predict(folder / "final_model.safetensors", ["40.png", "200.png"])
    dark, light = (
        json.loads(line)["brightness"] for line in (done.folder / "predictions.jsonl").read_text().splitlines()
    )
    assert dark < light


def test_views_of_a_task_that_cannot_be_mixed_are_not(digits):
    with pytest.raises(ConfigError, match=r"data\.augmentation\.mix: views of the task brightness cannot be mixed"):
        train(load([*digits, "data.augmentation.mix=mixup", "hydra.run.dir=run"]))


def test_a_task_that_is_not_known_is_named(digits, monkeypatch):
    monkeypatch.delitem(catalog.TASKS, "brightness")
    with pytest.raises(ModelError, match="the task 'brightness' is not known here, only classification"):
        train(load([*digits, "hydra.run.dir=run"]))
