"""Versions of a model, which of them is the champion, and how that came to be: the folder models/.

In: artefact folders. Out: copies of them that nobody changes any more, and one small file that says which one answers.
Whoever serves, watches or replaces a model asks here. Needs no PyTorch.

    versions/<version>/    an artefact, as it was registered, named after its network and the hash of its manifest
    champion.json          the truth: what answers now, since when, who said so and why
    history.jsonl          every champion.json there ever was, a line each
    gates/<candidate>_against_<champion>/gate.json    what a test of one against the other came to

A kill at any moment leaves champion.json as it was or as it was to be. A line that is missing in the history by then is
in no reader's way, and the next command writes it.
"""

import contextlib
import difflib
import getpass
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.files import (
    disk_full_explained,
    exclusive,
    file_hash,
    replaced_folder,
    write_json,
)
from drift_detector_pipeline.json_files import read_json
from drift_detector_pipeline.release.admitted import gates, identified, objection
from drift_detector_pipeline.release.artefact import (
    MANIFEST,
    MODELS,
    REFERENCE,
    VERSIONS,
    Artefact,
    read_artefact,
    read_manifest,
    version_of,
)
from drift_detector_pipeline.release.chronicle import CHAMPION, HISTORY, Action, reconciled, undoable, write_history
from drift_detector_pipeline.release.chronicle import Champion as Champion
from drift_detector_pipeline.release.chronicle import champion as champion
from drift_detector_pipeline.release.chronicle import history as history
from drift_detector_pipeline.runs.facts import now
from drift_detector_pipeline.stopped import held_back, keeping

_LOCK = ".registry.lock"


def register(folder: Path, place: Path = MODELS) -> str:
    """Copy the artefact in `folder` to where versions lie, every byte checked; return the version.

    The same artefact again changes nothing. Raises DataError if it is damaged or the disk is full.
    """
    names = [*read_artefact(folder).sha256, MANIFEST]
    version = version_of(folder)
    target = place / VERSIONS / version
    with _alone(place):
        with contextlib.suppress(DataError):
            open_version(version, place)
            return version
        with disk_full_explained(target), replaced_folder(target) as partial:
            for name in names:
                _copy(folder / name, partial / name)
            read_artefact(partial)  # what was read from one disk and written to another
            if version_of(partial) != version:
                raise DataError(f"{folder}: was exchanged while it was copied; once more")
    return version


def versions(place: Path = MODELS) -> list[str]:
    """Names of all versions whose files are here, in their order."""
    return sorted(found.parent.name for found in _manifests(place / VERSIONS))


def open_version(version: str, place: Path = MODELS) -> Artefact:
    """Read a version, every byte checked.

    Raises DataError that names the nearest ones if there is none of that name, or a file that is damaged.
    """
    folder = place / VERSIONS / version
    if version not in (known := versions(place)):
        pointer = place / VERSIONS / f"{version}.dvc"
        if Path(version).name == version and pointer.is_file():
            raise DataError(f"{folder}: its files are not here, only {pointer.name}; fetch them: make models_pull")
        near = difflib.get_close_matches(version, known, n=3, cutoff=0.0)
        said = f"the nearest are {', '.join(near)}" if near else "there is none yet"
        raise DataError(f"{version}: no version in {place / VERSIONS}; {said}; make models lists all")
    _check_name(folder)
    return read_artefact(folder)


def listed_version(version: str, place: Path = MODELS) -> tuple[Artefact, int]:
    """A version's manifest, and how many bytes the file has that is served, which is not read.

    Raises DataError if either is not there, or the manifest is another one.
    """
    folder = place / VERSIONS / version
    artefact = read_manifest(folder)
    _check_name(folder)
    try:
        return artefact, (folder / artefact.file).stat().st_size
    except OSError as error:
        raise DataError(f"{folder / artefact.file}: {error.strerror}; make models_pull fetches it") from error


def champion_folder(found: Champion, place: Path = MODELS) -> Path:
    """Where a champion's files lie. Raises DataError if they are not those that were promoted."""
    folder = place / VERSIONS / found.version
    if not (folder / MANIFEST).is_file():
        open_version(found.version, place)
    if file_hash(folder / MANIFEST) != found.manifest_sha256:
        raise DataError(f"{folder}: not the files that were promoted; the right ones come with make models_pull")
    return folder


