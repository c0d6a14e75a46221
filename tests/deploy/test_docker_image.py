"""The image on a real engine: what is in it, what is not, what it weighs, and how fast it is built again."""

import json
import re
import secrets
import subprocess
import tarfile
import time

import pytest
from conftest import ROOT
from containers import DOCKER, IMAGE, docker, make, make_tree, needs_engine, succeeded
from drive_server import make_account

pytestmark = [pytest.mark.slow, needs_engine]

PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{200,}")
OURS = "drift-detector-pipeline-test"  # name of the images made here

PLANTED = [
    ".secrets/gdrive-dvc-service-account.json", ".env", ".git/config", ".dvc/config.local", "key.json", "conf/key.json",
    "tests/key.json", "drift_detector_pipeline/key.json", "drift_detector_pipeline/id_rsa", "data/raw/secret.txt",
    "outputs/x/run.json", "wandb/x.txt", "notebooks/x.ipynb",
]  # fmt: skip
UNWANTED = [
    r"(^|/)\.git/", r"^app/data/.*[^/]$", r"^app/outputs/.", r"^root/\.cache/pip/.", r"^tmp/.", r"(^|/)(gcc|cc1|make)$",
    r"^var/lib/apt/lists/.*Packages", r"(^|/)key\.json$", r"(^|/)\.env$", r"\.dvc/config\.local$",
]  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A clone with a key, tokens and data where people put them, and the image built from it."""
    tree = make_tree(tmp_path_factory.mktemp("planted") / "clone")
    key = make_account(tmp_path_factory.mktemp("account"))
    mark = f"PLANTED-{secrets.token_hex(8)}"  # written nowhere, so that this file is not found either
    for name in PLANTED:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{mark} {key}")
    succeeded(make(tree, "docker_build", IMAGE_NAME=OURS, IMAGE_TAG="latest"))
    yield mark, key
    docker("rmi", f"{OURS}:latest")


def files_of(name):
    """Name and content of each file of each layer, as `docker save` writes them."""
    with (
        subprocess.Popen([DOCKER, "save", name], stdout=subprocess.PIPE) as saving,
        tarfile.open(fileobj=saving.stdout, mode="r|") as image,
    ):
        for member in image:
            if member.name.endswith("layer.tar") or "blobs/" in member.name:
                content = image.extractfile(member)
                try:
                    with tarfile.open(fileobj=content, mode="r|*") as layer:
                        for file in layer:
                            if file.isfile():
                                yield file.name, layer.extractfile(file).read()
                except tarfile.ReadError:
                    continue  # a blob that is a description, not a layer


def test_no_layer_holds_a_secret_a_cache_a_repository_or_data(planted):
    mark, key = planted
    line = json.loads(key)["private_key"].splitlines()[1].encode()
    names, found = set(), []
    for name, content in files_of(f"{OURS}:latest"):
        names.add(name)
        if mark.encode() in content or line in content:
            found.append(name)
        if name.startswith("app/") and PRIVATE_KEY.search(content):
            found.append(name)
    assert found == []
    assert len(names) > 10_000
    for pattern in UNWANTED:
        assert [name for name in names if re.search(pattern, name)] == [], pattern


def test_neither_history_nor_description_holds_a_secret(planted):
    mark, _ = planted
    said = docker("history", "--no-trunc", f"{OURS}:latest") + docker("image", "inspect", f"{OURS}:latest")
    assert mark not in said
    assert not PRIVATE_KEY.search(said.encode())
    assert "pip_index_url" not in said or "http" not in re.sub(r"https?://docs\S*", "", said)


def test_only_what_is_named_gets_in(planted):
    listed = docker("run", "--rm", "--entrypoint", "find", f"{OURS}:latest", "/app", "-type", "f").split()
    endings = {line.rpartition("/")[2].rpartition(".")[2] for line in listed if "__pycache__" not in line}
    assert endings <= {"py", "yaml", "yml", "html", "css", "js", "md", "json", "toml", "txt", "sh", "mk", "Makefile",
                       "Dockerfile", "LICENSE", "config", "dockerignore", "gitignore"}  # fmt: skip
    for line in listed:
        assert not line.endswith("json") or line.startswith(("/app/reports/", "/app/.devcontainer/")), line


def test_all_of_the_lock_that_trains_is_installed_and_fits_together():
    installed = docker(
        "run", "--rm", "--entrypoint", "pip", IMAGE, "list", "--format=json", "--disable-pip-version-check"
    )
    found = {
        entry["name"].lower().replace("_", "-").replace(".", "-"): entry["version"] for entry in json.loads(installed)
    }
    wanted = dict(
        re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==([^ ;]+) \\$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    )
    assert {name for name in wanted if name not in found} == {"onnxruntime"}  # it answers, and does not train
    assert {name: found.get(name, version) for name, version in wanted.items()} == wanted
    assert "No broken requirements" in docker("run", "--rm", "--entrypoint", "pip", IMAGE, "check")


def test_labels_name_the_commit_and_the_licence():
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", IMAGE))
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    assert labels["org.opencontainers.image.revision"].removesuffix("-dirty") == commit
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert {"org.opencontainers.image.title", "org.opencontainers.image.description"} <= labels.keys()


def test_a_code_change_keeps_the_layer_of_dependencies_and_takes_seconds(planted, tmp_path):
    tree = make_tree(tmp_path / "clone")
    with (tree / "drift_detector_pipeline" / "files.py").open("a") as file:
        file.write("# changed\n")
    started = time.monotonic()
    succeeded(make(tree, "docker_build", IMAGE_NAME=f"{OURS}-changed", IMAGE_TAG="latest"))
    print(f"built again in {time.monotonic() - started:.1f} s")
    before, after = layers_of(f"{OURS}:latest"), layers_of(f"{OURS}-changed:latest")
    docker("rmi", f"{OURS}-changed:latest")
    assert after[:-2] == before[:-2]
    assert after != before


def layers_of(image):
    return json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", image))


def test_the_size_report_names_layers_and_the_limit(planted):
    history = docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}}\t{{.CreatedBy}}", IMAGE)
    weigh = [
        "run",
        "--rm",
        "--interactive",
        "--entrypoint",
        "python",
        IMAGE,
        "-m",
        "drift_detector_pipeline.deploy.container_size",
    ]
    said = docker(*weigh, stdin=history)
    counted = re.search(r"([\d.]+)  counted; 600 allowed", said)
    assert counted and 100 < float(counted[1]) < 600
    fat = f"{700_000_000}\tRUN /bin/sh -c fill up # buildkit\n{history}"
    refused = subprocess.run([DOCKER, *weigh], input=fat, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "too large" in refused.stderr and "fill up" in refused.stdout


def test_a_development_container_has_all_that_developing_needs(tmp_path):
    """What .devcontainer builds and runs, on a clone: packages, tests, ruff, mypy; what they say is the host's."""
    tree = make_tree(tmp_path / "clone")
    docker("build", "--target", "development", "--tag", f"{OURS}-development", str(tree))
    command = [
        "run",
        "--rm",
        "--init",
        "--shm-size=2g",
        "--volume",
        f"{tree}:/workspaces/clone",
        "--workdir",
        "/workspaces/clone",
    ]
    subprocess.run(["chown", "-R", "1000:1000", tree], check=True)
    said = docker(
        *command,
        f"{OURS}-development",
        "make",
        "--silent",
        "requirements_dev",
        "test",
        "ARGS=tests/processed/test_splits.py",
    )
    docker(*command, f"{OURS}-development", "sh", "-c", "ruff --version && mypy --version && mkdocs --version")
    docker("rmi", f"{OURS}-development")
    assert "passed" in said
