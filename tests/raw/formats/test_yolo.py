"""yolo.py and yolo_config.py: a text a picture, in shares of its sides."""

from pathlib import Path

import pytest
from laid_out import box, ends, lay, only, read, sides

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.boxed import NOT_THERE
from drift_detector_pipeline.raw.formats.yolo import EMPTY_TEXT, NO_TEXT

LINE = "0 0.5 0.5 0.25 1e-1\n"
NAMES = "names: [cat, dog]\n"


def one(text: str | bytes, config: str = "train: images\n" + NAMES) -> dict[str, str | bytes]:
    return {"data.yaml": config, "images/1.jpg": "", "labels/1.txt": text}


def test_shares_of_middle_and_sides_become_ends(tmp_path: Path) -> None:
    assert only(read(tmp_path, one(LINE))) == ((box(0.375, 0.45, 0.625, 0.55),), None, True)


def test_rounding_beyond_the_border_is_no_error(tmp_path: Path) -> None:
    assert ends(read(tmp_path, one("0 0.5 0.5000001 1.0 1.0000002\n"))) == [(0, pytest.approx(0), 1, pytest.approx(1))]


def test_more_columns_are_an_outline_and_its_extent_is_taken(tmp_path: Path) -> None:
    listing = read(tmp_path, one("1 0.1 0.2 0.9 0.2 0.9 0.7\n1 0 0 .1 0 .1 .1 0 .1\n" + LINE))
    assert ends(listing)[:2] == [(0.1, 0.2, 0.9, 0.7), (0, 0, 0.1, 0.1)] and sum(listing.notes.values()) == 2


def test_keypoints_are_no_outline_where_the_data_set_has_them(tmp_path: Path) -> None:
    config = "train: images\nkpt_shape: [2, 3]\n" + NAMES
    assert ends(read(tmp_path, one("0 0.5 0.5 0.5 0.5 0.1 0.1 2 0.9 0.9 2\n", config))) == [(0.25, 0.25, 0.75, 0.75)]


@pytest.mark.parametrize(
    ("names", "classes", "ids"),
    [
        ("names: [cat, dog]", ("cat", "dog"), ()),
        ("names:\n  0: cat\n  1: dog", ("cat", "dog"), ()),
        ("names: {'1': dog, 0: cat}", ("cat", "dog"), ()),
        ("names:\r\n- 'no'\r\n- 2024-02-31", ("no", "2024-02-31"), ()),
        ("names: [on, 1e3, ~]", ("on", "1e3", "~"), ()),
        ("names: {0: cat, 5: cafe\u0301}", ("cat", "caf\u00e9"), (0, 5)),
        ("nc: 2", ("0", "1"), ()),
    ],
)
def test_names_are_a_list_or_numbered_and_text_whatever_they_look_like(
    tmp_path: Path, names: str, classes: tuple[str, ...], ids: tuple[int, ...]
) -> None:
    listing = read(tmp_path, one(LINE, f"train: images\n{names}\n"))
    assert (listing.class_names, listing.class_ids) == (classes, ids)


def test_no_text_and_an_empty_one_both_show_nothing_and_are_counted_apart(tmp_path: Path) -> None:
    files = one(LINE) | {"images/2.jpg": "", "labels/2.txt": " \r\n", "images/3.jpg": "", "images/4.jpg": ""}
    listing = read(tmp_path, files | {"labels/9.txt": LINE})
    assert {path: len(found.boxes) for path, found in listing.boxes.items()} == {
        "images/1.jpg": 1, "images/2.jpg": 0, "images/3.jpg": 0, "images/4.jpg": 0,
    }  # fmt: skip
    assert listing.notes == {EMPTY_TEXT: 1, NO_TEXT: 2}


