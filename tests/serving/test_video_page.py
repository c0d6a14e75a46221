"""A short video on the page, in a real browser: it plays with its boxes over it."""

import numpy as np
import pytest
from browsers import needs_browser, open_browser
from drawn_video import write_frames
from running import running
from small_artefact import make_clips_artefact, world
from small_boxes import CELL_PX, SIDE_PX, make_boxes_artefact, scene

pytestmark = [
    pytest.mark.slow,
    needs_browser,
    pytest.mark.filterwarnings("default"),  # of the browser's driver
]
LARGER = 4
# The pixel of the canvas where the red square's left border is drawn, as the page draws it.
AT = "([x, y]) => [...document.querySelector('.film canvas').getContext('2d').getImageData(x, y, 1, 1).data]"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as started:
        yield started


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "cells"
    make_boxes_artefact(folder)
    with running(folder, tmp_path_factory.mktemp("log")) as started:
        yield started


@pytest.fixture(scope="module")
def webm(tmp_path_factory):
    frames = [np.kron(scene(number, steps=8), np.ones((LARGER, LARGER, 1), np.uint8)) for number in range(48)]
    return write_frames(tmp_path_factory.mktemp("video") / "squares.webm", frames, rate=24, codec="libvpx-vp9")


@pytest.fixture(params=["light", "dark"])
def page(browser, service, request):
    opened = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=request.param)
    complaints = []
    opened.on("console", lambda message: complaints.append(message.text) if _is_complaint(message) else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(service.address)
    yield opened
    opened.close()
    assert complaints == []


def _is_complaint(message):
    """Anything but that the service says nothing about drift, which it says to the page."""
    return message.type == "error" and "Failed to load resource" not in message.text


def drawn_at(page, column):
    """Whether a box's left border is drawn at the red square's row, in cells from the left."""
    x, y = column * CELL_PX * LARGER, int(1.7 * CELL_PX * LARGER)
    return page.evaluate(AT, [max(x, 1), y])[3] > 0


def test_boxes_follow_the_playing_video_and_the_slider_hides_them(page, webm):
    page.get_by_role("heading", name="What is on these images, and where?").wait_for()
    page.set_input_files("#files", str(webm))
    page.wait_for_selector("#answers .film")
    assert page.inner_text("#answers .film strong") == "1 blue, 1 red"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    seen = page.evaluate("""() => new Promise((done) => {
        const player = document.querySelector(".film video");
        const note = document.querySelector(".film .note");
        const said = [];
        new MutationObserver(() => said.push(note.textContent)).observe(note, {childList: true});
        player.addEventListener("ended", () => done(said));
        player.play();
    })""")
    numbers = [int(words.split()[1].rstrip(",")) for words in seen]
    assert len(set(numbers)) > 10 and numbers == sorted(numbers) and numbers[-1] > 40
    assert all("1 blue, 1 red" in words for words in seen)
    page.fill(".film input[type=range]", "1")
    assert page.inner_text("#answers .film strong") == "nothing" and not drawn_at(page, 5)
    page.fill(".film input[type=range]", "0.5")
    assert drawn_at(page, 5) and not drawn_at(page, 2)


def test_a_keyboard_leads_from_frame_to_frame_and_a_screen_reader_hears_what_is_there(page, webm):
    page.set_input_files("#files", str(webm))
    page.wait_for_selector("#answers .film")
    page.locator(".film button", has_text="one frame ▶").focus()
    for _ in range(9):
        page.keyboard.press("Enter")
    page.get_by_text("frame 9, 0.38 s: 1 blue, 1 red").wait_for()
    page.wait_for_function("Math.abs(document.querySelector('.film video').currentTime - 9 / 24) < 0.02")
    assert drawn_at(page, 1) and not drawn_at(page, 4)
    heard = page.locator("#answers").aria_snapshot()
    assert "frame 9, 0.38 s: 1 blue, 1 red" in heard and "Boxes with a score of at least" in heard


def test_a_file_that_the_browser_cannot_play_is_led_through_by_buttons(page, tmp_path):
    path = write_frames(tmp_path / "x.avi", [np.asarray(scene(n)) for n in range(8)], codec="ffv1")
    page.set_input_files("#files", str(path))
    page.get_by_text("cannot play").wait_for()
    page.locator(".film button", has_text="one frame ▶").click()
    page.get_by_text("frame 1, 0.04 s").wait_for()
    assert SIDE_PX == 96 and page.evaluate("document.querySelector('.film canvas').width") == 96


@pytest.fixture(scope="module")
def of_clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "clips"
    make_clips_artefact(folder)
    with running(folder, tmp_path_factory.mktemp("log")) as started:
        yield started


def test_a_clip_has_its_label_and_every_second_a_column_that_leads_there(page, of_clips, tmp_path):
    across, down = (world(40, seed)[0][world(40, seed)[1] == label][:1] for seed, label in ((1, 1), (1, 0)))
    frames = np.concatenate([across.repeat(24, 0), down.repeat(24, 0)]).repeat(4, axis=1).repeat(4, axis=2)
    film = write_frames(tmp_path / "stripes.webm", frames, rate=12, codec="libvpx-vp9")
    np.savez(tmp_path / "clip.npz", frames=frames[:9])
    page.goto(of_clips.address)
    page.get_by_role("heading", name="What happens in these clips?").wait_for()
    assert page.title() == "What happens in these clips?"
    assert "Drop short videos here" in page.locator("#drop").inner_text()
    page.set_input_files("#files", [str(film), str(tmp_path / "clip.npz")])
    page.get_by_text("2 of 2 videos").wait_for()
    shown = page.locator("#answers .film")
    assert shown.count() == 2 and shown.nth(0).locator("video").count() == 0
    assert shown.nth(0).locator("strong").inner_text() == "across"
    columns = shown.nth(1).locator(".seconds button")
    said = [column.get_attribute("aria-label") for column in columns.all()]
    assert [words.split(":")[1].split()[0] for words in said] == ["across", "across", "down", "down"]
    columns.nth(2).focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.film video').currentTime > 1.9")
    assert "from 2 to 3.0 s" in shown.nth(1).inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
