"""The desk where people label: what is saved, what is refused, and the page in a real browser."""

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

import httpx
import pytest
from browsers import needs_browser, open_browser
from conftest import ROOT
from filled import CLASSES, fill_basket
from PIL import Image

from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.lifecycle.labelling.basket_file import write_basket
from drift_detector_pipeline.lifecycle.labelling.desk import Desk, picture
from drift_detector_pipeline.lifecycle.labelling.label import open_desk
from drift_detector_pipeline.lifecycle.labelling.label_formats import read_said
from drift_detector_pipeline.lifecycle.labelling.labels import read_labels, take_labels

in_a_browser = [
    pytest.mark.slow,
    needs_browser,
    pytest.mark.filterwarnings("default"),  # of the browser's driver
]
MANY = [f"{letter}-{number}" for letter in ("ant", "bee", "cat") for number in range(8)]


@contextmanager
def desk_of(basket):
    """The address of a desk in a thread."""
    with open_desk(Desk(basket), 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def basket(tmp_path):
    return fill_basket(tmp_path / "baskets" / "one", images=6)


@pytest.fixture
def address(basket):
    with desk_of(basket) as at:
        yield at


def written(basket):
    return {one.name: one.label.removeprefix("'") for one in read_said(basket.folder / "basket.csv") if one.label}


def post(address, path, body, **headers):
    return httpx.post(f"{address}{path}", json=body, headers=headers)


def test_each_answer_is_in_the_table_at_once_and_can_be_undone_in_turn(basket, address) -> None:
    first, second = basket.images[0].file, basket.images[1].file
    for file, label in ((first, CLASSES[1]), (second, "?zebra"), (first, CLASSES[2])):
        assert post(address, "/label", {"file": file, "label": label}).status_code == 200
    assert written(basket) == {first: CLASSES[2], second: "?zebra"}
    said = [post(address, "/undo", {}).json() for _ in range(4)]
    assert said[:3] == [
        {"file": first, "label": CLASSES[1]},
        {"file": second, "label": ""},
        {"file": first, "label": ""},
    ]
    assert "nothing was answered since" in said[3]["error"] and written(basket) == {}


def test_what_a_spreadsheet_saved_meanwhile_stays(basket, address) -> None:
    post(address, "/label", {"file": basket.images[0].file, "label": "down"})
    table = basket.folder / "basket.csv"
    rows = table.read_text(encoding="utf-8-sig").replace(f"{basket.images[3].file},,", f"{basket.images[3].file},down,")
    table.write_text(rows.replace(",", ";"), encoding="cp1252")
    post(address, "/label", {"file": basket.images[1].file, "label": CLASSES[1]})
    assert list(written(basket).values()) == ["down", CLASSES[1], "down"]
    shown = httpx.get(f"{address}/basket").json()
    assert [image["label"] for image in shown["images"]] == ["down", CLASSES[1], "", "down", "", ""]
    assert shown["classes"] == CLASSES and "predicted" not in json.dumps(shown)


def test_what_is_no_label_of_this_basket_is_refused(basket, address) -> None:
    file = basket.images[0].file
    wrong = [
        ({"file": file, "label": "dwon"}, 409), ({"file": "../basket.json", "label": "down"}, 409),
        ({"file": file, "label": ""}, 409), ({"file": file, "label": "?" + "x" * 300}, 409),
        ({"file": file, "label": "?a\nb"}, 409), ({"file": file}, 400), ([1], 400), ("text", 400),
    ]  # fmt: skip
    assert [post(address, "/label", body).status_code for body, _ in wrong] == [status for _, status in wrong]
    assert httpx.post(f"{address}/label", content=b"{", headers={"Content-Type": "application/json"}).status_code == 400
    assert httpx.post(f"{address}/label", json={"file": file, "label": "x" * 20_000}).status_code == 415
    assert post(address, "/other", {}).status_code == 404
    assert written(basket) == {}


def test_other_pages_and_other_names_for_this_machine_get_nothing(basket, address) -> None:
    body = {"file": basket.images[0].file, "label": "down"}
    assert post(address, "/label", body, Origin="http://elsewhere.example").status_code == 403
    assert post(address, "/label", body, Host="rebound.example").status_code == 403
    assert httpx.get(f"{address}/basket", headers={"Host": "rebound.example:8002"}).status_code == 403
    form = httpx.post(f"{address}/label", content=json.dumps(body), headers={"Content-Type": "text/plain"})
    assert form.status_code == 415 and written(basket) == {}
    assert post(address, "/label", body, Host="localhost:9000", Origin="http://localhost:9000").status_code == 200


def test_nothing_but_the_page_and_the_basket_can_be_read(basket, address) -> None:
    (basket.folder / "images" / "other.png").write_bytes(b"secret")
    where = urlsplit(address)
    for path in (
        "/images/other.png",
        "/images/../basket.json",
        "/../label.py",
        "/images/%2e%2e/basket.json",
        "//etc/passwd",
    ):
        connection = http.client.HTTPConnection(where.hostname, where.port)
        connection.request("GET", path)  # httpx would tidy the path up first
        assert connection.getresponse().status == 404
        connection.close()
    page = httpx.get(address)
    assert page.headers["content-security-policy"].startswith("default-src 'self'") and "<title>" in page.text


def test_images_are_shown_upright_and_no_larger_than_a_screen(basket, address) -> None:
    shown = httpx.get(f"{address}/{basket.images[0].file}")
    assert shown.headers["content-type"] == "image/png" and Image.open(io.BytesIO(shown.content)).size == (24, 24)
    large = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6  # turned
    Image.new("RGB", (3000, 2000), "red").save(large, "tiff", exif=exif)
    content, kind = picture(large.getvalue())
    assert kind == "image/jpeg" and Image.open(io.BytesIO(content)).size == (720, 1080)
    with pytest.raises(DataError):
        picture(b"no image")


def test_many_people_at_once_lose_no_answer(tmp_path) -> None:
    basket = fill_basket(tmp_path / "one", images=16)
    with desk_of(basket) as address:

        def label(some):
            for item in some:
                assert post(address, "/label", {"file": item.file, "label": "down"}).status_code == 200

        people = [threading.Thread(target=label, args=[basket.images[start::4]]) for start in range(4)]
        for one in people:
            one.start()
        for one in people:
            one.join()
    assert len(written(basket)) == 16


def test_a_port_that_is_taken_is_said(basket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="another one: ARGS=port="):
        open_desk(Desk(basket), taken.getsockname()[1])


@contextmanager
def process(basket, port):
    """`make label` in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "drift_detector_pipeline.lifecycle.labelling.label",
        str(basket.folder),
        f"port={port}",
    ]
    # A shell lets what it starts in the background ignore Ctrl+C; a person's terminal does not.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ, preexec_fn=heard
    ) as started:  # fmt: skip
        for _ in range(600):
            with suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            assert started.poll() is None
            time.sleep(0.05)
        try:
            yield started
        finally:
            started.kill()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.mark.slow
def test_a_kill_loses_no_answer_and_ctrl_c_says_how_to_go_on(basket, tmp_path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    for place in range(3):
        with process(basket, port) as started:
            assert [image["label"] for image in httpx.get(f"{address}/basket").json()["images"]].count("down") == place
            post(address, "/label", {"file": basket.images[place].file, "label": "down"})
            started.send_signal(signal.SIGKILL)
    with process(basket, port) as started:
        started.send_signal(signal.SIGINT)
        said, _ = started.communicate(timeout=30)
    assert started.returncode == 0 and "3 of 6 labelled; go on: make label BASKET=" in said
    assert "take the labels in: make labels FILE=" in said
    assert take_labels(basket.folder / "basket.csv", basket, place=tmp_path / "labels").new == 3


# ---- in a browser


@pytest.fixture(scope="module")
def browser():
    with open_browser() as started:
        yield started


@contextmanager
def opened(browser, address, **options):
    """The page, open; whatever its console complains about or fetches from elsewhere fails the test."""
    page = browser.new_page(**options)
    complaints, addresses = [], []
    page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: addresses.append(request.url))
    page.goto(address)
    page.wait_for_selector("#ask:not([hidden]), #done:not([hidden])")
    yield page
    page.close()
    assert complaints == []
    assert [one for one in addresses if not one.startswith((address, "data:"))] == []


def _is_complaint(message):
    """Anything but that the desk refused something, which the page says itself."""
    return message.type == "error" and "Failed to load resource" not in message.text


def count(page):
    return page.locator("#count").inner_text()


def status(page, words):
    page.get_by_text(words, exact=True).wait_for()


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as one:
        yield one


class TestInABrowser:
    pytestmark = in_a_browser

    def test_a_basket_is_labelled_with_single_keys_to_the_end(self, page, basket, tmp_path) -> None:
        for place, (key, words) in enumerate(
            [
                ("1", "down"),
                ("2", "über fish"),
                ("3", "=flat"),
                ("?", "none of these"),
                ("1", "down"),
                ("2", "über fish"),
            ],
            1,
        ):
            page.keyboard.press(key)
            status(page, f"Image {place}: {words}.")
        page.wait_for_selector("#done:not([hidden])")
        assert count(page) == "6 of 6 labelled" and page.locator("#command").inner_text().startswith(
            "make labels FILE="
        )
        assert list(written(basket).values()) == ["down", "über fish", "=flat", "?", "down", "über fish"]
        taken = take_labels(basket.folder / "basket.csv", basket, place=tmp_path / "labels")
        assert taken.new == 6 and [one.label for one in read_labels(tmp_path / "labels")][2] == "=flat"

    def test_undo_back_skip_and_a_reload(self, page, basket) -> None:
        page.keyboard.press("1")
        status(page, "Image 1: down.")
        page.keyboard.press("ArrowRight")
        status(page, "Image 2: skipped.")
        page.keyboard.press("2")
        status(page, "Image 3: über fish.")
        assert count(page) == "2 of 6 labelled, 1 skipped"
        page.keyboard.press("Backspace")
        status(page, "Image 3: no label again.")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        status(page, "Image 1: down.")
        assert page.locator("#classes [aria-pressed=true]").inner_text().endswith("down")
        page.keyboard.press("3")
        status(page, "Image 1: =flat.")
        page.reload()
        page.wait_for_selector("#ask:not([hidden])")
        assert count(page) == "1 of 6 labelled" and page.locator("#image").get_attribute("alt") == "Image 2 of 6"
        page.keyboard.press("Backspace")
        status(page, "Image 1: down again.")
        assert list(written(basket).values()) == ["down"]

    def test_skipped_images_can_be_gone_through_at_the_end(self, page) -> None:
        for place in range(6):
            page.keyboard.press("1" if place % 2 else "ArrowRight")
            status(page, f"Image {place + 1}: {'down' if place % 2 else 'skipped'}.")
        assert page.locator("#left").inner_text() == "3 of 6 have no label."
        page.locator("#again").click()
        assert page.locator("#image").get_attribute("alt") == "Image 1 of 6"
        assert count(page) == "3 of 6 labelled"

    def test_what_is_none_of_the_classes_can_be_named(self, page, basket) -> None:
        page.locator("#what").fill("zebra 1")
        page.keyboard.press("Enter")
        status(page, "Image 1: something else, zebra 1.")
        page.locator("#none").click()
        status(page, "Image 2: none of these.")
        assert list(written(basket).values()) == ["?zebra 1", "?"]

    def test_a_desk_that_went_away_is_said_and_work_goes_on_once_it_is_back(self, browser, basket) -> None:
        port = free_port()
        with process(basket, port) as started, opened(browser, f"http://127.0.0.1:{port}") as page:
            page.keyboard.press("1")
            status(page, "Image 1: down.")
            started.kill()
            started.wait()
            page.keyboard.press("2")
            page.wait_for_selector("#status.problem")
            assert "Start it again (make label)" in page.locator("#status").inner_text()
            with process(basket, port):
                page.keyboard.press("2")
                status(page, "Image 2: über fish.")
        assert list(written(basket).values()) == ["down", "über fish"]

    def test_more_classes_than_keys_are_found_by_typing(self, browser, tmp_path) -> None:
        basket = fill_basket(tmp_path / "many", classes=[name.replace("-", " ") + " wasp" for name in MANY] + ["Zebra"])
        with desk_of(basket) as address, opened(browser, address) as page:
            assert page.locator("#classes button").count() == 25
            page.keyboard.type("zeb")
            assert page.locator("#classes button").all_inner_texts() == ["↵ Zebra"]
            page.keyboard.press("Enter")
            status(page, "Image 1: Zebra.")
            page.keyboard.type("bee 3")
            page.keyboard.press("Enter")
            status(page, "Image 2: bee 3 wasp.")
            page.keyboard.type("xyz")
            assert page.locator("#nothing").is_visible()

    def test_ten_digits_have_the_keys_that_they_are(self, browser, tmp_path) -> None:
        basket = fill_basket(tmp_path / "digits", classes=list("0123456789"))
        with desk_of(basket) as address, opened(browser, address) as page:
            for place, key in enumerate("07", 1):
                page.keyboard.press(key)
                status(page, f"Image {place}: {key}.")
        assert list(written(basket).values()) == ["0", "7"]

    def test_single_keys_can_be_switched_off_and_a_keyboard_alone_does_everything(self, page) -> None:
        page.locator("#keys").focus()
        page.keyboard.press("Space")
        page.keyboard.press("1")
        assert count(page) == "0 of 6 labelled"
        page.locator("#classes button").nth(1).focus()
        page.keyboard.press("Enter")
        status(page, "Image 1: über fish.")
        assert page.evaluate("document.activeElement.dataset.name") == "über fish"  # where a hand expects it
        page.reload()
        page.wait_for_selector("#ask:not([hidden])")
        assert not page.locator("#keys").is_checked()

    def test_a_screen_reader_hears_what_there_is(self, page) -> None:
        heard = page.locator("main").aria_snapshot()
        for words in ('heading "What is on this image?"', 'img "Image 1 of 6"', 'group "Classes"', 'button "über fish"',
                      'button "None of these"', "progressbar", 'button "Skip"', "status"):  # fmt: skip
            assert words in heard
        assert page.locator("#status").get_attribute("aria-live") == "polite"

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_nothing_is_wider_than_a_phone_and_a_thumb_reaches_each_class(self, browser, tmp_path, scheme) -> None:
        basket = fill_basket(
            tmp_path / "phone", classes=["down", "a class with a name that is longer than any screen is"]
        )
        with desk_of(basket) as address:
            phone = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme, "has_touch": True}
            with opened(browser, address, **phone) as page:
                assert page.evaluate("document.documentElement.scrollWidth") <= 360
                box = page.locator("#classes button").last.bounding_box()
                assert box["height"] >= 44 and box["y"] + box["height"] <= 740
                page.locator("#classes button").first.tap()
                status(page, "Image 1: down.")

    def test_names_that_are_markup_are_text(self, browser, tmp_path) -> None:
        classes = ["<img src=x onerror=alert(1)>", "</script><b>b</b>"]
        basket = fill_basket(tmp_path / "odd", classes=classes)
        write_basket(basket, basket.folder)
        with desk_of(basket) as address, opened(browser, address) as page:
            page.keyboard.press("1")
            status(page, f"Image 1: {classes[0]}.")
            assert page.locator("#classes img").count() == 0
