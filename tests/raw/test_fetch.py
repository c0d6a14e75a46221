"""fetch.py against a real loopback server, a real DVC repository and a file system that fills up."""

import hashlib
import http.server
import logging
import os
import pty
import random
import resource
import shutil
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from drift_detector_pipeline import config
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw import download, fetch, remote
from drift_detector_pipeline.settings import Data

BODY = random.Random(0).randbytes(1_000_000)
MD5 = hashlib.md5(BODY).hexdigest()
ROOT = Path(__file__).resolve().parents[2]


class Server(http.server.ThreadingHTTPServer):
    """Serves BODY; each request first takes one of `faults`, then the server is well."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[str] = []
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/archive.tgz"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        fault = self.server.faults.pop(0) if self.server.faults else ""
        if fault.isdigit():
            return self.send_error(int(fault))
        start = int(self.headers["Range"][len("bytes=") : -1]) if self.headers["Range"] and fault != "no ranges" else 0
        if start >= len(BODY):
            return self.send_error(416)
        body = BODY[::-1] if fault == "wrong bytes" else BODY[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "break off" else body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No DVC settings or credentials of this machine, and no long waits."""
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "none"))
    monkeypatch.delenv(remote.CREDENTIALS, raising=False)
    monkeypatch.setattr(download, "_BACKOFF_S", 0.01)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Where the archive belongs, in a repository that is none of DVC's."""
    path = tmp_path / "data" / "raw" / "archive.tgz"
    path.parent.mkdir(parents=True)
    return path


def settings(raw_path: Path, source_url: str | None = None) -> Data:
    data = config.load(["data=imagenette"]).settings.data
    return data.model_copy(update={"raw_path": raw_path, "source_url": source_url})


def track(raw: Path, size_bytes: int = len(BODY)) -> bytes:
    """Write the `.dvc` file of BODY."""
    content = f"outs:\n- md5: {MD5}\n  size: {size_bytes}\n  hash: md5\n  path: {raw.name}\n".encode()
    raw.with_name(f"{raw.name}.dvc").write_bytes(content)
    return content


def make_repository(root: Path, url: str) -> None:
    """Make `root` a DVC repository without git whose default remote is `url`."""
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n    no_scm = true\n    remote = store\n"
        f"['remote \"store\"']\n    url = {url}\n"
        + ("    gdrive_use_service_account = true\n" if url.startswith("gdrive") else "")
    )


def test_a_file_that_is_there_is_returned_at_once(raw: Path) -> None:
    raw.write_bytes(BODY)
    track(raw)
    data = settings(raw)
    started = time.process_time()  # the clock counts what else the machine does
    assert fetch.ensure_raw(data) == raw
    assert time.process_time() - started < 0.05


