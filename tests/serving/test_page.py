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
    page.set_input_files("#files", [*files(USUAL[:2]), {"name": "b.png", "mimeType": "image/png", "buffer": b"none"}])
    page.get_by_text("b.png: these bytes are none of").wait_for()


def judged(service, seed):
    """The newest verdict on a window of camera strip, once there is another one."""
    ask = lambda: httpx.get(f"{service.address}/drift", params={"source": "strip"}).json()["newest"]  # noqa: E731
    before, end = ask(), time.monotonic() + 60
    for content in world(32, seed)[0]:
        httpx.post(f"{service.address}/predict", content=png(content), headers={"X-Source": "strip"}).raise_for_status()
    while (found := ask()) == before:
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def test_windows_that_were_judged_stand_in_the_gauge_and_the_strip(page, service) -> None:
    judged(service, 60)
    page.reload()
    page.wait_for_selector("#gauge .gauge")
    link = page.locator("#history a").first
    assert link.get_attribute("aria-label").split(",")[0] in ("Quiet", "Notice", "Alert")
    assert httpx.get(service.address + link.get_attribute("href")).status_code == 200


def test_asking_again_reads_nothing_twice_and_leaves_whoever_is_on_a_link_there(page, service) -> None:
    judged(service, 61)
    page.reload()
    link = page.locator("#history a").first
    link.focus()
    address = link.get_attribute("href")
    page.evaluate("document.querySelector('#gauge .gauge').id = 'marked'")
    page.evaluate("refresh()")
    assert page.locator("#marked").count() == 1
    report = judged(service, 62)["report"]
    page.evaluate("refresh()")
    assert page.locator("#marked").count() == 0 and page.locator("#history a").first.get_attribute("href") == report
    assert page.evaluate("document.activeElement.getAttribute('href')") == address != report


def test_a_screen_reader_and_a_keyboard_get_everything(page) -> None:
    page.set_input_files("#files", files(USUAL[:1]))
    page.wait_for_selector("#answers li")
    heard = page.locator("main").aria_snapshot()
    for words in (
        'heading "What is on these images?"',
        "Drop images or a short video",
        "meter",
        "the middle of image 0.png",
    ):
        assert words in heard
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"


def test_with_a_key_the_page_says_so_once_and_its_links_work(browser, models, tmp_path) -> None:
    with running(models / "first", tmp_path, {"SERVING_API_KEYS": "secret"}) as kept:
        page = browser.new_page()
        page.goto(kept.address)
        page.locator("#password").wait_for()
        assert page.evaluate("document.activeElement.id") == "password"
        page.locator("#files").focus()
        page.evaluate("refresh()")
        assert page.evaluate("document.activeElement.id") == "files"
        page.locator("#password").fill("secret")
        page.locator("#files").focus()
        page.get_by_text("It knows: down, across, flat").wait_for()
        with page.expect_download() as saved:
            page.get_by_text("the model as JSON").click()
        assert saved.value.suggested_filename == "model.json"
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(browser, service, scheme) -> None:
    phone = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    phone.goto(service.address)
    phone.set_input_files("#files", files(BRIGHT[:20]))
    phone.wait_for_selector("#together .gauge", timeout=60_000)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    phone.close()
