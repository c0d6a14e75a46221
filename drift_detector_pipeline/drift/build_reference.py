"""What drift is measured from: `python -m drift_detector_pipeline.drift.build_reference RUN`.

In: a finished run and its processed data. Out: `<run>/reference.npz` and `<run>/reference.json`, tied to the weights.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from drift_detector_pipeline.arrays import Labels, Pixels
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.drift.boxes.build import box_detector_of, box_model_of
from drift_detector_pipeline.drift.boxes.detector import BoxDetector
from drift_detector_pipeline.drift.clips.build import clip_detector_of, frame_model_of
from drift_detector_pipeline.drift.clips.detector import ClipDetector
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.reference_file import FACTS, FILE
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.modeling.trained import Trained, open_trained
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.processed.roles import Roles, crops_of, roles_of
from drift_detector_pipeline.runs.facts import now, this_command
from drift_detector_pipeline.runs.machine import prepared
from drift_detector_pipeline.runs.receipts import newest_finished, read_receipt
from drift_detector_pipeline.settings import Run
from drift_detector_pipeline.takes import DRIFT_REFERENCE, check_settings

LEAST_BOXES = 20  # images of `fit` and of `ref`; the verdict says what is lost with fewer than a hundred


@exit_status
def main() -> int:
    """Build the reference of the run named on the command line, or of the newest finished one."""
    command = read_command(sys.argv[1:])
    set_up_logging()
    build_reference(command.target or newest_finished(), command.overrides)
    return 0


def build_reference(folder: Path, overrides: list[str]) -> DriftDetector | BoxDetector:
    """Learn on `fit`, describe `ref`, save both in the run's folder. Raises a PipelineError if something is missing."""
    started = time.perf_counter()
    check_settings(overrides, DRIFT_REFERENCE)
    receipt = read_receipt(folder)
    run, processed = load_section(Run, ["run.precision=fp32", *overrides]), receipt.data()
    with prepared(run) as machine:
        trained = open_trained(folder / "final_model.safetensors", machine)
        detector = detector_of(_model_of(trained), trained, processed)
    detector.save(folder)
    _say(folder, detector, time.perf_counter() - started)
    return detector


class World(NamedTuple):
    """Images of a world that drift is measured from."""

    crops: Pixels  # uint8 (N, S, S, 3)
    labels: Labels | None  # (N,); None: nobody knows


def detector_of(
    model: Any, trained: Trained, processed: Processed, world: World | None = None,
    arrived: Callable[[Pixels], Pixels] = lambda crops: crops,
) -> DriftDetector | BoxDetector:  # fmt: skip
    """Learn the training world of `trained` as `model` sees it: its own module, or a file it was exported to.

    Drift is measured from `world`, or from the images that processed/roles.py has for it. Where boxes are found the
    model is a `BoxModel`; of clips it looks at single frames. `arrived`: of labels, crops (N, S, S, 3) of the data as
    they come to the model in use. Raises DataError if there are too few images or nothing can be learned.
    """
    if trained.task.name == ClipDetector.task:
        whole = {"weights_sha256": trained.sha256, "data_fingerprint": processed.fingerprint}
        return clip_detector_of(model, trained, processed, whole | {"command": this_command(), "when": now()})
    if trained.task.name == BoxDetector.task:
        roles = roles_of(processed, LEAST_BOXES)
        return box_detector_of(model, trained, processed, roles, _facts(trained, processed, roles))
    roles = roles_of(processed)
    labels, side = processed.images.labels, trained.img_size
    facts = _facts(trained, processed, roles)
    world = world or World(arrived(crops_of(processed, roles.ref, side)), labels[roles.ref])
    log.info("%d fit and %d reference images, %d px", len(roles.fit), len(world.crops), side)
    return DriftDetector.build(
        model, arrived(crops_of(processed, roles.fit, side)), labels[roles.fit], *world, classes=trained.classes,
        mean=trained.network.mean, std=trained.network.std, stored_side_px=trained.stored_side_px, facts=facts,
    )  # fmt: skip


def _model_of(trained: Trained) -> Any:
    if trained.task.name == ClipDetector.task:
        return frame_model_of(trained)
    return box_model_of(trained) if trained.task.name == BoxDetector.task else trained.network.module


def _facts(trained: Trained, processed: Processed, roles: Roles) -> dict[str, Any]:
    return {
        "weights_sha256": trained.sha256, "data_fingerprint": processed.fingerprint, "pool_images": len(roles.pool),
        "command": this_command(), "when": now(),
    }  # fmt: skip


def _say(folder: Path, detector: DriftDetector | BoxDetector, seconds: float) -> None:
    if isinstance(detector, BoxDetector):
        worth = "mAP50", 100 * detector.reference.usual.map50
    else:
        worth = "accuracy", 100 * detector.reference.known.accuracy
    log.info(
        "%d scores per image; %s in the training world %.1f %%; %.0f s, %.2f MB",
        detector.reference.scores.shape[1], *worth, seconds,
        (folder / FILE).stat().st_size / 1e6,
    )  # fmt: skip
    log.info("%s; compare images with it: make drift RUN=%s IMAGES=FOLDER", folder / FACTS, folder)


if __name__ == "__main__":
    sys.exit(main())
