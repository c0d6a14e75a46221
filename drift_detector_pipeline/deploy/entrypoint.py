"""What a container does before its command: `python -m drift_detector_pipeline.deploy.entrypoint`.

In: the environment and, mounted below /run, .env, a service account's key and the host's DVC settings. Out: shell
assignments on stdout for docker-entrypoint.sh, one line about Google Drive on stderr, and DVC settings of the
container's own, in a file that is not mounted.
"""

import configparser
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from drift_detector_pipeline.dot_env import variables
from drift_detector_pipeline.errors import DataError, exit_status
from drift_detector_pipeline.raw.drive_credentials import GUIDE, account_of

KEY = "GDRIVE_CREDENTIALS_DATA"  # what dvc reads
OTHER_KEY = "GDRIVE_CREDENTIALS_DATA_CONTENT"
KEY_FILE = "GDRIVE_KEY_FILE_PATH_IN_CONTAINER"
MOUNTED = "PIPELINE_MOUNTED_SETTINGS"
DVC_CONFIG = Path(".dvc/config")
_PATH = "gdrive_service_account_json_file_path"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@exit_status
def main() -> int:
    """Print what the shell is to set and unset; say whose key for Google Drive there is."""
    mounted = Path(os.environ.get(MOUNTED, "/run/pipeline"))
    added = _env_file(mounted / ".env", os.environ)
    origin, key = _find_key(mounted, os.environ | added)
    drives = _write_dvc_config(mounted, signed_in=bool(key))
    _say(origin, key, drives)
    if key:
        added[KEY] = key
    print("".join(f"export {name}={shlex.quote(value)}\n" for name, value in added.items()) + f"unset {OTHER_KEY}")
    return 0


def _env_file(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The values of a mounted .env, quotes removed, without those that are set already (empty counts as not set)."""
    given = variables(path)
    for name in given:
        if not _NAME.fullmatch(name):
            raise DataError(f".env: {name!r} is no name of a variable; expected lines such as WANDB_API_KEY=...")
    return {name: value for name, value in given.items() if value is not None and not environment.get(name)}


def _find_key(mounted: Path, environment: Mapping[str, str]) -> tuple[str, str]:
    """Where a key comes from and its text; both empty if there is none."""
    for name in (KEY, OTHER_KEY):
        if text := environment.get(name, "").strip():
            return name, text
    path = Path(environment.get(KEY_FILE) or mounted / "gdrive-service-account.json")
    if not path.exists():
        return "", ""
    try:
        return str(path), path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        print(f"Google Drive: {path} cannot be read ({reason})", file=sys.stderr)
        return "", ""


def _write_dvc_config(mounted: Path, *, signed_in: bool) -> list[str]:
    """Write the host's settings, fit for this container, to .dvc/config; return the names of the Drive remotes.

    The host's are .dvc/config and .dvc/config.local. What names a place of the host is left out: the cache is mounted
    where DVC expects it, and a key file that is not here would make DVC ignore the key that is.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    host = mounted / "config"
    try:
        parser.read([host if host.exists() else DVC_CONFIG, mounted / "config.local"], encoding="utf-8")
    except configparser.Error as error:
        raise DataError(f".dvc/config cannot be read ({type(error).__name__}); `dvc config --list` says more") from None
    parser.read_dict({"core": {"no_scm": "true"}, "cache": {}})
    parser.remove_option("cache", "dir")
    drives = [name for name in parser.sections() if parser[name].get("url", "").startswith("gdrive://")]
    for name in drives if signed_in else []:
        parser[name]["gdrive_use_service_account"] = "true"
        parser.remove_option(name, _PATH)
    with DVC_CONFIG.open("w", encoding="utf-8") as file:
        parser.write(file)
    return [name.strip("'").removeprefix('remote "').removesuffix('"') for name in drives]


def _say(origin: str, key: str, drives: list[str]) -> None:
    if key:
        try:
            print(f"Google Drive: the key of {account_of(key, origin)}", file=sys.stderr)
        except DataError as error:  # no reason to stop: what needs Drive will say the same, everything else works
            print(f"Google Drive: {error}", file=sys.stderr)
    elif drives:
        print(
            f"Google Drive: no credentials, so nothing is pulled from or pushed to {', '.join(drives)} ({GUIDE}); "
            "what is here, DVC's cache, other remotes and public addresses work",
            file=sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(main())
