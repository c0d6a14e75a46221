"""How the Makefile installs the lock: by uv where there is one and it can, else by pip, never unpinned."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, needs_clone

pytestmark = needs_clone
PINNED = ["--require-hashes -r requirements.txt", "--no-deps --no-build-isolation --editable ."]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A clone without code whose python notes what it is asked and does nothing."""
    for name in ("Makefile", "docker.mk"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("requirements.txt", "requirements-dev.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    noting(tmp_path / "venv" / "bin" / "python", status=0)
    return tmp_path


def noting(program: Path, status: int) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "{program.name} $UV_DEFAULT_INDEX $@" >> "$ASKED"\nexit {status}\n')
    program.chmod(0o755)


def install(place: Path, **variables: str) -> list[str]:
    """What `make requirements` asks of uv and of python, uv being the one in `place`, if there is one."""
    (place / "bin").mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PIP_", "UV_"))}
    environment |= {"PATH": f"{place}/bin:/usr/bin:/bin", "ASKED": f"{place}/asked", **variables}
    command = ["make", "--no-print-directory", "requirements", "VENV=venv"]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (place / "asked").read_text().splitlines()


def test_without_uv_pip_installs_the_lock_by_its_hashes(place: Path) -> None:
    asked = install(place)
    assert [line.split()[0] for line in asked] == ["python", "python"]
    assert [line for line, words in zip(asked, PINNED, strict=True) if not line.endswith(words)] == []


def test_uv_installs_the_same_lock_into_the_same_environment(place: Path) -> None:
    noting(place / "bin" / "uv", status=0)
    asked = install(place, PIP_INDEX_URL="file:///mirror")
    assert [line.split()[:2] for line in asked] == [["uv", "file:///mirror"]] * 2
    assert all("--python venv/bin/python " in line for line in asked)
    assert [line for line, words in zip(asked, PINNED, strict=True) if not line.endswith(words)] == []


def test_where_uv_fails_pip_installs_the_same(place: Path) -> None:
    noting(place / "bin" / "uv", status=1)
    asked = install(place)
    assert [line.split()[0] for line in asked] == ["uv", "python", "uv", "python"]
    assert [line for line, words in zip(asked[1::2], PINNED, strict=True) if not line.endswith(words)] == []
