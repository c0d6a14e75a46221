"""coco.py: one JSON a part of the data set."""

import json
from pathlib import Path

import numpy as np
import pytest
from laid_out import box, coco, ends, only, read, sides

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.boxed import NOT_ANNOTATED, NOT_THERE, TWICE
from drift_detector_pipeline.raw.formats.mask_extent import extent_of

CAT: dict[str, object] = {"bbox": [1, 2.5, 30, 20], "category_id": 7}
KINDS = {7: "cat"}


def one(*boxes: dict[str, object], names: dict[int, str] = KINDS, **more: object) -> dict[str, str | bytes]:
    return {"annotations/instances_all.json": coco({"1.jpg": list(boxes)}, names, **more), "images/1.jpg": ""}


def test_boxes_are_corner_and_size(tmp_path: Path) -> None:
    listing = read(tmp_path, one(CAT))
    assert only(listing) == ((box(1, 2.5, 31, 22.5),), (64, 48), False)


def test_numbers_of_classes_have_gaps_and_any_start_and_labels_none(tmp_path: Path) -> None:
    listing = read(tmp_path, one(CAT, CAT | {"category_id": 0}, names={90: "zebra", 7: "cat", 0: "dog"}))
    assert (listing.class_names, listing.class_ids) == (("dog", "cat", "zebra"), (0, 7, 90))


def test_a_number_may_be_text_and_a_missing_crowd_none(tmp_path: Path) -> None:
    pictures = [{"id": "3", "file_name": "1.jpg"}, {"id": "007", "file_name": "2.jpg"}]
    boxes = [CAT | {"image_id": 3, "iscrowd": None}, CAT | {"image_id": "007", "bbox": [0, 0, 5, 5]}]
    listing = read(tmp_path, one(*boxes, images=pictures) | {"2.jpg": ""})
    assert {path: len(found.boxes) for path, found in listing.boxes.items()} == {"images/1.jpg": 1, "2.jpg": 1}
    assert not any(found.ignore for boxes in listing.boxes.values() for found in boxes.boxes)


def test_a_crowd_counts_neither_way(tmp_path: Path) -> None:
    listing = read(tmp_path, one(CAT, CAT | {"iscrowd": 1, "bbox": [0, 0, 9, 9]}, CAT | {"iscrowd": True}))
    assert [found.ignore for found in only(listing).boxes] == [False, True, True]


def test_where_every_box_is_a_crowd_the_tool_that_wrote_it_is_doubted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all 2 boxes are marked as crowds.*some tools mark every mask"):
        read(tmp_path, one(CAT | {"iscrowd": 1}, CAT | {"iscrowd": 1, "bbox": [0, 0, 9, 9]}))


def test_without_a_box_the_extent_of_the_outline_is_taken(tmp_path: Path) -> None:
    outline = {"category_id": 7, "segmentation": [[5, 6, 9.5, 6, 7, 8], [1, 7, 2, 7, 2, 9]]}
    mask = {"category_id": 7, "segmentation": {"size": [4, 6], "counts": [5, 2, 2, 1, 14]}}
    both = outline | {"bbox": [20, 20, 2, 2]}
    assert ends(read(tmp_path, one(outline, mask, both))) == [(1, 6, 9.5, 9), (1, 1, 3, 3), (20, 20, 22, 22)]


def test_masks_packed_as_text_have_the_extent_that_pycocotools_sees() -> None:
    pack = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for height, width in rng.integers(1, 40, (200, 2)):
        mask = rng.random((height, width)) < rng.choice([0, 0.02, 0.5, 1])
        packed = pack.encode(np.asfortranarray(mask, dtype=np.uint8))
        x, y, w, h = pack.toBbox(packed)
        said = {"size": [int(height), int(width)], "counts": packed["counts"].decode()}
        assert extent_of(said, "") == (x, y, x + w, y + h)


