"""What a terminal is shown of names that others chose."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

from drift_detector_pipeline.console import in_columns, tell

HOSTILE = "a\x1b[2J\nerror: all is well\u202egnp.exe\r\x07"
SHOWN = r"a\x1b[2J\nerror: all is well\u202egnp.exe\r\x07"
PACKAGE = ROOT / "drift_detector_pipeline"
BY_ITSELF = {  # print figures, words of ours, what was made visible before, or paths that whoever typed them chose
    "cli.py", "console.py", "deploy/container_size.py", "deploy/entrypoint.py", "errors.py", "quickstart.py",
    "raw/remote.py", "stopped.py", "verify.py",
}  # fmt: skip


@pytest.mark.parametrize("beside", [False, True])
def test_a_result_shows_names_without_what_acts_on_a_terminal(beside: bool, capsys: pytest.CaptureFixture[str]) -> None:
    tell(f"3 images: {HOSTILE}", beside=beside)
    printed = capsys.readouterr()
    assert (printed.err if beside else printed.out) == f"3 images: {SHOWN}\n"


def test_a_table_has_a_line_a_row_whatever_its_cells_are_called() -> None:
    assert in_columns([["name", "images"], [HOSTILE, "3"], ["b\n  c", "4"]]).split("\n") == [
        f"name{' ' * (len(SHOWN) - 4)}  images", f"{SHOWN}  3", rf"b\n  c{' ' * (len(SHOWN) - 6)}  4"
    ]  # fmt: skip


def test_no_command_prints_names_as_they_are() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name not in BY_ITSELF and not name.startswith("proof/"):  # our own measurements
            assert not list(_raw(path)), f"{name}: console.tell shows names without what acts on a terminal"


def _raw(path: Path) -> list[str]:
    """What a module prints that is neither a plain text, nor JSON, nor made visible."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    printed = [argument for call in calls if ast.unparse(call.func) == "print" for argument in call.args]
    return [ast.unparse(one) for one in printed if not _is_safe(one)]


def _is_safe(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _is_safe(node.body) and _is_safe(node.orelse)
    calls = ("json.dumps", "visible", "in_columns", "table")
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Call) and ast.unparse(node.func) in calls)