def promote(
    version: str,
    *,
    who: str = "",
    why: str,
    gate: Path | None = None,
    force: bool = False,
    action: Action = "promote",
    place: Path = MODELS,
) -> Champion:
    """Let a version answer from now on. Without `gate` the newest one about it and the champion counts.

    Raises DataError if the version is unknown or damaged; ConfigError if it answers already, if nobody says why, or
    unless a gate.json about exactly this version and this champion says that it passed, there was no champion, or
    `force`, which the history tells.
    """
    with _alone(place):
        past = reconciled(place)
        open_version(version, place)
        standing = champion(place) or (past[-1] if past else None)
        if standing is not None and champion(place) and standing.version == version:
            raise ConfigError(f"{version}: is the champion already, since {standing.at}; make models shows all")
        passed = None if standing is None else _passed(version, standing, gate, place, force=force)
        unchecked = standing is not None and passed is None
        reason = f"{why.strip()} (forced, without a gate)" if unchecked and why.strip() else why
        return _enthrone(version, past, place, who=who, why=reason, gate=passed, action=action)


def rollback(*, who: str = "", why: str, place: Path = MODELS) -> Champion:
    """Let the version before answer again; once more goes one further back, as an undo does.

    Raises ConfigError if there is none before or nobody says why, DataError if its files are damaged or not here.
    """
    with _alone(place):
        past = reconciled(place)
        known = undoable(past)
        if len(known) < 2:
            raise ConfigError(f"{place / HISTORY}: no champion before this one; make promote VERSION=... chooses one")
        before = next(one for one in reversed(past) if one.version == known[-2])
        open_version(before.version, place)
        return _enthrone(before.version, past, place, who=who, why=why, gate=before.gate, action="rollback")


def find_artefact(sha256: str, reference_sha256: str, place: Path = MODELS) -> Path:
    """The folder whose served file and drift reference have these SHA-256 ("": no reference), as a log names a model.

    Versions come first, then folders directly below `place`. Only manifests are read: whoever opens it checks the
    files. Raises DataError if there is none.
    """
    for path in [*_manifests(place / VERSIONS), *_manifests(place)]:
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError):
            known = read_json(path)
            hashes = known["sha256"]
            if (hashes[known["file"]], hashes.get(REFERENCE, "")) == (sha256, reference_sha256):
                return path.parent
    raise DataError(f"{place}: no artefact whose file has the SHA-256 {sha256[:12]}; make models_pull fetches versions")


def name_of_user() -> str:
    """Who runs this, as far as the system knows."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a user id without a name, as in a container
        return "unknown"


def _check_name(folder: Path) -> None:
    """Raise DataError unless a version's folder has the name that its manifest gives it."""
    if (own := version_of(folder)) != folder.name:
        raise DataError(f"{folder}: holds {own}; versions are never changed. The right one comes with make models_pull")


def _copy(source: Path, target: Path) -> None:
    """Copy a file to the disk itself: what champion.json names must be there after a power cut, too."""
    with source.open("rb") as read, target.open("wb") as written:
        shutil.copyfileobj(read, written)
        written.flush()
        os.fsync(written.fileno())


def _passed(version: str, standing: Champion, gate: Path | None, place: Path, *, force: bool) -> str | None:
    """The gate that lets `version` in, from `place` on; None if none does and it is forced. Raises ConfigError."""
    ask = f"make gate VERSION={version}"
    path = gate or next(reversed(gates(version, standing.version, place)), None)
    if path is None:
        problem = f"not tested against the champion, {standing.version}; test it: {ask}"
    else:
        problem = objection(path, identified(place / VERSIONS / version), standing._asdict(), ask)
    if problem and not force:
        raise ConfigError(f'{version}: {problem}. Whoever knows better: ARGS="force=true", which the history tells')
    if problem or path is None:
        return None
    whole, root = path.resolve(), place.resolve()
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else str(path)


def check_why(why: str, version: str) -> None:
    """Raise ConfigError for a change that nobody says a reason of."""
    if not why.strip():
        raise ConfigError(f'{version}: say why, for those who read the history later: WHY="..."')


def _enthrone(
    version: str, past: Sequence[Champion], place: Path, *, who: str, why: str, gate: str | None, action: Action
) -> Champion:
    """Write champion.json, then the history; a signal waits and says so: a rollback that is repeated goes two back."""
    check_why(why, version)
    number = 1 + max((one.number for one in past), default=0)
    manifest = file_hash(place / VERSIONS / version / MANIFEST)
    found = Champion(number, version, manifest, now(), who or name_of_user(), why.strip(), gate, action)
    with contextlib.ExitStack() as told, held_back():
        write_json(place / CHAMPION, found._asdict())
        told.enter_context(keeping(f"{version} is the champion now, as was asked"))
        write_history([*past, found], place)
    return found


def _manifests(place: Path) -> Iterator[Path]:
    yield from (path for path in sorted(place.glob(f"*/{MANIFEST}")) if not path.parent.name.startswith("."))


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One change at a time."""
    with disk_full_explained(place), exclusive(place / _LOCK):
        yield