def test_pictures_without_annotations_show_nothing_and_pictures_in_no_file_are_left_out(tmp_path: Path) -> None:
    said = coco({"1.jpg": [CAT], "2.jpg": [], "3.jpg": [CAT]}, KINDS)
    listing = read(tmp_path, {"instances_x.json": said, "i/1.jpg": "", "i/2.jpg": "", "i/4.jpg": ""})
    assert {path: len(found.boxes) for path, found in listing.boxes.items()} == {"i/1.jpg": 1, "i/2.jpg": 0}
    assert listing.notes == {NOT_THERE: 1, NOT_ANNOTATED: 1}


@pytest.mark.parametrize(
    ("said", "lies"),
    [
        ("1.jpg", "images/1.jpg"), ("deep/er/1.jpg", "images/deep/er/1.jpg"), (r"C:\me\1.jpg", "1.jpg"),
        ("./1.jpg", "1.jpg"), ("../images/1.jpg", "images/1.jpg"), ("1.jpg", "images/1.PNG"),
        ("cafe\u0301 1.jpg", "x/caf\u00e9 1.jpg"), ("IMG_1.JPG", "images/img_1.jpg"),
    ],
)  # fmt: skip
def test_pictures_are_found_in_any_folder_and_with_any_ending(tmp_path: Path, said: str, lies: str) -> None:
    assert sides(read(tmp_path, {"instances_all.json": coco({said: [CAT]}, KINDS), lies: ""})) == {lies: None}


def test_parts_by_the_names_of_files_or_of_their_folders(tmp_path: Path) -> None:
    published = {
        f"annotations/instances_{part}.json": coco({"1.jpg": [CAT]}, KINDS) for part in ("train2017", "val2017")
    } | {
        "annotations/captions_val2017.json": '{"images": [], "annotations": []}',
        "train2017/1.jpg": "",
        "val2017/1.jpg": "",
    }
    assert sides(read(tmp_path / "coco", published)) == {"train2017/1.jpg": False, "val2017/1.jpg": True}
    beside = {f"{part}/_annotations.coco.json": coco({"1.jpg": [CAT]}, KINDS) for part in ("train", "valid", "test")}
    listing = read(tmp_path / "beside", beside | {f"{part}/1.jpg": "" for part in ("train", "valid", "test")})
    assert sides(listing) == {"train/1.jpg": False, "valid/1.jpg": True} and listing.unused_folders == ["test"]
    plain = {f"{part}.json": coco({f"{part}.jpg": [CAT]}, KINDS) for part in ("train", "test")}
    listing = read(tmp_path / "plain", plain | {"pool/train.jpg": "", "pool/test.jpg": ""})
    assert sides(listing) == {"pool/test.jpg": True, "pool/train.jpg": False}


def test_a_picture_that_may_lie_in_two_places_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"instances_all\.json: 1\.jpg may be a/1\.jpg or b/1\.jpg"):
        read(tmp_path, {"instances_all.json": coco({"1.jpg": [CAT]}, KINDS), "a/1.jpg": "", "b/1.jpg": ""})


def test_a_class_that_only_heads_the_others_is_none(tmp_path: Path) -> None:
    kinds = [{"id": 0, "name": "cells", "supercategory": "none"}, {"id": 7, "name": "cat", "supercategory": "cells"}]
    listing = read(tmp_path, one(CAT, categories=kinds))
    assert listing.class_names == ("cat",) and sum(listing.notes.values()) == 1
    assert read(tmp_path / "b", one(CAT, CAT | {"category_id": 0}, categories=kinds)).class_names == ("cells", "cat")


def test_classes_are_those_of_the_part_to_train_on_and_further_ones_after_them(tmp_path: Path) -> None:
    files = {
        "instances_train.json": coco({"1.jpg": [CAT]}, {7: "cat", 9: "dog"}),
        "instances_val.json": coco({"2.jpg": [{"bbox": [1, 1, 5, 5], "category_id": 1}]}, {1: "dog", 2: "ant"}),
    }
    listing = read(tmp_path, files | {"1.jpg": "", "2.jpg": ""})
    assert listing.class_names == ("cat", "dog", "ant")
    assert listing.boxes["2.jpg"].boxes[0].class_name == "dog"


