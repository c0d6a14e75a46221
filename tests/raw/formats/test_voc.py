"""voc.py: an XML file a picture."""

from pathlib import Path

import pytest
from laid_out import box, ends, lay, only, read, sides, xml

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.boxed import IN_NO_PART, NOT_ANNOTATED, NOT_THERE, TWICE
from drift_detector_pipeline.raw.formats.voc import FROM_ZERO

CAT = xml(("cat", 5, 6, 30, 40))


def one(annotation: str | bytes, picture: str = "JPEGImages/1.jpg") -> dict[str, str | bytes]:
    return {"Annotations/1.xml": annotation, picture: ""}


def test_pixels_count_from_one_and_the_last_one_is_inside(tmp_path: Path) -> None:
    listing = read(tmp_path, one(xml(("cat", 1, 1, 64, 48), ("dog", 5, 6.5, 30, 40))))
    assert only(listing).boxes == (box(0, 0, 64, 48), box(4, 5.5, 30, 40, kind="dog"))
    assert (only(listing).size, listing.class_names, listing.task) == ((64, 48), ("cat", "dog"), "boxes")
    assert not listing.notes


def test_a_zero_in_any_picture_says_that_all_count_from_zero(tmp_path: Path) -> None:
    files = {f"Annotations/{n}.xml": xml(("cat", 5, start, 30, 40)) for n, start in enumerate((6, 0.0))}
    listing = read(tmp_path, files | {f"JPEGImages/{n}.jpg": "" for n in range(2)})
    assert ends(listing) == [(5, 6, 30, 40), (5, 0, 30, 40)]
    assert listing.notes == {FROM_ZERO: 1}


def test_a_box_that_starts_outside_of_its_picture_says_nothing_about_counting(tmp_path: Path) -> None:
    assert ends(read(tmp_path, one(xml(("cat", -3, 6, 30, 40))))) == [(-4, 5, 30, 40)]


@pytest.mark.parametrize("given", [(9, 6, 9, 40), (9, 6, 5, 40), (5, 40, 30, 6)])
def test_ends_that_are_one_or_swapped_have_no_area(tmp_path: Path, given: tuple[int, ...]) -> None:
    listing = read(tmp_path, one(xml(("cat", 5, 6, 30, 40), ("cat", *given))))
    x0, y0, x1, y1 = ends(listing)[1]
    assert (x1 - x0) * (y1 - y0) == 0


def test_the_picture_is_found_by_the_stem_then_by_the_name_in_the_file(tmp_path: Path) -> None:
    files = one(xml(("cat", 5, 6, 30, 40), name="another.png"), "JPEGImages/1.bmp")
    assert sides(read(tmp_path / "stem", files)) == {"JPEGImages/1.bmp": None}
    files = {"JPEGImages/A.JPG": "", "Annotations/a.xml": CAT}
    assert sides(read(tmp_path / "case", files)) == {"JPEGImages/A.JPG": None}
    files = one(xml(("cat", 5, 6, 30, 40), name=r"C:\photos\übel 2.JPG"), "JPEGImages/übel 2.jpeg")
    assert sides(read(tmp_path / "name", files)) == {"JPEGImages/übel 2.jpeg": None}


def test_of_two_pictures_of_one_stem_the_one_with_the_name_is_meant(tmp_path: Path) -> None:
    files = {"JPEGImages/1.jpg": "", "JPEGImages/1.png": ""}
    named = read(tmp_path / "a", {"Annotations/1.xml": xml(("cat", 5, 6, 30, 40), name="1.png")} | files)
    assert sides(named) == {"JPEGImages/1.png": None} and named.notes == {NOT_ANNOTATED: 1}
    with pytest.raises(DataError, match=r"Annotations/1\.xml: JPEGImages/1\.jpg and JPEGImages/1\.png may both"):
        read(tmp_path / "b", {"Annotations/1.xml": CAT} | files)


