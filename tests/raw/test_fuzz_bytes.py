"""A few seconds of what fuzz_bytes.py does every night: bytes led by the lines they reach."""

import subprocess
import sys

import pytest
from conftest import ROOT, ci_environment


@pytest.mark.slow
@pytest.mark.parametrize("target", ["decode", "archive"])
def test_no_bytes_of_a_few_seconds_bring_anything_but_a_reading_or_a_data_error(target, tmp_path):
    pytest.importorskip("atheris", reason="installed for developing, on Linux")
    command = [sys.executable, str(ROOT / "tests" / "fuzz_bytes.py"), target, "2"]
    done = subprocess.run(command, cwd=tmp_path, env=ci_environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "stat::number_of_executed_units" in done.stderr
    assert list((tmp_path / "outputs" / "fuzz").iterdir()) == []
