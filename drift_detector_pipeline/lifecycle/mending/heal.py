"""A champion healed of a change: `make heal ALARM=7`, or `make heal IMAGES=FOLDER CAUSE=fog SEVERITY=3`.

In: recent images of the changed world, without labels, and what has happened to them. Out: a version in models/, not
promoted: the champion's run with statistics of those images, or behind the inverse of a fault that has one; a drift
reference of the new world; heal.json.

Only what can be made again on labelled images is healed, so whatever else has changed is refused; so is a copy that
does not gain on such images. Whoever heals a healed version begins with the run's own weights again: nothing adds up.
"""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Indices
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.corruptions.faults import REVERSIBLE, levels_of
from drift_detector_pipeline.drift.build_reference import World
from drift_detector_pipeline.drift.cause import UNTOLD
from drift_detector_pipeline.drift.preparation import Preparation
from drift_detector_pipeline.drift.reference_file import FILE, load_reference
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.images.named_files import image_files
from drift_detector_pipeline.lifecycle.gating.gate import HEALED
from drift_detector_pipeline.lifecycle.gating.gate_images import cause_in, levels_near
from drift_detector_pipeline.lifecycle.gating.origin import named_artefact, run_of
from drift_detector_pipeline.lifecycle.labelling.stretch import images_of, since_alarm
from drift_detector_pipeline.lifecycle.labels_of_images import refuse_task
from drift_detector_pipeline.lifecycle.mending.frozen import TwinGain, freeze, twin_gain
from drift_detector_pipeline.lifecycle.mending.healable import WHY_NOT, refuse_cause
from drift_detector_pipeline.lifecycle.mending.recent import Recent, changed, divided, open_recent
from drift_detector_pipeline.lifecycle.mending.undoing import borne_out, undoing
from drift_detector_pipeline.lifecycle.watching.alarms import alarm_of, severity_of
from drift_detector_pipeline.modeling.named import check_images as check_named
from drift_detector_pipeline.networks.models import Network
from drift_detector_pipeline.networks.tensors_hash import tensors_hash
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.release.admitted import identified
from drift_detector_pipeline.release.artefact import MODELS, Artefact, read_artefact
from drift_detector_pipeline.release.executable import open_executable
from drift_detector_pipeline.release.export import export_source
from drift_detector_pipeline.release.registry import register
from drift_detector_pipeline.release.source import Source, one_core, open_source
from drift_detector_pipeline.runs.facts import git_state, now, this_command
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.settings_in_use import Export, Heal, Serving
from drift_detector_pipeline.takes import HEAL, check_settings


@exit_status
def main() -> int:
    """Heal the champion, or the version or artefact folder that is named before the images."""
    command = read_command(sys.argv[1:], takes_images=True)
    cause, severity, others = cause_in(command.overrides)
    own = [word for word in others if not word.startswith(("alarm=", "serving."))]
    check_settings(others, HEAL)
    if any(command.images):
        check_named(command.images)
    set_up_logging()
    folder, settings = named_artefact(command.target), load_section(Heal, own)
    if number := next((word.partition("=")[2] for word in others if word.startswith("alarm=")), ""):
        serving = load_section(Serving, [word for word in others if word.startswith("serving.")])
        given = of_alarm(number, Path(command.images[0]) if any(command.images) else None, serving)
        cause, severity = cause or given.cause, given.severity if severity is None else severity
        made = heal(folder, given.paths, cause=cause, severity=severity, settings=settings)
    else:
        if cause is None:
            raise ConfigError("cause: what has happened to the images? ALARM=7, or as make drift names it: CAUSE=fog")
        if not any(command.images):
            raise ConfigError("name recent images of the changed world: make heal ALARM=7, or IMAGES=FOLDER CAUSE=fog")
        with image_files(command.images) as found:
            images = [path for _, path in found]
            made = heal(folder, images, cause=cause, severity=severity, settings=settings)
    log.info("%s. Next: make gate VERSION=%s CAUSE=%s", made.version, made.version, made.cause)
    return 0


class Given(NamedTuple):
    """What an alarm says of a change, and the images since then."""

    cause: str
    severity: float | None
    paths: list[Path]


def of_alarm(number: str, images: Path | None, serving: Serving) -> Given:
    """What has happened since an alarm's change, and the images of that time below `images`, or the service's folder.

    Raises ConfigError if there is no such alarm, cause or folder, DataError if the log has no row of it any more.
    """
    if not number.isdecimal():
        raise ConfigError(f"alarm={number}: expected a whole number, as make alarms shows it")
    if (images := images or serving.keep_images) is None:
        raise ConfigError(f"alarm={number}: where are its images? IMAGES=FOLDER, or ARGS=serving.keep_images=FOLDER")
    with closing(RequestLog(os.environ.get("DATABASE_URL") or serving.database)) as requests:
        alarm = alarm_of(requests, int(number))
        if alarm.cause is None:
            raise ConfigError(f"alarm={number}: its cause is not known yet; make monitor names it")
        return Given(alarm.cause, severity_of(alarm), images_of(requests, since_alarm(alarm), images))


class Healed(NamedTuple):
    """A version, and what it is healed of: where that was not known, the fault that undoing has told."""

    version: str
    cause: str


