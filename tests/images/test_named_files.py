"""Which files the words of a command line mean."""

import os
import shutil
from pathlib import Path

import pytest
from conftest import pack_tar, pack_zip, write_image

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import is_there
from drift_detector_pipeline.images.named_files import image_files, sources_of, units_of
from drift_detector_pipeline.modeling.named import check_images
from drift_detector_pipeline.raw.formats import imagefolder


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(["b.png", "a.jpg", "deep/er/c.png", "two words.png", "[x]=1.png", "über.png"]):
        write_image(tmp_path / "photos" / name, seed)
    (tmp_path / "photos" / ".hidden.png").touch()
    (tmp_path / "photos" / "Thumbs.db").touch()
    return tmp_path / "photos"


def names(*words):
    with image_files(words) as found:
        assert all(image.file.is_file() for image in found if "none" not in image.name)
        return [image.name for image in found]


ALL = [
    "photos/[x]=1.png", "photos/a.jpg", "photos/b.png", "photos/deep/er/c.png", "photos/two words.png",
    "photos/über.png",
]  # fmt: skip


def test_a_folder_is_everything_below_it_that_is_not_hidden(photos):
    assert names("photos") == ALL
    assert names("photos/") == ALL


def test_a_file_is_itself_whatever_its_name_holds(photos):
    assert names("photos/two words.png", "photos/[x]=1.png") == ["photos/two words.png", "photos/[x]=1.png"]


def test_a_pattern_is_what_it_matches_in_order(photos):
    assert names("photos/*.jpg") == ["photos/a.jpg"]
    assert names("photos/[ab].*") == ["photos/a.jpg", "photos/b.png"]
    assert names("photos/**/c.png") == ["photos/deep/er/c.png"]
    assert names(f"{photos}/*.jpg") == [f"{photos}/a.jpg"]


def test_one_word_may_hold_several_names(photos):
    assert names("photos/b.png photos/*.jpg 'photos/two words.png'") == [
        "photos/b.png", "photos/a.jpg", "photos/two words.png"
    ]  # fmt: skip


def test_many_names_in_one_word_may_be_longer_than_any_name_can_be(photos):
    many = [f"photos/{number:03d}.png" for number in range(500)]
    for number, name in enumerate(many):
        write_image(photos.parent / name, number % 7)
    assert len(" ".join(many)) > 4096
    assert names(" ".join(many)) == many
    flat = " ".join(name.removeprefix("photos/") for name in many)
    os.chdir(photos)
    assert len(names(flat)) == 500
    with image_files(["x" * 300]) as found:
        assert not is_there(found[0].file)


def test_no_file_is_listed_twice_under_two_names(photos):
    assert names("photos/a.jpg", f"{photos}/a.jpg", "./photos/../photos/a.jpg") == ["photos/a.jpg"]


def test_no_file_is_listed_twice(photos):
    (photos / "Thumbs.db").unlink()
    assert names("photos/a.jpg", "photos/**", "photos") == ["photos/a.jpg", *[one for one in ALL if "a.jpg" not in one]]


def test_what_is_not_there_is_listed_as_it_is_named(photos):
    assert names("none.png", "photos/a.jpg", "none/*.jpg") == ["none.png", "photos/a.jpg", "none/*.jpg"]
    assert names("none's none") == ["none's", "none"]


def test_a_link_that_leads_nowhere_is_listed_also_among_what_a_pattern_matches(photos):
    Path("photos/none.jpg").symlink_to("nowhere.jpg")
    assert names("photos/none.jpg") == ["photos/none.jpg"]
    assert names("photos/*.jpg") == ["photos/a.jpg", "photos/none.jpg"]
    with pytest.raises(DataError, match=r"photos/none\.jpg: a link that leads nowhere"):
        check_images(["photos/none.jpg"])


@pytest.mark.parametrize("suffix", [".tgz", ".zip", ".tar"])
def test_an_archive_is_what_it_holds_for_as_long_as_it_is_open(suffix, photos, tmp_path):
    pack = pack_zip if suffix == ".zip" else pack_tar
    pack(photos, tmp_path / f"all{suffix}")
    shutil.rmtree(photos)
    with image_files([f"all{suffix}"]) as found:
        assert [image.name for image in found] == [f"all{suffix}/{name}" for name in ALL]
        kept = found[0].file
        assert kept.read_bytes().startswith(b"\x89PNG")
    assert not kept.exists()


def test_a_broken_archive_is_an_error(photos, tmp_path):
    archive = pack_tar(photos, tmp_path / "all.tgz")
    os.truncate(archive, 100)
    with pytest.raises(DataError, match=r"all\.tgz: not a complete tar or zip archive"):
        names("all.tgz")


def test_a_pattern_below_a_folder_with_brackets_finds_what_is_in_it(photos):
    for folder in ("old [2024]", "old 2", "[a-c]", "b"):
        write_image(photos.parent / folder / "deep" / "1.png", 0)
    assert names("old [2024]/*/*.png") == names("old [2024]") == ["old [2024]/deep/1.png"]
    assert names(f"{photos.parent}/[a-c]/**/*.png") == [f"{photos.parent}/[a-c]/deep/1.png"]
    assert names("old [12]/deep/*.png") == ["old 2/deep/1.png"]
    assert names("old [2024]/none*.jpg") == ["old [2024]/none*.jpg"]


def test_the_same_files_are_meant_by_folder_pattern_archive_and_data_set(photos, tmp_path):
    for name in ("__MACOSX/x.png", "@eaDir/y.png", "a/Thumbs.db", "a/.z.png"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).touch()
    (tmp_path / "linked").mkdir()
    write_image(tmp_path / "linked" / "l.png", 0)
    (photos / "deep" / "link").symlink_to(tmp_path / "linked")
    meant = sorted([*ALL, "photos/deep/link/l.png"])
    assert sorted(names("photos")) == meant
    assert sorted(names("photos/*.*", "photos/deep/*/*")) == meant
    assert names("photos/a/Thumbs.db") == ["photos/a/Thumbs.db"]
    write_image(photos / "other" / "1.png", 0)
    in_classes = {f"photos/{image.path}" for image in imagefolder.read(photos).images}
    assert in_classes == {name for name in names("photos") if name.count("/") > 1}


def test_a_shard_is_a_unit_by_itself_and_files_are_cut_into_even_ones(photos, tmp_path):
    sources = sources_of(["photos", str(pack_tar(photos, tmp_path / "000.tar"))])
    units = units_of(sources, 4)
    assert [len(unit) for unit in units] == [4, 2, 1]
    assert [one.name for unit in units for one in unit] == [one.name for one in sources]
    assert all(Path(one.place).is_absolute() for unit in units for one in unit)
