"""The engine behind LitServe and BentoML, and the page of Streamlit: each started for real, none tells its maker.

Their packages are in no lock of ours. PEERS=SITE_PACKAGES names a folder that has them; without it and them, skipped.
"""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest
from conftest import ROOT, needs_clone
from drawn_video import write_frames
from running import process
from small_artefact import make_clips_artefact, png, world

from drift_detector_pipeline.proof.servers import Server

pytestmark = [needs_clone, pytest.mark.slow]


def with_package(name):
    """An environment in which `name` can be imported, beside this package."""
    peers = os.environ.get("PEERS", "")
    if importlib.util.find_spec(name) is None and not os.path.isdir(os.path.join(peers, name)):  # noqa: PTH112, PTH118
        pytest.skip(f"needs {name}: PEERS=FOLDER, the site-packages of an environment that has it")
    return os.environ | {"PYTHONPATH": f"{ROOT}:{peers}"}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


class Maker(threading.Thread):
    """Where whatever goes to another machine would pass; counts it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.door, self.calls = socket.create_server(("127.0.0.1", 0)), 0
        self.address = f"http://127.0.0.1:{self.door.getsockname()[1]}"

    def run(self):
        while True:
            called, _ = self.door.accept()
            self.calls += 1
            called.close()


@contextlib.contextmanager
def started(environment, *words, **variables):
    """Run a Python file as a group of processes, of which nothing is left. Yields where calls home would go."""
    maker = Maker()
    maker.start()
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), maker.address)
    own = environment | proxies | {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"} | variables
    command = [sys.executable, *map(str, words)]
    with subprocess.Popen(command, env=own, start_new_session=True, stderr=subprocess.STDOUT,
                          stdout=subprocess.DEVNULL) as running:  # fmt: skip
        try:
            yield maker
        finally:
            for process in Server(running.pid, "").processes():  # BentoML's worker has a session of its own
                os.kill(int(process.name), signal.SIGKILL)


def answered(ask, timeout_s=90):
    """What `ask` gives once there is an answer of status 200."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            found = ask()
            if found.status_code == 200:
                return found
        time.sleep(0.2)
    raise AssertionError(f"no answer in {timeout_s} s")


def label_of_service(models, tmp_path, image):
    with process(models / "first", tmp_path) as (_, address):
        return httpx.post(f"{address}/predict", content=png(image)).json()["answers"][0]


@pytest.mark.parametrize(
    ("package", "file", "field"),
    [("litserve", "litserve_server.py", "content"), ("bentoml", "bentoml_service.py", "image")],
)
def test_an_adapter_answers_as_the_service_does_and_calls_nobody(package, file, field, models, tmp_path):
    environment, port = with_package(package), free_port()
    [image], _ = world(1, 21)
    variables = {"ARTEFACT": str(models / "first"), "PORT": str(port), "HOME": str(tmp_path)}
    with started(environment, ROOT / "deploy" / file, **variables) as maker:
        files = {field: ("image.png", png(image), "image/png")}
        said = answered(lambda: httpx.post(f"http://127.0.0.1:{port}/predict", files=files, timeout=30)).json()
        time.sleep(2)  # what reports usage does it in a thread
        assert maker.calls == 0
    expected = label_of_service(models, tmp_path, image)
    assert said == {key: expected[key] for key in ("label", "probability")}


def test_bentoml_would_call_if_the_adapter_did_not_forbid_it(models, tmp_path):
    """So that the test above can fail."""
    environment, port = with_package("bentoml"), free_port()
    loud = tmp_path / "bentoml_service.py"
    text = (ROOT / "deploy" / "bentoml_service.py").read_text()
    loud.write_text(text.replace('os.environ["BENTOML_DO_NOT_TRACK"] = "True"', ""))
    variables = {"ARTEFACT": str(models / "first"), "PORT": str(port), "HOME": str(tmp_path)}
    with started(environment, loud, **variables) as maker:
        answered(lambda: httpx.get(f"http://127.0.0.1:{port}/readyz"))
        time.sleep(2)
        assert maker.calls > 0


def test_the_page_of_streamlit_starts_and_reports_no_usage(tmp_path):
    environment, port = with_package("streamlit"), free_port()
    page = ROOT / "deploy" / "streamlit_page.py"
    with started(environment, page, PORT=str(port), HOME=str(tmp_path)) as maker:
        assert answered(lambda: httpx.get(f"http://127.0.0.1:{port}/_stcore/health")).text == "ok"
        assert maker.calls == 0
    code = f"""
import runpy
from streamlit import config
from streamlit.web import bootstrap
bootstrap.run = lambda *words: print(config.get_option("browser.gatherUsageStats"))
runpy.run_path({str(page)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr


def test_the_page_of_streamlit_shows_what_the_service_says(models, tmp_path):
    environment = with_package("streamlit")
    [image], _ = world(1, 22)
    (tmp_path / "image.png").write_bytes(png(image))
    code = f"""
import runpy, sys
from pathlib import Path
from streamlit.testing.v1 import AppTest
content = Path({str(tmp_path / "image.png")!r}).read_bytes()
test = AppTest.from_file({str(ROOT / "deploy" / "streamlit_page.py")!r}, default_timeout=30).run()
test.file_uploader[0].set_value([("image.png", content, "image/png")]).run()
assert not test.exception, test.exception
print([str(one.proto) for one in test.main])
"""
    with process(models / "first", tmp_path) as (_, address):
        expected = httpx.post(f"{address}/predict", content=png(image)).json()["answers"][0]
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment | {"SERVICE": address}, capture_output=True, text=True)
    assert f"{expected['label']}: {expected['probability']:.1%}" in done.stdout, done.stderr
    assert "No verdict yet" in done.stdout


def test_the_page_of_streamlit_shows_what_is_said_of_a_clip(tmp_path):
    environment = with_package("streamlit")
    make_clips_artefact(tmp_path / "model")
    frames = world(24, 23)[0]
    np.savez(tmp_path / "clip.npz", frames=frames)
    larger = frames.repeat(4, axis=1).repeat(4, axis=2)
    film = write_frames(tmp_path / "film.webm", list(larger), rate=8, codec="libvpx-vp9")
    code = f"""
from pathlib import Path
from streamlit.testing.v1 import AppTest
test = AppTest.from_file({str(ROOT / "deploy" / "streamlit_page.py")!r}, default_timeout=60).run()
files = [(path, Path(path).read_bytes(), "video/webm") for path in ({str(tmp_path / "clip.npz")!r}, {str(film)!r})]
test.file_uploader[0].set_value(files).run()
assert not test.exception, test.exception
print(len(test.table), len(test.error), [str(one.proto) for one in test.main])
"""
    with process(tmp_path / "model", tmp_path) as (_, address):
        [said] = httpx.post(f"{address}/predict", content=(tmp_path / "clip.npz").read_bytes()).json()["answers"]
        own = environment | {"BACKEND_URL": f"{address}/"}
        done = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 0 ") and f"{said['label']}: {said['probability']:.1%}" in done.stdout