def test_a_folder_is_returned_as_it_is(tmp_path: Path) -> None:
    assert fetch.ensure_raw(settings(tmp_path)) == tmp_path
    fetch.verify(tmp_path)


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, drift_detector_pipeline.raw.fetch; print({'torch', 'dvc', 'requests'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_wrong_file_is_named_with_both_checksums_and_left_alone(raw: Path) -> None:
    raw.write_bytes(BODY[::-1])
    track(raw)
    assert fetch.ensure_raw(settings(raw)) == raw  # the size is right: `verify` finds out
    with pytest.raises(DataError) as caught:
        fetch.verify(raw)
    for part in (MD5, hashlib.md5(BODY[::-1]).hexdigest(), "Remove it", "make process_data"):
        assert part in str(caught.value)
    assert raw.read_bytes() == BODY[::-1]


def test_a_file_of_the_wrong_size_is_refused_without_being_asked(raw: Path) -> None:
    raw.write_bytes(BODY[:1000])
    track(raw)
    with pytest.raises(DataError, match=r"1000 bytes, expected \w{32} and 1000000 bytes"):
        fetch.ensure_raw(settings(raw))
    assert raw.stat().st_size == 1000


def test_an_unreadable_dvc_file_is_an_error_that_says_how_to_restore_it(raw: Path) -> None:
    raw.write_bytes(BODY)
    raw.with_name("archive.tgz.dvc").write_text("outs: []")
    with pytest.raises(DataError, match="git checkout"):
        fetch.ensure_raw(settings(raw))


def test_a_missing_path_that_nothing_provides_is_said_at_once(raw: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        fetch.ensure_raw(settings(raw))
    assert list(raw.parent.iterdir()) == []


def test_a_missing_file_is_downloaded_from_the_public_address(raw: Path, server: Server) -> None:
    assert fetch.ensure_raw(settings(raw, server.url)).read_bytes() == BODY
    assert not raw.with_name("archive.tgz.part").exists()


def test_a_download_that_breaks_off_goes_on_where_it_stopped(raw: Path, server: Server) -> None:
    server.faults = ["break off", "break off"]
    assert fetch.ensure_raw(settings(raw, server.url)).read_bytes() == BODY
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in server.ranges[1:] if asked]
    assert len(starts) == 2 and 0 < starts[0] < starts[1]


def test_the_next_run_goes_on_with_what_the_last_one_left(raw: Path, server: Server) -> None:
    raw.with_name("archive.tgz.part").write_bytes(BODY[:300_000])
    assert fetch.ensure_raw(settings(raw, server.url)).read_bytes() == BODY
    assert server.ranges == ["bytes=300000-"]


def test_a_server_that_ignores_ranges_starts_over(raw: Path, server: Server) -> None:
    raw.with_name("archive.tgz.part").write_bytes(BODY[:300_000])
    server.faults = ["no ranges"]
    assert fetch.ensure_raw(settings(raw, server.url)).read_bytes() == BODY
    assert server.ranges == ["bytes=300000-"]


def test_a_leftover_that_is_longer_than_the_file_is_thrown_away(raw: Path, server: Server) -> None:
    raw.with_name("archive.tgz.part").write_bytes(BODY * 2)
    assert fetch.ensure_raw(settings(raw, server.url)).read_bytes() == BODY
    assert server.ranges == ["bytes=2000000-", None]


def test_a_busy_server_is_asked_again(raw: Path, server: Server) -> None:
    server.faults = ["503", "429"]
    assert fetch.ensure_raw(settings(raw, server.url)).read_bytes() == BODY


def test_a_server_that_stays_down_is_given_up(raw: Path, server: Server) -> None:
    server.faults = ["503"] * 9
    with pytest.raises(DataError, match="HTTP 503 Service Unavailable, 3 times"):
        fetch.ensure_raw(settings(raw, server.url))
    assert len(server.ranges) == 3


def test_an_address_that_does_not_exist_is_asked_once(raw: Path, server: Server) -> None:
    server.faults = ["404"] * 9
    with pytest.raises(DataError, match="HTTP 404 Not Found"):
        fetch.ensure_raw(settings(raw, server.url))
    assert len(server.ranges) == 1


def test_a_device_is_no_source() -> None:
    with pytest.raises(DataError, match=r"/dev/null: neither a file nor a folder; data\.raw_path is an archive"):
        fetch.ensure_raw(settings(Path("/dev/null"), None))


def test_wrong_bytes_never_reach_the_place_of_the_file(raw: Path, server: Server) -> None:
    track(raw)
    server.faults = ["wrong bytes"]
    with pytest.raises(DataError) as caught:
        fetch.ensure_raw(settings(raw, server.url))
    assert MD5 in str(caught.value) and hashlib.md5(BODY[::-1]).hexdigest() in str(caught.value)
    assert sorted(path.name for path in raw.parent.iterdir()) == ["archive.tgz.dvc"]


def test_a_full_disk_is_explained_and_what_arrived_is_kept(raw: Path, server: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(DataError, match="the disk is full or a limit is reached"):
            fetch.ensure_raw(settings(raw, server.url))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert fetch.ensure_raw(settings(raw, server.url)).read_bytes() == BODY
    assert server.ranges[1] is not None


def test_two_who_need_the_file_download_it_once(raw: Path, server: Server) -> None:
    data = settings(raw, server.url)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fetch.ensure_raw, [data, data])) == [raw, raw]
    assert len(server.ranges) == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, server: Server) -> None:
    (tmp_path / "raw").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="raw must be writable"):
        fetch.ensure_raw(settings(tmp_path / "raw" / "archive.tgz", server.url))


@pytest.mark.parametrize("ci_mode", ["false", "true"])
def test_a_terminal_sees_progress_unless_ci_mode_is_on(raw: Path, server: Server, ci_mode: str) -> None:
    code = f"""
from pathlib import Path
from drift_detector_pipeline import config
from drift_detector_pipeline.raw import fetch
data = config.load(["data=imagenette", "data.raw_path={raw}", "data.source_url={server.url}"]).settings.data
fetch.ensure_raw(data)"""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    environment = os.environ | {"CI_MODE": ci_mode}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, stderr=theirs, env=environment, check=True)
    os.write(theirs, b"end")
    seen = os.read(ours, 65_536).decode()
    os.close(ours)
    os.close(theirs)
    assert ("archive.tgz:" in seen) == (ci_mode == "false")


