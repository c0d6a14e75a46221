"""dataset.py: raw sources of every kind to processed folders: done once, never half, equal for equal bytes."""

import hashlib
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import (
    CLASSES,
    ROOT,
    called,
    ci_environment,
    make_folder,
    module_command,
    pack_tar,
    run_module,
    write_image,
)
from PIL import Image

from drift_detector_pipeline import config
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.decoder import decode
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.processed.manifest import open_processed, write_manifest
from drift_detector_pipeline.processed.splits import SPLITS
from drift_detector_pipeline.settings import Data

DataOf = Callable[..., Data]


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Inode and content of every file: equal means untouched."""
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def reasons(caplog: pytest.LogCaptureFixture, data: Data) -> str:
    """Process and return what was said."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        process(data)
    return caplog.text


# -- what comes out


def test_folder_tgz_and_zip_give_the_same_bytes(
    image_folder: Path, image_tgz: Path, image_zip: Path, tmp_path: Path, data_of: DataOf
) -> None:
    sources = {"folder": image_folder, "tgz": image_tgz, "zip": image_zip}
    folders = [process(data_of(raw, processed_path=tmp_path / name)) for name, raw in sources.items()]
    assert len({manifest_of(folder)["fingerprint"] for folder in folders}) == 1
    assert len({(folder / "index.csv").read_bytes() for folder in folders}) == 1
    assert len({(folder / "images.bin").read_bytes() for folder in folders}) == 1


def test_the_manifest_tells_counts_classes_and_source(image_tgz: Path, data_of: DataOf) -> None:
    manifest = manifest_of(process(data_of(image_tgz)))
    per_class = {"train": 7, "fit": 1, "val": 2}  # of 10 images: a fifth is val, a tenth of the other eight is fit
    assert manifest["counts"] == {split: dict.fromkeys(sorted(CLASSES), per_class[split]) for split in SPLITS}
    assert manifest["classes"] == sorted(CLASSES) and manifest["images"] == 30
    assert manifest["source"]["sha256"] == hashlib.sha256(image_tgz.read_bytes()).hexdigest()
    assert manifest["bad_images"] == manifest["ignored_files"] == manifest["unused_folders"] == []


def test_a_manifest_is_read_and_written_back_to_the_same_bytes(spoiled: Path, tmp_path: Path, data_of: DataOf) -> None:
    data = data_of(spoiled, max_bad_images=4)
    written = process(data) / "manifest.json"
    keys = (
        "format name fingerprint classes counts images settings source bad_images ignored_files unused_folders pillow"
    )
    assert list(manifest_of(data.processed_path)) == keys.split()
    write_manifest(tmp_path, open_processed(data).manifest)
    assert (tmp_path / "manifest.json").read_bytes() == written.read_bytes()


def test_a_manifest_that_lacks_a_key_is_damaged(image_tgz: Path, data_of: DataOf) -> None:
    data = data_of(image_tgz)
    values = manifest_of(process(data))
    del values["source"]["stat"]
    (data.processed_path / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"manifest\.json: no whole manifest .*stat.* run: make process_data"):
        open_processed(data)


def test_the_opened_folder_agrees_with_its_manifest(image_tgz: Path, data_of: DataOf) -> None:
    data = data_of(image_tgz)
    process(data)
    opened = open_processed(data)
    assert len(opened.images) == opened.manifest.images
    for split in SPLITS:
        counts = np.bincount(opened.images.labels[opened.images.indices(split)], minlength=len(opened.classes))
        assert counts.tolist() == list(opened.manifest.counts[split].values())
    for path, label in zip(opened.images.paths, opened.images.labels, strict=True):
        assert path.split("/")[0] == opened.classes[label]
    everything = np.concatenate([opened.images.indices(split) for split in SPLITS])
    assert sorted(everything) == list(range(30))


def test_a_packed_row_and_its_original_file_are_bit_equal_model_input(image_folder: Path, data_of: DataOf) -> None:
    data = data_of(image_folder)
    process(data)
    images = open_processed(data).images
    for index, path in enumerate(images.paths):
        from_file = decode((image_folder / path).read_bytes(), data.stored_side_px)
        assert np.array_equal(images[index], from_file)
        for side_px in (8, data.img_size, 20):
            assert np.array_equal(inference_crop(images[index], side_px), inference_crop(from_file, side_px))


