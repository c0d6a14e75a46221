"""What a load test counts, and the load itself on a real service."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import ROOT, needs_clone
from running import process
from small_artefact import SIDE_PX, make_clips_artefact, world

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.proof import serving_load
from drift_detector_pipeline.proof.load_material import STORED_PX, draw_files
from drift_detector_pipeline.proof.servers import free_port, started
from drift_detector_pipeline.proof.serving_load import Load, _ask, load_table, ratios

linux = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux: /proc")

PARENT = """
import http.server, os, subprocess, sys, time
busy = "import time; x = bytearray(30_000_000)\\nwhile time.process_time() < 0.3: pass\\n"
subprocess.run([sys.executable, "-c", busy])
done = busy + "print(flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", done], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def test_ratios_are_in_bare_inferences_and_in_the_best_that_was_answered():
    costs = {"bare_ms": 4.0, "scores_ms": 0.2, "log_row_ms": 0.05, "megabytes": 100.0}
    loads = {"8": 6.0, "64": 5.0, "overload, obeying": 5.0, "overload, hammering": 10.0}
    assert ratios(costs, {name: {"cpu_ms": ms} for name, ms in loads.items()}) == {
        "request_to_bare_at_8_clients": 1.5,
        "request_to_bare_at_64_clients": 1.25,
        "scores_and_log_share": 0.05,
        "answered_at_overload_obeying": 1.0,
        "answered_at_overload_hammering": 0.5,
    }


def words_of(process):
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""


def test_the_page_on_operations_shows_what_was_measured():
    report = json.loads((ROOT / "reports" / "serving.json").read_text())
    assert load_table(report) in (ROOT / "docs" / "operations.md").read_text()


@linux
def test_a_server_is_all_of_its_processes_and_nothing_of_it_is_left():
    port = free_port()
    with started([sys.executable, "-c", PARENT, str(port)], port, "/", {}) as server:
        assert 0.6 <= server.cpu_seconds() < 10
        assert server.megabytes() > 35
        found = server.processes()
    assert len(found) == 2
    deadline = time.monotonic() + 10
    while any("sleep(600)" in words_of(process) for process in found):
        assert time.monotonic() < deadline


@linux
def test_a_server_that_ends_at_once_is_named():
    with (
        pytest.raises(DataError, match=r"raise SystemExit.*not ready; run it by itself"),
        started([sys.executable, "-c", "raise SystemExit(1)"], free_port(), "/", {}),
    ):
        pass


def test_drawn_files_are_images_that_differ(tmp_path):
    draw_files(tmp_path / "images", 3)
    found = [path.read_bytes() for path in sorted((tmp_path / "images").iterdir())]
    assert len(set(found)) == 3 and all(2_000 < len(one) < 40_000 for one in found)
    assert STORED_PX > SIDE_PX


@linux
@needs_clone
@pytest.mark.slow
def test_the_load_is_answered_and_each_image_is_another(models, tmp_path, monkeypatch):
    monkeypatch.setattr(serving_load, "SECONDS", 3)
    monkeypatch.setattr(serving_load, "IMAGES", 64)
    if shutil.which("k6", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") is None:
        pytest.skip("needs k6: make requirements_dev")
    draw_files(tmp_path / "images", 64)
    port = free_port()
    command = [
        sys.executable, "-m", "drift_detector_pipeline.serving", f"export.path={models / 'first'}", "serving.window=32",
        "serving.in_flight=4", f"serving.port={port}", f"serving.database=sqlite:///{tmp_path}/log.sqlite",
    ]  # fmt: skip
    with started(command, port, "/ready", {"PYTHONPATH": str(ROOT)}) as server:
        loads = {"few": Load(2), "too many": Load(24, obey=False)}
        found = _ask(server, loads, tmp_path)
        assert httpx.get(f"{server.address}/drift").json()["newest"]["images"] == 32
    assert found["few"]["answered"] > 0 and found["few"]["refused"] == 0 and found["few"]["cpu_ms"] > 0
    assert found["few"]["answer_ms"]["med"] <= found["few"]["answer_ms"]["p(99)"]
    assert found["too many"]["refused"] > 0 and found["too many"]["failed"] == 0


@needs_clone
@pytest.mark.slow
def test_locust_runs_the_same_scenario(models, tmp_path):
    peers = os.environ.get("PEERS", "")
    environment = os.environ | {"PYTHONPATH": peers, "IMAGES": str(tmp_path / "images")}
    probe = subprocess.run([sys.executable, "-c", "import locust"], env=environment, capture_output=True)
    if probe.returncode:
        pytest.skip("needs locust: PEERS=FOLDER, the site-packages of an environment that has it")
    draw_files(tmp_path / "images", 4)
    with process(models / "first", tmp_path) as (_, address):
        command = [
            sys.executable, "-m", "locust", "--locustfile", str(ROOT / "deploy" / "load" / "locustfile.py"),
            "--host", address, "--headless", "--users", "2", "--run-time", "3s", "--json", "--only-summary",
        ]  # fmt: skip
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    [said] = json.loads(done.stdout)
    assert said["num_requests"] > 0 and said["num_failures"] == 0


def test_k6_is_never_started_with_its_usage_reports():
    files = [ROOT / "drift_detector_pipeline" / "proof" / "serving_load.py", *(ROOT / "deploy" / "load").glob("*.js")]
    words = "".join(file.read_text() for file in files)
    starts = re.findall(r'(?:k6 run|_program\(\), "run",) (\S+)', words)
    assert len(starts) >= 3
    assert {found.strip('",') for found in starts} == {"--no-usage-report"}


def test_without_k6_nothing_is_begun(monkeypatch, call_main):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    done = call_main("proof.serving_load")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: k6: no such program; install it with what developing needs: make requirements_dev\n"


@needs_clone
@pytest.mark.slow
def test_k6_asks_about_a_clip_by_the_names_that_are_known_elsewhere(tmp_path):
    k6 = shutil.which("k6", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if k6 is None:
        pytest.skip("needs k6: make requirements_dev")
    make_clips_artefact(tmp_path / "model")
    np.savez(tmp_path / "clip.npz", frames=world(16, 1)[0])
    with process(tmp_path / "model", tmp_path) as (_, address):
        given = {"NPZ_PATH": tmp_path / "clip.npz", "APP_URL": address, "VUS": 2, "DURATION": "2s"}
        words = [word for name, value in given.items() for word in ("--env", f"{name}={value}")]
        script = ROOT / "deploy" / "load" / "clips.js"
        done = subprocess.run([k6, "run", "--no-usage-report", "--quiet", *words, str(script)], capture_output=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["answered"] > 0 and said["failed"] == 0
