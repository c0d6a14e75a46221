"""Which files are clips, of which class, and what they were taken from: by folders, by names, by clips.csv."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import write_image

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.catalog import read
from drift_detector_pipeline.raw.formats.clips import NOT_LISTED, NOT_THERE
from drift_detector_pipeline.raw.listing import Listing

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Files of these names, which nobody decodes here, and clips.csv of these lines."""

    def made(*paths: str, table: str = "") -> Path:
        for path in paths:
            (tmp_path / "set" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / path).touch()
        if table:
            (tmp_path / "set" / "clips.csv").write_text(table)
        return tmp_path / "set"

    return made


def sources(listing: Listing) -> set[str]:
    return set(listing.sources.values())


def test_videos_and_arrays_in_class_folders_are_found_without_being_named(make: Make) -> None:
    listing = read(make("walk/a.mp4", "walk/b.NPZ", "run/c.webm", "run/notes.txt"))
    assert listing.task == "clips" and [image.path for image in listing.images] == [
        "run/c.webm",
        "walk/a.mp4",
        "walk/b.NPZ",
    ]
    assert [image.class_name for image in listing.images] == ["run", "walk", "walk"]
    assert listing.ignored == ["run/notes.txt"] and not any(one.listed for one in listing.clips.values())


def test_a_folder_of_frames_is_a_clip_with_its_frames_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("run/a", "run/b", "walk/a"):
        for number in (10, 9, 1):
            write_image(tmp_path / "set" / name / f"frame{number}.png", seed=number)
    write_image(tmp_path / "set" / "run" / "cover.png", seed=0)
    assert read(tmp_path / "set").task is None  # without a word these are images
    listing = read(tmp_path / "set", None, "clips")
    assert [image.path for image in listing.images] == ["run/a", "run/b", "walk/a"]
    assert listing.clips["run/b"].pictures == ("frame1.png", "frame9.png", "frame10.png")
    assert listing.ignored == ["run/cover.png"]


@pytest.mark.parametrize(
    ("names", "known", "expected"),
    [
        (("street_c00", "street_c01", "yard_c00", "yard-clip1"), "named", {"street", "yard"}),
        (("v_Run_g01_c01", "v_Run_g01_c02", "v_Run_g02_c01"), "named", {"v_Run_g01", "v_Run_g02"}),
        (("cam1/a", "cam1/b", "cam2/a"), "named", {"cam1", "cam2"}),
        (("all/cam1/a", "all/cam1/b", "all/cam2/a"), "named", {"cam1", "cam2"}),
        (("street_1", "street_2", "yard_1"), "unknown", None),  # two streets, for all we know
        (("IMG-0001", "IMG-0002", "IMG-0003"), "unknown", None),  # one source would be no split at all
    ],
)
def test_names_tell_sources_where_they_say_something(
    make: Make, names: tuple[str, ...], known: str, expected: set[str] | None
) -> None:
    listing = read(make(*(f"{label}/{name}.mp4" for label in ("run", "walk") for name in names)))
    assert listing.sources_from == known
    assert sources(listing) == (expected or {image.path for image in listing.images})


def test_parts_of_a_data_set_are_kept_and_a_source_in_both_is_refused(make: Make) -> None:
    root = make("train/run/s1_c01.mp4", "train/run/s1_c02.mp4", "train/run/s2_c01.mp4", "train/walk/s3_c01.mp4")
    listing = read(make("val/run/s4_c01.mp4", "val/walk/s5_c01.mp4"))
    assert listing.sources_from == "named"
    assert [image.path for image in listing.images if image.in_val_folder] == [
        "val/run/s4_c01.mp4",
        "val/walk/s5_c01.mp4",
    ]
    with pytest.raises(DataError, match="clips of s1 and 0 more sources lie in the folders to train and to validate"):
        read(make("val/walk/s1_c03.mp4") and root)


def test_a_table_names_classes_and_sources_wherever_the_files_lie(make: Make) -> None:
    table = "\ufeffFile;Class;Group;fps\nv/a.mp4;run;x;25\nv\\b.mp4;walk;y;25\nv/gone.mp4;walk;y;25\n"
    listing = read(make("v/a.mp4", "v/b.mp4", "v/c.mp4", "readme.md", table=table))
    assert [(image.path, image.class_name) for image in listing.images] == [("v/a.mp4", "run"), ("v/b.mp4", "walk")]
    assert listing.sources == {"v/a.mp4": "x", "v/b.mp4": "y"} and listing.sources_from == "listed"
    assert listing.notes == {NOT_LISTED: 1, NOT_THERE: 1} and listing.ignored == ["readme.md", "v/c.mp4"]
    assert all(clip.listed for clip in listing.clips.values())


def test_rows_with_a_start_are_parts_of_their_file(make: Make) -> None:
    table = "path,label,source,start,seconds\na.mp4,run,a,0,\na.mp4,walk,a,12.5,3\n"
    listing = read(make("a.mp4", table=table))
    assert [image.path for image in listing.images] == ["a.mp4#00000.000", "a.mp4#00012.500"]
    assert [clip[1:3] for clip in listing.clips.values()] == [(0.0, None), (12.5, 15.5)]