def test_packed_images_are_read_only(image_folder: Path, data_of: DataOf) -> None:
    data = data_of(image_folder)
    process(data)
    with pytest.raises(ValueError, match="read-only"):
        open_processed(data).images[0][0, 0] = 0


def test_a_class_with_one_image_trains_on_it(tmp_path: Path, data_of: DataOf) -> None:
    make_folder(tmp_path / "source", 5, ("many",))
    write_image(tmp_path / "source" / "one" / "1.png", 0)
    counts = manifest_of(process(data_of(tmp_path / "source")))["counts"]
    assert [counts[split]["one"] for split in SPLITS] == [1, 0, 0]


def test_no_fit_fraction_means_no_fit_images(image_folder: Path, data_of: DataOf) -> None:
    data = data_of(image_folder, fit_fraction=0)
    assert sum(manifest_of(process(data))["counts"]["fit"].values()) == 0
    assert len(open_processed(data).images.indices("fit")) == 0


def test_a_test_folder_beside_val_is_left_out_aloud(
    tmp_path: Path, data_of: DataOf, caplog: pytest.LogCaptureFixture
) -> None:
    for split in ("train", "val", "test"):
        make_folder(tmp_path / "source" / split, 3, ("a", "b"))
    data = data_of(tmp_path / "source")
    assert "not used: the folders test" in reasons(caplog, data)
    assert manifest_of(data.processed_path)["unused_folders"] == ["test"]
    assert manifest_of(data.processed_path)["images"] == 12


# -- what is said


def test_the_classes_are_said_and_a_long_list_is_short(
    image_folder: Path, tmp_path: Path, data_of: DataOf, caplog
) -> None:
    assert f"classes: {', '.join(sorted(CLASSES))}" in reasons(caplog, data_of(image_folder))
    many = make_folder(tmp_path / "many", 1, tuple(f"c{number:03d}" for number in range(300)))
    said = reasons(caplog, data_of(many, processed_path=tmp_path / "of_many"))
    assert "c000, c001" in said and "... c299 (300 in all)" in said and "c100" not in said
    assert "no image to validate on" in said


def test_names_of_classes_make_no_line_of_their_own(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "odd", 3, ("a\nerror: all is lost", "b\x1b[2J"))
    words = ["data=folder", f"data.raw_path={source}", f"data.processed_path={tmp_path / 'p'}"]
    said = called("dataset", *words, "data.stored_side_px=8").stdout
    assert r"classes: a\nerror: all is lost, b\x1b[2J" in said.splitlines()


def test_a_class_without_a_whole_image_is_named(image_folder: Path, tmp_path: Path, data_of: DataOf, caplog) -> None:
    source = Path(shutil.copytree(image_folder, tmp_path / "mine"))
    (source / "bird").mkdir()
    (source / "README.md").touch()
    (source / ".DS_Store").touch()
    (source / "cat" / "gone.png").symlink_to("nowhere.png")
    (source / "phone").mkdir()
    (source / "phone" / "1.heic").write_bytes(b"\0\0\0\x18ftypheic0000")
    said = reasons(caplog, data_of(source, max_bad_images=1))
    assert "no files in the class folders bird" in said
    assert "classes without a whole image to train on: phone" in said
    assert "links that lead nowhere or back: README.md, cat/gone.png" in said


def test_classes_that_are_spelt_alike_or_have_nothing_to_validate_on_are_named(
    tmp_path: Path, data_of: DataOf, caplog
) -> None:
    make_folder(tmp_path / "source" / "train", 3, ("Hot Dog", "hot_dog", "C", "C++", "jam", "j\u200bam", "tea"))
    make_folder(tmp_path / "source" / "val", 1, ("Hot Dog", "hot_dog", "C", "C++", "jam", "j\u200bam"))
    said = reasons(caplog, data_of(tmp_path / "source"))
    assert "classes whose names differ only in case, blanks, - or _: Hot Dog, hot_dog, jam, j\u200bam; are they" in said
    assert "no image to validate on of tea: a class needs two whole images, or one in the part named val" in said


