"""One file from a public address, continued where a broken download stopped.

In: a URL. Out: the file's bytes in a partial file, for fetch.py to check and rename.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from drift_detector_pipeline.console import log, progress_bar
from drift_detector_pipeline.files import disk_full_explained

if TYPE_CHECKING:
    import requests

_PATIENCE = 3  # attempts in a row that bring nothing new before the address is given up
_BACKOFF_S = 0.5  # before the second attempt; doubled before each further one
_TIMEOUT_S = (10, 60)  # to connect; between two pieces of the body
_CHUNK_BYTES = 1 << 16


class DownloadError(Exception):
    """Why an address does not provide the file; caught by fetch.py, which tries the next place."""


class _BrokenOffError(Exception):
    """Why a download stopped; it is continued."""


def download(url: str, part: Path) -> None:
    """Fill `part` with what `url` holds, going on from what is there already.

    Raises DownloadError with the reason after several attempts that brought nothing new; `part` is then kept.
    """
    failures = 0
    while True:
        before = size_bytes(part)
        try:
            return _continue(url, part)
        except _BrokenOffError as reason:
            failures = 1 if size_bytes(part) > before else failures + 1
            if failures == _PATIENCE:
                kept = f"; the next try resumes from {part}" if size_bytes(part) else ""
                raise DownloadError(f"{reason}, {_PATIENCE} times{kept}") from reason
            log.warning("%s: %s; trying again", url, reason)
            time.sleep(_BACKOFF_S * 2 ** (failures - 1))


def _continue(url: str, part: Path) -> None:
    """Ask once for what `part` still lacks; raises _BrokenOffError or DownloadError unless that completes it."""
    import requests  # 0.15 s that only a missing file has to cost

    offset = size_bytes(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
            offset, total = _what_comes(response, part)
            _save(response, part, offset, total)
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise _BrokenOffError(_short(error)) from error
    except requests.RequestException as error:
        raise DownloadError(_short(error)) from error
    if total is not None and size_bytes(part) < total:
        raise _BrokenOffError(f"broke off after {size_bytes(part)} of {total} bytes")


def _what_comes(response: "requests.Response", part: Path) -> tuple[int, int | None]:
    """Return the first byte this response brings and the total size; raises as `_continue` if it brings none."""
    status, offset = response.status_code, size_bytes(part)
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if status == 206 and span.startswith(f"{offset}-"):
        return offset, int(total) if total.isdigit() else None
    if status == 200:  # from the start: a first request, or a server that knows no ranges
        length = response.headers.get("Content-Length")
        return 0, int(length) if length else None
    if status in (206, 416):  # what is there already belongs to another file
        part.unlink(missing_ok=True)
        raise _BrokenOffError(f"HTTP {status}, cannot go on from byte {offset}")
    if status >= 500 or status in (408, 429):
        raise _BrokenOffError(f"HTTP {status} {response.reason}")
    raise DownloadError(f"HTTP {status} {response.reason}")


def _save(response: "requests.Response", part: Path, offset: int, total: int | None) -> None:
    with (
        disk_full_explained(part),
        part.open("ab" if offset else "wb") as file,
        progress_bar(total=total, title=part.stem, unit="B", done=offset, unit_scale=True) as bar,
    ):
        for chunk in response.iter_content(_CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())


def _short(error: "requests.RequestException") -> str:
    """Return the innermost reason: the libraries wrap it in addresses and object names."""
    inner = error.args[0] if error.args else error
    text = str(getattr(inner, "reason", inner))
    return text.rpartition("): ")[2] or type(error).__name__


def size_bytes(path: Path) -> int:
    """Size of a file; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0