def heal(
    champion: Path, images: Sequence[Path], *, cause: str, severity: float | None, settings: Heal, place: Path = MODELS
) -> Healed:
    """Register a version of the artefact `champion` that is made for the world of recent `images`.

    Faults with an inverse are tried where one is named, or the cause is unknown or taken for unseen content.

    Raises ConfigError for boxes, a cause that cannot be healed or is not borne out, too many images that have not
    changed, or no gain on labelled twins; ModelError for a network without BatchNorm; DataError if too few images have
    changed, or if the champion's run is not here.
    """
    refuse_cause(cause)
    artefact = read_artefact(champion)
    refuse_task(artefact.task, artefact.folder, "healing")
    _refuse_second_inverse(artefact)
    recent = open_recent(images, Preparation(artefact.side_px, artefact.stored_side_px), settings.images)
    with one_core() as machine:
        source = open_source(run_of(artefact), machine)
        recent = changed(recent, artefact, source)
        if cause in (*REVERSIBLE, *UNTOLD):
            cause = _confirmed(artefact, recent, cause)
            healed, found = _undone(source, recent, cause)
        else:
            healed, found = _adapted(
                source, recent, [(cause, level) for level in levels_near(cause, severity)], settings
            )
        facts = _facts(champion, source, recent) | {"cause": cause, "severity": severity} | found
        healed = healed._replace(papers={HEALED: (json.dumps(facts, indent=2) + "\n").encode()})
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place, prefix=".heal-") as folder:
            export = load_section(Export, [
                f"export.path={folder}/artefact", f"export.runtime={artefact.runtime}",
                f"export.precision={artefact.precision}",
            ])  # fmt: skip
            return Healed(register(export_source(healed, export).folder, place), cause)


def _refuse_second_inverse(artefact: Artefact) -> None:
    """Raise ConfigError for a version that undoes a fault: no labelled images arrive as it expects them."""
    if fault := artefact.facts.get("undoes"):
        raise ConfigError(
            f"{artefact.folder}: already undoes {fault}, and two changes at once are not healed; mend what sends the "
            'images, then let the version before answer again: make rollback WHY="..."'
        )


def _adapted(
    source: Source, recent: Recent, cells: Sequence[tuple[str, int]], settings: Heal
) -> tuple[Source, dict[str, Any]]:
    """With statistics of one half of the images; drift is measured from the other half."""
    own, others = divided(len(recent.crops))
    network, chosen = freeze(source.trained.network, recent.crops[own], most=settings.images, prior=settings.prior)
    gain = _gain(source, network, cells)
    facts = {"prior": settings.prior, "reference_images": len(others), "twins": gain._asdict()}
    return _with(source, network, world=World(recent.crops[others], None)), facts | _images(recent, own[chosen])


def _confirmed(artefact: Artefact, recent: Recent, cause: str) -> str:
    """The fault to undo: once it is undone, recent images look usual to the champion, asked through its own file.

    What the images say goes before what they were taken for. Raises ConfigError if undoing no fault makes them usual.
    """
    if FILE not in artefact.sha256:
        raise ConfigError(f"{artefact.folder}: without a drift reference nothing tells whether undoing {cause} helps")
    found = borne_out(load_reference(artefact.folder)[0], open_executable(artefact), recent.crops)
    if cause in found:
        return cause
    if found:
        log.info("%s: the images look usual once %s is undone, so that is healed", cause, found[0])
        return found[0]
    why = WHY_NOT.get(cause, "the images do not look usual once it is undone; look at them: make drift IMAGES=...")
    raise ConfigError(f"cause={cause}: not healed, {why}")


def _undone(source: Source, recent: Recent, cause: str) -> tuple[Source, dict[str, Any]]:
    """Behind the inverse of a fault."""
    network = undoing(source.trained.network, cause)
    gain = _gain(source, network, [(cause, level) for level in levels_of(cause)])
    facts = {"undoes": cause, "twins": gain._asdict()}
    return _with(source, network, arrives=cause), facts | _images(recent, np.arange(len(recent.paths)))


def _gain(source: Source, frozen: Network, cells: Sequence[tuple[str, int]]) -> TwinGain:
    """The cheap test before the costly export, on images that no gate asks about."""
    places = roles_of(source.processed).fit
    crops, labels = crops_of(source.processed, places, source.trained.img_size), source.processed.images.labels[places]
    gain = twin_gain(source.trained.network, frozen, crops, labels, cells)
    said = f"{100 * gain.before:.1f} % before, {100 * gain.after:.1f} % after, on {gain.n} labelled twins"
    if gain.low <= 0:
        raise ConfigError(
            f"cause={cells[0][0]}: healing is not shown to help, {said}; make retrain CAUSE={cells[0][0]}"
        )
    log.info("%s: %s", cells[0][0], said)
    return gain


def _with(source: Source, network: Network, **others: Any) -> Source:
    trained = source.trained._replace(network=network, sha256=tensors_hash(network.module.state_dict()))
    return source._replace(trained=trained, **others)


def _facts(champion: Path, source: Source, recent: Recent) -> dict[str, Any]:
    """Who was healed."""
    return {
        "champion": identified(champion),
        "run": str(source.receipt.folder),
        "weights_sha256": source.trained.sha256,
        "images_given": len(recent.paths) + recent.left_out,
        "images_left_out": recent.left_out,
        "command": this_command(),
        "git": git_state(),
        "when": now(),
    }


def _images(recent: Recent, chosen: Indices) -> dict[str, Any]:
    """Which images it was healed with."""
    return {"images": {path.name: file_hash(path) for path in (recent.paths[place] for place in chosen.tolist())}}


if __name__ == "__main__":
    sys.exit(main())