def test_two_files_of_one_size_and_time_that_change_places_are_noticed(tmp_path: Path, data_of: DataOf, caplog) -> None:
    """As a tar unpacks them: all with the time that the archive says."""
    source = make_folder(tmp_path / "source", 3, ("a", "b"))
    paths = [source / name / "1.bmp" for name in "ab"]
    for number, path in enumerate(paths):
        Image.new("RGB", (8, 8), (90 * number, 0, 0)).save(path)
        os.utime(path, (1, 1))
    data = data_of(source)
    process(data)
    paths[0].rename(tmp_path / "aside")
    paths[1].rename(paths[0])
    (tmp_path / "aside").rename(paths[1])
    assert "has changed" in reasons(caplog, data)


def test_an_archive_without_classes_is_named_itself(tmp_path: Path, data_of: DataOf) -> None:
    (tmp_path / "flat" / "images").mkdir(parents=True)
    write_image(tmp_path / "flat" / "images" / "cat.1.png", 0)
    raw = pack_tar(tmp_path / "flat", tmp_path / "flat.tgz")
    with pytest.raises(DataError, match=rf"^{raw}: .*flat/images/cat\.1\.png|^{raw}: only the class") as error:
        process(data_of(raw))
    assert ".partial" not in str(error.value)


@pytest.mark.parametrize("depth", ["class", "deeper"])
def test_what_changes_behind_a_linked_folder_is_noticed(
    image_folder: Path, tmp_path: Path, data_of: DataOf, caplog, depth: str
) -> None:
    source, pool = tmp_path / "mine", Path(shutil.copytree(image_folder, tmp_path / "pool"))
    source.mkdir()
    for name in CLASSES:
        link = source / name if depth == "class" else source / name / "deeper"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(pool / name)
    data = data_of(source)
    process(data)
    assert manifest_of(data.processed_path)["images"] == 30
    assert "up to date" in reasons(caplog, data)
    write_image(pool / "cat" / "new.png", seed=99)
    assert "has changed" in reasons(caplog, data)
    write_image(pool / "cat" / "0.png", seed=98)
    assert "has changed" in reasons(caplog, data)
    assert manifest_of(data.processed_path)["images"] == 31


# -- bad images


@pytest.fixture
def spoiled(image_folder: Path, tmp_path: Path) -> Path:
    """A source with a truncated JPEG, a text, an empty file and, by its name, a file that is no UTF-8."""
    source = Path(shutil.copytree(image_folder, tmp_path / "spoiled"))
    whole = (source / "cat" / "1.jpg").read_bytes()
    (source / "cat" / "1.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "dog" / "text.jpg").write_text("I am not an image")
    (source / "dog" / "empty.png").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(source / "cat") + b"/caf\xe9.jpg")).write_text("neither")
    return source


def test_bad_images_are_an_error_that_names_them_and_the_remedy(spoiled: Path, data_of: DataOf) -> None:
    data = data_of(spoiled, max_bad_images=3)
    with pytest.raises(DataError, match=r"4 files are no complete images .*cat/1\.jpg.*data\.max_bad_images=4"):
        process(data)
    assert not data.processed_path.exists()


def test_allowed_bad_images_are_named_in_the_manifest_and_left_out(spoiled: Path, data_of: DataOf) -> None:
    data = data_of(spoiled, max_bad_images=4)
    manifest = manifest_of(process(data))
    assert [image["path"] for image in manifest["bad_images"]] == [
        "cat/1.jpg",
        "cat/caf\udce9.jpg",
        "dog/empty.png",
        "dog/text.jpg",
    ]
    assert "truncated" in manifest["bad_images"][0]["reason"].lower()
    assert manifest["images"] == 29 == len(open_processed(data).images)
    assert "cat/1.jpg" not in open_processed(data).images.paths


def test_the_manifest_of_bad_images_is_the_same_each_time(spoiled: Path, tmp_path: Path, data_of: DataOf) -> None:
    first, second = (
        manifest_of(process(data_of(spoiled, max_bad_images=4, processed_path=tmp_path / name))) for name in "ab"
    )
    assert first == second


def test_allowing_fewer_bad_images_than_there_are_is_noticed_later(spoiled: Path, data_of: DataOf) -> None:
    process(data_of(spoiled, max_bad_images=4))
    before = snapshot(data_of(spoiled).processed_path)
    with pytest.raises(DataError, match="4 files are no complete images"):
        process(data_of(spoiled))
    assert snapshot(data_of(spoiled).processed_path) == before


