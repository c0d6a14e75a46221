"""Sources with boxes become processed folders as those with labels do: whole, repeatable, noticed when they change."""

import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, pack_tar
from drawn_boxes import draw_source, write_coco
from PIL import Image

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.images.letterbox import letterbox
from drift_detector_pipeline.lifecycle.mending.joined import join_labels
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.processed.packing import BOXES, PackedImages
from drift_detector_pipeline.processed.placed_boxes import IGNORED, NO_AREA
from drift_detector_pipeline.processed.roles import crops_of
from drift_detector_pipeline.settings import Data

DataOf = Callable[..., Data]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 drawn pictures with discs and squares; read only."""
    return draw_source(tmp_path_factory.mktemp("drawn") / "shapes")


@pytest.fixture
def data(source: Path, data_of: DataOf) -> Data:
    """Settings for them, processed."""
    settings = data_of(source, "boxes", stored_side_px=64, img_size=32)
    process(settings)
    return settings


def why(data: Data, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    with caplog.at_level(logging.INFO):
        process(data)
    return caplog.text


def test_pixels_below_a_box_have_the_colour_of_its_class(data: Data) -> None:
    opened = open_processed(data)
    assert opened.task == "boxes" and opened.classes == ["disc", "square"]
    count = 0
    for index in range(len(opened.images)):
        pixels, truth = opened.images[index], opened.images.target(index)
        assert max(pixels.shape[:2]) == 64 and isinstance(truth, Boxes)
        for (x0, y0, x1, y1), label in zip(truth.boxes, truth.labels, strict=True):
            red, _, blue = pixels[round((y0 + y1) / 2), round((x0 + x1) / 2)].astype(int)
            count += (blue > red) == label  # a later shape may hide the middle of an earlier one
    assert count > 0.8 * sum(len(opened.images.target(index).labels) for index in range(12))


def test_the_manifest_counts_boxes_images_and_what_was_done(tmp_path: Path, data_of: DataOf) -> None:
    pictures = {f"{n}.png": [(1, 1, 9, 9, 2), (5, 5, 0, 9, 5), (20, 9, 9, 9, 5, "crowd")] for n in range(10)}
    settings = data_of(write_coco(tmp_path / "raw", pictures), "boxes", fit_fraction=0.1)
    process(settings)
    manifest = open_processed(settings).manifest
    assert manifest.images_by_split == {"train": 7, "fit": 1, "val": 2}
    assert manifest.counts == {split: {"disc": n, "square": 0} for split, n in manifest.images_by_split.items()}
    assert manifest.notes == {NO_AREA: 10, IGNORED: 10}
    assert manifest.class_ids == [2, 5]


def test_a_folder_and_an_archive_of_it_give_the_same_bytes(data: Data, source: Path, tmp_path: Path) -> None:
    packed = data.model_copy(
        update={"raw_path": pack_tar(source, tmp_path / "shapes.tgz"), "processed_path": tmp_path / "other"}
    )
    process(packed)
    for name in (BOXES, "index.csv", "images.bin", ".checksums"):
        assert (tmp_path / "other" / name).read_bytes() == (data.processed_path / name).read_bytes()
    assert open_processed(packed).fingerprint == open_processed(data).fingerprint


def test_boxes_survive_writing_to_the_bit_and_reach_other_processes(data: Data) -> None:
    images = open_processed(data).images
    copy = pickle.loads(pickle.dumps(images))
    lines = [line.split(",") for line in (data.processed_path / BOXES).read_text().splitlines()[1:]]
    ends = np.array([line[1:5] for line in lines], np.float32)
    assert images.boxes is not None and np.array_equal(ends, images.boxes.all.boxes) and len(ends) > 12
    for index in range(len(images)):
        for ours, theirs in zip(images.target(index), copy.target(index), strict=True):
            assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    [empty] = [truth for index in range(12) if not len((truth := images.target(index)).labels)]
    assert empty.boxes.shape == (0, 4)


def test_a_set_whose_boxes_were_all_dropped_can_be_opened(tmp_path: Path, data_of: DataOf) -> None:
    settings = data_of(write_coco(tmp_path / "raw", {"a.png": [(5, 5, 0, 9, 2)], "b.png": []}), "boxes")
    process(settings)
    assert [len(open_processed(settings).images.target(index).labels) for index in range(2)] == [0, 0]


def test_any_flipped_bit_of_the_boxes_is_refused_and_mended(data: Data, caplog: pytest.LogCaptureFixture) -> None:
    path = data.processed_path / BOXES
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(DataError, match=r"boxes\.csv is damaged, first in line \d+; run: make process_data"):
            open_processed(data)
    assert "processing, because boxes.csv is damaged" in why(data, caplog)
    assert path.read_bytes() == whole
    path.unlink()
    assert "because boxes.csv is missing" in why(data, caplog)


@pytest.mark.parametrize("line", ["0,1,2,3,4,0", "0,1,2,3,x,0,0", "99,1,2,3,4,0,0", "0,1,2,nan,4,0,0"])
def test_a_table_of_boxes_that_is_none_is_said_where_nothing_was_checked(data: Data, line: str) -> None:
    (data.processed_path / BOXES).write_text(f"image,x0,y0,x1,y1,label,ignore\n{line}\n")
    with pytest.raises(DataError, match=r"boxes\.csv: damaged .*run: make process_data"):
        PackedImages(data.processed_path)


def test_changed_annotations_are_noticed_and_a_new_line_break_is_none(
    tmp_path: Path, data_of: DataOf, caplog: pytest.LogCaptureFixture
) -> None:
    root = draw_source(tmp_path / "raw", images=4)
    settings = data_of(root, "boxes")
    process(settings)
    before, path = open_processed(settings).fingerprint, root / "instances.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values, indent=1))
    assert "up to date" in why(settings, caplog)
    values["annotations"][0]["bbox"][2] -= 2
    path.write_text(json.dumps(values))
    assert "raw has changed" in why(settings, caplog)
    assert open_processed(settings).fingerprint != before
    values["annotations"][1]["category_id"] = 7 - values["annotations"][1]["category_id"]
    path.write_text(json.dumps(values))
    assert "raw has changed" in why(settings, caplog)


def test_another_layout_is_another_folder(data: Data, caplog: pytest.LogCaptureFixture) -> None:
    assert "it was made with data.format=None, now coco" in why(data.model_copy(update={"format": "coco"}), caplog)
    assert "it was made with data.format=coco, now None" in why(data, caplog)


def test_published_parts_are_kept_and_without_them_hashes_decide(tmp_path: Path, data: Data, data_of: DataOf) -> None:
    parts = tmp_path / "parts"
    for name, images in (("train", 6), ("valid", 3)):
        draw_source(parts / name, images, seed=images)
        (parts / name / "instances.json").rename(parts / name / "_annotations.coco.json")
    settings = data_of(parts, "boxes", fit_fraction=0, processed_path=tmp_path / "by_parts")
    process(settings)
    opened = open_processed(settings).images
    assert [path.split("/")[0] for path in opened.paths] == ["train"] * 6 + ["valid"] * 3
    assert opened.splits == ["train"] * 6 + ["val"] * 3
    assert open_processed(data).manifest.images_by_split == {"train": 9, "fit": 1, "val": 2}


def test_a_model_of_boxes_is_shown_all_of_an_image(data: Data) -> None:
    opened = open_processed(data)
    shown = crops_of(opened, np.arange(len(opened.images)), 32)
    for index in range(len(opened.images)):
        assert np.array_equal(shown[index], letterbox(opened.images[index], 32))


def test_labels_that_come_later_are_not_joined_to_boxes(data: Data) -> None:
    with pytest.raises(DataError, match=r"its truth is boxes.*make train"):
        join_labels(open_processed(data), [], share=0.5, most_repeats=3)


def test_a_limit_takes_some_of_the_images_and_a_smaller_one_some_of_those(data: Data) -> None:
    images = open_processed(data).images
    some, fewer = images.indices("train", 5), images.indices("train", 2)
    assert len(some) == 5 and len(fewer) == 2 and set(fewer) < set(some)


@pytest.mark.parametrize("balance", ["sampling", "weights"])
def test_balance_of_classes_is_refused_where_an_image_has_several(data: Data, balance: str, tmp_path: Path) -> None:
    asked = data.model_copy(update={"balance": balance})
    with pytest.raises(ConfigError, match=f"data.balance={balance} .*leave data.balance=none"):
        open_processed(asked)
    with pytest.raises(ConfigError, match=r"leave data\.balance=none"):
        process(asked.model_copy(update={"processed_path": tmp_path / "new"}))
    assert not (tmp_path / "new").exists()


def test_a_preset_for_the_other_kind_of_truth_is_told(
    source: Path, image_folder: Path, data_of: DataOf, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DataError, match=r"holds no boxes .* make it data=folder"):
        process(data_of(image_folder, "boxes"))
    assert "holds boxes; data=boxes stores images as suits them" in why(data_of(source), caplog)


def test_a_picture_whose_turn_nobody_told_is_a_bad_image(tmp_path: Path, data_of: DataOf) -> None:
    root = tmp_path / "raw"
    root.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (60, 40)).save(root / "a.jpg", exif=exif)
    settings = data_of(write_coco(root, {"a.jpg": [(1, 1, 9, 9, 2)], "b.png": [(1, 1, 9, 9, 2)]}), "boxes")
    with pytest.raises(DataError, match=r"a\.jpg.*data.max_bad_images"):
        process(settings)
    process(settings.model_copy(update={"max_bad_images": 1}))
    assert open_processed(settings).images.paths == ["b.png"]


@pytest.mark.slow
def test_processing_boxes_loads_no_torch(source: Path, tmp_path: Path) -> None:
    words = ["data=boxes", f"data.raw_path={source}", f"data.processed_path={tmp_path}/out"]
    code = (
        f"import sys; sys.argv[1:] = {words}; from drift_detector_pipeline.dataset import main; "
        "assert main() == 0; assert not {'torch', 'matplotlib', 'scipy', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# -- real data, where it lies beside the repository


def test_coco_and_yolo_of_the_same_pictures_have_the_same_boxes(
    shared_data: Callable[[str], Path], tmp_path: Path, data_of: DataOf
) -> None:
    root, found = shared_data("coco27"), {}
    for layout in ("coco", "yolo"):
        settings = data_of(root, "boxes", format=layout, processed_path=tmp_path / layout)
        process(settings)
        found[layout] = open_processed(settings)
    assert len(found["coco"].images) == len(found["yolo"].images) == 27
    assert found["coco"].manifest.notes is not None and found["coco"].manifest.notes[IGNORED] == 2
    names = {
        layout: [found[layout].classes[label] for label in found[layout].images.boxes.all.labels] for layout in found
    }
    crowds = found["coco"].images.boxes.all.ignore
    assert set(np.array(names["coco"])[~crowds]) <= set(names["yolo"])


def test_kitti_keeps_its_regions_that_nobody_labelled(shared_data: Callable[[str], Path], data_of: DataOf) -> None:
    settings = data_of(shared_data("kitti3"), "boxes", stored_side_px=640)
    process(settings)
    opened = open_processed(settings)
    assert opened.classes == ["Car", "Cyclist", "Misc", "Pedestrian", "Truck"] and opened.images.boxes is not None
    assert opened.images.boxes.all.labels[opened.images.boxes.all.ignore].tolist() == [-1] * 4
    assert {max(opened.images[index].shape) for index in range(3)} == {640}


@pytest.mark.slow
def test_bccd_loses_two_boxes_without_area_and_keeps_all_at_the_border(
    shared_data: Callable[[str], Path], data_of: DataOf
) -> None:
    settings = data_of(shared_data("bccd_voc"), "boxes", stored_side_px=640, fit_fraction=0)
    process(settings)
    opened = open_processed(settings)
    assert opened.manifest.images_by_split == {"train": 205, "fit": 0, "val": 87}
    assert opened.manifest.notes == {NO_AREA: 2} and opened.images.boxes is not None
    ends = opened.images.boxes.all.boxes[:, 2:]
    assert ((ends[:, 0] == 640) | (ends[:, 1] == 480)).sum() == 433  # 545 with the published test part


@pytest.mark.slow
def test_raccoons_keep_their_217_boxes(shared_data: Callable[[str], Path], data_of: DataOf) -> None:
    settings = data_of(shared_data("raccoon_voc"), "boxes", stored_side_px=640)
    process(settings)
    opened = open_processed(settings)
    assert sum(opened.manifest.images_by_split.values()) == 200 and opened.images.boxes is not None
    assert len(opened.images.boxes.all.labels) == 217
