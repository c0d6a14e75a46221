"""Which files of a folder are meant."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.listing import everything_below, files_below


def test_a_folder_that_cannot_be_read_is_an_error_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: No such file or directory; folders of images must be readable"):
        list(everything_below(tmp_path / "none"))


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, who may not read the folder")
def test_a_folder_without_the_right_to_read_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "cat" / "closed").mkdir(parents=True, mode=0o700)
    code = (
        "import os, sys; from pathlib import Path; from drift_detector_pipeline.raw.listing import files_below\n"
        "os.chdir(sys.argv[1]); os.setuid(65534); list(files_below(Path('cat')))"
    )
    (tmp_path / "cat" / "closed").chmod(0)
    tmp_path.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert "DataError: cat/closed: Permission denied" in done.stderr


def test_files_come_sorted_whatever_order_the_disk_has(tmp_path: Path) -> None:
    for name in ("b/2", "a.b/1", "a/1", "B/1", "a/.b", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)]
    assert names == ["B/1", "a/1", "a.b/1", "b/2"]


def test_links_that_go_in_circles_end(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1").touch()
        (tmp_path / name / "link").symlink_to(tmp_path / other)
    names = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)]
    assert names == ["a/1", "a/link/1", "b/1", "b/link/1"]