def test_the_last_error_names_every_place_and_what_helps(raw: Path, tmp_path: Path, server: Server) -> None:
    make_repository(tmp_path, f"gdrive://{remote.PLACEHOLDER}")
    track(raw)
    server.faults = ["404"]
    with pytest.raises(DataError) as caught:
        fetch.ensure_raw(settings(raw, server.url))
    said = str(caught.value)
    places = [f"the file {raw}: missing", "DVC cache: not in it", "DVC remote: the folder id", "public address http"]
    for part in (*places, "make dvc_pull", f"fetch {server.url}", f"put it at {raw}", MD5, "data=digits"):
        assert part in said


@pytest.mark.slow
def test_the_cache_gives_back_a_lost_file_without_remote_or_credentials(
    raw: Path, tmp_path: Path, server: Server
) -> None:
    make_repository(tmp_path, f"gdrive://{remote.PLACEHOLDER}")
    pointer = track(raw)
    fetch.ensure_raw(settings(raw, server.url))  # a verified download fills the cache
    raw.unlink()
    assert fetch.ensure_raw(settings(raw, server.url)).read_bytes() == BODY
    assert len(server.ranges) == 1
    assert raw.with_name("archive.tgz.dvc").read_bytes() == pointer


@pytest.mark.slow
def test_the_remote_gives_back_a_file_that_the_cache_lost_too(raw: Path, tmp_path: Path) -> None:
    make_repository(tmp_path, str(tmp_path / "store"))
    track(raw)
    stored = tmp_path / "store" / "files" / "md5" / MD5[:2] / MD5[2:]  # as `dvc push` leaves it; test_remote.py pushes
    stored.parent.mkdir(parents=True)
    stored.write_bytes(BODY)
    assert fetch.ensure_raw(settings(raw)).read_bytes() == BODY


@pytest.mark.slow
def test_a_tracked_folder_comes_back_from_the_cache(tmp_path: Path) -> None:
    make_repository(tmp_path, f"gdrive://{remote.PLACEHOLDER}")
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "one.png").write_bytes(BODY)
    remote.dvc(remote.open_repository(tmp_path), ["add", "--quiet", "images"])
    shutil.rmtree(folder)
    assert (fetch.ensure_raw(settings(folder)) / "one.png").read_bytes() == BODY


@pytest.mark.slow
def test_a_damaged_copy_in_the_cache_is_removed_and_replaced(raw: Path, tmp_path: Path, server: Server) -> None:
    make_repository(tmp_path, f"gdrive://{remote.PLACEHOLDER}")
    track(raw)
    stored = tmp_path / ".dvc" / "cache" / "files" / "md5" / MD5[:2] / MD5[2:]
    stored.parent.mkdir(parents=True)
    stored.write_bytes(BODY[::-1])
    stored.chmod(0o444)  # dvc checkout would hand it out as it is
    assert fetch.ensure_raw(settings(raw, server.url)).read_bytes() == BODY
    assert stored.read_bytes() == BODY


def test_without_a_dvc_repository_the_file_is_still_fetched_and_the_cache_missed_aloud(
    raw: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    track(raw)
    with caplog.at_level(logging.WARNING):
        assert fetch.ensure_raw(settings(raw, server.url)).read_bytes() == BODY
    assert "not put into DVC's cache" in caplog.text


# Few lines, and as text 200 MB.
WIDE = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise("abcdefghijklmnopqrstuvwxyz"))


@pytest.mark.parametrize(
    "content", ["", "outs: 3", "[" * 5000, "outs:\n- md5: ab\n", "\t\0", f"{WIDE}outs:\n- md5: *z\n  size: 1\n"]
)
def test_a_damaged_pointer_says_how_it_comes_back(content: str, tmp_path: Path) -> None:
    (tmp_path / "photos.zip.dvc").write_text(content)
    with pytest.raises(DataError, match=r"photos\.zip\.dvc: expected one output.*git checkout"):
        fetch.read_pointer(tmp_path / "photos.zip")
