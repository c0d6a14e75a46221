"""imagefolder.py: what a folder layout means."""

from pathlib import Path

import pytest
from conftest import CLASSES, write_image

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats import imagefolder


def layout(root: Path, *paths: str) -> Path:
    for number, path in enumerate(paths):
        write_image(root / path, number)
    return root


def listed(root: Path) -> set[tuple[str, bool | None]]:
    return {(image.path, image.in_val_folder) for image in imagefolder.read(root).images}


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test", "VAL", "Test"])
@pytest.mark.parametrize("wrapped", ["", "data/", "a/b/"])
def test_a_validation_folder_of_any_name_is_found(tmp_path: Path, name: str, wrapped: str) -> None:
    layout(tmp_path, f"{wrapped}train/a/1.png", f"{wrapped}train/b/1.png", f"{wrapped}{name}/a/2.png")
    assert listed(tmp_path) == {("train/a/1.png", False), ("train/b/1.png", False), (f"{name}/a/2.png", True)}


def test_beside_val_a_test_folder_is_named_as_unused(tmp_path: Path) -> None:
    layout(tmp_path, *(f"{split}/{name}/1.png" for split in ("train", "val", "test") for name in "ab"))
    listing = imagefolder.read(tmp_path)
    assert listing.unused_folders == ["test"] and listing.ignored == []
    assert {image.path.split("/")[0] for image in listing.images} == {"train", "val"}


def test_without_a_validation_folder_every_image_says_so(tmp_path: Path) -> None:
    assert listed(layout(tmp_path, "train/a/1.png", "train/b/1.png")) == {
        ("train/a/1.png", None),
        ("train/b/1.png", None),
    }


def test_classes_may_have_any_name_and_deeper_folders(tmp_path: Path) -> None:
    paths = ["a cat/1.png", "übel/x y.png", "train.v2/deep/er/1.PNG", "日本/1.JPG", "valid/1.png", "test/2.png"]
    listing = imagefolder.read(layout(tmp_path, *paths))
    assert {image.class_name for image in listing.images} == {path.split("/")[0] for path in paths}
    assert {image.path for image in listing.images} == {image.key for image in listing.images} == set(paths)


def test_a_validation_part_without_training_part_is_no_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no train/ beside it"):
        imagefolder.read(layout(tmp_path, "training/a/1.png", "training/b/1.png", "validation/a/1.png"))


def test_the_clutter_of_file_managers_is_neither_class_nor_image(tmp_path: Path) -> None:
    layout(tmp_path, "pets/a/1.png", "pets/b/1.png", "__MACOSX/pets/a/._1.png", "pets/.hidden/1.png")
    for name in (".DS_Store", "pets/.DS_Store", "pets/a/.DS_Store", "pets/a/Thumbs.db", "pets/b/desktop.ini",
                 "pets/b/._1.png", "pets/a/Icon\r", "pets/README.txt"):  # fmt: skip
        (tmp_path / name).write_bytes(b"x")
    listing = imagefolder.read(tmp_path)
    assert [image.path for image in listing.images] == ["a/1.png", "b/1.png"]
    assert "README.txt" in listing.ignored and "a/Thumbs.db" in listing.ignored


def test_a_broken_link_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    layout(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a" / "2.png").symlink_to(tmp_path / "gone.png")
    assert imagefolder.read(tmp_path).ignored == ["a/2.png"]


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        ([], "no class folders"),
        (["1.png", "2.png"], "no class folders"),
        (["cat/1.png"], "only the class 'cat'"),
        (["train/cat/1.png", "val/cat/1.png"], "only the class 'cat'"),
        (["train/a/1.png", "train/b/1.png", "val/c/1.png"], "c occurs in the validation folder only"),
    ],
)
def test_a_source_without_two_classes_to_train_on_is_refused(tmp_path: Path, paths: list[str], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        imagefolder.read(layout(tmp_path, *paths))


def test_the_listing_is_sorted_by_path(image_folder: Path) -> None:
    paths = [image.path for image in imagefolder.read(image_folder).images]
    assert paths == sorted(paths) and len(paths) == 30
    assert {path.split("/")[0] for path in paths} == set(CLASSES)
