"""dvc pull and push in the container against a Drive and an S3 server: unchanged dvc, real protocol, real faults.

The Drive server runs in a container of its own that the network calls www.googleapis.com; see drive_server.py.
"""

import contextlib
import json
import subprocess
import time

import pytest
from conftest import ROOT
from containers import IMAGE, SESSION, docker, environment, make, make_tree, needs_engine, succeeded, wait_for
from drive_server import EMAIL, ROOT_ID, make_account

from drift_detector_pipeline.raw import remote

pytestmark = [pytest.mark.slow, needs_engine]

BODY = bytes(range(256)) * 2000
NETWORK = f"{SESSION}-drive"
CONFIG = """[core]
    remote = store
    analytics = false
['remote "store"']
    url = {url}
"""


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    folder = tmp_path_factory.mktemp("account")
    make_account(folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    folder.chmod(0o755)
    return folder


@pytest.fixture
def tree(tmp_path):
    """A clone whose data/raw has one tracked file, which is also in the cache."""
    folder = make_tree(tmp_path / "clone")
    (folder / ".dvc" / "config").write_text(
        CONFIG.format(url=f"gdrive://{ROOT_ID}") + "    gdrive_use_service_account = true\n"
    )
    (folder / "data" / "raw" / "archive.bin").write_bytes(BODY)
    with alone(folder):
        remote.dvc(remote.open_repository(folder), ["add", "--quiet", "data/raw/archive.bin"])
    return folder


@contextlib.contextmanager
def alone(folder):
    """dvc on the host without git, in a copy that has none."""
    config = folder / ".dvc" / "config"
    text = config.read_text()
    config.write_text(text.replace("[core]\n", "[core]\n    no_scm = true\n"))
    yield
    config.write_text(text)


@contextlib.contextmanager
def drive(account, *options, objects=None):
    """The server, as the name www.googleapis.com of a network; yields what make needs to use it, and its log."""
    docker("network", "create", NETWORK)
    name = f"{SESSION}-drive-server"
    mounts = ["--volume", f"{account}:/account:ro", "--volume", f"{ROOT}/tests:/tests:ro"]
    if objects:
        mounts, options = [*mounts, "--volume", f"{objects}:/objects:ro"], [*options, "--objects", "/objects"]
    aliases = ["--network-alias", "www.googleapis.com", "--network-alias", "oauth2.googleapis.com"]
    command = ["run", "--detach", "--init", "--name", name, "--network", NETWORK, *aliases, *mounts]
    command += ["--entrypoint", "python", "--env", "PYTHONDONTWRITEBYTECODE=1", IMAGE, "/tests/drive_server.py"]
    docker(*command, "/account", *options)
    try:
        wait_for(lambda: "ready" in docker("logs", name), "the Drive server", 60)
        trust = f"--network {NETWORK} --volume {account}/ca.pem:/ca.pem:ro --env HTTPLIB2_CA_CERTS=/ca.pem"
        yield (
            {"DOCKER_OPTS": trust, "HOST_SERVICE_ACCOUNT_KEY_PATH": str(account / "key.json")},
            lambda: docker("logs", name),
        )
    finally:
        docker("rm", "--force", name)
        docker("network", "rm", NETWORK)


def push(tree, **variables):
    """There is no target that pushes from a container: a shell does it."""
    return make(tree, "docker_shell", args="-c 'python -m drift_detector_pipeline.raw.remote push'", **variables)


def lose(tree):
    """Remove the file and its copy in the cache; return the cache's content as a remote holds it."""
    objects = tree.parent / "objects"
    objects.mkdir(exist_ok=True)
    (tree / "data" / "raw" / "archive.bin").unlink()
    (tree / ".dvc" / "cache" / "files").rename(objects / "files")
    return objects


def last_line(done):
    return done.stderr.strip().splitlines()[-2 if done.stderr.strip().splitlines()[-1].startswith("make") else -1]


def assert_no_key_in(account, *texts):
    lines = json.loads((account / "key.json").read_text())["private_key"].splitlines()[1:-1]
    for text in texts:
        assert not any(line in text for line in lines)


def test_plain_dvc_pushes_and_pulls_and_only_the_address_is_printed(tree, account):
    with drive(account) as (variables, log):
        pushed = succeeded(make(tree, "docker_shell", args="-c 'dvc push'", **variables))
        assert f"Google Drive: the key of {EMAIL}" in pushed.stderr
        lose(tree)
        pulled = succeeded(make(tree, "docker_dvc_pull", **variables))
        assert (tree / "data" / "raw" / "archive.bin").read_bytes() == BODY
        said = log()
        assert "www.googleapis.com POST /upload/drive/v2/files" in said and "oauth2.googleapis.com POST /token" in said
    assert_no_key_in(account, pushed.stdout, pushed.stderr, pulled.stdout, pulled.stderr)
    assert_no_key_in(account, *(path.read_bytes().decode("latin-1") for path in tree.rglob("*") if path.is_file()))


def test_a_key_in_the_environment_or_in_the_env_file_does_as_well(tree, account):
    objects = lose(tree)
    key = json.dumps(json.loads((account / "key.json").read_text()))
    with drive(account, objects=objects) as (variables, _):
        del variables["HOST_SERVICE_ACCOUNT_KEY_PATH"]
        for name in ("GDRIVE_CREDENTIALS_DATA", "GDRIVE_CREDENTIALS_DATA_CONTENT"):
            succeeded(make(tree, "docker_dvc_pull", prefix=("env", f"{name}={key}"), **variables))
            (tree / "data" / "raw" / "archive.bin").unlink()
        (tree / ".env").write_text(f"GDRIVE_CREDENTIALS_DATA='{key}'\n")
        succeeded(make(tree, "docker_dvc_pull", **variables))


def test_a_mounted_key_is_not_in_what_the_engine_tells_of_a_container(tree, account):
    command = [
        "make",
        "--silent",
        "docker_shell",
        "ARGS=-c 'sleep 60'",
        f"HOST_SERVICE_ACCOUNT_KEY_PATH={account}/key.json",
    ]
    with subprocess.Popen(command, cwd=tree, env=environment(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        names = ["ps", "--quiet", "--filter", f"volume={tree}/data"]
        wait_for(lambda: bool(docker(*names).strip()), "the container")
        container = docker(*names).strip()
        described = docker("inspect", container)
        docker("kill", container)
    assert f"{account}/key.json" in described
    assert_no_key_in(account, described)


@pytest.mark.parametrize("fault", ["rate_limit", "internal"])
def test_a_fault_that_passes_is_waited_for(tree, account, fault):
    with drive(account, "--fault", fault, objects=lose(tree)) as (variables, log):
        succeeded(make(tree, "docker_dvc_pull", **variables))
        assert log().count("refused: ") == 3
    assert (tree / "data" / "raw" / "archive.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    "fault, said",
    [
        ("not_shared", "error: dvc pull: 404: wrong folder id, or the folder is not shared with the service account"),
        ("too_many", "error: dvc pull: too many requests for now: wait some minutes and run it again"),
        ("corrupted", "error: dvc pull: the data is neither in the remote nor here, or damaged"),
        (
            "revoked",
            "error: dvc pull: the service account's key was refused: revoked, or this machine's clock is wrong",
        ),
    ],
)
def test_a_fault_that_stays_becomes_one_line(tree, account, fault, said):
    with drive(account, "--fault", fault, objects=lose(tree)) as (variables, _):
        started = time.monotonic()
        done = make(tree, "docker_dvc_pull", **variables)
    print(f"{fault}, {time.monotonic() - started:.0f} s: {last_line(done)}")
    assert done.returncode == 2
    assert last_line(done).startswith(said)
    assert "Traceback" not in done.stderr
    assert not (tree / "data" / "raw" / "archive.bin").exists()
    assert_no_key_in(account, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "fault, said",
    [
        (
            "no_quota",
            "error: dvc push: 403: a service account owns no space in a personal Drive, so pull works and push does",
        ),
        ("read_only", "error: dvc push: 403: the service account may not do this; share the folder with it as Editor"),
    ],
)
def test_a_refused_push_becomes_one_line(tree, account, fault, said):
    with drive(account, "--fault", fault) as (variables, _):
        done = push(tree, **variables)
    print(f"{fault}: {last_line(done)}")
    assert done.returncode == 2
    assert last_line(done).startswith(said)


def test_a_shared_drive_is_pushed_to_and_pulled_from(tree, account):
    with drive(account, "--shared-drive", "0ASharedDrive") as (variables, _):
        succeeded(push(tree, **variables))
        lose(tree)
        succeeded(make(tree, "docker_dvc_pull", **variables))
    assert (tree / "data" / "raw" / "archive.bin").read_bytes() == BODY


def test_without_credentials_a_pull_ends_at_once_and_says_what_is_missing(tree):
    started = time.monotonic()
    done = make(tree, "docker_dvc_pull")
    assert done.returncode == 2
    assert "Google Drive: no credentials" in done.stderr
    assert last_line(done).startswith("error: no credentials for Google Drive: set GDRIVE_CREDENTIALS_DATA")
    assert time.monotonic() - started < 60


def test_plain_dvc_without_credentials_does_not_wait_for_a_browser(tree):
    config = tree / ".dvc" / "config"
    config.write_text(CONFIG.format(url=f"gdrive://{ROOT_ID}"))  # not said to be a service account: dvc would sign in
    done = subprocess.run(
        ["timeout", "90", "make", "--silent", "docker_shell", "ARGS=-c 'dvc pull'"], cwd=tree, env=environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr


def test_a_key_that_is_no_key_is_said_before_anything_is_sent(tree):
    done = make(tree, "docker_dvc_pull", prefix=("env", 'GDRIVE_CREDENTIALS_DATA={"type": "service_acc'))
    assert done.returncode == 2
    assert last_line(done).startswith("error: GDRIVE_CREDENTIALS_DATA is not JSON (line 1); paste the whole key file")


def test_s3_is_pushed_to_and_pulled_from(tree):
    moto = pytest.importorskip("moto.server")
    import requests

    server = moto.ThreadedMotoServer("0.0.0.0", port=0, verbose=False)
    server.start()
    try:
        port = server.get_host_and_port()[1]
        assert requests.put(f"http://127.0.0.1:{port}/bucket", timeout=10).status_code == 200
        settings = CONFIG.format(url="s3://bucket/data") + f"    endpointurl = http://engine-host:{port}\n"
        (tree / ".dvc" / "config").write_text(settings)
        reach = {"DOCKER_OPTS": "--add-host engine-host:host-gateway"}
        refused = push(tree, **reach)
        assert last_line(refused).startswith("error: dvc push: no credentials: set AWS_ACCESS_KEY_ID")
        (tree / ".env").write_text(
            "AWS_ACCESS_KEY_ID='testing'\nAWS_SECRET_ACCESS_KEY='testing'\nAWS_EC2_METADATA_DISABLED=true\n"
        )
        succeeded(push(tree, **reach))
        lose(tree)
        succeeded(make(tree, "docker_dvc_pull", **reach))
    finally:
        server.stop()
    assert (tree / "data" / "raw" / "archive.bin").read_bytes() == BODY
