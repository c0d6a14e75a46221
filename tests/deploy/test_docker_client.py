"""docker.mk with a Docker client that cannot build: one line of ours, before anything is sent to it."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, needs_clone

pytestmark = needs_clone


def client(folder: Path, version: str, *, buildx: bool) -> Path:
    """A program that has the version and components of a Docker client, and notes what it is asked."""
    program = folder / "docker"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/asked\n'
        f'case "$1" in version) echo {version};; buildx) exit {0 if buildx else 1};; *) exit 1;; esac\n'
    )
    program.chmod(0o755)
    return program


def build(docker: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "docker_build", f"DOCKER={docker}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "MAKEFLAGS": ""})


@pytest.mark.parametrize("version", ["27.1.0", "17.03.2-ce", ""])
def test_a_client_without_buildkit_is_told_in_one_line_and_builds_nothing(version: str, tmp_path: Path) -> None:
    done = build(client(tmp_path, version, buildx=False))
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert line.startswith("error: this Docker client has no BuildKit") and "docker-buildx-plugin" in line
    assert "build --tag" not in (tmp_path / "asked").read_text()


@pytest.mark.parametrize(("version", "buildx"), [("27.1.0", True), ("20.10.24", False), ("19.03.9", False)])
def test_a_client_with_buildkit_within_or_beside_it_is_asked_to_build(
    version: str, buildx: bool, tmp_path: Path
) -> None:
    done = build(client(tmp_path, version, buildx=buildx))
    assert "BuildKit" not in done.stderr
    assert "build --tag" in (tmp_path / "asked").read_text()


def test_no_client_at_all_is_one_line_too() -> None:
    assert "error: nosuchdocker: no such program; install Docker" in build("nosuchdocker").stderr
