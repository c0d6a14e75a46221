"""A finished run -> one folder that answers: `python -m drift_detector_pipeline.release.export RUN`.

In: a run and its processed data. Out: `export.path` [models/artefact] as artefact.py describes it, replaced as a whole
once the new one is complete. What drift is measured from is learned through the very file and runtime that will serve:
a reference belongs to what computes, not to weights.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.drift.boxes.detector import BoxModel
from drift_detector_pipeline.drift.boxes.signals import BoxOutputs
from drift_detector_pipeline.drift.build_reference import detector_of
from drift_detector_pipeline.drift.cause_words import words_for
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.drift.scores.signals import Forward, Outputs
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import (
    disk_full_explained,
    exclusive,
    file_hash,
    is_utf8,
    replaced_folder,
    write_atomically,
)
from drift_detector_pipeline.meant import for_make
from drift_detector_pipeline.modeling.card import card
from drift_detector_pipeline.networks.boxes.catalog import overlap_of
from drift_detector_pipeline.processed.roles import crops_of
from drift_detector_pipeline.release.artefact import (
    BOXES,
    CARD,
    CLIPS,
    MODEL,
    MODELS,
    SECOND_LOOK,
    Artefact,
    refuse_foreign,
    write_artefact,
)
from drift_detector_pipeline.release.beside import rows_beside, say_through, tensorrt
from drift_detector_pipeline.release.box_executable import open_box_executable
from drift_detector_pipeline.release.box_export import examine, export_boxes
from drift_detector_pipeline.release.chronicle import CHAMPION
from drift_detector_pipeline.release.clip_export import examine_clips, export_clips
from drift_detector_pipeline.release.executable import Executable, open_executable
from drift_detector_pipeline.release.graph import export_model, export_second_look
from drift_detector_pipeline.release.parity import (
    HEAD,
    HEAD_OF_BOXES,
    HEAD_OF_CLIPS,
    Asks,
    Exam,
    Row,
    as_markdown,
    as_text,
    chosen,
    measure,
    probabilities,
)
from drift_detector_pipeline.release.quantised import MOST_IMAGES as MOST_CALIBRATION
from drift_detector_pipeline.release.source import Source, one_core, open_source
from drift_detector_pipeline.release.trials import Trial, title, try_all
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import instruction_set
from drift_detector_pipeline.runs.receipts import newest_finished
from drift_detector_pipeline.settings_in_use import Export
from drift_detector_pipeline.takes import EXPORT, check_settings


@exit_status
def main() -> int:
    """Export the run named on the command line, or the newest finished one."""
    command = read_command(sys.argv[1:])
    check_settings(command.overrides, EXPORT)
    export = load_section(Export, command.overrides)
    set_up_logging()
    export_run(command.target or newest_finished(), export)
    return 0


def export_run(run: Path, export: Export) -> Artefact:
    """Write the artefact of a finished run; what was there before stays until it is complete.

    Raises a PipelineError if something is missing, the network cannot be exported, or what is asked for changes more
    labels than allowed.
    """
    refuse_foreign(export.path.resolve())
    if not is_utf8(str(export.path.resolve())):
        raise ConfigError(f"{export.path}: models are read only where all names are UTF-8; choose another export.path")
    with one_core() as machine:
        artefact = export_source(open_source(run, machine), export)
    log.info("%s: %s Serve it: %s", artefact.folder, _about(artefact), served_by(artefact.folder))
    return artefact


def served_by(folder: Path) -> str:
    """The command that serves an artefact: it is named unless it is the usual one and no champion goes before it."""
    alone = folder == MODELS / "artefact" and not (folder.parent / CHAMPION).exists()
    return "make serve" if alone else f"make serve {for_make([f'export.path={folder}'])}"


def export_source(source: Source, export: Export) -> Artefact:
    """The same for a network that is open already, on `one_core`, perhaps with other statistics than its run's."""
    target = export.path.resolve()
    refuse_foreign(target)
    lock = target.with_name(f".{target.name}.lock")
    with disk_full_explained(target), exclusive(lock), replaced_folder(target) as folder:
        artefact = _fill(folder, source, export)
    _say(artefact._replace(folder=export.path))
    return artefact._replace(folder=export.path)


def _fill(folder: Path, source: Source, export: Export) -> Artefact:
    module, side = source.trained.network.module, source.trained.img_size
    log.info("%s: as ONNX", source.receipt.folder)
    exam: Asks
    if source.task == BOXES:
        export_boxes(module, source.scale, side, folder / MODEL)
        exam, own = examine(source.trained, source.processed)
        others = [tensorrt()] if export.compare else []
    elif source.task == CLIPS:
        export_clips(module, source.scale, side, folder)
        exam, own = examine_clips(source.trained, source.processed)
        others = [tensorrt()] if export.compare else []
    else:
        export_model(module, source.scale, side, folder / MODEL)
        export_second_look(module, source.scale, side, folder / SECOND_LOOK)
        exam, own = labels = _examine(source)
        others = rows_beside(module, source.scale, labels[0], source.crops("train")) if export.compare else []
    fit, _ = source.crops("fit", MOST_CALIBRATION)
    trials = try_all(folder, exam, own, fit, export)
    served = _served(trials, export)
    rows = [own, *(_noted(trial, trial is served) for trial in trials), *others]
    artefact = _describe(folder, source, served, rows)
    drift = _learn_drift(artefact, source)
    artefact = artefact._replace(facts=artefact.facts | {"drift": drift or "reference.npz"})
    sections = {"Drift": drift or _ABOUT_DRIFT, "Served": f"{_about(artefact)}\n\n{as_markdown(rows, _head(artefact))}"}
    if source.arrives is not None:
        sections = {"For images that arrive changed": _ABOUT_INVERSE.format(words_for(source.arrives).seen)} | sections
    for name, content in source.papers.items():
        write_atomically(folder / name, content)
    write_atomically(folder / CARD, card(source.receipt.folder, sections).encode("utf-8", "backslashreplace"))
    return write_artefact(artefact)


