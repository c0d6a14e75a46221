"""Boxes on the same road as labels: trained, gone on with, evaluated and predicted, from pictures drawn here."""

import csv
import json
import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch
from box_runs import make_run, words
from drawn_boxes import COLOURS
from PIL import Image, ImageDraw

from drift_detector_pipeline.config import load, load_section
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.modeling.card import card
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.labels import predict
from drift_detector_pipeline.modeling.loaders import load_batches
from drift_detector_pipeline.modeling.order import training_requests
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.tasks.boxes.task import BOXES

EPOCHS, STEPS = 2, 6  # of batches that are looked at
AUGMENTED = {"data.augmentation": "{min_area: 0.5, shift_px: 0, flip: true, scale_jitter: 0.4, mosaic: 0.4}",
             "data.augmentation.colour_jitter.brightness": 0.2}  # fmt: skip
KINDS = ("disc", "square")


@pytest.fixture(scope="module")
def finished(made_once):
    """A folder with source/, processed/ and the run of a YOLOX; read only."""
    return made_once("boxes_yolox", make_run)


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished / "run", tmp_path / "run")


def batches(finished, workers, **changes):
    data = load(words(finished, **AUGMENTED | changes)).settings.data
    images = open_processed(data).images
    requests = training_requests(images.indices("train"), seed=1, first_step=0, batch_size=4, sizes_px=[64] * EPOCHS)
    return list(load_batches(images, requests, BOXES, data=data, seed=1, workers=workers))


