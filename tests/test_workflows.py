"""Workflows and development containers: valid, pinned, of least rights, and nothing but make targets."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from drift_detector_pipeline.cli import COMMANDS

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(
    re.findall(r"^([a-z_]+):", (ROOT / "Makefile").read_text() + (ROOT / "docker.mk").read_text(), re.MULTILINE)
)

WRITES = {
    ("data.yml", "train"): {"pull-requests": "write"},
    ("images.yml", "publish"): {"packages": "write", "id-token": "write", "attestations": "write"},
    ("pages.yml", "publish"): {"pages": "write", "id-token": "write"},
}  # by workflow and job


def read(path):
    """A workflow; YAML 1.1 reads the key `on` as true."""
    found = yaml.safe_load(path.read_text())
    found["on"] = found.pop(True)
    return found


def steps(path):
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def commands(path):
    return [step["run"] for step in steps(path) if "run" in step]


def test_there_are_nine():
    names = ["ci.yml", "data.yml", "docker_train_pipeline.yml", "fuzz.yml", "images.yml", "models.yml", "pages.yml",
             "ray.yml", "windows.yml"]  # fmt: skip
    assert [path.name for path in WORKFLOWS] == names


def test_all_follow_githubs_schema():
    pytest.importorskip("check_jsonschema", reason="installed for developing, not in the image")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dependabot_follows_its_schema_and_looks_after_actions_images_and_packages():
    pytest.importorskip("check_jsonschema", reason="installed for developing, not in the image")
    path = ROOT / ".github" / "dependabot.yml"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.dependabot", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = {one["package-ecosystem"] for one in yaml.safe_load(path.read_text())["updates"]}
    assert kinds == {"github-actions", "docker", "pip"}


MAKING = [path for path in WORKFLOWS if path.name != "windows.yml"]  # where there is no make


@pytest.mark.parametrize("path", MAKING, ids=lambda path: path.name)
def test_every_step_runs_one_make_target_that_ci_runs_here_too(path):
    script = (ROOT / ".ci" / "run").read_text()
    targets = set(re.findall(r"\b[a-z_]+\b", " ".join(re.findall(r"^ *make (.*)$", script, re.MULTILINE))))
    targets |= {"docs", "docker_serve_image"}  # tests of `make check` and of `make docker_check` build them
    targets |= {"fuzz", "docker_sign"}  # the first for seconds in a test; the second needs GitHub's word for who signs
    targets |= {"check_ray"}  # Ray is in no lock
    for command in commands(path):
        found = re.fullmatch(r'make ([a-z_]+)( ARGS="[^"]*")?', command)
        assert found, command
        assert found[1] in TARGETS & targets, command


def test_on_windows_nothing_needs_make_and_every_command_is_one():
    typed = [line.split() for line in commands(ROOT / ".github" / "workflows" / "windows.yml")]
    assert {words[0] for words in typed} == {"python", "drift-pipeline"}
    asked = [words[1] for words in typed if words[0] == "drift-pipeline"]
    assert asked and set(asked) <= COMMANDS.keys()


def test_files_have_the_line_ends_of_linux_also_in_a_clone_on_windows():
    listed = subprocess.run(["git", "ls-files", "--eol"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git here")
    lines = [line.split(None, 3) for line in listed.stdout.splitlines()]
    assert [name for kept, _, _, name in lines if kept not in ("i/lf", "i/-text", "i/none")] == []
    asked = "\n".join(["docker-entrypoint.sh", "Makefile", "conf/config.yaml"])
    found = subprocess.run(
        ["git", "check-attr", "--stdin", "eol"], cwd=ROOT, input=asked, capture_output=True, text=True
    )
    assert found.stdout.count("eol: lf") == 3


def test_nobodys_champion_run_or_images_are_part_of_the_repository():
    """A clone with a champion whose files are elsewhere can neither promote nor serve."""
    listed = subprocess.run(
        ["git", "ls-files", "models", "data", "outputs"], cwd=ROOT, capture_output=True, text=True
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("no git here")
    assert [name for name in listed.stdout.split() if not name.endswith((".gitkeep", ".dvc"))] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_commit_and_say_their_version(path):
    used = re.findall(r"uses: (.*)", path.read_text())
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_an_action_has_the_same_pin_everywhere():
    used = {line for path in WORKFLOWS for line in re.findall(r"uses: (.*)", path.read_text())}
    assert len({line.split("@")[0] for line in used}) == len(used)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_rights_are_the_least_and_runs_do_not_pile_up(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 120
        more = {what: right for what, right in job.get("permissions", {}).items() if right == "write"}
        assert more == WRITES.get((path.name, name), {})
    checkouts = [step for step in steps(path) if "checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_secrets_reach_single_steps_through_their_environment_only(path):
    for step in steps(path):
        assert "secrets." not in json.dumps({key: value for key, value in step.items() if key != "env"})
        if "secrets." in json.dumps(step.get("env", {})):
            assert step["run"].split()[1] in ("smoke", "docker_smoke", "models_check")
    for job in read(path)["jobs"].values():
        assert "secrets." not in json.dumps(job.get("env", {}))


def test_they_start_when_they_should():
    assert read(ROOT / ".github" / "workflows" / "images.yml")["on"] == {
        "push": {"tags": ["v*"]}, "workflow_dispatch": None,
    }  # fmt: skip
    for nightly in ("fuzz.yml", "ray.yml"):
        assert read(ROOT / ".github" / "workflows" / nightly)["on"].keys() == {"schedule", "workflow_dispatch"}
    for path in WORKFLOWS:
        if path.name in ("images.yml", "fuzz.yml", "ray.yml"):
            continue
        triggers = read(path)["on"]
        assert triggers["push"]["branches"] == ["main", "develop", "phase2-test"]
        assert {"pull_request", "workflow_dispatch"} <= triggers.keys()
    paths = read(ROOT / ".github" / "workflows" / "data.yml")["on"]
    assert paths["push"]["paths"] == paths["pull_request"]["paths"] == ["data/**.dvc", "conf/data/**"]
    paths = read(ROOT / ".github" / "workflows" / "models.yml")["on"]
    assert paths["push"]["paths"] == paths["pull_request"]["paths"]
    assert {"models/**.dvc", "models/champion.json"} <= set(paths["push"]["paths"])


def test_git_keeps_what_the_workflow_of_models_looks_at_and_no_weights():
    kept = ["versions/resnet18-0.dvc", "champion.json", "history.jsonl", "gates/a_against_b/gate.json"]
    left = ["versions/resnet18-0/model.onnx", "versions/.gitignore", "requests.sqlite", "gates/a_against_b/gate.html"]
    asked = "\n".join(f"models/{name}" for name in kept + left)
    found = subprocess.run(["git", "check-ignore", "--no-index", "--stdin"], cwd=ROOT, input=asked,
                           capture_output=True, text=True)  # fmt: skip
    if found.returncode > 1:
        pytest.skip("no git here")
    assert found.stdout.splitlines() == [f"models/{name}" for name in left]


def test_the_python_versions_are_those_the_package_claims():
    matrix = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["check"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
    assert [name.split("-")[0] for name in matrix["os"]] == ["ubuntu", "macos"]


def test_a_published_image_is_signed_by_what_was_pushed_and_nothing_else():
    steps_of = read(ROOT / ".github" / "workflows" / "images.yml")["jobs"]["publish"]["steps"]
    built = next(step for step in steps_of if step.get("id") == "image")
    assert built["with"]["provenance"] == "mode=max" and built["with"]["sbom"] is True
    digest = "${{ steps.image.outputs.digest }}"
    attested = next(step for step in steps_of if "attest" in step.get("uses", ""))["with"]
    assert attested["subject-digest"] == digest
    assert steps_of[-1]["run"] == f'make docker_sign ARGS="{attested["subject-name"]}@{digest}"'
    assert built["with"]["tags"].startswith(attested["subject-name"])


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_development_containers_use_the_one_dockerfile(kind):
    folder = ROOT / ".devcontainer" / kind
    described = json.loads((folder / "devcontainer.json").read_text())
    build = described["build"]
    assert (folder / build["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (folder / build["context"]).resolve() == ROOT
    assert re.search(rf"^FROM \w+ AS {build['target']}$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert ("--gpus=all" in described["runArgs"]) == (kind == "gpu")
    assert described["postCreateCommand"].removeprefix("make ") in TARGETS


@pytest.mark.parametrize(
    "top, endings", [("conf", ".yaml"), ("drift_detector_pipeline", ".py .html"), ("tests", ".py")]
)
def test_the_ignore_file_names_every_folder_the_image_needs(top, endings):
    needed = {f"!{path.parent.relative_to(ROOT).as_posix()}/*{path.suffix}"
              for path in (ROOT / top).rglob("*") if path.suffix in endings.split()}  # fmt: skip
    assert needed - set((ROOT / ".dockerignore").read_text().splitlines()) == set()


@pytest.mark.slow
def test_the_ignore_file_begins_with_what_must_never_get_in():
    first = (ROOT / ".dockerignore").read_text().splitlines()[:6]
    assert first == [".secrets", ".env", ".git", "data", "outputs", "wandb"]
