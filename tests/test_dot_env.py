"""What stands in .env reaches a command, or is named where it cannot be read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from drift_detector_pipeline.dot_env import variables
from drift_detector_pipeline.errors import ConfigError


def test_a_command_has_what_the_file_says_and_what_is_set_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ONE='a b'\nTWO=2\nTHREE\n")
    command = [
        sys.executable,
        "-m",
        "drift_detector_pipeline.dot_env",
        "sh",
        "-c",
        'echo "$ONE,$TWO,$1"; exit 4',
        "sh",
        "$x y",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TWO": "two"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (4, "a b,two,$x y\n", "")


@pytest.mark.parametrize("content", ["A=1\n".encode("utf-16"), b"A=\xfc\n", b"A=\0\n"])
def test_a_file_that_is_no_text_is_named_with_what_is_expected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(ConfigError, match=r"\.env: .*expected a text file in UTF-8 with lines such as NAME=value"):
        variables(tmp_path / ".env")


def test_a_mark_of_order_is_no_letter_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfONE=1\r\nTWO=2\r\n")
    assert variables(tmp_path / ".env") == {"ONE": "1", "TWO": "2"}


def test_a_pipe_is_read_once_and_what_has_no_end_is_refused(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"ONE=1\n")
    os.close(writing)
    assert variables(Path(f"/dev/fd/{reading}")) == {"ONE": "1"}
    os.close(reading)
    with pytest.raises(ConfigError, match="/dev/zero: more than 1,048,576 bytes; expected a text file"):
        variables(Path("/dev/zero"))


def test_no_file_sets_nothing(tmp_path: Path) -> None:
    assert variables(tmp_path / ".env") == {} == variables(tmp_path)