def assert_same(first, second):
    assert len(first) == len(second) == STEPS
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.images, other.images)
        for boxes, others in zip(one.targets, other.targets, strict=True):
            assert all(np.array_equal(*pair) for pair in zip(boxes, others, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_any_number_of_workers_makes_the_same_views_and_boxes(workers, finished):
    whole = batches(finished, 0)
    assert sum(len(boxes.labels) for batch in whole for boxes in batch.targets) > 20
    assert_same(batches(finished, workers), whole)


def test_mosaics_are_drawn_by_share(finished):
    none, all_of_them = (batches(finished, 0, **{"data.augmentation.mosaic": share}) for share in (0, 1))
    per_image = [
        np.mean([len(boxes.labels) for batch in some for boxes in batch.targets]) for some in (none, all_of_them)
    ]
    assert per_image[1] > 1.3 * per_image[0]


def test_evaluation_says_what_training_wrote_to_the_last_digit(finished, run):
    target = evaluate(run)
    metrics = json.loads((target / "metrics.json").read_text())
    receipt = read_receipt(run)
    assert (receipt.task, receipt.headline.name) == ("boxes", "map50")
    assert metrics["training"]["equal"] is True
    assert metrics["map50"] == receipt.score
    assert [row["class"] for row in metrics["per_class"]] == list(KINDS)
    assert {error["kind"] for error in metrics["errors"]} >= {"class", "place", "missed"}
    page = (target / "report.html").read_text()
    assert "map50 and loss equal what training wrote" in page and "What is lost, and why" in page
    rows = table(target)
    assert {row["path"] for row in rows} == set(open_val_paths(finished))
    assert set(rows[0]) == {"path", "true_boxes", *BOXES.columns}
    assert (
        f"map50 {100 * receipt.score:.2f} %" in card(run) and "95 % interval" in card(run) and "| square |" in card(run)
    )
    for name in ("precision_recall", "confusion", "scores", "errors", "predictions"):
        with Image.open(target / f"{name}.png") as picture:
            picture.verify()


def open_val_paths(root):
    images = open_processed(load(words(root)).settings.data).images
    return [images.paths[index] for index in images.indices("val")]


def table(folder):
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def answers(folder):
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def test_prediction_speaks_of_the_image_as_people_see_it(finished, run, tmp_path):
    """The same picture twice as large, and once turned by EXIF: the same boxes, in px of each."""
    source = Image.open(finished / "source" / "01.png")
    source.save(tmp_path / "plain.png")
    source.resize((2 * source.width, 2 * source.height), Image.Resampling.NEAREST).save(tmp_path / "double.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    source.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    done = predict(run / "final_model.safetensors", [str(tmp_path / f"{name}.png") for name in ("plain", "turned")])
    plain, turned = answers(done.folder)
    assert plain["boxes"] and plain["boxes"] == turned["boxes"]
    for box in plain["boxes"]:
        x0, y0, x1, y1 = box["box"]
        assert 0 <= x0 < x1 <= source.width and 0 <= y0 < y1 <= source.height
        assert box["label"] in KINDS and 0.05 <= box["score"] <= 1
    wide = answers(predict(run / "final_model.safetensors", [str(tmp_path / "double.png")]).folder)[0]["boxes"]
    best = np.array([box["box"] for box in (wide[0], plain["boxes"][0])])
    assert best[0] / 2 == pytest.approx(best[1], abs=6)


def test_prediction_writes_lines_a_table_coco_results_and_pictures(finished, run):
    done = predict(
        run / "final_model.safetensors",
        [str(finished / "source" / "*.png")],
        ["predict.pictures=2", "predict.threshold=0.06"],
    )
    lines = answers(done.folder)
    scores = [box["score"] for line in lines for box in line["boxes"]]
    assert len(lines) == 20 and min(scores) >= 0.06
    rows = table(done.folder)
    assert [float(row["score"]) for row in rows if row["score"]] == scores
    assert {row["path"] for row in rows} == {line["path"] for line in lines}
    results = json.loads((done.folder / "predictions.coco.json").read_text())
    key = json.loads((done.folder / "images.coco.json").read_text())
    assert [one["score"] for one in results] == scores
    assert [image["file_name"] for image in key["images"]] == [line["path"] for line in lines]
    assert [category["name"] for category in key["categories"]] == list(KINDS)
    x, y, width, height = results[0]["bbox"]
    first = next(box for line in lines for box in line["boxes"])["box"]
    assert [x, y, x + width, y + height] == pytest.approx(first, abs=0.02)
    assert len(list((done.folder / "pictures").iterdir())) == 2


def test_a_large_image_is_looked_at_in_parts(finished, run, tmp_path):
    """Four pictures in a row: seen at once they are too small, in parts each is as it was learned."""
    pictures = [Image.open(finished / "source" / f"{number:02d}.png").resize((96, 64)) for number in (1, 3, 5, 7)]
    row = Image.new("RGB", (4 * 96, 64))
    for number, picture in enumerate(pictures):
        row.paste(picture, (96 * number, 0))
    row.save(tmp_path / "row.png")
    whole, parts = (
        answers(predict(run / "final_model.safetensors", [str(tmp_path / "row.png")], given).folder)[0]["boxes"]
        for given in ([], ["predict.tile_px=96"])
    )
    assert len(parts) > len(whole)
    assert all(box["box"][2] <= 384 and box["box"][3] <= 64 for box in parts)
    assert max(box["box"][0] for box in parts) > 288  # and it lies anywhere in the row


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("data.augmentation.shift_px=2", r"data\.augmentation\.shift_px=2: not for boxes"),
        ("data.augmentation.flip=alternating", r"flip=alternating: not for boxes"),
        ("data.augmentation.mix=mixup", r"mix=mixup: not for boxes .*mosaic"),
        ("data.augmentation.rand_augment.operations=2", r"rand_augment\.operations=2: not for boxes"),
        ("data.augmentation.twins={kind: mirrored, levels: [1]}", "twins.kind=mirrored: moves pixels"),
    ],
)
def test_settings_that_would_move_pixels_without_boxes_are_refused(word, says, finished, tmp_path):
    with pytest.raises(ConfigError, match=says):
        train(load([*words(finished), word, f"hydra.run.dir={tmp_path}/run"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolox", "fasterrcnn"])
def test_a_run_gone_in_the_middle_and_one_with_workers_end_with_the_same_bits(name, finished, tmp_path):
    class Gone(BaseException):
        pass

    def leave(done):
        if done == 3:
            raise Gone

    given = words(finished, name, **AUGMENTED | {"training.epochs": EPOCHS, "training.ema_decay": 0.9})
    train(load([*given, f"hydra.run.dir={tmp_path}/whole"]))
    with pytest.raises(Gone):
        train(load([*given, f"hydra.run.dir={tmp_path}/gone"]), leave)
    assert train(load([*given, f"run.resume={tmp_path}/gone"])).exit_status == 0
    hashes = [read_receipt(tmp_path / folder).weights_sha256 for folder in ("whole", "gone")]
    for workers in (1, 4):
        folder = tmp_path / f"workers{workers}"
        train(load([*given, f"data.dataloader_workers={workers}", f"hydra.run.dir={folder}"]))
        hashes.append(read_receipt(folder).weights_sha256)
    assert all(one == hashes[0] for one in hashes)
    assert json.loads((evaluate(tmp_path / "whole") / "metrics.json").read_text())["training"]["equal"] is True


@pytest.mark.slow
@pytest.mark.parametrize("tile_px", ["null", "48"])
def test_a_frame_of_a_video_has_the_boxes_of_the_same_image(run, tmp_path, tile_px):
    pytest.importorskip("av", reason="needs the extra: pip install -e '.[video]'")
    from drift_detector_pipeline.frames.read import open_video
    from drift_detector_pipeline.frames.write import video_writer
    from drift_detector_pipeline.video.predicted import predict_video

    sources = [picture_of(number) for number in range(11)]
    with video_writer(tmp_path / "drawn.mp4", Fraction(10)) as writer:
        for pixels in sources:
            writer.write(pixels)
    with open_video(tmp_path / "drawn.mp4") as video:
        for frame in video.frames():
            Image.fromarray(frame.pixels).save(tmp_path / f"{frame.number:02}.png")
    weights, given = run / "final_model.safetensors", [f"predict.tile_px={tile_px}", "predict.threshold=0.1"]
    images = predict(weights, [str(tmp_path / "*.png")], given).folder / "predictions.jsonl"
    done = predict_video(weights, tmp_path / "drawn.mp4", load_section(Predict, given), [], lambda: False)
    of_images = [json.loads(line)["boxes"] for line in images.read_text().splitlines()]
    of_frames = [json.loads(line)["boxes"] for line in (done.folder / "boxes.jsonl").read_text().splitlines()]
    assert [[one | {"track": None} for one in boxes] for boxes in of_images] == [
        [one | {"track": None} for one in boxes] for boxes in of_frames
    ]
    assert sum(map(len, of_frames)) > 3
    assert all(one["track"] for boxes in of_frames for one in boxes)


def picture_of(number):
    """A disc and a square that move, on a dark ground of 96 x 64 px."""
    canvas = Image.new("RGB", (96, 64), (40, 40, 40))
    draw = ImageDraw.Draw(canvas)
    draw.ellipse((4 + 3 * number, 8, 27 + 3 * number, 31), fill=COLOURS["disc"])
    draw.rectangle((60 - 3 * number, 36, 81 - 3 * number, 57), fill=COLOURS["square"])
    return np.asarray(canvas)
