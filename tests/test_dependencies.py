"""pyproject.toml and the two locks: what is imported is declared, what is installed is pinned, and by its hash."""

import ast
import re
import sys
import tomllib
from importlib.metadata import metadata, packages_distributions

import pytest
from conftest import ROOT, needs_clone

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUN_LOCK, DEV_LOCK = ((ROOT / f"requirements{kind}.txt").read_text() for kind in ("", "-dev"))
PIN = re.compile(
    r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==([^ ;]+)(?: ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", re.MULTILINE
)


def plain(name):
    """A distribution's name as package indexes compare them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements):
    return {plain(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}


def imported(folder):
    """Top names of what the files in `folder` import, the standard library and their own neighbours left out."""
    files = list((ROOT / folder).rglob("*.py"))
    found = set()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {file.stem for file in files} - {PROJECT["name"]}


@needs_clone
@pytest.mark.parametrize(
    "folder, declared",
    [
        ("drift_detector_pipeline", PROJECT["dependencies"]),
        ("tests", [*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["dev"], *EXTRAS["profiler"]]),
    ],
)
def test_whatever_is_imported_is_declared(folder, declared):
    providers = packages_distributions()
    assert {name for name in imported(folder) if not names(providers[name]) & names(declared)} == set()


@pytest.mark.parametrize("lock", [RUN_LOCK, DEV_LOCK], ids=["run", "dev"])
def test_every_line_of_a_lock_is_a_pin_with_hashes_or_a_remark(lock):
    assert len(PIN.findall(lock)) > 100
    assert all(hashes for _, _, hashes in PIN.findall(lock))
    assert [line for line in PIN.sub("", lock).splitlines() if line and not line.startswith("    #")] == []


@pytest.mark.parametrize("lock", [RUN_LOCK, DEV_LOCK], ids=["run", "dev"])
def test_a_lock_names_no_address_and_no_place_on_a_machine(lock):
    assert re.findall(r"https?:|file:|index|(?<![\w.-])/\w+", lock) == []


@needs_clone
@pytest.mark.parametrize("package", ["numpy", "scipy", "matplotlib", "pillow"])
def test_python_3_10_is_refused_because_of_what_packages_in_the_lock_say_of_themselves(package):
    assert re.match(r">=3\.1[1-9]", metadata(package)["Requires-Python"])
    name = {"numpy": "NumPy", "scipy": "SciPy"}.get(package, package.capitalize())
    pinned = re.search(rf"^{package}==(\d+)\.(\d+)", RUN_LOCK, re.MULTILINE)
    said = re.search(rf"{name} (\d+)(?:\.(\d+))?", (ROOT / "README.md").read_text())
    assert said[1] == pinned[1] and said[2] in (None, pinned[2])


def test_the_two_locks_agree_and_hold_what_is_declared():
    run, dev = ({(name, version) for name, version, _ in PIN.findall(lock)} for lock in (RUN_LOCK, DEV_LOCK))
    assert run <= dev
    assert names(PROJECT["dependencies"]) | names(EXTRAS["test"]) <= {name for name, _ in run}
    assert (names(EXTRAS["dev"]) | names(EXTRAS["profiler"])) - {plain(PROJECT["name"])} <= {name for name, _ in dev}
