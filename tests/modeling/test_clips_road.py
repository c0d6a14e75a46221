"""Clips on the same road as labels: trained, gone on with, evaluated, with the same bits; judged by source."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from clip_runs import make_run, words
from PIL import Image

from drift_detector_pipeline.config import load
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.images.transforms import normalize
from drift_detector_pipeline.modeling.card import card
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.first_look import look_first
from drift_detector_pipeline.modeling.loaders import load_batches
from drift_detector_pipeline.modeling.order import training_requests
from drift_detector_pipeline.modeling.summary import describe
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.networks.header import read_description
from drift_detector_pipeline.networks.models import build
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.tasks.clips.task import CLIPS

AUGMENTED = {"data.augmentation": "{min_area: 0.5, shift_px: 2, flip: true}",
             "data.augmentation.twins": "{kind: fog, levels: [3], share: 0.5}"}  # fmt: skip


@pytest.fixture(scope="module")
def finished(made_once):
    """A folder with processed/ and the run of a small network on drawn clips; read only."""
    return made_once("clips_conv_small", make_run)


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished / "run", tmp_path / "run")


def batches(root, workers, first_step=0, **changes):
    data = load(words(root, **AUGMENTED | changes)).settings.data
    images = open_processed(data).images
    requests = training_requests(
        images.indices("train"), seed=1, first_step=first_step, batch_size=4, sizes_px=[24, 24]
    )
    return list(load_batches(images, requests, CLIPS, data=data, seed=1, workers=workers))


@pytest.mark.parametrize("workers", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_any_number_of_workers_makes_the_same_views(workers, finished):
    whole, shared = batches(finished, 0), batches(finished, workers)
    assert len(whole) == len(shared) == 6
    for one, other in zip(whole, shared, strict=True):
        assert one.images.shape == (4, 4, 3, 24, 24) and one.images.dtype == torch.uint8
        assert torch.equal(one.images, other.images) and one.targets == other.targets
    begun_later = batches(finished, 0, first_step=4)
    assert all(torch.equal(one.images, two.images) for one, two in zip(whole[4:], begun_later, strict=True))
    assert {target.source for batch in whole for target in batch.targets} == {"s1", "s2", "s3", "s5", "s6", "s7"}


def test_frames_differ_from_epoch_to_epoch(finished):
    """Of clips in which something moves; the others show the same again."""
    plain = {"data.augmentation": "{min_area: 1.0, shift_px: 0, flip: false}", "data.augmentation.twins.kind": "null"}
    shown = [
        (step // 3, target.label, frames.numpy().tobytes())
        for step, batch in enumerate(batches(finished, 0, **plain))
        for frames, target in zip(batch.images, batch.targets, strict=True)
    ]
    moving, still = ([{view for epoch, of, view in shown if (epoch, of) == (e, k)} for e in (0, 1)] for k in (0, 1))
    assert len(moving[0]) == len(moving[1]) == 6 and not moving[0] & moving[1] and still[0] == still[1]


def test_evaluation_says_what_training_wrote_and_counts_sources(run):
    target = evaluate(run)
    metrics, receipt = json.loads((target / "metrics.json").read_text()), read_receipt(run)
    assert (receipt.task, receipt.headline.name, receipt.sources_from) == ("clips", "accuracy", "listed")
    assert metrics["training"]["equal"] is True and metrics["accuracy"] == receipt.score
    assert (metrics["sources"], metrics["n"], metrics["sources_from"]) == (2, 4, "listed")
    assert [one["source"] for one in metrics["per_source"]] == ["s0", "s4"]
    assert metrics["at_half"]["accuracy"] == metrics["accuracy"]
    page = (target / "report.html").read_text()
    assert "by drawing" not in page and "Only 2 sources" in page and "none of them is in two splits" in page
    with (target / "predictions.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [
            "moving/s0_c00.mp4", "moving/s0_c01.mp4", "still/s4_c00.mp4", "still/s4_c01.mp4",
        ]  # fmt: skip
    for name in ("precision_recall", "roc", "sources", "confusion", "reliability"):
        with Image.open(target / f"{name}.png") as picture:
            picture.verify()
    assert "listed in clips.csv" in card(run) and "| sources of the clips |" in describe(receipt)


def test_a_threshold_that_is_asked_for_has_its_own_figures(run):
    never = json.loads((evaluate(run, overrides=["predict.threshold=1"]) / "metrics.json").read_text())
    assert never["threshold"] == never["at_threshold"]["threshold"] == 1
    assert never["at_threshold"]["recall"] == 0 and never["at_threshold"]["precision"] is None
    always = evaluate(run, overrides=["predict.threshold=0"])
    at = json.loads((always / "metrics.json").read_text())["at_threshold"]
    assert (at["precision"], at["recall"], at["false_alarms"]) == (0.5, 1, 1)
    assert "asked for" in (always / "report.html").read_text()
    assert "at_threshold" not in json.loads((evaluate(run) / "metrics.json").read_text())


def test_a_page_says_where_sources_are_unknown(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "all")
    run, manifest = tmp_path / "all" / "run", tmp_path / "all" / "processed" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"listed"', '"unknown"'))
    target = evaluate(run, overrides=[f"data.processed_path={tmp_path}/all/processed"])
    assert "it may leak" in (target / "report.html").read_text()


def test_the_weight_file_says_how_clips_are_cut(finished):
    said = read_description(finished / "run" / "final_model.safetensors")
    assert said["task"] == "clips"
    assert [said["preprocessing"][name] for name in ("clip_seconds", "stored_frames", "k_frames")] == [2.0, 32, 4]


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(finished, tmp_path):
    """Of clips shorter than k, with the deviation, stopped in the middle of an epoch."""
    changes = AUGMENTED | {
        "data.k_frames": 16,
        "model.options.pooling": "mean_and_deviation",
        "run.checkpoint_every": 1,
    }

    def stop_at(step):
        if step == 5:
            raise KeyboardInterrupt

    given = words(finished, **changes)
    whole = train(load([*given, f"hydra.run.dir={tmp_path}/whole"])).folder
    with pytest.raises(KeyboardInterrupt):
        train(load([*given, f"hydra.run.dir={tmp_path}/parts"]), stop_at)
    parts = train(load([*given, f"run.resume={tmp_path}/parts"])).folder
    assert file_hash(whole / "final_model.safetensors") == file_hash(parts / "final_model.safetensors")
    assert file_hash(whole / "final_model.safetensors") != file_hash(finished / "run" / "final_model.safetensors")


def test_how_many_frames_are_seen_decides_the_bits(finished):
    assert read_receipt(finished / "run").identity["data.k_frames"] == 4


def test_clips_are_not_mixed(finished, tmp_path):
    with pytest.raises(ConfigError, match="clips cannot be mixed"):
        train(load([*words(finished, **{"data.augmentation.mix": "mixup"}), f"hydra.run.dir={tmp_path}/run"]))


def test_a_clip_is_answered_alike_whatever_its_neighbours(finished, run):
    """All of val at once and each clip alone: the same logits, to the last bit."""
    from drift_detector_pipeline.config import load_section
    from drift_detector_pipeline.modeling.loaders import batch_of
    from drift_detector_pipeline.modeling.trained import open_trained, outputs_of
    from drift_detector_pipeline.runs.machine import prepared
    from drift_detector_pipeline.settings import Run

    images = open_processed(load(words(finished)).settings.data).images
    with prepared(load_section(Run, ["run.device=cpu", "run.precision=fp32"])) as machine:
        trained = open_trained(run / "final_model.safetensors", machine)
        views = [CLIPS.view(images[at], images.target(at), trained.look, None) for at in images.indices("val")]
        together = outputs_of(trained, batch_of([view.numpy() for view, _ in views], [t for _, t in views]), machine)
        alone = [outputs_of(trained, batch_of([view.numpy()], [target]), machine)[0] for view, target in views]
    assert np.array_equal(np.stack(together), np.stack(alone))


def test_a_network_that_looks_first_is_shown_frames_of_training_clips(finished):
    """The patches it takes are those it would take of the frames as images."""
    whitening = {"+model.options.whitening": "images", "data.processed_path": finished / "processed"}
    settings = load(words(finished, **whitening)).settings
    images = open_processed(settings.data).images
    seen, alone = (build(settings.model, 2, settings.data.img_size, CLIPS.create, CLIPS.check) for _ in range(2))
    look_first(seen, images, settings.data, CLIPS)
    how = CLIPS.look(settings.data, settings.data.img_size)
    frames = [CLIPS.view(images[int(index)], None, how, None)[0] for index in images.indices("train")]
    shown = torch.cat(frames).permute(0, 3, 1, 2)
    alone.module.frame.look_at(normalize(shown, alone.mean, alone.std))
    assert torch.equal(seen.module.frame.stem.basis, alone.module.frame.stem.basis)
    assert not torch.equal(seen.module.frame.stem.basis, type(alone.module.frame.stem)().basis)
