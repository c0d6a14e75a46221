"""Whether what is on disk is what was written: every flipped bit and every cut is noticed, named and mended."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import called

from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.drift.build_reference import build_reference
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.processed.integrity import find_damage, fingerprint_of
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.processed.packing import Entry, PackedImages, write_packed
from drift_detector_pipeline.settings import Data

CLASSES = ["cat", "dog"]
ODD_NAMES = ["cat/a,b.png", 'cat/"c".png', "dog/line\nbreak.png", "dog/\udcff.png", "dog/\u5b57.png"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder of five images, with names that a table must quote, and its fingerprint."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("packed")
    sizes = [(8, 8), (8, 12), (10, 8), (8, 8), (9, 8)]
    entries = [
        Entry(name, "train", int(name.startswith("dog")), rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        for name, size in zip(ODD_NAMES, sizes, strict=True)
    ]
    return folder, fingerprint_of(write_packed(folder, entries), CLASSES)


@pytest.fixture(params=[True, False], ids=["with checksums", "of an earlier version"])
def copy(packed: tuple[Path, str], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = Path(shutil.copytree(packed[0], tmp_path / "copy"))
    if not request.param:
        (folder / ".checksums").unlink()
    return folder


@pytest.fixture
def data(image_folder: Path, data_of: Callable[..., Data]) -> Data:
    """Settings of a folder of 30 images, processed."""
    data = data_of(image_folder)
    process(data)
    return data


def flipped(content: bytes, positions: Iterator[int] | range) -> Iterator[bytes]:
    """`content` with one bit changed: another one at each position."""
    for position in positions:
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        yield bytes(changed)


def test_what_was_written_is_whole(packed: tuple[Path, str], copy: Path) -> None:
    assert find_damage(copy, packed[1], CLASSES) is None


@pytest.mark.parametrize("name", ["images.bin", "index.csv"])
def test_a_pipe_or_a_device_in_a_files_place_is_named_and_not_waited_for(
    packed: tuple[Path, str], copy: Path, name: str
) -> None:
    (copy / name).unlink()
    for make in (lambda path: os.mkfifo(path), lambda path: path.symlink_to("/dev/zero")):
        make(copy / name)
        with pytest.raises(DataError, match=rf"{name}: a pipe or a device; .*; run: make process_data"):
            find_damage(copy, packed[1], CLASSES)
        (copy / name).unlink()


def test_of_a_damaged_line_without_an_end_only_the_beginning_is_shown(packed: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(packed[0], tmp_path / "copy")
    (tmp_path / "copy" / "index.csv").write_bytes(b"x" * 500_000)
    damage = find_damage(tmp_path / "copy", packed[1], CLASSES)
    assert damage is not None and damage.startswith("index.csv is damaged, first in line 1 (xxx") and len(damage) < 300


@pytest.mark.parametrize("name", ["images.bin", "index.csv"])
def test_any_flipped_bit_is_noticed_and_its_file_named(packed: tuple[Path, str], copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    for changed in flipped(content, range(0, len(content), max(1, len(content) // 300))):
        (copy / name).write_bytes(changed)
        damage = find_damage(copy, packed[1], CLASSES)
        assert damage is not None and name in damage
        if (copy / ".checksums").exists():
            assert damage.startswith(f"{name} is damaged, first in ")


def test_the_first_damaged_image_is_named(packed: tuple[Path, str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(packed[0], tmp_path / "copy"))
    images, content = PackedImages(folder), (folder / "images.bin").read_bytes()
    ends = np.cumsum([images[index].size for index in range(len(images))])
    for position in (0, *(end - 1 for end in ends), *ends[:-1]):
        (folder / "images.bin").write_bytes(next(flipped(content, range(position, len(content)))))
        expected = ODD_NAMES[int(np.searchsorted(ends, position, side="right"))]
        assert find_damage(folder, packed[1], CLASSES) == f"images.bin is damaged, first in the image {expected}"


@pytest.mark.parametrize("name", ["images.bin", "index.csv"])
def test_a_file_of_another_length_is_noticed_and_named(packed: tuple[Path, str], copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    for changed in (b"", content[:1], content[: len(content) // 2], content[:-1], content + b"x", 2 * content):
        (copy / name).write_bytes(changed)
        assert name in str(find_damage(copy, packed[1], CLASSES))


def test_a_manifest_that_is_another_ones_is_noticed(packed: tuple[Path, str], copy: Path) -> None:
    for fingerprint, classes in ((packed[1], ["cat", "doh"]), (packed[1], CLASSES[::-1]), ("0" * 64, CLASSES)):
        assert "manifest" in str(find_damage(copy, fingerprint, classes))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"index.csv": null}', b"[" * 100_000, b"\xff"])
def test_damaged_checksums_harm_nothing(packed: tuple[Path, str], tmp_path: Path, content: bytes) -> None:
    folder = Path(shutil.copytree(packed[0], tmp_path / "copy"))
    (folder / ".checksums").write_bytes(content)
    assert find_damage(folder, packed[1], CLASSES) is None
    (folder / "images.bin").write_bytes(b"x" + (folder / "images.bin").read_bytes()[1:])
    assert "images.bin" in str(find_damage(folder, packed[1], CLASSES))


def spoil(data: Data, name: str, how: str) -> None:
    path = data.processed_path / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] if how == "cut" else next(flipped(content, range(len(content) // 2, len(content)))))


@pytest.mark.parametrize("how", ["cut", "flipped"])
@pytest.mark.parametrize("name", ["images.bin", "index.csv"])
def test_damage_is_refused_with_its_remedy_which_mends_it(data: Data, name: str, how: str, caplog) -> None:
    before = {path.name: path.read_bytes() for path in data.processed_path.iterdir()}
    spoil(data, name, how)
    with pytest.raises(DataError, match=rf"{name} is .*, first in .*; run: make process_data") as refused:
        open_processed(data)
    assert "\n" not in str(refused.value)
    with caplog.at_level("INFO"):
        process(data)
    assert f"processing, because {name} is " in caplog.text
    assert {path.name: path.read_bytes() for path in data.processed_path.iterdir()} == before


def test_a_folder_of_an_earlier_version_opens_and_stays(data: Data, caplog) -> None:
    (data.processed_path / ".checksums").unlink()
    assert len(open_processed(data).images) == 30
    with caplog.at_level("INFO"):
        process(data)
    assert "up to date" in caplog.text and not (data.processed_path / ".checksums").exists()


def test_any_flipped_bit_of_a_manifest_leaves_pixels_classes_and_fingerprint_or_is_said(data: Data) -> None:
    manifest, whole = data.processed_path / "manifest.json", open_processed(data)
    content = manifest.read_bytes()
    for changed in flipped(content, range(0, len(content), 5)):
        manifest.write_bytes(changed)
        try:
            opened = open_processed(data)
        except DataError as error:
            assert str(data.processed_path) in str(error)
        else:
            assert (opened.fingerprint, opened.classes) == (whole.fingerprint, whole.classes)


def test_a_manifest_with_a_part_of_another_kind_is_said(data: Data) -> None:
    path = data.processed_path / "manifest.json"
    values, harmless = json.loads(path.read_text()), [("bad_images", []), ("bad_images", {})]
    others: list[object] = [None, 3, [], {}, [None], "x", {"train": None}]
    parts = ("fingerprint", "classes", "counts", "images", "settings", "source", "bad_images", "format", "task")
    for part, value in product(parts, others):
        if (part, value) in [*harmless, ("images", 3), ("task", None), ("task", "x")]:
            continue
        path.write_text(json.dumps(values | {part: value}))
        with pytest.raises(DataError, match=str(data.processed_path)):
            open_processed(data)


@pytest.mark.parametrize("content", ["[" * 100_000, "null", "[]", "3", "{}", ""])
def test_a_manifest_that_is_none_is_said(data: Data, content: str) -> None:
    (data.processed_path / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json: no"):
        open_processed(data)


@pytest.mark.slow
def test_training_evaluation_and_the_reference_read_nothing_that_is_damaged(tmp_path: Path) -> None:
    words = ["data=digits", f"data.processed_path={tmp_path}/digits"]
    assert called("dataset", *words).returncode == 0
    quick = [*words, "training.epochs=1", "model.name=mlp", "run.device=cpu", "data.dataloader_workers=0"]
    run = tmp_path / "run"
    assert called("modeling.train", *quick, f"hydra.run.dir={run}").returncode == 0
    images = tmp_path / "digits" / "images.bin"
    images.write_bytes(next(flipped(images.read_bytes(), range(1_000_000, 1_000_001))))
    done = called("modeling.train", *quick, f"hydra.run.dir={tmp_path / 'second'}")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and not (tmp_path / "second").exists()
    assert "images.bin is damaged, first in the image " in done.stderr and "run: make process_data" in done.stderr
    for read in (lambda: evaluate(run), lambda: build_reference(run, [])):
        with pytest.raises(DataError, match=r"images\.bin is damaged, first in the image .*run: make process_data"):
            read()