def test_folders_in_folders_belong_together(tmp_path: Path) -> None:
    files = {f"Annotations/{place}/1.xml": xml((place, 5, 6, 30, 40)) for place in ("north", "south")}
    listing = read(tmp_path, files | {f"JPEGImages/{place}/1.jpg": "" for place in ("north", "south")})
    assert {path: found.boxes[0].class_name for path, found in listing.boxes.items()} == {
        "JPEGImages/north/1.jpg": "north", "JPEGImages/south/1.jpg": "south",
    }  # fmt: skip
    assert [image.key for image in listing.images] == ["north/1.jpg", "south/1.jpg"]


def test_accents_of_a_mac_are_the_same_name(tmp_path: Path) -> None:
    files = {"Annotations/cafe\u0301.xml": xml(("cafe\u0301", 5, 6, 30, 40)), "JPEGImages/caf\u00e9.jpg": ""}
    listing = read(tmp_path, files | {"ImageSets/Main/train.txt": "cafe\u0301\r\n"})
    assert listing.class_names == ("caf\u00e9",) and listing.images[0].key == "caf\u00e9.jpg"


def pictures_in_parts(root: Path, **lists: str) -> Path:
    names = ("a", "b c", "d", "e")
    files = {f"Annotations/{name}.xml": CAT for name in names} | {f"JPEGImages/{name}.jpg": "" for name in names}
    return lay(root, files | {f"ImageSets/Main/{part}.txt": text for part, text in lists.items()})


@pytest.mark.parametrize(
    ("lists", "train", "val", "unused"),
    [
        ({"train": "a", "val": "b c\r\nd"}, "a", "b c,d", []),
        ({"train": "a  1\nb c", "val": "d.jpg", "trainval": "a\nb c\nd", "test": "e"}, "a,b c", "d", ["test"]),
        ({"trainval": "a\nb c\nd", "test": "e\n"}, "a,b c,d", "e", []),
        ({"trainval": "a\nb c\nd", "val": "d"}, "a,b c", "d", []),
        ({"train": "\ufeffa\n\nb c\n", "test": "d"}, "a,b c", "d", []),
        ({"train": "a\nb c", "val": "d", "cat_train": "a -1", "notes": "x"}, "a,b c", "d", []),
    ],
)
def test_lists_say_what_is_trained_and_validated_on(
    tmp_path: Path, lists: dict[str, str], train: str, val: str, unused: list[str]
) -> None:
    listing = read(pictures_in_parts(tmp_path, **lists))
    found = {Path(path).stem: side for path, side in sides(listing).items()}
    assert found == dict.fromkeys(train.split(","), False) | dict.fromkeys(val.split(","), True)
    assert listing.unused_folders == unused
    assert listing.notes.get(IN_NO_PART, 0) == 4 - len(found) - len(unused)


def test_one_list_alone_is_the_data_set_and_split_here(tmp_path: Path) -> None:
    assert sides(read(pictures_in_parts(tmp_path, trainval="a\nd"))) == {
        "JPEGImages/a.jpg": None,
        "JPEGImages/d.jpg": None,
    }


def test_a_list_of_other_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ImageSets/Main/val\.txt: none of its 2 names"):
        read(pictures_in_parts(tmp_path, train="a", val="x\ny"))


def test_folders_named_as_parts_are_parts(tmp_path: Path) -> None:
    files = {f"{part}/1.{ending}": CAT * (ending == "xml") for part in ("train", "valid") for ending in ("xml", "jpg")}
    assert sides(read(tmp_path, files)) == {"train/1.jpg": False, "valid/1.jpg": True}


def test_what_lies_on_one_side_only_is_left_out_and_counted(tmp_path: Path) -> None:
    files = one(CAT) | {"Annotations/2.xml": CAT, "JPEGImages/3.jpg": "", "JPEGImages/4.jpg": ""}
    listing = read(tmp_path, files)
    assert sides(listing) == {"JPEGImages/1.jpg": None}
    assert listing.notes == {NOT_THERE: 1, NOT_ANNOTATED: 2}
    assert listing.ignored == ["JPEGImages/3.jpg", "JPEGImages/4.jpg"]


def test_a_picture_without_objects_shows_nothing(tmp_path: Path) -> None:
    listing = read(tmp_path, one(CAT) | {"Annotations/2.xml": xml(), "JPEGImages/2.jpg": ""})
    assert listing.boxes["JPEGImages/2.jpg"].boxes == () and not listing.notes


