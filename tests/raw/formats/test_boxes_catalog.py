"""catalog.py and boxed.py: which layout a source has, and what is the same for all of them."""

from pathlib import Path

import pytest
from conftest import write_image
from laid_out import coco, lay, read, sides, xml

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats import catalog, imagefolder

VOC = {"Annotations/1.xml": xml(("cat", 5, 6, 30, 40)), "JPEGImages/1.jpg": ""}
COCO = {
    "annotations/instances_all.json": coco({"1.jpg": [{"bbox": [4, 5, 26, 35], "category_id": 3}]}, {3: "cat"}),
    "i/1.jpg": "",
}
KITTI = {"training/label_2/1.txt": "cat 0 0 0 4 5 30 40 1 1 1 1 1 1 1\n", "training/image_2/1.png": ""}
YOLO = {"labels/1.txt": "0 0.25 0.5 0.25 0.5\n", "images/1.jpg": "", "classes.txt": "cat\n"}
LAYOUTS = {"voc": VOC, "coco": COCO, "kitti": KITTI, "yolo": YOLO}


@pytest.mark.parametrize("wrapped", ["", "my data/set/"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_found_by_itself_and_by_its_name(tmp_path: Path, layout: str, wrapped: str) -> None:
    files = {wrapped + path: text for path, text in LAYOUTS[layout].items()}
    found, named = read(tmp_path, files), catalog.read(tmp_path, None, layout)
    assert found == named and (found.task, found.class_names) == ("boxes", ("cat",))
    assert all((found.root / path).is_file() for path in sides(found))


def test_folders_of_classes_are_what_they_were(tmp_path: Path) -> None:
    for place in ("train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/2.png"):
        write_image(tmp_path / place, 0)
    lay(tmp_path, {"labels.txt": "a\nb\n", "info.json": '{"a": 1}', "train/a/notes.txt": "0 1 2\n", "x.yaml": "a: b\n",
                   "train/a/1.txt": "a photograph of 2 cats in 1999\n", "feed.xml": "<rss/>"})  # fmt: skip
    assert catalog.read(tmp_path) == catalog.read(tmp_path, None, "imagefolder") == imagefolder.read(tmp_path)


def test_two_layouts_at_once_are_asked_about(tmp_path: Path) -> None:
    lay(tmp_path, COCO | {"labels/1.txt": YOLO["labels/1.txt"], "data.yaml": "train: i\nnames: [dog]\n"})
    with pytest.raises(DataError, match=r"like COCO and YOLO; .*: data\.format=coco or data\.format=yolo"):
        catalog.read(tmp_path)
    assert catalog.read(tmp_path, None, "coco").class_names == ("cat",)
    assert catalog.read(tmp_path, None, "yolo").class_names == ("dog",)


def test_a_layout_that_is_named_and_not_there_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no picture .* of KITTI, among 1 pictures; expected training/label_2/000001\.txt"
    ):
        read(tmp_path, VOC, "kitti")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_source_without_a_box_or_a_picture_is_refused(tmp_path: Path, layout: str) -> None:
    careless = "DontCare" + KITTI["training/label_2/1.txt"][3:]
    empty = {"voc": xml(), "coco": coco({"1.jpg": []}, {3: "cat"}), "kitti": careless, "yolo": ""}[layout]
    first = next(iter(LAYOUTS[layout]))
    boxless = (
        LAYOUTS[layout] | {first: empty} | ({"data.yaml": "train: images\nnames: [cat]\n"} if layout == "yolo" else {})
    )
    with pytest.raises(DataError, match=r"in 1 pictures .*so nothing to learn"):
        read(tmp_path / "boxless", boxless, layout)
    bare = {path: text for path, text in LAYOUTS[layout].items() if not path.endswith((".jpg", ".png"))}
    with pytest.raises(DataError, match=r"no picture with an annotation of .*, among 0 pictures; expected "):
        read(tmp_path / "bare", bare, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_error_names_the_archive_that_was_unpacked(tmp_path: Path, layout: str) -> None:
    files = {
        path: text[:-25] + "\0" if path == next(iter(LAYOUTS[layout])) else text
        for path, text in LAYOUTS[layout].items()
    }
    with pytest.raises(DataError, match=r"^mine\.tgz/"):
        catalog.read(lay(tmp_path, files), Path("mine.tgz"), layout)


def test_a_folder_that_links_back_to_itself_ends(tmp_path: Path) -> None:
    lay(tmp_path, YOLO)
    (tmp_path / "images" / "again").symlink_to(tmp_path)
    assert sides(catalog.read(tmp_path)) == {"images/1.jpg": None}


def test_annotations_of_a_file_manager_are_none(tmp_path: Path) -> None:
    clutter = {
        "Annotations/._1.xml": b"\0\5",
        "__MACOSX/Annotations/1.xml": b"\0",
        ".git/x.json": b"{",
        "JPEGImages/.1.jpg": b"",
    }
    assert sides(read(tmp_path, VOC | clutter)) == {"JPEGImages/1.jpg": None}