def test_a_source_without_any_image_is_refused_however_many_may_be_bad(tmp_path: Path, data_of: DataOf) -> None:
    for name in ("a", "b"):
        (tmp_path / "source" / name).mkdir(parents=True)
        (tmp_path / "source" / name / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="none of its 2 files is a complete image"):
        process(data_of(tmp_path / "source", max_bad_images=9))


@pytest.mark.parametrize("name", ["a.tgz", "folder"])
def test_a_damaged_source_leaves_nothing_behind(tmp_path: Path, name: str, data_of: DataOf) -> None:
    raw = tmp_path / "raw" / name
    raw.parent.mkdir()
    raw.mkdir() if name == "folder" else raw.write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(DataError, match=name):
        process(data_of(raw))
    assert {path.name for path in tmp_path.iterdir()} == {"raw"}


# -- done once


@pytest.mark.parametrize("kind", ["folder", "tgz"])
def test_the_second_time_nothing_is_done(
    kind: str, image_folder: Path, image_tgz: Path, data_of: DataOf, caplog
) -> None:
    data = data_of(image_folder if kind == "folder" else image_tgz)
    assert "because nothing is there yet" in reasons(caplog, data)
    before, modified = snapshot(data.processed_path), (data.processed_path / "manifest.json").stat().st_mtime_ns
    assert "up to date" in reasons(caplog, data)
    assert snapshot(data.processed_path) == before
    assert (data.processed_path / "manifest.json").stat().st_mtime_ns == modified


def test_finished_work_costs_under_two_seconds_as_a_command(image_tgz: Path, tmp_path: Path) -> None:
    """Of processor time: the clock counts what else the machine does."""
    overrides = ["data=folder", f"data.raw_path={image_tgz}", f"data.processed_path={tmp_path / 'processed'}"]
    assert run_module("dataset", *overrides).returncode == 0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run_module("dataset", *overrides)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
    assert done.stdout == f"{tmp_path / 'processed'}: up to date\n" and done.stderr == ""


@pytest.mark.parametrize(("key", "value"), [("stored_side_px", 20), ("val_fraction", 0.4), ("fit_fraction", 0.5)])
def test_a_changed_setting_is_told_and_done(image_tgz: Path, data_of: DataOf, caplog, key: str, value: float) -> None:
    process(data_of(image_tgz))
    old, changed = data_of(image_tgz), data_of(image_tgz, **{key: value})
    with pytest.raises(DataError, match=f"data.{key}={getattr(old, key)}, now {value}; run: make process_data"):
        open_processed(changed)
    assert f"data.{key}={getattr(old, key)}, now {value}" in reasons(caplog, changed)
    assert open_processed(changed).manifest.settings[key] == value


@pytest.mark.parametrize(("key", "value"), [("img_size", 8), ("dataloader_workers", 4), ("max_bad_images", 3)])
def test_a_setting_that_changes_no_byte_rebuilds_nothing(
    image_tgz: Path, data_of: DataOf, caplog, key: str, value: int
) -> None:
    process(data_of(image_tgz))
    assert "up to date" in reasons(caplog, data_of(image_tgz, **{key: value}))


@pytest.mark.parametrize("kind", ["folder", "tgz"])
def test_touched_files_with_equal_bytes_rebuild_nothing(
    kind: str, image_folder: Path, tmp_path: Path, data_of: DataOf, caplog
) -> None:
    raw = Path(shutil.copytree(image_folder, tmp_path / "mine"))
    raw = pack_tar(raw, tmp_path / "mine.tgz") if kind == "tgz" else raw
    data = data_of(raw)
    process(data)
    before = snapshot(data.processed_path)
    os.utime(raw / "cat" / "0.png" if kind == "folder" else raw, (1, 1))
    assert "up to date" in reasons(caplog, data)
    after = snapshot(data.processed_path)
    assert {name: after[name] for name in ("images.bin", "index.csv")} == {
        name: before[name] for name in ("images.bin", "index.csv")
    }
    assert "up to date" in reasons(caplog, data) and snapshot(data.processed_path) == after  # and remembered


@pytest.mark.parametrize("kind", ["folder", "tgz"])
def test_changed_bytes_are_told_and_done(
    kind: str, image_folder: Path, tmp_path: Path, data_of: DataOf, caplog
) -> None:
    folder = Path(shutil.copytree(image_folder, tmp_path / "mine"))
    raw = pack_tar(folder, tmp_path / "mine.tgz") if kind == "tgz" else folder
    data = data_of(raw)
    process(data)
    fingerprint = open_processed(data).fingerprint
    write_image(folder / "cat" / "0.png", seed=99)
    if kind == "tgz":
        pack_tar(folder, raw)
    assert f"because {raw} has changed" in reasons(caplog, data)
    assert open_processed(data).fingerprint != fingerprint


