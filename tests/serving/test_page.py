"""The page in a real browser: images in, answers out, by mouse, keyboard and clipboard, on a phone and in the dark."""

import time

import httpx
import pytest
from browsers import needs_browser, open_browser
from running import running
from small_artefact import png, world

pytestmark = [
    pytest.mark.slow,
    needs_browser,
    pytest.mark.filterwarnings("default"),  # of the browser's driver
]
USUAL = [png(pixels) for pixels in world(40, 50)[0]]
BRIGHT = [png(pixels) for pixels in world(40, 51, light=190.0)[0]]


@pytest.fixture(scope="module")
def browser():
    with open_browser() as started:
        yield started


@pytest.fixture(scope="module")
def service(models, tmp_path_factory):
    with running(models / "first", tmp_path_factory.mktemp("log"), window=32) as started:
        yield started


@pytest.fixture
def page(browser, service):
    """The page, open; whatever its console complains about or fetches from elsewhere fails the test."""
    opened = browser.new_page()
    complaints, addresses = [], []
    opened.on("console", lambda message: complaints.append(message.text) if _is_complaint(message) else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: addresses.append(request.url))
    opened.goto(service.address)
    yield opened
    opened.close()
    assert complaints == []
    assert [one for one in addresses if not one.startswith((service.address, "blob:", "data:"))] == []


def _is_complaint(message):
    """Anything but that the service refused something, which the page says itself."""
    return message.type == "error" and "Failed to load resource" not in message.text


def files(contents):
    return [
        {"name": f"image {number}.png", "mimeType": "image/png", "buffer": one} for number, one in enumerate(contents)
    ]


def test_an_image_that_is_chosen_is_answered_as_the_service_answers_it(page, service) -> None:
    page.set_input_files("#files", files(USUAL[:1]))
    page.wait_for_selector("#answers li")
    [said] = httpx.post(f"{service.address}/predict", content=USUAL[0]).json()["answers"]
    assert page.locator("#answers strong").inner_text() == said["label"]
    assert [meter.get_attribute("value") for meter in page.locator("#answers meter").all()] == [
        pytest.approx(str(one["probability"])) for one in said["top3"]
    ]
    assert "16 images or more" in page.locator("#together").inner_text()


def test_many_changed_images_get_words_and_a_verdict_together(page) -> None:
    page.set_input_files("#files", files(BRIGHT))
    page.wait_for_selector("#together .gauge", timeout=60_000)
    assert "brighter than" in page.locator("#answers .unlike").first.inner_text()
    assert page.locator("#together .level").inner_text() in ("! Notice", "‼ Alert")
    assert page.locator("#answers li").count() == 40


def test_images_can_be_dropped_and_pasted(page) -> None:
    give = """([name, type, bytes]) => {
        const given = new DataTransfer();
        given.items.add(new File([new Uint8Array(bytes)], "given.png", {type: "image/png"}));
        const how = name === "drop" ? {dataTransfer: given} : {clipboardData: given};
        document.body.dispatchEvent(new (type === "drag" ? DragEvent : ClipboardEvent)(name, {bubbles: true, ...how}));
    }"""
    for number, (name, kind) in enumerate((("drop", "drag"), ("paste", "clipboard")), 1):
        page.evaluate(give, [name, kind, list(USUAL[number])])
        page.locator("#answers li").nth(number - 1).wait_for()


def test_what_is_no_image_is_said(page) -> None:
    page.set_input_files("#files", [{"name": "a.png", "mimeType": "image/png", "buffer": b"no image"}])
    page.get_by_text("(request ").wait_for()
    assert "image" in page.locator("#status").inner_text()
    assert page.locator("#answers li").count() == 0


def test_windows_that_were_judged_stand_in_the_gauge_and_the_strip(page, service) -> None:
    for content in world(64, 60)[0]:
        httpx.post(f"{service.address}/predict", content=png(content), headers={"X-Source": "strip"}).raise_for_status()
    end = time.monotonic() + 60
    while not httpx.get(f"{service.address}/drift", params={"source": "strip"}).json()["newest"]:
        assert time.monotonic() < end
        time.sleep(0.1)
    page.reload()
    page.wait_for_selector("#gauge .gauge")
    link = page.locator("#history a").first
    assert link.get_attribute("aria-label").split(",")[0] in ("Quiet", "Notice", "Alert")
    assert httpx.get(service.address + link.get_attribute("href")).status_code == 200


def test_a_screen_reader_and_a_keyboard_get_everything(page) -> None:
    page.set_input_files("#files", files(USUAL[:1]))
    page.wait_for_selector("#answers li")
    heard = page.locator("main").aria_snapshot()
    for words in ('heading "What is on these images?"', "Drop images here", "meter", "the middle of image 0.png"):
        assert words in heard
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(browser, service, scheme) -> None:
    phone = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    phone.goto(service.address)
    phone.set_input_files("#files", files(BRIGHT[:20]))
    phone.wait_for_selector("#together .gauge", timeout=60_000)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    phone.close()
