"""pyproject.toml and the locks: what is imported is declared, what is installed is pinned, and by its hash."""

import ast
import re
import sys
import tomllib
from importlib.metadata import metadata, packages_distributions

import pytest
from conftest import ROOT, needs_clone

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUN_LOCK, DEV_LOCK, SERVE_LOCK = ((ROOT / f"requirements{kind}.txt").read_text() for kind in ("", "-dev", "-serve"))
# Of the package; what a service needs is a lock of its own, and part of the one that runs everything.
PRODUCT = [*PROJECT["dependencies"], *EXTRAS["train"], *EXTRAS["export"], *EXTRAS["serve"]]
OPTIONAL = [one for extra in ("openvino", "postgres", "parquet", "mlflow", "video", "lite0") for one in EXTRAS[extra]]
ASKING = [one for one in EXTRAS["dev"] if re.match("hypothesis|schemathesis", one)]  # proof/odd_requests.py, if there
APART = {"trackio", "alibi_detect"}  # run by the Python of an environment of its own: their Pillow or NumPy is not ours
PIN = re.compile(
    r"^([a-z0-9-]+)(?:\[[a-z0-9, -]+\])?==([^ ;]+)(?: ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$",
    re.MULTILINE,
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
        ("drift_detector_pipeline", [*PRODUCT, *OPTIONAL, *EXTRAS["ray"], *ASKING]),
        ("tests", [*PRODUCT, *OPTIONAL, *EXTRAS["ray"], *EXTRAS["test"], *EXTRAS["dev"], *EXTRAS["profiler"]]),
    ],
)
def test_whatever_is_imported_is_declared(folder, declared):
    providers = {"ray": ["ray"]} | packages_distributions()  # large, in no lock, and so not installed for developing
    assert {name for name in imported(folder) - APART if not names(providers[name]) & names(declared)} == set()


@pytest.mark.parametrize("lock", [RUN_LOCK, DEV_LOCK, SERVE_LOCK], ids=["run", "dev", "serve"])
def test_every_line_of_a_lock_is_a_pin_with_hashes_or_a_remark(lock):
    assert len(PIN.findall(lock)) > 30
    assert all(hashes for _, _, hashes in PIN.findall(lock))
    assert [line for line in PIN.sub("", lock).splitlines() if line and not line.startswith("    #")] == []


@pytest.mark.parametrize("lock", [RUN_LOCK, DEV_LOCK, SERVE_LOCK], ids=["run", "dev", "serve"])
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


def test_the_locks_agree_and_hold_what_is_declared():
    run, dev, serve = (
        {(name, version) for name, version, _ in PIN.findall(lock)} for lock in (RUN_LOCK, DEV_LOCK, SERVE_LOCK)
    )
    assert run <= dev
    assert serve <= dev
    assert names([*PRODUCT, *EXTRAS["test"]]) <= {name for name, _ in run}
    assert names([*EXTRAS["dev"], *EXTRAS["profiler"], *OPTIONAL]) - {plain(PROJECT["name"])} <= {
        name for name, _ in dev
    }


def test_a_service_needs_no_torch_no_scikit_learn_and_no_dvc():
    pinned = {name for name, _, _ in PIN.findall(SERVE_LOCK)}
    assert names([*PROJECT["dependencies"], *EXTRAS["serve"], *EXTRAS["postgres"]]) <= pinned
    assert pinned & {"torch", "torchvision", "timm", "scikit-learn", "dvc", "matplotlib", "wandb", "onnx"} == set()