def test_an_image_more_is_told_and_done(image_folder: Path, tmp_path: Path, data_of: DataOf, caplog) -> None:
    folder = Path(shutil.copytree(image_folder, tmp_path / "mine"))
    process(data_of(folder))
    write_image(folder / "cat" / "new.png", seed=99)
    assert "has changed" in reasons(caplog, data_of(folder))
    assert manifest_of(data_of(folder).processed_path)["images"] == 31


def test_another_source_is_told_and_done(tmp_path: Path, image_tgz: Path, data_of: DataOf, caplog) -> None:
    process(data_of(image_tgz))
    other = make_folder(tmp_path / "other", 4)
    assert f"it was made from {image_tgz}, now {other}" in reasons(caplog, data_of(other))


@pytest.mark.parametrize("lost", ["images.bin", "index.csv"])
def test_a_lost_file_is_told_and_made_again(image_tgz: Path, data_of: DataOf, caplog, lost: str) -> None:
    data = data_of(image_tgz)
    process(data)
    (data.processed_path / lost).unlink()
    with pytest.raises(DataError, match=f"{lost} is missing; run: make process_data"):
        open_processed(data)
    assert f"{lost} is missing" in reasons(caplog, data)
    assert len(open_processed(data).images) == 30


@pytest.mark.parametrize("other", [0, 1])  # 1: before white-is-zero and 16-bit colours were read as they are meant
def test_another_format_is_told_and_done(image_tgz: Path, data_of: DataOf, caplog, other: int) -> None:
    data = data_of(image_tgz)
    process(data)
    manifest = manifest_of(data.processed_path)
    (data.processed_path / "manifest.json").write_text(json.dumps(manifest | {"format": other}))
    with pytest.raises(DataError, match=f"another version made it, .*its format is {other}, now 2"):
        open_processed(data)
    assert f"its format is {other}" in reasons(caplog, data)
    assert manifest_of(data.processed_path) == manifest


def test_without_processed_data_the_command_is_named(image_tgz: Path, data_of: DataOf) -> None:
    with pytest.raises(DataError, match=r'no processed data; run: make process_data ARGS="data=folder"'):
        open_processed(data_of(image_tgz))


def test_a_file_that_its_dvc_file_does_not_describe_is_not_processed(
    image_tgz: Path, tmp_path: Path, data_of: DataOf
) -> None:
    raw = Path(shutil.copy(image_tgz, tmp_path / "a.tgz"))
    pointer = f"outs:\n- md5: {'f' * 32}\n  size: {raw.stat().st_size}\n  hash: md5\n  path: a.tgz\n"
    (tmp_path / "a.tgz.dvc").write_text(pointer)
    with pytest.raises(DataError, match=f"expected {'f' * 32}"):
        process(data_of(raw))


# -- never what belongs to others


@pytest.mark.parametrize("content", ["notes", "web app", "ours and notes", "git", "no manifest", "broken manifest"])
def test_a_folder_with_foreign_files_is_refused_and_left_alone(image_tgz: Path, data_of: DataOf, content: str) -> None:
    data = data_of(image_tgz)
    folder = data.processed_path
    process(data)
    if content in ("notes", "web app", "git"):
        shutil.rmtree(folder)
        folder.mkdir()
    if "notes" in content:
        (folder / "notes.txt").write_text("mine")
    elif content == "web app":
        (folder / "manifest.json").write_text('{"name": "my page", "icons": []}')
    elif content == "git":
        (folder / ".git").write_text("mine")
    elif content == "no manifest":
        (folder / "manifest.json").unlink()
    elif content == "broken manifest":
        (folder / "manifest.json").write_text("{")
    before = snapshot(folder)
    with pytest.raises(DataError, match=str(folder)):
        process(data_of(image_tgz, stored_side_px=20))
    assert snapshot(folder) == before


def test_a_file_in_the_place_of_the_folder_is_refused_and_left_alone(image_tgz: Path, data_of: DataOf) -> None:
    data = data_of(image_tgz)
    data.processed_path.write_text("mine")
    with pytest.raises(DataError, match="choose another"):
        process(data)
    assert data.processed_path.read_text() == "mine"