def test_a_box_given_twice_is_one_whatever_its_number(tmp_path: Path) -> None:
    listing = read(tmp_path, one(CAT, CAT))
    assert len(only(listing).boxes) == 1 and listing.notes == {TWICE: 1}


def test_a_mark_of_order_and_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    text = json.dumps(json.loads(one(CAT)["annotations/instances_all.json"]), indent=1).replace("\n", "\r\n")
    assert len(ends(read(tmp_path, {"a.json": b"\xef\xbb\xbf" + text.encode(), "1.jpg": ""}))) == 1


@pytest.mark.parametrize(
    ("boxes", "more", "says"),
    [
        ([CAT | {"bbox": [1, 2, float("nan"), 4]}], {}, r"annotations\[0\]: bbox\[2\] is nan"),
        ([CAT | {"bbox": [1, 2, 1e9, 4]}], {}, r"no place in a picture"),
        ([CAT | {"bbox": [1, 2, 10**400, 4]}], {}, r"more than 18 digits|not whole JSON"),
        ([CAT | {"bbox": [1, 2, "wide", 4]}], {}, r"bbox\[2\] is 'wide'"),
        ([CAT | {"bbox": [1, 2, True, 4]}], {}, r"bbox\[2\] is True"),
        ([CAT | {"bbox": [1, 2, 3]}], {}, r"bbox is \[1, 2, 3\]; expected \[x, y, width, height\]"),
        ([{"category_id": 7}], {}, r"bbox is missing"),
        ([CAT, CAT | {"category_id": 8}], {}, r"annotations\[1\]: no category has the id 8; there are \[7\]"),
        ([CAT | {"category_id": "cat"}], {}, r"category_id is 'cat'; expected a whole number"),
        ([CAT | {"image_id": 99}], {}, r"annotations\[0\]: no picture has the id 99"),
        ([CAT | {"iscrowd": "maybe"}], {}, r"iscrowd is 'maybe'"),
        ([{"category_id": 7, "segmentation": [[1, 2, 3, 4]]}], {}, r"polygons of at least 3 points"),
        ([{"category_id": 7, "segmentation": {"size": [10**9, 10**9], "counts": [3]}}], {}, r"add up to 3"),
        ([{"category_id": 7, "segmentation": {"size": [4, 4], "counts": "\u00ff"}}], {}, r"no packed run lengths"),
        ([CAT], {"categories": [{"id": 7, "name": "a"}, {"id": 7, "name": "b"}]}, r"categories\[1\]: .* given twice"),
        ([CAT], {"categories": [{"id": 7, "name": "a"}, {"id": 8, "name": "a"}]}, r"categories\[1\]: .* given twice"),
        ([CAT], {"categories": [{"id": 7, "name": "\ud800"}]}, r"categories\[0\]: its name is"),
        ([CAT], {"categories": None}, r"categories is missing; expected a list"),
        ([CAT], {"images": [{"id": 0}]}, r"images\[0\]: file_name is missing"),
        ([CAT], {"images": [{"id": 0, "file_name": "1.jpg"}] * 2}, r"images\[1\]: the id 0 is given twice"),
        ([CAT], {"images": [{"id": None, "file_name": "1.jpg"}]}, r"images\[0\]: its id is missing"),
    ],
)  # fmt: skip
def test_a_broken_file_is_an_error_that_says_where(
    tmp_path: Path, boxes: list[dict[str, object]], more: dict[str, object], says: str
) -> None:
    with pytest.raises(DataError, match=rf"instances_all\.json.*({says})"):
        read(tmp_path, one(*boxes, **more))


@pytest.mark.parametrize(
    "content", ["[" * 99_999, '{"images": 1', "[1]", "", '{"a":' * 9999, '{"images": 1' + "0" * 9999]
)
def test_what_is_no_such_json_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"instances_all\.json: (not whole JSON|expected an object)"):
        read(tmp_path, {"instances_all.json": content, "1.jpg": ""})