def test_a_difficult_object_counts_neither_way(tmp_path: Path) -> None:
    listing = read(tmp_path, one(xml(("cat", 5, 6, 30, 40), ("dog", 5, 6, 30, 40, 1))))
    assert [found.ignore for found in only(listing).boxes] == [False, True]


def test_a_box_given_twice_is_one(tmp_path: Path) -> None:
    listing = read(tmp_path, one(xml(*[("cat", 5, 6, 30, 40)] * 3, ("dog", 5, 6, 30, 40))))
    assert len(only(listing).boxes) == 2 and listing.notes == {TWICE: 2}


@pytest.mark.parametrize("size", [(0, 0), ("", 48), (" ", " ")])
def test_a_size_that_says_nothing_is_none(tmp_path: Path, size: tuple[object, ...]) -> None:
    assert only(read(tmp_path, one(xml(("cat", 5, 6, 30, 40), size=size)))).size is None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_the_file_says_how_it_is_written(tmp_path: Path, encoding: str) -> None:
    said = {"latin-1": "iso-8859-1"}.get(encoding, encoding.removesuffix("-sig"))
    text = f'<?xml version="1.0" encoding="{said}"?>\r\n' + xml(("Käfer", 5, 6, 30, 40)).replace("><", ">\r\n<")
    assert read(tmp_path, one(text.encode(encoding)), "voc").class_names == ("Käfer",)


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><annotation>&b;</annotation>'
READS_FILES = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation><filename>&a;</filename></annotation>'


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (BOMB, r"declares entities"),
        (READS_FILES, r"declares entities"),
        (CAT[:-20], r"not whole XML"),
        (CAT.replace("<annotation>", "<annotation encoding=", 1), r"not whole XML"),
        ('<?xml version="1.0" encoding="klingon"?>' + CAT, r"not whole XML"),
        (xml(("cat", 5, 6, "nan", 40)), r"object 1: xmax is 'nan'; expected a number"),
        (xml(("cat", 5, 6, 30, 40), ("cat", 5, "inf", 30, 40)), r"object 2: ymin is 'inf'"),
        (xml(("cat", 5, 6, "1_0", 40)), r"xmax is '1_0'"),
        (xml(("cat", 5, 6, "12,5", 40)), r"xmax is '12,5'"),
        (xml(("cat", 5, 6, "9" * 400, 40)), r"xmax is .* no place in a picture"),
        (xml(("", 5, 6, 30, 40)), r"object 1: its name is ''"),
        (CAT.replace("bndbox", "polygon"), r"object 1: cat has no bndbox"),
        (CAT.replace("<ymax>40</ymax>", ""), r"ymax is missing"),
        (xml(("cat", 5, 6, 30, 40), size=("wide", 48)), r"a side of the picture is 'wide'"),
    ],
)  # fmt: skip
def test_a_broken_annotation_is_an_error_that_says_where(tmp_path: Path, annotation: str, says: str) -> None:
    with pytest.raises(DataError, match=rf"Annotations/1\.xml.*{says}"):
        read(tmp_path, one(annotation) | {"Annotations/2.xml": CAT, "JPEGImages/2.jpg": ""})


def test_all_broken_annotations_are_counted_in_one_error(tmp_path: Path) -> None:
    files = {f"Annotations/{n}.xml": CAT[:-3] for n in range(9)}
    with pytest.raises(DataError, match=r"(?s)0\.xml: not whole XML.* and 8 more: .*1\.xml.*3\.xml[^/]*\.\.\.$"):
        read(tmp_path, files | {f"JPEGImages/{n}.jpg": "" for n in range(9)})


def test_two_annotations_of_one_picture_are_refused(tmp_path: Path) -> None:
    files = one(CAT) | {"Annotations/2.xml": xml(("cat", 5, 6, 30, 40), name="1.jpg")}
    with pytest.raises(DataError, match=r"JPEGImages/1\.jpg: 1 pictures are annotated twice"):
        read(tmp_path, files)