def test_the_source_is_only_read(image_folder: Path, tmp_path: Path, data_of: DataOf) -> None:
    source = Path(shutil.copytree(image_folder, tmp_path / "mine"))
    before = {path: path.stat() for path in source.rglob("*")}
    process(data_of(source))
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == {
        path: it.st_mtime_ns for path, it in before.items()
    }
    for inside in (source, source / "processed", source / "cat"):
        with pytest.raises(DataError, match="lies in the source"):
            process(data_of(source, processed_path=inside))
    assert set(source.rglob("*")) == before.keys()


def test_a_link_to_another_disk_stays_a_link(image_tgz: Path, tmp_path: Path, data_of: DataOf) -> None:
    data = data_of(image_tgz)
    (tmp_path / "disk").mkdir()
    data.processed_path.symlink_to(tmp_path / "disk" / "images", target_is_directory=True)
    process(data)
    process(data_of(image_tgz, stored_side_px=20))
    assert data.processed_path.is_symlink()
    assert manifest_of(tmp_path / "disk" / "images")["settings"]["stored_side_px"] == 20
    assert {path.name for path in (tmp_path / "disk").iterdir()} == {"images", ".images.lock"}


def test_a_place_where_no_folder_can_be_is_named(image_tgz: Path, tmp_path: Path, data_of: DataOf) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="file"):
        process(data_of(image_tgz, processed_path=tmp_path / "file" / "below"))


# -- disturbed


@pytest.fixture(scope="session")
def slow_tgz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """260 files that take about a second of decoding, enough to be worth helpers."""
    folder = tmp_path_factory.mktemp("slow") / "slow"
    for label, name in enumerate(CLASSES[:2]):
        write_image(folder / name / "0.jpg", label, (700, 500))
        for number in range(1, 130):
            os.link(folder / name / "0.jpg", folder / name / f"{number}.jpg")
    return pack_without_links(folder)


def pack_without_links(folder: Path) -> Path:
    with tarfile.open(folder.with_suffix(".tgz"), "w:gz", compresslevel=1) as opened:
        opened.dereference = True
        for path in sorted(folder.rglob("*.jpg")):
            opened.inodes.clear()  # or tarfile would store a second name of a file as a link
            opened.add(path, path.relative_to(folder.parent))
    return folder.with_suffix(".tgz")


def start(data: Data, **limits: int) -> subprocess.Popen[str]:
    overrides = [
        f"data.{key}={getattr(data, key)}" for key in ("raw_path", "processed_path", "stored_side_px", "img_size")
    ]

    def limit() -> None:
        for name, value in limits.items():
            if name == "cores":
                os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:value])
            else:
                resource.setrlimit(getattr(resource, name), (value, value))

    return subprocess.Popen(
        module_command("dataset", "data=folder", *overrides), cwd=ROOT, env=ci_environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limit,
    )  # fmt: skip


def wait_for(moment: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    while not moment():
        assert running.poll() is None, "it ended before the moment came"
        time.sleep(0.002)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="session")
