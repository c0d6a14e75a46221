"""The data report counts what is there and finds the images that were put in twice."""

import json
import os
import re
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES, called, make_folder, write_image
from matplotlib.text import Text
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.figures import figure_png
from drift_detector_pipeline.processed.data_report import NAMED, _balance, write_report
from drift_detector_pipeline.processed.duplicates import MANY, find_pairs, thumbnail
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.settings import Data


@pytest.fixture
def noise() -> list[Pixels]:
    return [np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8) for seed in range(30)]


def pairs_of(images: list[Pixels], threshold: float = 0.97) -> list[tuple[int, int, bool]]:
    thumbnails = np.stack([thumbnail(image) for image in images])
    return [(pair.first, pair.second, pair.exact) for pair in find_pairs(images, thumbnails, threshold=threshold)]


def test_different_images_make_no_pair(noise: list[Pixels]) -> None:
    assert pairs_of(noise) == []


def test_an_equal_image_and_a_recompressed_one_are_found_and_told_apart(noise: list[Pixels], tmp_path: Path) -> None:
    smooth = np.asarray(Image.fromarray(noise[3]).resize((200, 240), Image.Resampling.BICUBIC))
    Image.fromarray(smooth).save(tmp_path / "lossy.jpg", quality=60)
    lossy = np.asarray(Image.open(tmp_path / "lossy.jpg"))
    assert pairs_of([*noise, noise[5].copy(), smooth, lossy]) == [(5, 30, True), (31, 32, False)]


def test_equal_bytes_of_another_shape_are_no_pair() -> None:
    image = np.arange(2 * 6 * 3, dtype=np.uint8).reshape(2, 6, 3)
    assert not any(exact for *_, exact in pairs_of([image, image.reshape(6, 2, 3)], threshold=2))


def test_images_of_one_colour_are_not_alike_unless_equal() -> None:
    grey, other = (np.full((20, 20, 3), value, np.uint8) for value in (90, 91))
    assert pairs_of([grey, other, grey.copy()]) == [(0, 2, True)]


