"""imagefolder.py: what a folder layout means."""

import re
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


@pytest.mark.parametrize("name", [" ", "  ", "\u200b", "\u3164", "\u00a0\ufeff"])
def test_a_class_whose_name_shows_nothing_is_refused(tmp_path: Path, name: str) -> None:
    layout(tmp_path, f"{name}/1.png", "b/1.png")
    with pytest.raises(DataError, match=re.escape(f"the name of the class {name!a} shows nothing; rename its folder")):
        imagefolder.read(tmp_path)


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
        imagefolder.read(layout(tmp_path, "course/a/1.png", "course/b/1.png", "validation/a/1.png"))


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


@pytest.mark.parametrize("names", [
    ("fold_1", "fold_2"), ("Fold A", "Fold B"), ("cv1", "cv2"), ("set1", "set2"), ("entrenamiento", "prueba"),
    ("Lerndaten", "Prüfdaten"), ("訓練", "検証"), ("训练集", "测试集"), ("훈련", "검증"), ("تدريب", "اختبار"),
    ("обучение", "тест"), ("seen", "unseen"), ("fit", "predict"), ("treain", "tset"), ("split_1", "split_2"),
    ("Trainingsbilder", "Kontrollbilder"), ("xtrain", "xtest"), ("bilder_lern", "bilder_prüf"),
])  # fmt: skip
def test_parts_that_are_called_otherwise_are_asked_about(tmp_path: Path, names: tuple[str, str]) -> None:
    layout(tmp_path, *(f"{part}/{name}/1.png" for part in names for name in "ab"))
    with pytest.raises(DataError, match=r"Are they parts of a data set\? Then name them train and val"):
        imagefolder.read(tmp_path)


ORDINARY = re.findall(r"\S+", """
    brain chest rain forest grain nest toast party parts chunky sets folding_chair folder scaffolding fox тесто
    хлеб vest trail valley tent batching groups settee partridge cat dog oak elm mill barn boots sheet tray vase
    blanket scarf tulip trout valet trunk lichen shards contest strain banana_split split_pea protest latest constraint
    medieval test_tube beaker trainers emys testudo trein auto salerno amalfi greatest invalid retrieval
""")  # fmt: skip


@pytest.mark.parametrize("number", range(0, len(ORDINARY) - 1, 2))
def test_ordinary_classes_that_hold_folders_of_the_same_names_are_not_asked_about(tmp_path: Path, number: int) -> None:
    pair = ORDINARY[number : number + 2]
    root = layout(tmp_path, *(f"{name}/{place}/1.png" for name in pair for place in ("indoors", "outdoors")))
    assert {image.class_name for image in imagefolder.read(root).images} == set(pair)


def test_a_set_of_classes_whose_names_hold_the_words_of_parts_are_classes(tmp_path: Path) -> None:
    names = {"contest", "strain", "banana_split", "medieval", "invalid", "trainers"}
    root = layout(tmp_path, *(f"{name}/{place}/1.png" for name in names for place in ("indoors", "outdoors")))
    assert {image.class_name for image in imagefolder.read(root).images} == names


@pytest.mark.parametrize("names", ["tran tesst", "trian vlid", "Set-A Set-B", "fold1 fold2"])
def test_slips_of_parts_are_asked_about_and_what_to_do_with_classes_is_said(tmp_path: Path, names: str) -> None:
    layout(tmp_path, *(f"{part}/{name}/1.png" for part in names.split() for name in "xy"))
    with pytest.raises(DataError):
        imagefolder.read(tmp_path)


def test_classes_that_are_called_like_parts_are_told_what_to_do(tmp_path: Path) -> None:
    layout(tmp_path, *(f"part {letter}/{name}/1.png" for letter in "pq" for name in "xy"))
    with pytest.raises(DataError, match=r"Are they classes\? Then rename them: names like part p and part q"):
        imagefolder.read(tmp_path)


def test_languages_inside_classes_are_no_parts_and_two_different_parts_are_named(tmp_path: Path) -> None:
    layout(tmp_path, *(f"{name}/{tongue}/1.png" for name in ("print", "script") for tongue in ("en", "te", "tr")))
    assert {image.class_name for image in imagefolder.read(tmp_path).images} == {"print", "script"}
    layout(tmp_path, *(f"print/{part}/1.png" for part in ("test", "train", "train2")))
    with pytest.raises(DataError, match=r"print/train2?/ and print/test/ read like parts"):
        imagefolder.read(tmp_path)


def test_no_image_is_asked_whether_it_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout(tmp_path, "a/1.png", "b/1.png")
    is_dir, asked = Path.is_dir, []

    def counted(path: Path, **options: bool) -> bool:
        asked.append(path.name)
        return is_dir(path, **options)

    monkeypatch.setattr(Path, "is_dir", counted)
    imagefolder.read(tmp_path)
    assert "1.png" not in asked


