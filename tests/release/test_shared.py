"""Versions through a DVC remote and back: a folder, S3, and Google Drive over TLS."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from conftest import ROOT
from drive_server import ROOT_ID, make_account
from versioned import dummy

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw import remote
from drift_detector_pipeline.release.registry import open_version, promote, register
from drift_detector_pipeline.release.shared import pull, push


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """No DVC settings or credentials of this machine."""
    for name in ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in (remote.CREDENTIALS, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def repository(root, url, **options):
    """A DVC repository whose models/ has two versions, one of them champion; returns models/ and their names."""
    lines = [f"    {key} = {value}\n" for key, value in {"url": url, **options}.items()]
    core = "[core]\n    analytics = false\n    no_scm = true\n    remote = store\n"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text(core + "['remote \"store\"']\n" + "".join(lines))
    models = root / "models"
    names = [register(dummy(models / name, number).folder, models) for number, name in enumerate(("one", "two"))]
    promote(names[0], why="the first", place=models)
    return models, names


def another_clone(models):
    """What git would bring elsewhere: pointers, champion.json, no files and no cache."""
    root = models.parent.parent / "clone"
    shutil.copytree(
        models.parent, root, ignore=shutil.ignore_patterns("cache", "tmp", "one", "two", "resnet18-????????")
    )
    return root / "models"


def round_trip(models, names):
    """Push, then pull elsewhere."""
    assert push(place=models) == sorted(names)
    elsewhere = another_clone(models)
    with pytest.raises(DataError, match=r"only resnet18-.*\.dvc; fetch them: make models_pull"):
        open_version(names[0], elsewhere)
    assert pull(place=elsewhere) == sorted(names)
    for name in names:
        assert open_version(name, elsewhere).sha256 == open_version(name, models).sha256
    return elsewhere


@pytest.mark.slow
def test_versions_go_through_a_folder_and_back(tmp_path):
    models, names = repository(tmp_path / "here", str(tmp_path / "store"))
    elsewhere = round_trip(models, names)
    (elsewhere / "versions" / names[1] / "model.onnx").write_bytes(b"rotten")
    shutil.rmtree(elsewhere / "versions" / names[0])
    assert pull([names[1]], place=elsewhere) == [names[1]]
    assert open_version(names[1], elsewhere).folder.name == names[1]
    assert not (elsewhere / "versions" / names[0]).exists()
    with pytest.raises(DataError, match=r"resnet18-0\.dvc: no such pointer; make models_push writes it"):
        pull(["resnet18-0"], place=elsewhere)


def test_a_damaged_version_is_never_pushed(tmp_path):
    models, names = repository(tmp_path / "here", str(tmp_path / "store"))
    (models / "versions" / names[1] / "model.onnx").write_bytes(b"rotten")
    with pytest.raises(DataError, match=r"model.onnx: damaged"):
        push(place=models)
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_what_comes_and_is_not_what_was_pushed_is_refused(tmp_path):
    models, names = repository(tmp_path / "here", str(tmp_path / "store"))
    push(place=models)
    other, [_, wrong] = repository(tmp_path / "there", str(tmp_path / "store"))
    push([wrong], place=other)
    elsewhere = another_clone(models)
    (elsewhere / "versions" / f"{names[1]}.dvc").unlink()
    pointer = (other / "versions" / f"{wrong}.dvc").read_text().replace(wrong, names[0])
    (elsewhere / "versions" / f"{names[0]}.dvc").write_text(pointer)
    with pytest.raises(DataError, match=f"holds {wrong}; versions are never changed"):
        pull(place=elsewhere)


def test_with_nothing_to_send_or_fetch_it_says_so(tmp_path):
    models, names = repository(tmp_path / "here", str(tmp_path / "store"))
    with pytest.raises(DataError, match="no pointers; make models_push writes them"):
        pull(place=models)
    for name in names:
        shutil.rmtree(models / "versions" / name)
    with pytest.raises(DataError, match="no version; make promote VERSION=models/artefact"):
        push(place=models)


@pytest.mark.slow
def test_versions_go_through_s3_and_back(tmp_path, monkeypatch):
    moto = pytest.importorskip("moto.server", reason="moto is installed for developing, not in the image")
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        assert requests.put(f"{endpoint}/bucket", timeout=10).status_code == 200
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        round_trip(*repository(tmp_path / "here", "s3://bucket/models", endpointurl=endpoint))
    finally:
        server.stop()


NAMES = """
import socket
ask, connect = socket.getaddrinfo, socket.socket.connect
def led(host, port):
    return ("127.0.0.1", {port}) if isinstance(host, str) and host.endswith(".googleapis.com") else (host, port)
socket.getaddrinfo = lambda host, port, *rest, **options: ask(*led(host, port), *rest, **options)
socket.socket.connect = lambda self, to: connect(self, led(*to) if isinstance(to, tuple) and len(to) == 2 else to)
"""  # for programs that dvc's Python starts: where Google's names lead


@contextlib.contextmanager
def drive(tmp_path):
    """The stand-in for Google Drive, under Google's names; yields the environment in which dvc takes it for that."""
    account = tmp_path / "account"
    account.mkdir()
    make_account(account)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "tests" / "drive_server.py"), str(account), "--port", str(port)]
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / "sitecustomize.py").write_text(NAMES.replace("{port}", str(port)))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            while "ready" not in (line := server.stdout.readline()):
                assert line
            yield {"PYTHONPATH": f"{tmp_path}/names", "HTTPLIB2_CA_CERTS": str(account / "ca.pem"),
                   remote.CREDENTIALS: (account / "key.json").read_text()}  # fmt: skip
        finally:
            server.kill()


@pytest.mark.slow
def test_versions_go_through_google_drive_and_back(tmp_path, monkeypatch):
    with drive(tmp_path) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        options = {"gdrive_use_service_account": "true"}
        round_trip(*repository(tmp_path / "here", f"gdrive://{ROOT_ID}", **options))


@pytest.mark.slow
def test_the_command_names_what_it_did_and_what_it_cannot(tmp_path):
    models, names = repository(tmp_path / "here", str(tmp_path / "store"))

    def run(*words):
        command = [sys.executable, "-m", "drift_detector_pipeline.release.shared", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=models.parent, env=environment, capture_output=True, text=True)

    done = run("push", names[0])
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"pushed: {names[0]}")
    assert (
        Path(models / "versions" / f"{names[0]}.dvc").exists()
        and not (models / "versions" / f"{names[1]}.dvc").exists()
    )
    assert run("pull").stdout.splitlines()[-1] == f"pulled: {names[0]}"
    unknown = run("push", "-r", "nas")
    assert (unknown.returncode, "no DVC remote 'nas'" in unknown.stderr) == (1, True)
    assert json.loads((models / "champion.json").read_text())["version"] == names[0]