_ABOUT_INVERSE = (
    "This version is for images that arrive {}. It undoes that before it looks, so it is wrong about usual images; "
    "the accuracy below is of images that arrive so."
)
_ABOUT_DRIFT = "`reference.npz` beside this card, learned through the file that is served and in its runtime."


def _examine(source: Source) -> tuple[Exam, Row]:
    """Ask the network itself, in PyTorch, about the images that all others are asked about."""
    places = source.processed.images.indices("val")
    places = places[chosen(len(places))]
    crops = source.arrived(crops_of(source.processed, places, source.trained.img_size))
    say = say_through(through(source.trained.network.module, *source.scale))
    expected = probabilities(say, crops, "the network itself")
    exam = Exam(crops, source.processed.images.labels[places], expected)
    return exam, measure("PyTorch fp32", say, exam, source.trained.file.stat().st_size / 1e6)


def _served(trials: list[Trial], export: Export) -> Trial:
    asked = (export.runtime, export.precision)
    found = next((trial for trial in trials if (trial.runtime, trial.precision) == asked), None)
    if found is None:
        raise ConfigError("export.runtime=openvino: OpenVINO is not installed here; pip install -e .[openvino]")
    if found.refused:
        raise ConfigError(
            f"export.precision={export.precision}: refused on {export.runtime}, {found.refused}. Use another "
            "precision, or allow more with export.max_labels_changed and export.max_accuracy_lost"
        )
    return found


def _noted(trial: Trial, served: bool) -> Row:
    said = ["served"] * served + [f"refused: {trial.refused}"] * bool(trial.refused and trial.row.images)
    return trial.row._replace(note=", ".join([*said, *[trial.row.note] * bool(trial.row.note)]))


def _describe(folder: Path, source: Source, served: Trial, rows: list[Row]) -> Artefact:
    trained, receipt = source.trained, source.receipt
    facts = {
        "table": [row._asdict() for row in rows],
        "preprocessing": {"mean": list(source.scale[0]), "std": list(source.scale[1]), "inside": MODEL},
        "run": str(receipt.folder),
        "weights_sha256": trained.sha256,
        "data_fingerprint": receipt.data_fingerprint,
        "map50" if source.task == BOXES else "accuracy": served.row.accuracy,
        "instruction_set": instruction_set(torch.device("cpu")),
        "versions": package_versions(),
        "command": this_command(),
        "when": now(),
        **({} if source.arrives is None else {"undoes": source.arrives}),
    }
    return Artefact(
        folder, served.file, served.runtime, served.precision, trained.architecture, trained.classes,  # type: ignore[arg-type]
        trained.img_size, trained.stored_side_px, bool(served.row.rows_independent),
        {path.name: file_hash(path) for path in folder.iterdir()}, file_hash(receipt.file), facts,
        source.task, overlap_of(trained.network.module) if source.task == BOXES else None, *(trained.clip or ()),
    )  # fmt: skip


def _learn_drift(artefact: Artefact, source: Source) -> str:
    """Build the reference through the file that is served; why there is none, or ""."""
    with progress_bar(total=None, title="drift reference", unit="image") as bar:
        try:
            detector = detector_of(
                _way(artefact, bar.update), source.trained, source.processed, source.world, source.arrived
            )
        except DataError as error:
            log.warning("%s. The folder will answer, and say nothing about drift", error)
            return f"No reference, so nothing is said about drift: {error}"
    detector.save(artefact.folder)
    return ""


def _way(artefact: Artefact, count: Callable[[int], Any]) -> Any:
    """The way through the file that is served, whose images are counted."""
    if artefact.task != BOXES:
        return _Counted(open_executable(artefact), count)
    executable = open_box_executable(artefact)

    def forward(views: Pixels) -> BoxOutputs:
        count(len(views))
        return executable(views)

    return BoxModel(forward, executable.identity)


class _Counted:
    """An executable whose images are counted."""

    def __init__(self, executable: Executable, count: Any) -> None:
        self.identity, self._executable, self._count = executable.identity, executable, count

    def __call__(self, images: Pixels) -> Outputs:
        self._count(len(images))
        return self._executable(images)

    def adapted(self, images: Pixels) -> Forward | None:
        return self._executable.adapted(images)


def _about(artefact: Artefact) -> str:
    alone = "has the same bits in any batch" if artefact.rows_independent else "needs batches of one size"
    return f"{artefact.file} in {title(artefact.runtime, artefact.precision)}; an image's answer {alone}."


def _head(artefact: Artefact) -> Sequence[str]:
    return {BOXES: HEAD_OF_BOXES, CLIPS: HEAD_OF_CLIPS}.get(artefact.task or "", HEAD)


def _say(artefact: Artefact) -> None:
    rows = [Row(**row) for row in artefact.facts["table"]]
    log.info("\n%s\n", as_text(rows, _head(artefact)))


if __name__ == "__main__":
    sys.exit(main())
