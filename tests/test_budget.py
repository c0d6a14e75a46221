"""The budget of each folder of tests: every folder has one, and one that is far over it fails the run."""

import subprocess
import sys
from pathlib import Path

import budget
import pytest
from conftest import ROOT, ci_environment

SPENDS = """
import time
def test_spends_a_little():
    end = time.process_time() + 0.4
    while time.process_time() < end:
        pass
"""


def test_every_folder_of_tests_has_a_budget_and_no_other() -> None:
    found = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert found == set(budget.CPU_SECONDS)


@pytest.mark.parametrize(
    ("workers", "seconds", "status", "said"),
    [("0", 9, 0, ""), ("0", 0.2, 0, "over its budget"), ("2", 0.01, 1, "FAILED: over 10 times its budget")],
)
@pytest.mark.slow
def test_what_a_folder_cost_is_printed_and_far_too_much_fails(
    tmp_path: Path, workers: str, seconds: float, status: int, said: str
) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(SPENDS)
    (tmp_path / "conftest.py").write_text(
        f"import budget\nbudget.CPU_SECONDS = {{'tests': {seconds}}}\n"
        "def pytest_configure(config): config.pluginmanager.register(budget.Budget())\n"
    )
    environment = ci_environment() | {"PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "pytest", "-q", "-n", workers, "--rootdir=.", "-c", "/dev/null", "tests"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    [row] = [line for line in done.stdout.splitlines() if line.endswith(f"  tests{'  ' if said else ''}{said}")]
    assert float(row.split()[0]) >= 0