def undisturbed(slow_tgz: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The fingerprint of the slow source."""
    where = tmp_path_factory.mktemp("undisturbed") / "processed"
    settings = config.load(["data=folder", f"data.raw_path={slow_tgz}", f"data.processed_path={where}",
                            "data.stored_side_px=16", "data.img_size=16"]).settings.data  # fmt: skip
    return str(manifest_of(process(settings))["fingerprint"])


@pytest.mark.slow
@pytest.mark.parametrize("moment", [pytest.param("extracting", marks=pytest.mark.slow), "packing", "replacing"])
def test_killed_anywhere_the_next_one_ends_with_the_same_fingerprint(
    slow_tgz: Path, tmp_path: Path, data_of: DataOf, undisturbed: str, image_tgz: Path, moment: str
) -> None:
    data, partial = data_of(slow_tgz), tmp_path / ".processed.partial"
    if moment == "replacing":
        process(data_of(image_tgz))
        before = snapshot(data.processed_path)
    running = start(data)
    packed = partial / "images.bin"
    wait_for(
        (partial / "extracted").exists
        if moment == "extracting"
        else lambda: packed.exists() and packed.stat().st_size > 0,
        running,
    )
    workers = children(running.pid)
    running.kill()
    running.communicate()
    assert running.returncode == -signal.SIGKILL and partial.exists()
    if moment == "replacing":
        assert snapshot(data.processed_path) == before
    else:
        assert not data.processed_path.exists()
    process(data)
    assert open_processed(data).fingerprint == undisturbed
    assert {path.name for path in tmp_path.iterdir()} == {"processed", ".processed.lock"}
    assert not any(map(alive, workers)), "helpers outlive the command"


@pytest.mark.slow
def test_a_helper_that_is_killed_is_explained(slow_tgz: Path, tmp_path: Path, data_of: DataOf) -> None:
    running = start(data_of(slow_tgz))
    packed = tmp_path / ".processed.partial" / "images.bin"
    wait_for(lambda: packed.exists() and packed.stat().st_size > 0, running)
    os.kill(children(running.pid)[-1], signal.SIGKILL)
    _, said = running.communicate()
    assert running.returncode == 1
    assert said.startswith("error: a process that decodes images was killed") and "Traceback" not in said
    assert not data_of(slow_tgz).processed_path.exists() and not packed.exists()


def test_a_full_disk_is_one_line_and_the_old_folder_stays_in_use(
    image_tgz: Path, tmp_path: Path, data_of: DataOf
) -> None:
    data = data_of(image_tgz)
    process(data)
    before = snapshot(data.processed_path)
    running = start(data_of(image_tgz, stored_side_px=64), RLIMIT_FSIZE=100_000)
    _, said = running.communicate()
    assert running.returncode == 1
    assert (
        said.startswith(f"error: {data.processed_path}: the disk is full or a limit is reached")
        and said.count("\n") == 1
    )
    assert snapshot(data.processed_path) == before and len(open_processed(data).images) == 30
    assert {path.name for path in tmp_path.iterdir()} == {"processed", ".processed.lock"}


@pytest.mark.slow
def test_two_at_once_share_the_work_of_one(slow_tgz: Path, data_of: DataOf, undisturbed: str) -> None:
    data = data_of(slow_tgz)
    both = [start(data), start(data)]
    outputs = [running.communicate()[0] for running in both]
    assert [running.returncode for running in both] == [0, 0]
    assert sum("nothing is there yet" in said for said in outputs) == 1
    assert sum("up to date" in said for said in outputs) == 1
    assert open_processed(data).fingerprint == undisturbed


@pytest.mark.slow
def test_the_number_of_cores_changes_no_bit(slow_tgz: Path, data_of: DataOf, undisturbed: str) -> None:
    running = start(data_of(slow_tgz), cores=1)
    assert running.communicate()[1] == "" and running.returncode == 0
    assert open_processed(data_of(slow_tgz)).fingerprint == undisturbed


# -- digits


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[Data]:
    """The digits, processed here and by another process, with different numbers of loader workers."""
    made = []
    for workers in (0, 4):
        where = tmp_path_factory.mktemp("digits") / "digits"
        overrides = ["data=digits", f"data.processed_path={where}", f"data.dataloader_workers={workers}"]
        assert (run_module if workers else called)("dataset", *overrides).returncode == 0
        made.append(config.load(overrides).settings.data)
    return made


def test_digits_have_the_documented_counts(digits: list[Data]) -> None:
    manifest = open_processed(digits[0]).manifest
    assert manifest.images == 1797 and manifest.classes == list("0123456789")
    assert [sum(manifest.counts[split].values()) for split in SPLITS] == [1295, 143, 359]


def test_digits_are_the_same_bytes_in_every_process(digits: list[Data]) -> None:
    first, second = map(open_processed, digits)
    assert first.fingerprint == second.fingerprint
    assert first.manifest.source == second.manifest.source


def test_digits_show_what_scikit_learn_has(digits: list[Data]) -> None:
    from sklearn.datasets import load_digits

    images, original = open_processed(digits[0]).images, load_digits()
    for index in range(0, 1797, 100):
        number = int(images.paths[index].split("/")[1])
        assert images.labels[index] == original.target[number]
        assert images[index].shape == (32, 32, 3)
        back = images[index][2::4, 2::4, 0] / (255 / 16)  # a pixel inside each of the enlarged ones
        assert np.corrcoef(back.ravel(), original.images[number].ravel())[0, 1] > 0.95
