"""The report of clips: strips of frames, sources by split, and clips of two splits that show the same."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from browsers import needs_browser, open_browser
from drawn_clips import CLASSES, frames_of, pack_clips
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.processed.clip_leaks import find_leaks
from drift_detector_pipeline.processed.data_report import write_report
from drift_detector_pipeline.processed.duplicates import thumbnail
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.settings import Data

DataOf = Callable[..., Data]


def scenery(seed: int) -> Pixels:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((80, 60), Image.Resampling.BILINEAR))


def test_a_clip_of_the_same_place_is_found_across_splits_only() -> None:
    clips = [[scenery(10 * number + frame) for frame in range(2)] for number in range(6)]
    darker = np.asarray(Image.fromarray(clips[1][1]).point(lambda value: value * 0.7 + 9)).astype(np.uint8)
    clips[4][0] = darker  # of val: the second frame of clip 1, of train
    clips[2] = clips[0]  # both of train
    thumbnails = np.stack([[thumbnail(frame) for frame in clip] for clip in clips])
    leaks, looked = find_leaks(thumbnails, ["train", "train", "train", "fit", "val", "val"])
    assert [leak[:4] for leak in leaks] == [(4, 1, 0, 1)] and looked == {"fit": 1, "val": 2}
    assert find_leaks(thumbnails, ["train"] * 6) == ([], {})


def test_black_frames_are_like_nothing() -> None:
    black = np.stack([[thumbnail(np.zeros((40, 40, 3), np.uint8))] * 3] * 4)
    assert find_leaks(black, ["train", "train", "val", "val"])[0] == []


def test_clips_compared_in_blocks_find_what_one_matrix_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    rows = chance.standard_normal((60, 3, 256)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    splits = [("train", "fit", "val")[number % 3] for number in range(60)]
    whole = find_leaks(rows, splits, threshold=0.1)
    monkeypatch.setattr("drift_detector_pipeline.processed.clip_leaks._CELLS", 500)
    found = find_leaks(rows, splits, threshold=0.1)
    assert [leak[:4] for leak in found[0]] == [leak[:4] for leak in whole[0]] and len(whole[0]) > 20


@pytest.fixture
def leaking(tmp_path: Path, data_of: DataOf) -> Data:
    """Clips of unknown sources, of which two are of one place."""
    for name in CLASSES:
        for number in range(8):
            path = tmp_path / "raw" / name / f"take{number}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, frames=frames_of(name, number // 2 + 4 * (name == "still"), number % 2))
    settings = data_of(tmp_path / "raw", "clips", stored_side_px=48)
    process(settings)
    return settings


def test_the_page_names_the_leak_and_that_nobody_knew_the_sources(leaking: Data) -> None:
    page = write_report(open_processed(leaking), 32)
    facts = json.loads((page.parent / "data_report.json").read_text())["clips"]
    assert facts["sources_from"] == "unknown" and facts["sources"] == 16
    assert facts["alike_pairs"] and sum(facts["alike_across_splits"].values()) == len(facts["alike_pairs"])
    for pair in facts["alike_pairs"]:
        one, other = (int(Path(path).stem.removeprefix("take")) // 2 for path in pair["paths"])
        assert one == other and pair["splits"][0] != pair["splits"][1]
    text = page.read_text()
    assert "Nobody said what these clips were taken from" in text and "give them one name in clips.csv" in text
    assert facts["alike_pairs"][0]["paths"][0] in text


def test_clips_of_known_sources_have_their_counts_and_no_leak(tmp_path: Path, data_of: DataOf) -> None:
    settings = data_of(tmp_path, "clips", stored_side_px=48)
    pack_clips(settings, sources=4, clips=3)
    page = write_report(open_processed(settings), 32)
    facts = json.loads((page.parent / "data_report.json").read_text())
    assert facts["clips"]["sources"] == 8 and facts["clips"]["clips_per_source"]["most"] == 3
    assert [row["sources"] for row in facts["clips"]["by_split"]] == [6, 0, 2]
    assert facts["clips"]["alike_pairs"] == [] and facts["sizes"]["most_common"][0]["images"] == 24
    text = page.read_text()
    assert "12 frames, of s1" in text and "the scene alone tells the class" in text
    assert "image in ten" not in text and text.count("data:image/jpeg") == 10


@pytest.mark.slow
@needs_browser
def test_the_page_fits_a_phone_and_shows_all_its_strips(leaking: Data) -> None:
    page_file = write_report(open_processed(leaking), 32)
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto(page_file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        assert len(widths) > 10 and all(widths)