def test_a_link_back_is_no_class(tmp_path: Path) -> None:
    layout(tmp_path, "set/a/1.png", "set/b/1.png")
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "above").symlink_to(tmp_path)
    listing = imagefolder.read(tmp_path / "set")
    assert {image.class_name for image in listing.images} == {"a", "b"} and listing.ignored == ["above", "again"]


@pytest.mark.parametrize(
    ("link", "target", "said"),
    [
        ("b", "a", "a and b lead"),
        ("z", "c/deep", "c/deep and z lead"),
        ("c/more", "a", "a and c/more lead"),
        ("b", "elsewhere", ""),
    ],
)
def test_a_folder_that_links_bring_under_two_classes_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, link: str, target: str, said: str
) -> None:
    root = layout(tmp_path / "root", "a/1.png", "c/deep/1.png")
    layout(tmp_path, "elsewhere/1.png")
    (root / link).symlink_to(tmp_path / target if said == "" else root / target)
    assert len({image.class_name for image in imagefolder.read(root).images}) == (2 if "/" in link else 3)
    assert (f"{root}: {said} to the same images, which count twice; remove a link" in caplog.text) == bool(said)


def test_a_validation_part_that_is_a_link_to_what_is_trained_on_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout(tmp_path, "train/a/1.png", "train/b/1.png")
    (tmp_path / "val").symlink_to("train")
    imagefolder.read(tmp_path)
    assert "train/a and val/a lead to the same images, which count twice (2 such pairs); remove" in caplog.text


def test_the_listing_is_sorted_by_path(image_folder: Path) -> None:
    paths = [image.path for image in imagefolder.read(image_folder).images]
    assert paths == sorted(paths) and len(paths) == 30
    assert {path.split("/")[0] for path in paths} == set(CLASSES)


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("Training", "Testing"),
        ("training_set", "test_set"),
        ("trainset", "valset"),
        ("TrainingSet", "ValidationSet"),
        ("TRAIN", "Dev"),
        ("train-images", "holdout"),
        ("images_train", "images_val"),
        ("train2017", "val2017"),
        ("train data", "eval data"),
        ("seg_train", "seg_test"),
        ("trainA", "testA"),
        ("trn", "tst"),
        ("tr", "te"),
        ("learn", "test"),
        ("\uff34\uff32\uff21\uff29\uff2e", "\uff34\uff25\uff33\uff34"),  # TRAIN and TEST as wide as ideographs
    ],
)
@pytest.mark.parametrize("wrapped", ["", "same", "images"])
def test_folders_named_as_parts_in_any_spelling_are_parts(tmp_path: Path, train: str, val: str, wrapped: str) -> None:
    inside = {part: {"": part, "same": f"{part}/{part}", "images": f"{part}/images"}[wrapped] for part in (train, val)}
    layout(tmp_path, *(f"{inside[part]}/{name}/{part}.png" for part in (train, val) for name in "ab"))
    listing = imagefolder.read(tmp_path)
    assert {(image.class_name, image.key, image.in_val_folder) for image in listing.images} == {
        (name, f"{name}/{part}.png", part == val) for part in (train, val) for name in "ab"
    }
    assert not listing.ignored and not listing.unused_folders


@pytest.mark.parametrize(
    "names", ["Training Testing", "train_set val_set", "x_train x_test", "val test", "Dev Training cat"]
)
def test_parts_without_class_folders_are_refused_not_classes(tmp_path: Path, names: str) -> None:
    with pytest.raises(DataError, match="read like parts of a data set, not like classes"):
        imagefolder.read(layout(tmp_path, *(f"{name}/1.png" for name in names.split())))


def test_a_part_without_its_counterpart_is_refused_with_what_to_do(tmp_path: Path) -> None:
    layout(tmp_path, "seg_train/seg_train/a/1.png", "seg_train/seg_train/b/1.png", "seg_pred/1.png")
    with pytest.raises(DataError, match=r"seg_train/ reads like a training part .* name it train"):
        imagefolder.read(tmp_path)


def test_a_plain_name_is_meant_before_any_other_spelling(tmp_path: Path) -> None:
    layout(tmp_path, *(f"{part}/{name}/1.png" for part in ("train", "train_masks", "val", "Testing") for name in "ab"))
    listing = imagefolder.read(tmp_path)
    assert {image.path.split("/")[0] for image in listing.images} == {"train", "val"}
    assert listing.unused_folders == ["Testing", "train_masks"]


def test_two_folders_to_train_on_are_refused(tmp_path: Path) -> None:
    layout(tmp_path, *(f"{part}/{name}/1.png" for part in ("train1", "train2", "test") for name in "ab"))
    with pytest.raises(DataError, match="train1 and train2 both read like the folder to train on"):
        imagefolder.read(tmp_path)


