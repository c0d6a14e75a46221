"""A champion trained on: `python -m drift_detector_pipeline.lifecycle.mending.retrain cause=fog severity=3`.

In: the champion's run, a change that can be made, labelled images, and perhaps recent ones. Out: an ordinary run in
outputs/ (receipt, exact resume, make reproduce), which starts from the champion's weights and learns from images of
which some are changed; and a version in models/ of it, not promoted. Killed, the same command goes on where it was.

With recent images of the changed world its drift is measured from these: from the training world it would give notice
at once of the very change that it is for.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import Composed, load, load_section
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.corruptions.corrupt import KINDS
from drift_detector_pipeline.corruptions.faults import FAULTS
from drift_detector_pipeline.drift.build_reference import World
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.preparation import Preparation
from drift_detector_pipeline.drift.reference_file import FILE
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.images.named_files import image_files
from drift_detector_pipeline.lifecycle.gating.gate import HEALED
from drift_detector_pipeline.lifecycle.gating.gate_images import cause_in, levels_near
from drift_detector_pipeline.lifecycle.gating.origin import named_artefact, run_of
from drift_detector_pipeline.lifecycle.labelling.labels import Labelled, check_images, read_labels, split_labels
from drift_detector_pipeline.lifecycle.labels_of_images import refuse_task
from drift_detector_pipeline.lifecycle.mending.joined import Joined, join_labels
from drift_detector_pipeline.lifecycle.mending.recent import Recent, changed, open_recent
from drift_detector_pipeline.modeling.named import check_images as check_named
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.release.admitted import identified
from drift_detector_pipeline.release.artefact import MODELS, Artefact, read_artefact
from drift_detector_pipeline.release.executable import open_executable
from drift_detector_pipeline.release.export import export_source
from drift_detector_pipeline.release.registry import register
from drift_detector_pipeline.release.source import one_core, open_source
from drift_detector_pipeline.runs.receipts import FINAL, Receipt, read_receipt
from drift_detector_pipeline.settings import Settings, Twins
from drift_detector_pipeline.settings_in_use import Export, Retrain
from drift_detector_pipeline.stopped import stopped_amid
from drift_detector_pipeline.takes import RETRAIN, check_settings

PAPER = "retrain.json"


@exit_status
def main() -> int:
    """Train the champion on, or the version or artefact folder that is named before the images."""
    command = read_command(sys.argv[1:], takes_images=True)
    cause, severity, others = cause_in(command.overrides)
    check_settings(others, RETRAIN)
    set_up_logging()
    if cause is not None:
        levels_near(cause, severity)
    if any(command.images):
        check_named(command.images)
    with ExitStack() as opened:
        found = opened.enter_context(image_files(command.images)) if any(command.images) else []
        version = retrain(
            named_artefact(command.target), cause=cause, severity=severity, labels=read_labels(),
            images=[path for _, path in found], settings=load_section(Retrain, others),
        )  # fmt: skip
    log.info("%s. Next: make gate VERSION=%s%s", version, version, f" CAUSE={cause}" * (cause is not None))
    return 0


def retrain(
    champion: Path, *, cause: str | None, severity: float | None, labels: Sequence[Labelled] = (),
    images: Sequence[Path] = (), settings: Retrain, place: Path = MODELS,
) -> str:  # fmt: skip
    """Train on, export and register; return the version's name.

    Of `labels` the half that is for training is learned from. A cause that is no change that can be made teaches
    nothing. Drift is measured from `images`, where they are recent ones of the changed world.

    Raises ConfigError for boxes, or if there is nothing to learn then, Stopped if a signal ended training, DataError if
    the champion's run or a labelled image is not here.
    """
    artefact = read_artefact(champion)
    refuse_task(artefact.task, artefact.folder, "training on")
    twins = twins_of(cause, severity, settings)
    own, _ = split_labels(labels)
    check_images(own)
    if twins.kind is None and not own:
        raise ConfigError(
            f"{'no cause is named' if cause is None else f'cause={cause}: no change that can be made'}, and there are "
            "no labels to learn from either; name one: CAUSE=fog, or label some: make basket, make labels"
        )
    recent = _recent(images, artefact)
    receipt = read_receipt(run_of(artefact))
    joined = join_labels(receipt.data(), own, share=settings.labels_share, most_repeats=settings.most_repeats)
    outcome = train(composed(receipt, twins, joined, settings))
    if outcome.exit_status:
        stopped_amid(outcome.exit_status, f"{outcome.folder} is kept, and the same command goes on from there")
    outcome.stop_if_asked()
    facts = {
        "champion": identified(champion), "cause": cause, "severity": severity, "twins": twins.model_dump(),
        "labelled": joined.labelled, "repeats": joined.repeats, "settings": settings.model_dump(),
        "reference_images": 0 if recent is None else len(recent.paths),
    }  # fmt: skip
    return _exported(outcome.folder, artefact, facts, recent, place)


def _recent(images: Sequence[Path], artefact: Artefact) -> Recent | None:
    """Images of the changed world to measure drift from; None where they are too few, or many have not changed.

    To a healed champion, whose world they are, they must look usual instead.
    """
    if not images:
        return None
    try:
        found = open_recent(images, Preparation(artefact.side_px, artefact.stored_side_px))
        if HEALED in artefact.sha256 and FILE in artefact.sha256:
            if DriftDetector.load(artefact.folder, open_executable(artefact)).check(found.crops).level != "quiet":
                raise DataError(
                    f"{artefact.folder}: recent images do not look usual to it; name those of its world alone"
                )
            return found
        with one_core() as machine:
            return changed(found, artefact, open_source(run_of(artefact), machine))
    except (ConfigError, DataError) as error:
        log.warning("%s. Drift of the new version is measured from the images of its run", error)
        return None


def twins_of(cause: str | None, severity: float | None, settings: Retrain) -> Twins:
    """Which twins are learned from; none for a cause that is no change that can be made."""
    if cause not in (*KINDS, *FAULTS):
        return Twins()
    return Twins(kind=cause, levels=list(levels_near(cause, severity)), share=settings.twins_share)


def composed(receipt: Receipt, twins: Twins, joined: Joined, settings: Retrain) -> Composed:
    """The settings of a run, changed for training on; the words that say so, as they are typed."""
    today = load([])
    before = receipt.settings(today.settings)
    words = [word for word in receipt.overrides if not word.startswith(("hydra.run.dir=", "run.resume="))]
    changes = {"data": {"processed_path": joined.folder}, "training": _training(before, settings)}
    if settings.warm:
        start = receipt.folder / FINAL
        changes["model"] = {"pretrained": False, "pretrained_path": start}
        if before.model.backbone_run is not None:
            changes["model"]["backbone_run"] = None
    told = [f"{section}.{key}={_word(value)}" for section, own in changes.items() for key, value in own.items()]
    if twins.kind is not None:
        told += [f"data.augmentation.twins.{key}={_word(value)}" for key, value in twins.model_dump().items()]
        changes["data"]["augmentation"] = before.data.augmentation.model_copy(update={"twins": twins})
    changes["run"] = {"device": "auto", "threads": "auto", "precision": "auto", "resume": "auto"}
    sections = {name: getattr(before, name).model_copy(update=own) for name, own in changes.items()}
    after = before.model_copy(update=sections)
    text = yaml.safe_dump(after.model_dump(mode="json"), sort_keys=False)
    return Composed(after, [*words, *told], text, today.run_folder, run_folder_chosen=False)


def _training(before: Settings, settings: Retrain) -> dict[str, Any]:
    training = before.training
    epochs = settings.further_epochs or training.epochs
    found: dict[str, Any] = {
        "epochs": epochs,
        "learning_rate": training.learning_rate * (settings.learning_rate_factor if settings.warm else 1),
    }
    if training.sizes_px and len(training.sizes_px) != epochs:
        found["sizes_px"] = [training.sizes_px[-1]] * epochs
    return found


def _word(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")


def _exported(run: Path, artefact: Artefact, facts: dict[str, Any], recent: Recent | None, place: Path) -> str:
    """A version of a finished run, in the champion's runtime and precision."""
    place.mkdir(parents=True, exist_ok=True)
    with one_core() as machine, tempfile.TemporaryDirectory(dir=place, prefix=".retrain-") as folder:
        source = open_source(run, machine)._replace(papers={PAPER: (json.dumps(facts, indent=2) + "\n").encode()})
        if recent is not None:
            source = source._replace(world=World(recent.crops, None))
        export = load_section(Export, [
            f"export.path={folder}/artefact", f"export.runtime={artefact.runtime}",
            f"export.precision={artefact.precision}",
        ])  # fmt: skip
        return register(export_source(source, export).folder, place)


if __name__ == "__main__":
    sys.exit(main())
