"""DVC without surprises: `python -m drift_detector_pipeline.raw.remote pull|push|status [-r REMOTE] [dvc arguments]`.

In: .dvc/config and credentials. Out: what dvc does and, when it fails, one line that says what to do about it.
Used by `make dvc_pull`, `dvc_push`, `dvc_status` and by fetch.py. dvc is a process of its own here: it never
prompts, never waits for a browser, never reports usage, and keeps its notes inside the repository. DVC_PARALLEL_JOBS
says how many files it moves at once; in CI, where CI_MODE=true, it is one.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.raw.drive_credentials import GUIDE, account_of
from drift_detector_pipeline.stopped import was_asked_by
from drift_detector_pipeline.whole_files import read_plain

PLACEHOLDER = "REPLACE_WITH_YOUR_FOLDER_ID"
CREDENTIALS = "GDRIVE_CREDENTIALS_DATA"  # environment variable: the text of a service account's key file
PARALLEL_JOBS = "DVC_PARALLEL_JOBS"  # environment variable: files at once
KEY_FILE = Path(".secrets/gdrive-dvc-service-account.json")  # below the repository's root; read if that is not set
_KEY_PATH = "gdrive_service_account_json_file_path"  # DVC's setting

# What dvc, PyDrive2 and boto write on stderr, and what a person can do about it. The first that matches counts.
_ADVICE = {
    "storageQuotaExceeded|storage quota": "403: a service account owns no space in a personal Drive, so pull works and "
    f"push does not; push to a shared drive or sign in yourself; {GUIDE}",
    "RateLimitExceeded|dailyLimitExceeded|rate limit|HttpError 429|Too Many Requests|SlowDown": "too many requests "
    "for now: wait some minutes and run it again; what has arrived is kept",
    "File not found: |HttpError 404": "404: wrong folder id, or the folder is not shared with the service account "
    f"(client_email in its key); {GUIDE}",
    "HttpError 403|insufficientFilePermissions": "403: the service account may not do this; share the folder with it "
    f"as Editor; {GUIDE}",
    "invalid_grant|invalid_client|HttpError 401": "the service account's key was refused: revoked, or this machine's "
    "clock is wrong",
    "HttpError 5\\d\\d": "Google Drive has an internal error: run it again later; what has arrived is kept",
    "Failed to authenticate GDrive|Non interactive mode": f"the sign-in to Google Drive failed; {GUIDE}",
    "Unable to locate credentials": f"no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; {GUIDE}",
    "InvalidAccessKeyId|SignatureDoesNotMatch|Access ?Denied|Forbidden|Anonymous caller|does not have storage": "no "
    "access: the credentials are wrong or have no right to this bucket",
    "bucket does not exist|NoSuchBucket": "the bucket does not exist",
    "No space left on device|Disk quota exceeded|disk is full": "the disk is full",
    "Unable to find the server|C(?:ould not|annot) connect|Connection refused|not known|name resolution": "no "
    "connection: check the network and the remote's address",
    "is not a git repository": "dvc wants git here: `git init`, or `dvc config --local core.no_scm true`",
    "do not exist neither|Is your cache up to date|missing-files": "the data is neither in the remote nor here, or "
    "damaged: `make process_data` fetches it from its public address, then `make dvc_push` stores it",
}


class Repository(NamedTuple):
    """A DVC repository as seen from one of its folders."""

    folder: Path  # dvc runs here
    root: Path  # has .dvc
    settings: dict[str, str]  # what `dvc config --list` says: all levels merged, paths absolute

    @property
    def cache(self) -> Path:
        """The folder of the local cache."""
        return Path(self.settings.get("cache.dir", self.root / ".dvc" / "cache"))

    @property
    def default_remote(self) -> str:
        """The name of the remote that is meant when none is given; empty: none."""
        return self.settings.get("core.remote", "")


@exit_status
def main() -> int:
    """Run one dvc command against a remote, for the Makefile."""
    parser = argparse.ArgumentParser(prog="python -m drift_detector_pipeline.raw.remote")
    parser.add_argument("command", choices=["pull", "push", "status"])
    parser.add_argument("-r", "--remote", help="name of the remote; default: core.remote")
    chosen, rest = parser.parse_known_args()
    repository = open_repository(Path())
    name = chosen.remote or repository.default_remote
    if chosen.command == "status":
        return _status(repository, name, rest)
    check_ready(repository, name)
    dvc(repository, [chosen.command, *jobs(), "-r", name, *rest], show=True)
    return 0


def open_repository(folder: Path) -> Repository:
    """Read the DVC settings that hold in `folder`; DataError if it is in no DVC repository."""
    here = folder.resolve()
    root = next((place for place in (here, *here.parents) if (place / ".dvc").is_dir()), None)
    if root is None:
        raise DataError(f"{folder} is in no DVC repository (no .dvc folder there or above)")
    listing = dvc(Repository(folder, root, {}), ["config", "--list"])
    return Repository(folder, root, dict(line.split("=", 1) for line in listing.splitlines() if "=" in line))


def check_ready(repository: Repository, name: str) -> None:
    """Raise DataError if the remote `name` cannot work without a person: unknown, a placeholder, no key for Drive."""
    url = repository.settings.get(f"remote.{name}.url")
    if url is None:
        raise DataError(f"no DVC remote {name!r} in .dvc/config; {GUIDE}")
    if PLACEHOLDER in url:
        raise DataError(
            f"the folder id in .dvc/config is still a placeholder: `dvc remote modify {name} url gdrive://ID`; {GUIDE}"
        )
    if url.startswith("gdrive://") and _by_service_account(repository, name):
        _check_key(repository, name)


def jobs() -> list[str]:
    """Words for dvc on how many files it moves at once; none where it decides itself: 4 a core.

    Raises ConfigError if DVC_PARALLEL_JOBS is no number above 0.
    """
    wanted = os.environ.get(PARALLEL_JOBS, "").strip()
    if not wanted:
        return ["--jobs", "1"] if os.environ.get("CI_MODE") == "true" else []
    if not (wanted.isascii() and wanted.isdigit() and int(wanted)):
        raise ConfigError(f"{PARALLEL_JOBS}={wanted}: expected how many files to move at once, e.g. {PARALLEL_JOBS}=4")
    return ["--jobs", wanted]


def dvc(repository: Repository, arguments: Sequence[str], *, show: bool = False, limit_s: float = 86_400) -> str:
    """Run dvc and return what it printed; with `show` a person sees that and the progress instead.

    Raises DataError with one line of advice if it fails or is not done after `limit_s`.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    with (
        tempfile.TemporaryFile() as printed,
        subprocess.Popen(
            command,
            cwd=repository.folder,
            env=_environment(repository, show),
            stdin=subprocess.DEVNULL,
            stdout=None if show else printed,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        limit = threading.Timer(limit_s, process.kill)
        try:
            limit.start()
            complaint = _pass_on(process.stderr, show)
            status = process.wait()
        except BaseException:
            _end(process)
            raise
        finally:
            limit.cancel()
        printed.seek(0)
        output = printed.read().decode()
    if status < 0:
        raise DataError(f"dvc {arguments[0]} was stopped (signal {-status}; limit {limit_s:.0f} s)")
    if status or (arguments[0] == "push" and "do not exist neither" in complaint):  # dvc calls the latter a success
        raise DataError(f"dvc {arguments[0]}: {explain(complaint)}")
    return output


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End dvc, which tidies up after Ctrl-C: a terminal has told it already, and a second one would interrupt that."""
    gentle = signal.SIGTERM if os.name == "nt" else signal.SIGINT
    steps: list[tuple[float, Callable[[], None]]] = [
        (5.0 if was_asked_by(signal.SIGINT) else 0.0, lambda: process.send_signal(gentle)),
        (5.0, process.terminate),
        (5.0, process.kill),
    ]
    for seconds, end in steps:
        try:
            process.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            end()


def explain(complaint: str) -> str:
    """One line for a person, from what dvc wrote on stderr."""
    for pattern, advice in _ADVICE.items():
        if re.search(pattern, complaint, re.IGNORECASE):
            return advice
    errors = [line for line in complaint.splitlines() if line.startswith("ERROR: ")]
    return errors[0].removeprefix("ERROR: ") if errors else complaint.strip()[-300:] or "failed without a word"


def _by_service_account(repository: Repository, name: str) -> bool:
    return repository.settings.get(f"remote.{name}.gdrive_use_service_account", "false").lower() == "true"


def _check_key(repository: Repository, name: str) -> None:
    """Raise DataError unless a key is there and looks like one; dvc's own words on this help nobody."""
    configured = repository.settings.get(f"remote.{name}.{_KEY_PATH}")
    key, origin = os.environ.get(CREDENTIALS, ""), CREDENTIALS
    if configured or not key:  # dvc, too, prefers a configured file to the environment
        path = Path(configured or repository.root / KEY_FILE)
        origin = configured or str(KEY_FILE)
        try:
            key = read_plain(path).decode()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if configured and key:
                raise DataError(
                    f"{configured}: {reason}; DVC's settings name this key file, and dvc prefers it to the key "
                    f"in {CREDENTIALS}. Put the file there, or forget it, where it was set with --local or without: "
                    f"`dvc remote modify --local --unset {name} {_KEY_PATH}`; {GUIDE}"
                ) from error
            raise DataError(
                f"no credentials for Google Drive: set {CREDENTIALS}, or put the service account's key file at "
                f"{origin} ({reason}); {GUIDE}"
            ) from error
    account_of(key, origin)


def _environment(repository: Repository, show: bool) -> dict[str, str]:
    variables = {
        "USER": "dvc",  # dvc dies under a user id without a name unless this is set
        "DVC_SITE_CACHE_DIR": str(repository.root / ".dvc" / "tmp" / "site"),  # its default is shared by all users
        **os.environ,
        "GDRIVE_NON_INTERACTIVE": "1",
        "DVC_NO_ANALYTICS": "1",
    }
    if show and sys.stderr.isatty():
        variables["DVC_IGNORE_ISATTY"] = "1"  # stderr is a pipe to dvc: draw progress bars all the same
    names = [key.split(".")[1] for key in repository.settings if key.endswith(".gdrive_use_service_account")]
    if any(_by_service_account(repository, name) for name in names) and not variables.get(CREDENTIALS):
        # Without any, dvc refuses local commands such as checkout, too. It reads them only when it signs in.
        key_file = repository.root / KEY_FILE
        readable = key_file.is_file() and os.access(key_file, os.R_OK)
        variables[CREDENTIALS] = key_file.read_text(encoding="utf-8", errors="replace") if readable else "{}"
    return variables


def _pass_on(stream: IO[bytes] | None, show: bool) -> str:
    """Read dvc's stderr to its end; show progress and warnings as they come, but not what `explain` says better."""
    assert stream is not None
    kept = b""
    while chunk := os.read(stream.fileno(), 65_536):
        kept += chunk
        if show and b"ERROR" not in kept:
            sys.stderr.write(chunk.decode(errors="replace"))
            sys.stderr.flush()
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", kept.decode(errors="replace"))


def _status(repository: Repository, name: str, arguments: Sequence[str]) -> int:
    """Compare files with .dvc files and, where it can work, the cache with the remote."""
    dvc(repository, ["status", *arguments], show=True)
    try:
        check_ready(repository, name)
    except DataError as reason:
        print(f"The remote was not asked: {reason}")
        return 0
    dvc(repository, ["status", "-c", *jobs(), "-r", name, *arguments], show=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
