"""The service's image on a real engine: small, confined, healthy, and ended with status 0."""

import contextlib
import json
import socket
import subprocess
import time

import httpx
import pytest
from conftest import ROOT
from containers import DOCKER, IMAGE, SESSION, docker, environment, make_command, needs_engine, succeeded, wait_for
from small_artefact import png, world

OURS = f"{SESSION}-serve:latest"
LARGEST_SHARE = 0.08  # of the training image

pytestmark = [needs_engine, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def image():
    built = subprocess.run(
        make_command("docker_serve_image", SERVE_IMAGE=OURS, DOCKER=DOCKER), cwd=ROOT, env=environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    succeeded(built)
    yield OURS
    docker("rmi", "--force", OURS)


@contextlib.contextmanager
def serving(artefact, volume):
    """`make docker_serve`; yields the container's name and the service's address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = make_command(
        "docker_serve", "serving.window=32", SERVE_IMAGE=OURS, DOCKER=DOCKER, ARTEFACT=str(artefact), PORT=str(port),
        LOG_VOLUME=volume, DOCKER_OPTS=f"--label session={SESSION}",
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True) as made:
        try:
            wait_for(lambda: made.poll() is not None or is_ready(address), "a service that is ready", 60)
            assert made.poll() is None, made.stderr.read()
            yield docker("ps", "--quiet", "--filter", f"label=session={SESSION}").strip(), address, made
        finally:
            for name in docker("ps", "--quiet", "--filter", f"label=session={SESSION}").split():
                docker("kill", name)


def is_ready(address):
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{address}/ready").status_code == 200
    return False


def inside(*words):
    return subprocess.run([DOCKER, "run", "--rm", "--entrypoint", words[0], OURS, *words[1:]], capture_output=True,
                          text=True)  # fmt: skip


def size_of(name):
    return int(docker("image", "inspect", "--format", "{{.Size}}", name))


def test_a_confined_service_answers_is_healthy_keeps_its_log_and_ends_with_status_0(models):
    volume = f"{SESSION}-log"
    images, _ = world(24, 31)
    try:
        with serving(models / "first", volume) as (name, address, made):
            for image in images:
                assert httpx.post(f"{address}/predict", content=png(image)).status_code == 200
            [found] = json.loads(docker("inspect", name))
            host = found["HostConfig"]
            assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and found["Config"]["User"] == "1000"
            assert "no-new-privileges" in host["SecurityOpt"][0]
            assert subprocess.run([DOCKER, "exec", name, "touch", "/app/x"], capture_output=True).returncode != 0
            assert subprocess.run([DOCKER, "exec", name, "touch", "/artefact/x"], capture_output=True).returncode != 0
            wait_for(lambda: docker("inspect", "--format", "{{.State.Health.Status}}", name).strip() == "healthy",
                     "a healthy container", 60)  # fmt: skip
            docker("stop", name)
            assert made.wait(60) == 0
        with serving(models / "first", volume) as (_, address, _):
            seen = httpx.post(f"{address}/drift?last=24").json()
            assert (seen["images"], seen["counted"]) == (24, False)
    finally:
        docker("volume", "rm", "--force", volume)


def test_nothing_that_is_not_needed_is_in_it():
    for module in ("torch", "sklearn", "pip", "matplotlib", "dvc"):
        assert inside("python", "-c", f"import {module}").returncode != 0
    privileged = inside("find", "/", "-xdev", "-perm", "/6000", "-type", "f")
    assert privileged.stdout == ""
    assert inside("find", "/app", "/opt", "-name", "*.env", "-o", "-name", "tests").stdout == ""
    history = docker("history", "--no-trunc", OURS)
    assert "PIP_INDEX_URL=" not in history


def test_it_is_a_fraction_of_the_training_image():
    if subprocess.run([DOCKER, "image", "inspect", IMAGE], capture_output=True).returncode:
        pytest.skip(f"needs {IMAGE} to compare with: make docker_build")
    share = size_of(OURS) / size_of(IMAGE)
    print(f"{size_of(OURS) / 1e6:.0f} of {size_of(IMAGE) / 1e6:.0f} MB: {share:.3f}")
    assert share <= LARGEST_SHARE


def test_a_folder_without_artefact_is_named_before_anything_is_built(tmp_path):
    started = time.monotonic()
    done = subprocess.run(
        make_command("docker_serve", ARTEFACT=str(tmp_path), DOCKER=DOCKER), cwd=ROOT, env=environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0 and f"{tmp_path}/artefact.json" in done.stderr and "make export" in done.stderr
    assert time.monotonic() - started < 10
