"""kitti.py: a text a picture, with regions that nobody cares about."""

from pathlib import Path

import pytest
from laid_out import box, only, read, sides

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.boxed import NOT_ANNOTATED, NOT_THERE

CAR = "Car 0.00 0 1.85 387.63 181.54 1423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57"
CARELESS = "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10"


def one(text: str | bytes, **others: str) -> dict[str, str | bytes]:
    files: dict[str, str | bytes] = {"training/label_2/000001.txt": text, "training/image_2/000001.png": ""}
    return files | {path.replace("__", "/") + ".txt": content for path, content in others.items()}


def test_ends_are_pixels_from_zero_as_they_stand(tmp_path: Path) -> None:
    listing = read(tmp_path, one(f"{CAR}\n"))
    assert only(listing) == ((box(387.63, 181.54, 1423.81, 203.12, kind="Car"),), None, False)


def test_a_region_nobody_cares_about_is_no_class(tmp_path: Path) -> None:
    listing = read(tmp_path, one(f"{CARELESS}\n{CAR}\n" + CAR.replace("Car", "Van")))
    assert listing.class_names == ("Car", "Van")
    assert only(listing).boxes[0] == box(503.89, 169.71, 590.61, 190.13, kind="", ignore=True)


def test_a_score_may_follow_and_lines_end_as_they_like(tmp_path: Path) -> None:
    text = f"\ufeff{CAR} 0.93\r\n\r\n{CAR.replace('387.63', '3.8763e2')}   \r"
    assert len(only(read(tmp_path, one(text))).boxes) == 1


def test_an_empty_text_shows_nothing_and_what_lies_on_one_side_only_is_counted(tmp_path: Path) -> None:
    files = (
        one(CAR) | {f"training/label_2/{n}.txt": "" for n in (2, 3)} | {f"training/image_2/{n}.png": "" for n in (2, 4)}
    )
    listing = read(tmp_path, files | {"testing/image_2/9.png": "", "training/calib/000001.txt": "P0: 7.2 0 1"})
    assert sides(listing) == {"training/image_2/000001.png": None, "training/image_2/2.png": None}
    assert listing.notes == {NOT_THERE: 1, NOT_ANNOTATED: 2}


def test_the_left_camera_is_meant_where_both_are_there(tmp_path: Path) -> None:
    files = one(CAR) | {"training/image_3/000001.png": "", "training/prev_2/000001.png": ""}
    assert sides(read(tmp_path, files)) == {"training/image_2/000001.png": None}


def test_pictures_to_be_tested_that_share_a_number_are_others(tmp_path: Path) -> None:
    files = one(CAR, ImageSets__train="000001", ImageSets__val="2", ImageSets__test="000001\n2\n7")
    files |= {"training/label_2/2.txt": CAR, "training/image_2/2.png": "", "testing/image_2/000001.png": ""}
    assert sides(read(tmp_path, files)) == {"training/image_2/000001.png": False, "training/image_2/2.png": True}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (CAR.replace(" 1.57", ""), r"line 2: 14 columns, expected 15"),
        (CAR.replace("Car", "Person sitting x"), r"line 2: 17 columns"),
        (CAR.replace("Car", "Person sitting"), r"line 2: truncated is 'sitting'"),
        (CAR.replace("181.54", "nan"), r"line 2: top is 'nan'"),
        (CAR.replace("181.54", "inf"), r"line 2: top is 'inf'"),
        (CAR.replace("181.54", "1e300"), r"line 2: top is '1e300', which is no place"),
    ],
)
def test_a_broken_line_is_an_error_that_says_where(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(DataError, match=rf"label_2/000001\.txt, {says}"):
        read(tmp_path, one(f"{CAR}\n{line}\n"))


def test_a_text_in_another_encoding_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"000001\.txt: byte 2 is not UTF-8; save it as UTF-8"):
        read(tmp_path, one(CAR.replace("Car", "Mädchen").encode("latin-1")))
