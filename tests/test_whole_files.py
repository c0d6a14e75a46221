"""What is read as a whole is a file, has an end, and is never waited for."""

import os
from pathlib import Path

import pytest

from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.json_files import read_json
from drift_detector_pipeline.modeling.named import check_weights
from drift_detector_pipeline.whole_files import read_at_most, read_plain


@pytest.fixture(params=["device", "pipe", "folder", "link"])
def odd(request, tmp_path: Path) -> Path:
    """What is no plain file, each of which would be read without end, or waited for."""
    place = tmp_path / "odd.json"
    if request.param == "folder":
        place.mkdir()
    elif request.param == "pipe":
        os.mkfifo(place)
    elif request.param == "link":
        place.symlink_to("/dev/zero")
    return Path("/dev/zero") if request.param == "device" else place


def test_what_is_no_plain_file_is_refused_at_once(odd: Path) -> None:
    for read in (read_plain, read_json):
        with pytest.raises((ValueError, IsADirectoryError), match=r"a plain file is expected|directory"):
            read(odd)


def test_what_may_have_no_end_has_no_hash(odd: Path) -> None:
    with pytest.raises(IsADirectoryError if odd.is_dir() else DataError, match=r"a plain file is expected|directory"):
        file_hash(odd)


def test_weights_are_a_file(odd: Path) -> None:
    with pytest.raises(ModelError, match="a folder, a pipe or a device; a weight file is expected"):
        check_weights(odd)


def test_a_file_of_no_plausible_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="1,099,511,627,776 bytes, more than any such file has"):
        read_plain(tmp_path / "sparse")
    assert read_at_most(tmp_path / "sparse", 1 << 30) is None and read_at_most(Path("/dev/zero"), 10) is None


def test_what_is_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "a") == [1] and read_plain(tmp_path / "a", 6) == read_at_most(tmp_path / "a", 6)
