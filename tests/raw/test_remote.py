"""remote.py against real dvc: a local folder, moto's S3, Drive's real client with nobody at the other end."""

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from conftest import needs_clone
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from drift_detector_pipeline import config
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.raw import fetch, remote

ROOT = Path(__file__).resolve().parents[2]
BODY = bytes(range(256)) * 100


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No DVC settings or credentials of this machine."""
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in (remote.CREDENTIALS, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def make_repository(root: Path, url: str, **options: str) -> Path:
    """Make `root` a DVC repository without git, with BODY tracked; returns the file."""
    lines = [f"    {key} = {value}\n" for key, value in {"url": url, **options}.items()]
    core = "[core]\n    analytics = false\n    no_scm = true\n    remote = store\n"
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text(core + "['remote \"store\"']\n" + "".join(lines))
    file = root / "archive.tgz"
    file.write_bytes(BODY)
    remote.dvc(remote.open_repository(root), ["add", "-q", file.name])
    return file


def lose(file: Path) -> None:
    """Remove the file and its copy in the cache."""
    file.unlink()
    for stored in (file.parent / ".dvc" / "cache" / "files").rglob("*"):
        if stored.is_file():
            stored.unlink()


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a make target runs, with a person's patience as its limit."""
    command = [sys.executable, "-m", "drift_detector_pipeline.raw.remote", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def service_account(token_uri: str) -> str:
    """A key file as Google makes them, of a key that opens nothing."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "client_email": "robot@example.org", "client_id": "1", "private_key_id": "1"}
    return json.dumps(account | {"private_key": key.decode(), "token_uri": token_uri})


def repository_of(url: str, **options: str) -> remote.Repository:
    named = {f"remote.store.{key}": value for key, value in {"url": url, **options}.items()}
    return remote.Repository(Path(), Path("nowhere"), {"core.remote": "store"} | named)


@needs_clone
def test_the_committed_configuration_is_readable_and_sends_nothing_home() -> None:
    repository = remote.open_repository(ROOT / "data" / "raw")
    assert repository.root == ROOT
    assert repository.settings["core.analytics"] == repository.settings["core.check_update"] == "false"
    assert repository.settings["remote.gdrive.url"].startswith("gdrive://")
    assert repository.settings["remote.gdrive.gdrive_use_service_account"] == "true"
    assert "gdrive_service_account_json_file_path" not in str(repository.settings)  # it would win over the environment


def test_the_committed_dvc_file_stands_beside_the_configured_archive() -> None:
    raw_path = config.load(["data=imagenette"]).settings.data.raw_path
    assert raw_path is not None
    pointer = fetch.read_pointer(ROOT / raw_path)
    assert pointer is not None
    assert (pointer.md5, pointer.size_bytes) == ("e793b78cc4c9e9a4ccc0c1155377a412", 99_003_388)


@pytest.mark.slow
def test_push_and_pull_bring_a_file_through_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(remote.PARALLEL_JOBS, "1")
    file = make_repository(tmp_path, str(tmp_path / "store"))
    assert run(tmp_path, "push").returncode == 0
    lose(file)
    pulled = run(tmp_path, "pull")
    assert (pulled.returncode, file.read_bytes()) == (0, BODY), pulled.stderr


@pytest.mark.slow
def test_push_and_ensure_raw_bring_a_file_through_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moto = pytest.importorskip("moto.server", reason="moto is installed for developing, not in the image")
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        assert requests.put(f"{endpoint}/bucket", timeout=10).status_code == 200
        file = make_repository(tmp_path, "s3://bucket/data", endpointurl=endpoint)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        refused = run(tmp_path, "push")
        assert refused.returncode == 1 and "set AWS_ACCESS_KEY_ID" in refused.stderr
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        assert run(tmp_path, "push").returncode == 0
        lose(file)
        data = config.load(["data=imagenette"]).settings.data
        found = fetch.ensure_raw(data.model_copy(update={"raw_path": file, "source_url": None}))
        assert found.read_bytes() == BODY
    finally:
        server.stop()


@pytest.mark.slow
def test_push_and_pull_bring_a_file_through_google_cloud_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dvc_gs", reason="dvc-gs is installed for developing, not in the image")
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket"):
        endpoint = f"http://127.0.0.1:{port}"
        file = make_repository(tmp_path, "gs://bucket/data", endpointurl=endpoint)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
        monkeypatch.setenv("NO_GCE_CHECK", "true")  # asks no cloud's own address whether this machine is in it
        pushed = run(tmp_path, "push")
        assert pushed.returncode == 0, pushed.stderr
        lose(file)
        pulled = run(tmp_path, "pull")
        assert (pulled.returncode, file.read_bytes()) == (0, BODY), pulled.stderr


@pytest.mark.slow
def test_a_push_of_nothing_is_no_success(tmp_path: Path) -> None:
    lose(make_repository(tmp_path, str(tmp_path / "store")))
    pushed = run(tmp_path, "push")
    assert pushed.returncode == 1
    assert "neither in the remote nor here" in pushed.stderr


@pytest.mark.slow
def test_a_pull_of_what_nobody_has_fails_in_one_line(tmp_path: Path) -> None:
    lose(make_repository(tmp_path, str(tmp_path / "store")))
    pulled = run(tmp_path, "pull")
    assert pulled.returncode == 1
    assert pulled.stderr.splitlines()[-1].startswith("error: dvc pull: the data is neither in the remote nor here")
    assert "ERROR" not in pulled.stderr


@pytest.mark.slow
def test_status_needs_no_credentials_and_says_what_it_did_not_ask(tmp_path: Path) -> None:
    make_repository(tmp_path, f"gdrive://{remote.PLACEHOLDER}", gdrive_use_service_account="true").write_bytes(b"new")
    status = run(tmp_path, "status")
    assert status.returncode == 0
    assert "modified:" in status.stdout and "The remote was not asked: the folder id" in status.stdout


@pytest.mark.slow
def test_status_compares_with_a_remote_that_works(tmp_path: Path) -> None:
    make_repository(tmp_path, str(tmp_path / "store"))
    status = run(tmp_path, "status")
    assert (status.returncode, "new:" in status.stdout) == (0, True)


def test_the_placeholder_folder_id_is_named() -> None:
    with pytest.raises(DataError, match="still a placeholder: `dvc remote modify store url gdrive://ID`"):
        remote.check_ready(repository_of(f"gdrive://{remote.PLACEHOLDER}"), "store")


def test_an_unknown_remote_is_named() -> None:
    with pytest.raises(DataError, match="no DVC remote 'nas'"):
        remote.check_ready(repository_of("/tmp/store"), "nas")


def test_a_folder_outside_any_repository_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is in no DVC repository"):
        remote.open_repository(tmp_path)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "no credentials for Google Drive: set GDRIVE_CREDENTIALS_DATA, or put"),
        ("{'client_email'", "GDRIVE_CREDENTIALS_DATA is not JSON"),
        ('{"installed": {}}', "no service account's key"),
        ("[]", "no service account's key"),
        ("7", "no service account's key"),
    ],
)
def test_a_key_that_cannot_work_is_found_before_anything_is_sent(
    key: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(remote.CREDENTIALS, key)
    with pytest.raises(DataError, match=message):
        remote.check_ready(repository_of("gdrive://folder", gdrive_use_service_account="true"), "store")


def test_a_configured_key_file_wins_over_the_environment_as_it_does_in_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"gdrive_use_service_account": "true", "gdrive_service_account_json_file_path": "/missing.json"}
    repository = repository_of("gdrive://folder", **options)
    with pytest.raises(DataError, match=r"set GDRIVE_CREDENTIALS_DATA, or put .* /missing\.json \(No such file"):
        remote.check_ready(repository, "store")
    monkeypatch.setenv(remote.CREDENTIALS, service_account("http://127.0.0.1:9"))
    with pytest.raises(DataError, match=r"^/missing\.json: No such file .* prefers it to the key in GDRIVE_") as caught:
        remote.check_ready(repository, "store")
    assert "--unset store gdrive_service_account_json_file_path`" in str(caught.value)


@pytest.mark.slow
def test_a_drive_nobody_answers_for_fails_at_once(tmp_path: Path) -> None:
    make_repository(tmp_path, "gdrive://folder", gdrive_use_service_account="true")
    (tmp_path / ".secrets").mkdir()
    (tmp_path / remote.KEY_FILE).write_text(service_account("http://127.0.0.1:9/token"))
    pushed = run(tmp_path, "push")
    assert pushed.returncode == 1
    assert (
        pushed.stderr.splitlines()[-1] == "error: dvc push: no connection: check the network and the remote's address"
    )


class Refusing(http.server.BaseHTTPRequestHandler):
    """A token server that knows the key no more."""

    def do_POST(self) -> None:
        body = b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}'
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def refusing() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()


@pytest.mark.slow
def test_a_revoked_key_is_said_to_be_refused(tmp_path: Path, refusing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_repository(tmp_path, "gdrive://folder", gdrive_use_service_account="true")
    monkeypatch.setenv(remote.CREDENTIALS, service_account(refusing))
    pulled = run(tmp_path, "pull")
    assert pulled.returncode == 1
    assert "key was refused" in pulled.stderr


@pytest.mark.parametrize(
    ("wanted", "ci", "words"),
    [("", "false", ""), ("", "true", "--jobs 1"), ("6", "false", "--jobs 6"), (" 2 ", "true", "--jobs 2")],
)
def test_the_environment_says_how_many_files_dvc_moves_at_once(
    wanted: str, ci: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(remote.PARALLEL_JOBS, wanted)
    monkeypatch.setenv("CI_MODE", ci)
    assert " ".join(remote.jobs()) == words


@pytest.mark.parametrize("wanted", ["0", "-1", "many", "1.5", "\u00b2"])
def test_a_number_of_files_that_is_none_is_refused_before_dvc_starts(
    wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(remote.PARALLEL_JOBS, wanted)
    with pytest.raises(ConfigError, match=f"DVC_PARALLEL_JOBS={wanted}: expected how many"):
        remote.jobs()


def test_a_dvc_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was stopped"):
        remote.dvc(remote.Repository(tmp_path, tmp_path, {}), ["version"], limit_s=0.05)


@pytest.mark.parametrize(
    ("complaint", "advice"),
    [
        (
            '<HttpError 403 "... do not have storage quota." Details: "storageQuotaExceeded">',
            "pull works and push does",
        ),
        ('<HttpError 403 "User Rate Limit Exceeded" userRateLimitExceeded>', "too many requests"),
        ("<HttpError 429 returned>", "too many requests"),
        ("<HttpError 503 returned>", "internal error"),
        ('<HttpError 404 "File not found: 1AbC">', "not shared with the service account"),
        ('<HttpError 403 "insufficientFilePermissions">', "as Editor"),
        ('<HttpError 403 "dailyLimitExceeded">', "too many requests"),
        ("Failed to authenticate GDrive: Expecting value: line 1", "sign-in to Google Drive failed"),
        ("ERROR: failed to connect to s3 (b/x) - Could not connect to the endpoint URL", "no connection"),
        ("ERROR: /app is not a git repository", "core.no_scm true"),
        ("[Errno 28] No space left on device", "the disk is full"),
        ("ERROR: unexpected error - database or disk is full", "the disk is full"),
        ("ERROR: something new\nERROR: and its consequence", "something new"),
        ("", "failed without a word"),
    ],
)
def test_what_dvc_writes_becomes_one_line_of_advice(complaint: str, advice: str) -> None:
    said = remote.explain(complaint)
    assert advice in said
    assert "\n" not in said