@pytest.mark.parametrize(
    ("picture", "label"),
    [
        ("images/train/1.jpg", "labels/train/1.txt"),
        ("train/images/1.jpg", "train/labels/1.txt"),
        ("images/images/1.jpg", "images/labels/1.txt"),
        ("train/1.jpg", "train/1.txt"),
        ("images/deep/er 1/b c.JPEG", "labels/deep/er 1/b c.txt"),
        ("Images/1.png", "labels/1.txt"),
        ("images/IMG_1.JPG", "labels/img_1.txt"),
        ("pics/1.png", "pics_labels/1.txt"),
        ("pics/1.png", "pics/annotations/1.txt"),
        ("obj_train_data/caf\u00e9.bmp", "obj_train_data/cafe\u0301.txt"),
    ],
)
@pytest.mark.parametrize("config", [True, False])
def test_labels_lie_beside_or_in_a_folder_like_that_of_the_pictures(
    tmp_path: Path, picture: str, label: str, config: bool
) -> None:
    files = {picture: "", label: LINE, "classes.txt": "cat\ndog\n"}
    where = {"data.yaml": f"train: {picture.rpartition('/')[0]}\n" + NAMES} if config else {}
    listing = read(tmp_path, files | where)
    assert sides(listing) == {picture: None} and len(only(listing).boxes) == 1
    assert listing.class_names == ("cat", "dog") and not listing.notes


def test_a_label_of_another_part_is_none_of_this_picture(tmp_path: Path) -> None:
    files = {"train/1.jpg": "", "train/2.jpg": "", "train/2.txt": LINE, "val/1.jpg": "", "val/1.txt": LINE}
    listing = read(tmp_path, files | {"classes.txt": "cat"})
    assert {path: len(found.boxes) for path, found in listing.boxes.items()} == {
        "train/1.jpg": 0, "train/2.jpg": 1, "val/1.jpg": 1,
    }  # fmt: skip
    assert sides(listing) == {"train/1.jpg": False, "train/2.jpg": False, "val/1.jpg": True}


PARTS = {f"{part}/{kind}/1.{end}": LINE * (end == "txt") for part in ("train", "valid", "test")
         for kind, end in (("images", "jpg"), ("labels", "txt"))}  # fmt: skip
SWAPPED = {"/".join((path.split("/")[1], path.split("/")[0], "1" + path[-4:])): text for path, text in PARTS.items()}


@pytest.mark.parametrize(
    ("files", "config"),
    [
        (PARTS, "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"),
        (PARTS, "path: /home/me/data/set\ntrain: train/images\nval: valid/images\ntest: gone/images\n"),
        (PARTS, "train: [train/images]\nvalid: valid\\images\n"),
        (SWAPPED, "path: ../datasets/mine\ntrain: images/train\nval: images/valid/\ntest: images/test\n"),
        (SWAPPED | {"t.txt": "./images/train/1.JPG\n", "v.txt": "/a/images/valid/1.jpg\r\n/a/images/valid/9.jpg"},
         "train: t.txt\nval: v.txt\n"),
        (PARTS, None),
        (SWAPPED, None),
    ],
)  # fmt: skip
def test_parts_are_read_from_the_configuration_or_the_folders(
    tmp_path: Path, files: dict[str, str], config: str | None
) -> None:
    listing = read(tmp_path, files | ({"data.yaml": config + NAMES} if config else {"obj.names": "cat\n"}))
    found = {
        next(part for part in ("train", "valid", "test") if part in path): val for path, val in sides(listing).items()
    }
    assert found == {"train": False, "valid": True}
    assert {image.key for image in listing.images} == {"1.jpg"}
    assert listing.notes == ({NOT_THERE: 1} if config and "v.txt" in config else {})


def test_folders_of_other_spellings_are_parts_and_what_is_in_none_is_trained_on(tmp_path: Path) -> None:
    files = {f"{kind}/{part}/1.{end}": LINE * (end == "txt") for part in ("train2017", "val2017")
             for kind, end in (("images", "jpg"), ("labels", "txt"))}  # fmt: skip
    assert set(sides(read(tmp_path / "years", files)).values()) == {False, True}
    files = {path.replace("/train2017", ""): text for path, text in files.items()}
    assert sides(read(tmp_path / "val", files)) == {"images/1.jpg": False, "images/val2017/1.jpg": True}


def test_pictures_that_are_trained_and_validated_on_are_split_here(tmp_path: Path) -> None:
    assert sides(read(tmp_path, one(LINE, "train: images\nval: images\n" + NAMES))) == {"images/1.jpg": None}