@pytest.mark.parametrize("names", ["subtrain subtest", "imagestrain imageseval", "firsttrain other"])
def test_folders_that_hold_the_same_classes_and_hint_at_parts_are_refused(tmp_path: Path, names: str) -> None:
    with pytest.raises(DataError, match=r"hold folders of the same names, such as a and b\. Are they parts"):
        imagefolder.read(layout(tmp_path, *(f"{part}/{name}/1.png" for part in names.split() for name in "ab")))


def test_classes_that_hold_folders_of_the_same_names_are_classes_aloud(tmp_path: Path, caplog) -> None:
    layout(tmp_path, *(f"{name}/{place}/1.png" for name in ("cat", "dog") for place in ("indoors", "outdoors")))
    assert {image.class_name for image in imagefolder.read(tmp_path).images} == {"cat", "dog"}
    assert "cat and dog hold folders of the same names, such as indoors and outdoors" in caplog.text
    caplog.clear()
    write_image(tmp_path / "cat" / "1.png", 0)
    imagefolder.read(tmp_path)
    assert not caplog.records


@pytest.mark.parametrize("inside", ["train test", "Training Testing", "a/train a/val", "seg_train seg_test"])
@pytest.mark.parametrize("beside", ["docs/1.png", "other/train/1.png"])
def test_parts_inside_what_would_be_a_class_are_refused(tmp_path: Path, inside: str, beside: str) -> None:
    layout(tmp_path, beside, *(f"cat/{part}/{name}/1.png" for part in inside.split() for name in "xy"))
    with pytest.raises(DataError, match=r"cat/\S+/ and cat/\S+/ read like parts .*, inside .*class cat\. If"):
        imagefolder.read(tmp_path)


@pytest.mark.parametrize("path", ["test/1.png", "test/images/1.png", "test/test/1.png", "test_set/test_set/1.png"])
def test_a_part_without_class_folders_is_unused_aloud_and_training_is_validated_on_its_own(
    tmp_path: Path, path: str
) -> None:
    """Images to predict, whose classes nobody has said, as competitions have them."""
    listing = imagefolder.read(layout(tmp_path, "train/a/1.png", "train/b/1.png", path))
    assert {image.in_val_folder for image in listing.images} == {None}
    assert listing.unused_folders == [path.split("/")[0]]


def test_an_empty_training_part_is_named(tmp_path: Path) -> None:
    layout(tmp_path, "val/a/1.png", "val/b/1.png")
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match="the classes of train are none, as it holds no files"):
        imagefolder.read(tmp_path)


def test_a_class_may_have_a_word_of_parts_in_its_name(tmp_path: Path) -> None:
    layout(tmp_path, "bullet train/1.png", "test tube/1.png", "invalid/1.png", "Trained dog/x/1.png", "dev/1.png")
    names = {image.class_name for image in imagefolder.read(tmp_path).images}
    assert names == {"bullet train", "test tube", "invalid", "Trained dog", "dev"}


def test_names_that_look_the_same_are_the_same_class(tmp_path: Path) -> None:
    """An accent is one character or two, as the program had it that made the folder."""
    layout(tmp_path, "train/caf\u00e9/1.png", "train/b/1.png", "val/cafe\u0301/2.png")
    images = imagefolder.read(tmp_path).images
    assert {image.class_name for image in images} == {"b", "caf\u00e9"}
    assert {image.key for image in images} == {"b/1.png", "caf\u00e9/1.png", "caf\u00e9/2.png"}
    assert all((tmp_path / image.path).is_file() for image in images)


def test_class_folders_without_files_are_named(tmp_path: Path) -> None:
    layout(tmp_path, "a/1.png", "b/1.png", "c/.hidden.png")
    (tmp_path / "d" / "deep").mkdir(parents=True)
    assert imagefolder.read(tmp_path).empty_folders == ("c", "d")


def test_linked_folders_at_any_depth_are_read_and_loops_are_named(tmp_path: Path) -> None:
    layout(tmp_path / "pool", "cat/1.png", "more/2.png")
    layout(tmp_path / "raw", "dog/1.png")
    for link, target in (("cat", "../pool/cat"), ("dog/more", "../../pool/more"), ("dog/up", "../.."), ("dog/me", ".")):
        (tmp_path / "raw" / link).symlink_to(target)
    listing = imagefolder.read(tmp_path / "raw")
    assert [image.path for image in listing.images] == ["cat/1.png", "dog/1.png", "dog/more/2.png"]
    assert listing.ignored == ["dog/me", "dog/up"]


@pytest.mark.parametrize(
    ("path", "said"), [("train/cat.1.png", r"1 files outside .*train/cat\.1\.png"), ("inner.tar.gz", "unpack it")]
)
def test_what_is_there_in_place_of_classes_is_named_and_the_archive_it_came_from(
    tmp_path: Path, path: str, said: str
) -> None:
    layout(tmp_path / "extracted", "train/cat.1.png")
    if path == "inner.tar.gz":
        (tmp_path / "extracted" / path).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"^pets\.zip: no class folders with files, but .*{said}"):
        imagefolder.read(tmp_path / "extracted", shown=Path("pets.zip"))
