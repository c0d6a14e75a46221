"""The data report of boxes counts what is there, in time that grows as the boxes do, and draws what it chose."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from browsers import needs_browser, open_browser
from conftest import called
from drawn_boxes import draw_source, write_coco

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.processed.box_facts import COMPARED, measure
from drift_detector_pipeline.processed.data_report import write_report
from drift_detector_pipeline.processed.manifest import Manifest, Processed, open_processed
from drift_detector_pipeline.processed.packing import NO_LABEL, Entry, PackedImages, write_packed
from drift_detector_pipeline.settings import Data

DataOf = Callable[..., Data]
ODD = ["$5_$10", "猫", "a" * 60]


@pytest.fixture
def known(tmp_path: Path, data_of: DataOf) -> Data:
    """Ten pictures of 60 x 40 px: one box in a corner and two that are nearly one, a crowd; two without a box."""
    boxes = [(0, 0, 20, 10, 2), (30, 10, 20, 20, 5), (30, 10, 20, 19, 5), (5, 5, 0, 9, 2), (0, 0, 60, 40, 2, "crowd")]
    pictures = {f"{n}.png": boxes if n < 8 else [] for n in range(10)}
    settings = data_of(write_coco(tmp_path / "raw", pictures, ODD[:2]), "boxes", fit_fraction=0, stored_side_px=60)
    process(settings)
    return settings


def test_numbers_and_page_say_what_there_is_and_what_was_done(known: Data) -> None:
    path = write_report(open_processed(known), side_px=120)
    facts = json.loads((path.parent / "data_report.json").read_text())
    boxes = facts["boxes"]
    assert boxes["total"] == 24 and boxes["ignored"] == 8 and sum(boxes["images"].values()) == 10
    assert sum(boxes["images_without"].values()) == 2 and boxes["per_image"]["most"] == 3
    assert boxes["at_border"] == 8
    corner, pair = boxes["by_class"]
    assert corner["side_px"]["p50"] == pytest.approx(2 * 200**0.5, abs=0.1) and corner["width_over_height"]["p50"] == 2
    assert pair["share_under_px"] == {"8": 0, "32": 0, "96": 1}
    assert boxes["overlap"]["own_class_above_0.7"] == 16 and boxes["overlap"]["perhaps_given_twice"] == 8
    assert boxes["notes"] == open_processed(known).manifest.notes
    page = path.read_text()
    for said in ("boxes without area: dropped", "Without a box to find", "nearly cover one another", "$5_$10", "猫"):
        assert said in page
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', page))
    assert not re.search(r"<script|https?://", page)


def test_equal_pictures_with_other_boxes_are_told(tmp_path: Path, data_of: DataOf) -> None:
    root = write_coco(tmp_path / "raw", {"a.png": [(1, 1, 9, 9, 2)], "b.png": [(1, 1, 9, 9, 2), (9, 9, 9, 9, 2)]})
    settings = data_of(root, "boxes", stored_side_px=60)
    process(settings)
    page = write_report(open_processed(settings), side_px=60)
    [pair] = json.loads((page.parent / "data_report.json").read_text())["pairs"]
    assert sorted(pair["boxes"]) == [1, 2] and not pair["same_boxes"] and "other boxes" in page.read_text()


@pytest.mark.slow
def test_a_set_without_a_box_left_and_one_of_many_classes_have_reports_too(tmp_path: Path, data_of: DataOf) -> None:
    names = [f"{number}{ODD[number % 3]}" for number in range(90)]
    for name, boxes in (("none", [(5, 5, 0, 9, 2)]), ("many", [(n % 50, 1, 9, 9, 3 * n + 2) for n in range(90)])):
        root = write_coco(tmp_path / name, {"a.png": boxes, "b.png": []}, names)
        settings = data_of(root, "boxes", stored_side_px=60, processed_path=tmp_path / f"{name}_out")
        process(settings)
        assert write_report(open_processed(settings), side_px=60).exists()


def crowded(folder: Path, images: int, boxes: int) -> Processed:
    """A processed folder with as many boxes in each image."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 10, (boxes, 2))
    ends = np.concatenate([low, low + rng.uniform(1, 6, (boxes, 2))], axis=1).astype(np.float32)
    truth = Boxes(ends, rng.integers(0, 3, boxes), np.zeros(boxes, np.bool_))
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    folder.mkdir()
    write_packed(folder, (Entry(f"{n}.png", "train", NO_LABEL, pixels, truth) for n in range(images)))
    return Processed(folder, Manifest.__new__(Manifest), PackedImages(folder))


@pytest.mark.slow
def test_time_grows_as_the_boxes_do(tmp_path: Path) -> None:
    def seconds(images: int, boxes: int) -> float:
        data = crowded(tmp_path / f"{images}_{boxes}", images, boxes)
        started = time.process_time()
        measure(data, 320)
        return time.process_time() - started

    seconds(10, 10)
    assert seconds(4000, 20) < 8 * seconds(1000, 20)
    assert seconds(2, 40 * COMPARED) < 8 * seconds(2, 10 * COMPARED)


@pytest.mark.slow
def test_the_command_tells_sizes_at_the_side_that_the_model_sees(tmp_path: Path) -> None:
    words = ["data=boxes", f"data.raw_path={draw_source(tmp_path / 'raw', 4)}", f"data.processed_path={tmp_path}/out"]
    assert called("dataset", *words).returncode == 0
    done = called("processed.data_report", *words, "data.img_size=64")
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "out" / "data_report" / "data_report.json").read_text())
    assert facts["boxes"]["seen_at_px"] == 64


@pytest.mark.slow
@needs_browser
def test_the_page_fits_a_phone_and_shows_all_its_pictures(tmp_path: Path, data_of: DataOf) -> None:
    settings = data_of(draw_source(tmp_path / "raw", 12), "boxes", stored_side_px=96)
    process(settings)
    page_file = write_report(open_processed(settings), side_px=64)
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto(page_file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        assert len(widths) > 12 and all(widths)