def test_without_names_classes_are_called_by_their_numbers(tmp_path: Path) -> None:
    listing = read(tmp_path, {"images/1.jpg": "", "labels/1.txt": LINE + "11 .5 .5 .1 .1\n2.0 .5 .5 .1 .1\n"})
    assert (listing.class_names, listing.class_ids) == (("0", "2", "11"), (0, 2, 11))
    assert [found.class_name for found in only(listing).boxes] == ["0", "11", "2"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2 0.5 0.5 0.1 0.1", r"the class is 2; expected 0 to 1 by data\.yaml"),
        ("-1 0.5 0.5 0.1 0.1", r"the class is -1"),
        ("cat 0.5 0.5 0.1 0.1", r"the class is 'cat'; expected a whole number"),
        ("0.5 0.5 0.5 0.1 0.1", r"the class is '0\.5'"),
        ("0 0.5 0.5 0.1", r"4 columns; expected class"),
        ("0", r"1 columns"),
        ("0 0.5 0.5 0.1 0.1 0.93", r"6 columns; is the last a score\?"),
        ("0 0.5 0.5 0.1 0.1 0.1 0.1 0.1", r"8 columns"),
        ("0 320 240 64 48", r"320 is no share of a picture, 0 to 1; are these pixels\?"),
        ("0 0.1 0.1 0.3 0.1 30 40", r"40 is no share of a picture, 0 to 1; are these pixels\? Or keypoints\? Then"),
        ("0 0.5 0.5 0.2 0.2 0.1 0.1 2 0.5 0.5 0", r"2 is no share of a picture, .* data\.yaml needs kpt_shape"),
        ("0 nan 0.5 0.1 0.1", r"a share is 'nan'"),
        ("0 0,5 0.5 0.1 0.1", r"a share is '0,5'"),
        ("0,0.5,0.5,0.1,0.1", r"the class is '0,0\.5,0\.5,0\.1,0\.1'"),
        ("0 1e999 0.5 0.1 0.1", r"a share is '1e999'"),
    ],
)
def test_a_broken_line_is_an_error_that_says_where(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(DataError, match=rf"labels/1\.txt, line 3: {says}"):
        read(tmp_path, one(f"{LINE}\n{line}\n"))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("train: gone\n" + NAMES, r"train is 'gone', where there are no pictures"),
        ("train: images\nval: gone\n" + NAMES, r"val is 'gone'"),
        ("train: labels/1.txt\n" + NAMES, r"train is 'labels/1\.txt', where there are no pictures"),
        ("train: {a: b}\n" + NAMES, r"train is .*expected a folder"),
        ("train: images\nnames: [cat, [dog]]\n", r"a class is \['dog'\]"),
        ("train: images\nnames: [cat, cat]\n", r"two classes have one name"),
        ("train: images\nnames: coco.names\n", r"names is 'coco\.names'"),
        ("train: images\nnc: many\n", r"nc, as there are no names, is 'many'"),
        ("train: images\nnames: [cat, dog\n", r"not whole YAML"),
        ("train: images\nnames: " + "[" * 9999, r"not whole YAML"),
        ("val: images\ntest: labels/../images\n" + NAMES, r"annotated twice"),
    ],
)
def test_a_broken_configuration_is_an_error_that_names_it(tmp_path: Path, config: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(tmp_path, one(LINE, config))


def test_a_label_that_two_pictures_may_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels/1\.txt: images/1\.jpg and images/1\.png may both be meant"):
        read(tmp_path, one(LINE) | {"images/1.png": ""})


def test_a_part_none_of_whose_pictures_has_labels_is_a_mistake_in_the_folders(tmp_path: Path) -> None:
    files = {
        "data.yaml": "train: images/train\nval: images/val\n" + NAMES,
        "images/train/1.jpg": "",
        "images/val/2.jpg": "",
    }
    with pytest.raises(DataError, match=r"none of the 1 pictures of val has a label file; expected labels/val/2\.txt"):
        read(lay(tmp_path, files), {"labels/train/1.txt": LINE, "labels/2.txt": LINE})


def test_a_file_of_the_usual_name_may_leave_the_parts_to_the_folders(tmp_path: Path) -> None:
    """It was passed over, and classes were called by their numbers."""
    assert read(tmp_path / "a", one(LINE, NAMES)).class_names == read(tmp_path / "b", one(LINE)).class_names


@pytest.mark.parametrize("name", ["' '", "'\u200b'"])
def test_a_name_that_shows_nothing_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="expected a name of 1 to 200 characters"):
        read(tmp_path, one(LINE, f"train: images\nnames: [cat, {name}]\n"))


def test_two_configurations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a/data\.yaml and data\.yaml may both describe"):
        read(tmp_path, one(LINE) | {"a/data.yaml": "train: x\n" + NAMES})
