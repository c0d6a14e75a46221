"""Versions to and from the DVC remote: `make models_push`, `make models_pull ARGS="VERSION -r REMOTE"`.

In: models/versions. Out: a pointer of some hundred bytes beside each, <version>.dvc, which git keeps together with
champion.json, history.jsonl and the gates, and the files in the remote, which is that of the raw data; or the files
back, every byte checked.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import DataError, exit_status
from drift_detector_pipeline.raw.remote import check_ready, dvc, jobs, open_repository
from drift_detector_pipeline.release.artefact import MODELS, VERSIONS
from drift_detector_pipeline.release.registry import champion, champion_folder, open_version, versions


@exit_status
def main() -> int:
    """Push or pull the versions that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m drift_detector_pipeline.release.shared")
    parser.add_argument("command", choices=["push", "pull"])
    parser.add_argument("versions", nargs="*", help="default: all")
    parser.add_argument("-r", "--remote", default="", help="name of the remote; default: core.remote")
    chosen = parser.parse_args()
    set_up_logging()
    done = (push if chosen.command == "push" else pull)([name for name in chosen.versions if name], chosen.remote)
    log.info("%sed: %s", chosen.command, ", ".join(done))
    return 0


def push(names: Sequence[str] = (), remote: str = "", place: Path = MODELS) -> list[str]:
    """Send versions, each checked first, to a remote, and leave their pointers; return their names.

    Raises DataError if one is unknown or damaged, or the remote cannot be used.
    """
    repository = open_repository(place)
    name = remote or repository.default_remote
    check_ready(repository, name)
    wanted = list(names) or versions(place)
    if not wanted:
        raise DataError(f"{place / VERSIONS}: no version; make promote VERSION=models/artefact registers one")
    for version in wanted:
        open_version(version, place)
    new = [f"{VERSIONS}/{version}" for version in wanted if not _pointer(version, place).exists()]
    if new:
        dvc(repository, ["add", "--quiet", *new])
    dvc(repository, ["push", *jobs(), "-r", name, *_targets(wanted)], show=True)
    return wanted


def pull(names: Sequence[str] = (), remote: str = "", place: Path = MODELS) -> list[str]:
    """Bring versions whose pointers are here; what lies there and is damaged is replaced. Return their names.

    Raises DataError if there is no pointer, the remote cannot be used, or what came is not what was pushed.
    """
    repository = open_repository(place)
    name = remote or repository.default_remote
    check_ready(repository, name)
    wanted = list(names) or sorted(path.stem for path in (place / VERSIONS).glob("*.dvc"))
    if missing := [version for version in wanted if not _pointer(version, place).is_file()]:
        raise DataError(f"{_pointer(missing[0], place)}: no such pointer; make models_push writes it, git brings it")
    if not wanted:
        raise DataError(f"{place / VERSIONS}: no pointers; make models_push writes them, git brings them")
    # Forced: nobody changes a version, so what differs from its pointer is damaged.
    dvc(repository, ["pull", "--force", *jobs(), "-r", name, *_targets(wanted)], show=True)
    for version in wanted:
        open_version(version, place)
    if (found := champion(place)) is not None and found.version in wanted:
        champion_folder(found, place)
    return wanted


def _pointer(version: str, place: Path) -> Path:
    return place / VERSIONS / f"{Path(version).name}.dvc"


def _targets(names: Sequence[str]) -> list[str]:
    return [f"{VERSIONS}/{version}.dvc" for version in names]


if __name__ == "__main__":
    sys.exit(main())
