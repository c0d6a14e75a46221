"""The package docstring is a map of all modules, and imports point upwards on it only."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import drift_detector_pipeline

PACKAGE = ROOT / "drift_detector_pipeline"
NAME = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")


def mapped() -> list[str]:
    """The module names of the docstring, in its order: the left column of each numbered line and what continues it."""
    text = str(drift_detector_pipeline.__doc__)
    numbered = text[text.index(" 1. ") : text.index("Stages talk")]
    names: list[str] = []
    for line in numbered.splitlines():
        column = re.split(r"\s{2,}", re.sub(r"^\s*\d+\.\s", "", line).strip())[0]
        words = [word.strip() for word in column.split(",") if word.strip()]
        if all(NAME.fullmatch(word) for word in words) and not (line.startswith(" " * 20)):
            names += words
    return names


def modules() -> dict[str, Path]:
    """All modules with code, by their dotted names below the package."""
    found = {
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): path for path in PACKAGE.rglob("*.py")
    }
    return {name: path for name, path in found.items() if not name.endswith("__init__")}


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


def test_packages_import_nothing() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(ast.parse(path.read_text())))


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
    names = [f"drift_detector_pipeline.{name}" for name in modules()]
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