def test_a_table_without_labels_tells_the_sources_of_class_folders(make: Make) -> None:
    root = make("run/a.mp4", "run/b.mp4", "walk/c.mp4", table="path,source\nrun/a.mp4,x\nrun/b.mp4,x\nwalk/c.mp4,y\n")
    listing = read(root)
    assert (sources(listing), listing.sources_from) == ({"x", "y"}, "listed")
    assert not listing.clips["run/a.mp4"].listed  # so that it is cut if it is long
    with pytest.raises(DataError, match=r"clips\.csv does not say what walk/d\.mp4 and 0 more were taken from"):
        read(make("walk/d.mp4"))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("name,label\na.mp4,run\n", r"clips\.csv: expected a first line with the columns path, label, source; got"),
        ("path,label,source\na.mp4,run,\n", r"clips\.csv, row 2: no source"),
        ("path,label\na.mp4,run\n\na.mp4,walk\n", r"clips\.csv, row 4: a\.mp4 is listed before, in .*row 2"),
        ("path,label,start\na.mp4,run,-1\n", "start is '-1', expected seconds"),
        ("path,label,start\na.mp4,run,nan\n", "start is 'nan', expected seconds"),
        ("path,label\nx.mp4,run\n", r"row 2: x\.mp4 is not there, nor is any other"),
        ("path,label\nrun/b.mp4,walk\na.mp4,run\n", r"row 2: run/b\.mp4 is walk, but its folder says run"),
        ("path,label\na.mp4,run\n", "only the class 'run' has clips"),
        ('path,label\n"a.mp4,run\n', "no table in UTF-8"),
    ],
)
def test_a_table_that_contradicts_itself_or_the_folders_is_refused_with_its_row(
    make: Make, table: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        read(make("a.mp4", "run/b.mp4", table=table))


def test_images_that_are_said_to_be_clips_are_refused_with_what_is_expected(image_folder: Path) -> None:
    with pytest.raises(DataError, match=r"no clips; expected videos in one folder per class"):
        read(image_folder, None, "clips")


def test_broken_bytes_of_a_table_are_read_or_refused_in_words(make: Make) -> None:
    root = make("run/a.mp4", "walk/b.mp4")
    whole = b"path,label,source,start\nrun/a.mp4,run,x,0\nwalk/b.mp4,walk,y,1.5\nwalk/b.mp4,walk,y,3\n"
    chance, outcomes = random.Random(0), Counter[str]()
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(chance.choice((1, 2, 20))):
            broken[chance.randrange(len(broken))] = chance.choice((chance.randrange(256), *b',;"\r\n0'))
        (root / "clips.csv").write_bytes(broken)
        try:
            outcomes["read"] += bool(read(root, None, "clips").images)
        except DataError:
            outcomes["refused"] += 1
    assert outcomes["read"] > 20 and outcomes["refused"] > 20


TABLE = "path,label,source\nwalk/a.mp4,walk,s1\nwalk/b.mp4,walk,s2\nrun/c.mp4,rün,s3\n"


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode("utf-8-sig"),
        TABLE.encode("utf-16"),
        TABLE.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),  # "Unicode text" of Excel
        f"sep=;\r\n{TABLE.replace(',', ';')}".encode(),
        f"\n{TABLE}".encode(),
        TABLE.replace("\n", "\r").encode(),
    ],
)
def test_a_table_is_read_however_a_spreadsheet_has_saved_it(make: Make, content: bytes) -> None:
    root = make("walk/a.mp4", "walk/b.mp4", "run/c.mp4", table="-")
    (root / "clips.csv").write_bytes(content)
    listing = read(root)
    assert sources(listing) == {"s1", "s2", "s3"} and listing.images[0].class_name == "rün"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (TABLE.encode("cp1252"), "is not UTF-8; save it as UTF-8"),
        (TABLE.replace("ü", "u").encode("utf-16-le"), "holds zero bytes"),
        (b"path,label,source\n", "no row below its first line; list the clips, or remove the table"),
        (b"sep=;\n\npath;label;start\nwalk/a.mp4;walk;x\n", "row 4: start is 'x'"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_with_what_to_do(make: Make, content: bytes, words: str) -> None:
    root = make("walk/a.mp4", "run/c.mp4", table="-")
    (root / "clips.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read(root)


def test_a_class_or_a_clip_without_frames_is_named(tmp_path: Path, make: Make) -> None:
    root = make("train/walk/a.mp4", "train/run/b.mp4", "train/rest/notes.txt", "train/jump/c.txt", "val/run/d.mp4")
    for name in ("train/walk/empty", "train/hollow", "val/walk", "train/jump/x", "train/run/.hidden"):
        (root / name).mkdir()
    assert sorted(read(root).empty_folders) == [
        "train/hollow",
        "train/jump",
        "train/rest",
        "train/walk/empty",
        "val/walk",
    ]
