"""What the demonstration of drift shows, and its picture; the command itself is in test_drift_commands.py."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.cause import Cause
from drift_detector_pipeline.drift.demo.__main__ import _newest
from drift_detector_pipeline.drift.demo.picture import Judged, draw
from drift_detector_pipeline.drift.demo.scenes import Scene, scenes_of
from drift_detector_pipeline.drift.verdict import Verdict
from drift_detector_pipeline.figures import figure_png

SIDE, COUNT = 16, 12
LABELS = np.arange(COUNT) % 4
KEYS = np.arange(COUNT)


def images(colour: bool) -> np.ndarray:
    """Soft random images, of one tone each or in colours."""
    noise = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3 if colour else 1), dtype=np.uint8)
    return np.repeat(noise, 1 if colour else 3, axis=3)


def shown(colour: bool, classes: str = "0123") -> dict[str, Scene]:
    return {scene.name: scene for scene in scenes_of(images(colour), LABELS, KEYS, list(classes))}


def test_data_without_colour_is_shown_as_a_negative_and_beside_letters() -> None:
    scenes = shown(colour=False)
    assert list(scenes) == ["ordinary", "inverted", "fog", "letters"]
    assert (scenes["ordinary"].images == images(colour=False)).all()
    assert (scenes["inverted"].images == 255 - images(colour=False)).all()
    assert [scene.labels is None for scene in scenes.values()] == [False, False, False, True]


def test_data_with_colour_is_shown_with_red_and_blue_swapped_and_beside_mosaics() -> None:
    scenes = shown(colour=True)
    assert list(scenes) == ["ordinary", "swapped_channels", "fog", "mosaics"]
    assert (scenes["swapped_channels"].images == images(colour=True)[..., ::-1]).all()


def test_letters_are_nothing_unseen_where_letters_are_the_classes() -> None:
    assert "mosaics" in shown(colour=False, classes="abcd")


def test_the_corners_of_a_mosaic_come_from_images_of_four_classes() -> None:
    given, half = images(colour=True), SIDE // 2
    corners = [
        (rows, columns) for rows in (slice(half), slice(half, None)) for columns in (slice(half), slice(half, None))
    ]
    for mosaic in shown(colour=True)["mosaics"].images:
        sources = [
            next(place for place, image in enumerate(given) if (image[corner] == mosaic[corner]).all())
            for corner in corners
        ]
        assert len({int(LABELS[place]) for place in sources}) == 4


def test_letters_have_the_tones_of_the_images_they_stand_beside() -> None:
    dark_on_light = np.full((COUNT, SIDE, SIDE, 3), 200, np.uint8)
    dark_on_light[:, 4:12, 6:10] = 40
    letters = scenes_of(dark_on_light, LABELS, KEYS, ["x1", "x2"])[-1].images
    assert letters.dtype == np.uint8 and letters.shape == dark_on_light.shape
    assert np.median(letters) == 200
    assert 40 <= letters.min() < 100
    assert len({letter.tobytes() for letter in letters}) == COUNT


def test_the_same_images_give_the_same_scenes() -> None:
    for one, again in zip(shown(colour=False).values(), shown(colour=False).values(), strict=True):
        assert (one.images == again.images).all()


def judged() -> list[Judged]:
    """A quiet verdict, one with a cause, one of which nothing can be said, and one of images of no class."""
    fog = Cause("fog", 3.0, 0.97, 0.2)
    estimates = [Estimate(0.99, 0.95, 1.0, 0.0), Estimate(0.4, 0.2, 0.6, 0.5), Estimate(0.5, 0, 1, 0.5, known=False)]
    verdicts = [
        Verdict("quiet", COUNT, 0.5, accuracy=estimates[0]),
        Verdict("alert", COUNT, 0.001, accuracy=estimates[1], cause=fog),
        Verdict("notice", COUNT, 0.01, accuracy=estimates[2]),
        Verdict("alert", COUNT, 0.001, accuracy=estimates[1]),
    ]
    scenes = shown(colour=False).values()
    trues = [0.98, 0.41, 0.3, 0.0]
    return [Judged(*pair, true, Path("report.html")) for *pair, true in zip(scenes, verdicts, trues, strict=True)]


def test_the_picture_says_of_each_folder_how_loud_why_and_how_accurate() -> None:
    figure = draw(judged(), world=0.99)
    columns = [figure.axes[number::4] for number in range(4)]
    texts = [
        " ".join(text.get_text() for axes in column for text in (*axes.texts, axes.title)).replace("\n", " ")
        for column in columns
    ]
    assert [level for text in texts for level in ("QUIET", "NOTICE", "ALERT") if level in text] == [
        "QUIET", "ALERT", "NOTICE", "ALERT",
    ]  # fmt: skip
    assert "look like the training world" in texts[0] and "foggy" in texts[1]
    assert "99 % (95 to 100)" in texts[0] and "True: 98 %" in texts[0]
    assert "unknown" in texts[2]
    assert "True: 0 %, none can be right" in texts[3]
    crosses = [line.get_xdata() for axes in figure.axes[-4:] for line in axes.lines if line.get_label() == "true"]
    assert np.allclose(np.ravel(crosses), [98, 41, 30, 0])


def test_the_picture_fits_a_page_and_is_the_same_twice() -> None:
    first, second = (figure_png(draw(judged(), world=0.99)) for _ in range(2))
    assert first == second
    width, height = Image.open(io.BytesIO(first)).size
    assert 900 < width < 1600 and height < width


def test_without_a_run_there_is_none_to_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _newest() is None


def test_other_settings_are_refused_before_anything_is_trained(call_main, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = call_main("drift.demo.__main__", "training.epochs=1")
    assert done.returncode == 1
    assert "training.epochs=1: make drift_demo takes only" in done.stderr
    assert not any(tmp_path.iterdir())