def test_blocks_find_the_same_pairs_as_one_matrix(noise: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pairs_of(noise, threshold=0.1)
    monkeypatch.setattr("drift_detector_pipeline.processed.duplicates._BLOCK_ROWS", 7)
    assert whole == pairs_of(noise, threshold=0.1)
    assert len(whole) > 10


@pytest.fixture
def report(tmp_path: Path, data_of: Callable[..., Data]) -> Path:
    source = tmp_path / "source"
    make_folder(source / "train", images_per_class=8)
    make_folder(source / "val", images_per_class=2, classes=CLASSES[:2])
    write_image(source / "val" / CLASSES[2] / "new.png", seed=99_999)
    shutil.copy(source / "train" / "cat" / "0.png", source / "val" / "dog" / "leaked.png")
    data = data_of(source)
    process(data)
    return write_report(open_processed(data), 16)


def test_an_image_that_leaked_into_val_is_named_with_both_labels(report: Path) -> None:
    facts = json.loads((report.parent / "data_report.json").read_text())
    leaked = next(pair for pair in facts["pairs"] if any(path.endswith("leaked.png") for path in pair["paths"]))
    assert leaked["equal"]
    assert sorted(facts["classes"][label] for label in leaked["labels"]) == ["cat", "dog"]
    assert facts["equal_pairs_across_splits"] >= 1
    assert "leaked.png" in report.read_text()
    assert "two labels" in report.read_text()


def test_on_a_full_disk_the_old_report_stays_whole_and_a_first_one_leaves_no_folder(
    tmp_path: Path, data_of: Callable[..., Data]
) -> None:
    make_folder(tmp_path / "source", images_per_class=8)
    process(settings := data_of(tmp_path / "source"))
    data, (soft, hard) = open_processed(settings), resource.getrlimit(resource.RLIMIT_FSIZE)
    folder = write_report(data, 16).parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for there in (True, False):
        if not there:
            shutil.rmtree(folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before["data_report.json"]) + 999, hard))
        try:
            with pytest.raises(DataError, match=r"report\.html: the disk is full or a limit is reached"):
                write_report(data, 24)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert folder.exists() == there
        assert not there or {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert not [path for path in folder.parent.iterdir() if path.name.endswith((".partial", ".old"))]


def test_the_page_holds_the_true_counts_and_needs_nothing_beside_it(report: Path) -> None:
    facts = json.loads((report.parent / "data_report.json").read_text())
    manifest = json.loads((report.parents[1] / "manifest.json").read_text())
    assert facts["counts"] == {split: counts for split, counts in manifest["counts"].items() if any(counts.values())}
    assert facts["images"] == manifest["images"]
    page = report.read_text()
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', page))
    assert not re.search(r"<script|https?://", page)


def test_data_that_was_never_processed_is_an_error_with_the_command(tmp_path: Path) -> None:
    done = called("processed.data_report", "data=digits", f"data.processed_path={tmp_path / 'none'}")
    assert done.returncode == 1
    assert "make process_data" in done.stderr
    assert "Traceback" not in done.stderr


def test_data_with_a_report_is_up_to_date_and_is_built_again_without_it(
    tmp_path: Path, data_of: Callable[..., Data], image_folder: Path
) -> None:
    data = data_of(image_folder)
    report = write_report(open_processed(data.model_copy(update={"processed_path": process(data)})), 16)
    process(data)
    assert report.exists()
    process(data_of(image_folder, val_fraction=0.4))
    assert not report.exists()


def test_pairs_stay_few_where_many_images_are_equal(noise: list[Pixels]) -> None:
    """Of 3,000 equal images there are 4.5 million pairs."""
    started = time.monotonic()
    found = pairs_of([*noise, *[noise[5]] * 3000])
    assert found == [(5, copy, True) for copy in range(30, 3030)]
    assert time.monotonic() - started < 20


def test_pairs_stay_few_where_many_images_are_alike() -> None:
    rng = np.random.default_rng(0)
    still = np.kron(rng.integers(60, 190, (4, 4, 3)), np.ones((6, 6, 1))).astype(int)
    frames = [(still + rng.integers(-4, 5, still.shape)).astype(np.uint8) for _ in range(600)]
    found = pairs_of(frames)
    assert len(found) == sum(min(MANY, 599 - index) for index in range(600))
    assert not any(exact for *_, exact in found)
    assert {first for first, *_ in found} == set(range(599))


def test_up_to_twenty_equal_images_make_all_their_pairs(noise: list[Pixels]) -> None:
    assert len(pairs_of([noise[0]] * MANY)) == MANY * (MANY - 1) // 2


ODD_CLASSES = ["$5_$10", "under_$5", r"a$\frac$b", r"x$\undefined{$", "猫", "किताब", os.fsdecode(b"caf\xe9"), "a\nb"]


def test_class_names_of_any_letters_make_a_page_that_says_them(tmp_path: Path, data_of: Callable[..., Data]) -> None:
    """Warnings are errors here, as that of a font without a letter."""
    data = data_of(make_folder(tmp_path / "source", images_per_class=3, classes=tuple(ODD_CLASSES)))
    process(data)
    page = write_report(open_processed(data), 16).read_text()
    assert "class 7 is 猫" in page
    assert all(name in page for name in ("猫", "किताब", "caf\\udce9", "$5_$10"))


def test_what_stands_between_dollars_is_drawn_as_it_is() -> None:
    figure = _balance({"train": dict.fromkeys(["$x^2$", "b$"], 3)})
    figure_png(figure)
    label = next(text for text in figure.findobj(Text) if text.get_text() == "$x^2$")
    assert not label.get_parse_math()


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, NAMED, NAMED + 1, 3000])
def test_the_chart_has_a_largest_size(count: int, tmp_path: Path) -> None:
    counts = {f"class_{number}": number + 1 for number in range(count)}
    (tmp_path / "chart.png").write_bytes(figure_png(_balance(dict.fromkeys(("fit", "train", "val", "test"), counts))))
    with Image.open(tmp_path / "chart.png") as chart:
        assert chart.width < 1000 and chart.height < 8200


@pytest.mark.slow
def test_beyond_the_images_that_are_all_compared_copies_are_found_and_their_neighbours_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Copies of all degrees among 3,000 images: nearly all of what every comparison finds, and nothing else."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (3000, 4, 4, 3), dtype=np.uint8)
    images = [np.asarray(Image.fromarray(pixels).resize((16, 16))) for pixels in small]
    for place in range(300):
        changed = images[place] + rng.normal(0, rng.uniform(3, 16), (16, 16, 3))
        images[-1 - place] = changed.clip(0, 255).astype(np.uint8)
    every = pairs_of(images)
    monkeypatch.setattr("drift_detector_pipeline.processed.duplicates.EXACT", 1000)
    found = pairs_of(images)
    assert len(every) > 150 and set(found) <= set(every)
    assert len(found) >= 0.98 * len(every)


@pytest.mark.slow
def test_many_alike_images_beyond_that_number_do_not_make_a_pair_of_every_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drift_detector_pipeline.processed.duplicates.EXACT", 100)
    still = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.int16)
    frames = [
        (still + np.random.default_rng(seed).integers(-4, 5, still.shape)).clip(0, 255).astype(np.uint8)
        for seed in range(600)
    ]
    found = pairs_of(frames)
    assert {place for pair in found for place in pair[:2]} == set(range(600))
    assert len(found) <= 600 * MANY * 8
