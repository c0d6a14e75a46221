"""Each folder's docstring is the map of what lies in it, and imports point upwards on the map only."""

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "drift_detector_pipeline"
LINE = re.compile(r"^ *([a-z_]+)(/?) {2,}\S", re.MULTILINE)
LONGEST_MODULE, LONGEST_FUNCTION, MOST_PARAMETERS = 300, 50, 8
KEYWORDS_FOR_PEOPLE = {("drift.detector", "build")}  # a documented call whose many keywords are all optional


def mapped(folder: str = "") -> list[str]:
    """Dotted module names below `folder`, in the order of its docstring and of those of its folders."""
    text = str(importlib.import_module(f"drift_detector_pipeline.{folder}".rstrip(".")).__doc__)
    names: list[str] = []
    for name, is_folder in LINE.findall(text):
        names += mapped(f"{folder}{name}.") if is_folder else [folder + name]
    return names


@cache
def modules() -> dict[str, Path]:
    """All modules with code, by their dotted names below the package."""
    found = {
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): path for path in PACKAGE.rglob("*.py")
    }
    return {name: path for name, path in found.items() if not name.endswith("__init__")}


@cache
def imported(path: Path) -> set[str]:
    """Modules of this package that `path` imports anywhere, also inside functions and `if TYPE_CHECKING`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    ours = {
        name.removeprefix("drift_detector_pipeline.") for name in names if name.startswith("drift_detector_pipeline.")
    }
    return ours & modules().keys()


def test_the_map_names_every_module_once() -> None:
    assert len(mapped()) == len(set(mapped()))
    assert modules().keys() - set(mapped()) == set()


def test_the_map_names_nothing_that_is_not_there() -> None:
    assert set(mapped()) - modules().keys() == set()


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_upwards_on_the_map(name: str) -> None:
    order = mapped()
    assert {other for other in imported(modules()[name]) if order.index(other) >= order.index(name)} == set()


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_file_named_in_a_text_is_there(name: str) -> None:
    """By its name alone beside the module that names it, else by its path below the package or the root."""
    path = modules()[name]
    named = set(re.findall(r"[\w/]+\.py\b", path.read_text()))
    assert {one for one in named if not any((place / one).exists() for place in (path.parent, PACKAGE, ROOT))} == set()


def test_packages_import_nothing_but_the_decoder_and_what_must_be_first() -> None:
    allowed = {
        PACKAGE: ["from drift_detector_pipeline import stopped, unread"],  # before anything can be stopped or printed
        PACKAGE / "images": ["from typing import Any", "from drift_detector_pipeline.images.decoder import decode"],
    }
    for path in PACKAGE.rglob("__init__.py"):
        imports = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert [ast.unparse(one) for one in imports] == allowed.get(path.parent, [])


def reached(name: str) -> set[str]:
    """All modules of this package that come with `name`, going by what is written, wherever it stands."""
    found: set[str] = set()
    todo = {name}
    while todo:
        one = todo.pop()
        found.add(one)
        todo |= imported(modules()[one]) - found
    return found


@pytest.mark.parametrize(
    ("name", "never"),
    [
        ("modeling.predict", "raw.fetch raw.download raw.remote raw.drive_credentials processed.freshness dataset"),
        ("modeling.train", "raw.fetch raw.download raw.remote raw.drive_credentials processed.freshness dataset"),
        ("modeling.evaluate", "raw.fetch raw.download raw.remote raw.drive_credentials processed.freshness dataset"),
        ("drift.detector", "modeling runs raw.fetch dataset"),
    ],
)
def test_what_a_module_never_reaches(name: str, never: str) -> None:
    assert [one for one in reached(name) if f"{one}.".startswith(tuple(f"{word}." for word in never.split()))] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "never"),
    [
        ("modeling.labels", "dvc cryptography optuna sklearn"),
        ("dataset", "torch timm dvc sklearn matplotlib"),
        ("modeling.evaluate", "torch timm matplotlib"),
        ("runs.listing", "torch timm dvc matplotlib"),
        ("modeling.card", "torch timm dvc matplotlib"),
        ("modeling.predict", "torch timm matplotlib"),
        ("video.__main__", "torch timm matplotlib av"),
        ("video.boxed", "torch timm matplotlib av"),
        ("drift.__main__", "torch timm matplotlib sklearn"),
        ("drift.watch", "torch timm matplotlib sklearn"),
        ("drift.detector", "hydra pydantic timm dvc torch sklearn matplotlib"),
        ("release.artefact", "torch numpy hydra pydantic"),
        ("release.registry", "torch numpy hydra pydantic"),
        ("release.executable", "torch timm sklearn dvc matplotlib hydra pydantic onnx onnxruntime openvino"),
        ("serving.crops", "hydra pydantic timm dvc wandb torch sklearn matplotlib pyarrow psycopg"),
        ("serving.log_export", "timm dvc wandb torch sklearn matplotlib pyarrow psycopg"),
        ("lifecycle.labelling.basket", "timm dvc wandb torch sklearn matplotlib pyarrow psycopg onnxruntime"),
        ("lifecycle.labelling.labels", "timm dvc wandb torch sklearn matplotlib scipy sqlalchemy"),
        ("lifecycle.labelling.label", "timm dvc wandb torch sklearn matplotlib scipy sqlalchemy hydra"),
        ("lifecycle.watching.monitor", "timm dvc wandb torch sklearn matplotlib pyarrow psycopg onnx onnxruntime"),
        ("lifecycle.watching.alarm_desk", "timm dvc wandb torch sklearn matplotlib pyarrow psycopg onnx onnxruntime"),
        ("lifecycle.gating.gate", "timm dvc wandb torch sklearn matplotlib pyarrow psycopg onnx"),
        ("runs.tracking.wandb_writer", "torch timm hydra"),
    ],
)
def test_what_importing_a_module_never_loads(name: str, never: str) -> None:
    code = f"import sys, drift_detector_pipeline.{name}; print(sorted({set(never.split())} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "[]"


@pytest.mark.parametrize(
    ("folder", "never"),
    [
        ("serving", "lifecycle modeling.train"),
        ("release", "lifecycle serving"),
        ("tasks", "runs modeling drift"),
        ("corruptions", "drift modeling runs processed raw"),
        ("drift.scores", "modeling runs processed raw"),
    ],
)
def test_what_no_module_of_a_folder_reaches(folder: str, never: str) -> None:
    """Some of these rooms are to come; their rule stands here before them."""
    words = tuple(f"{word}." for word in never.split())
    inside = [name for name in modules() if name.startswith(f"{folder}.")]
    assert [(name, one) for name in inside for one in reached(name) if f"{one}.".startswith(words)] == []


def test_nothing_of_the_product_imports_the_proof() -> None:
    product = [name for name in modules() if not name.startswith("proof.")]
    assert [name for name in product if any(one.startswith("proof.") for one in imported(modules()[name]))] == []


@pytest.mark.parametrize("name", sorted(modules()))
def test_modules_and_functions_stay_small(name: str) -> None:
    text = modules()[name].read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 <= LONGEST_FUNCTION, node.name
            given = [one for one in (*node.args.posonlyargs, *node.args.args) if one.arg not in ("self", "cls")]
            if (name, node.name) not in KEYWORDS_FOR_PEOPLE:
                assert len(given) + len(node.args.kwonlyargs) <= MOST_PARAMETERS, node.name


@pytest.mark.parametrize("name", sorted(modules()))
def test_importing_defines_and_does_nothing_else(name: str) -> None:
    """Definitions, constants and the guarded call of `main`: no loop, no `with`, no bare call at module level."""
    allowed = (
        ast.Import,
        ast.ImportFrom,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Assign,
        ast.AnnAssign,
    )
    for node in ast.parse(modules()[name].read_text()).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        guard = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
        assert docstring or guard or isinstance(node, allowed), f"{name}, line {node.lineno}"


@pytest.mark.slow
def test_importing_all_modules_prints_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    # Programs that are started only where what they write to is installed: an extra, no part of an image.
    left_out = {f"runs.tracking.{name}_writer" for name in ("mlflow", "trackio") if find_spec(name) is None}
    names = [f"drift_detector_pipeline.{name}" for name in modules().keys() - left_out]
    code = f"""
import builtins, importlib, sys
opened, real = [], builtins.open
def watching(file, mode="r", *rest, **options):
    if set(mode) & set("wax+") and "fontlist" not in str(file): opened.append(file)  # matplotlib's, once a machine
    return real(file, mode, *rest, **options)
builtins.open = watching
for name in {names}: importlib.import_module(name)
assert not opened, opened
"""
    command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
