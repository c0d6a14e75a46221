"""Drift in one picture: `python -m drift_detector_pipeline.drift.demo [RUN]`.

In: a finished run, the newest one, or, if there is none, the quick start's digits, which are trained first. Out:
`<run>/demo/`, made anew each time: a folder of ordinary images and three of changed ones, a report of each,
drift_demo.png and demo.html; a table on stdout. Makes the reference if it is missing. Checks nothing: whatever the
verdicts are, the exit status is 0.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Indices
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load, load_section
from drift_detector_pipeline.console import log, progress_bar, set_up_logging, tell
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.drift.build_reference import build_reference
from drift_detector_pipeline.drift.demo.picture import Judged, draw, estimate_words
from drift_detector_pipeline.drift.demo.scenes import Scene, scenes_of
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.reference import predictions
from drift_detector_pipeline.drift.reference_file import FACTS
from drift_detector_pipeline.drift.report import write_report
from drift_detector_pipeline.drift.scores.signals import read_signals
from drift_detector_pipeline.drift.verdict_words import summary
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.figures import figure_png
from drift_detector_pipeline.files import disk_full_explained, replaced_folder, write_atomically
from drift_detector_pipeline.modeling.train import Outcome, train
from drift_detector_pipeline.modeling.trained import open_trained
from drift_detector_pipeline.pages import data_uri, write_page
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.runs.facts import RECEIPT, now, this_command
from drift_detector_pipeline.runs.machine import prepared
from drift_detector_pipeline.runs.receipts import OUTPUTS, newest_finished, read_receipt
from drift_detector_pipeline.settings import Run
from drift_detector_pipeline.takes import DRIFT_DEMO, check_settings

WINDOW = 64  # images in a folder
PICTURE, PAGE = "drift_demo.png", "demo.html"


@exit_status
def main() -> int:
    """Show drift on the run named on the command line, the newest one, or digits."""
    command = read_command(sys.argv[1:])
    check_settings(command.overrides, DRIFT_DEMO)
    set_up_logging()
    folder = command.target or _newest()
    if folder is None:
        log.info("no finished run yet: trains on handwritten digits first, about a minute")
        outcome = _train_digits(command.overrides)
        if outcome.exit_status:
            return outcome.exit_status
        outcome.stop_if_asked()
        folder = outcome.folder
    _say(folder, show(folder, command.overrides))
    return 0


def show(run: Path, overrides: Sequence[str]) -> list[Judged]:
    """Make and judge the four folders, write the picture and the page; the scenes with their verdicts.

    Raises a PipelineError if the run has no data, none that drift can be learned from, or a reference of another model.
    """
    processed = read_receipt(run).data()
    roles = roles_of(processed)
    if not (run / FACTS).exists():
        log.info("no reference yet: learns what the training world looks like, a minute or two")
        build_reference(run, list(overrides))
    place = run / "demo"
    with prepared(load_section(Run, ["run.precision=fp32", *overrides])) as machine, disk_full_explained(place):
        trained = open_trained(run / "final_model.safetensors", machine)
        detector = DriftDetector.load(run, trained.network.module)
        chosen = np.random.default_rng(0).permutation(roles.pool)[:WINDOW]
        scenes = _scenes(processed, chosen, detector)
        with replaced_folder(place) as partial:
            judged = list[Judged]()
            with progress_bar(total=len(scenes), title="judge", unit=" folders") as bar:
                for scene in scenes:
                    judged.append(_judge(run, scene, detector, partial))
                    bar.update()
            _write(partial, judged, detector.reference.known.accuracy)
    return [one._replace(report=place / one.report) for one in judged]


def _newest() -> Path | None:
    return newest_finished() if any(OUTPUTS.glob(f"**/{RECEIPT}")) else None


def _train_digits(overrides: Sequence[str]) -> Outcome:
    composed = load(["+experiment=quickstart", *overrides])
    process(composed.settings.data)
    return train(composed)


def _scenes(processed: Processed, chosen: Indices, detector: DriftDetector) -> list[Scene]:
    """Of images as large as stored ones, so that the files go through the same resizing and crop as any others."""
    images = crops_of(processed, chosen, detector.preparation.stored_side_px)
    return scenes_of(images, processed.images.labels[chosen], chosen, detector.classes)


def _judge(run: Path, scene: Scene, detector: DriftDetector, place: Path) -> Judged:
    """Write a scene's images below `place` and judge the files, as `make drift` does, which is told no label."""
    folder, final = place / scene.name, run / "demo" / scene.name
    folder.mkdir(parents=True)
    files = [folder / f"{number:02}.png" for number in range(len(scene.images))]
    for file, image in zip(files, scene.images, strict=True):
        Image.fromarray(image).save(file)
    album = detector.album(files, [str(final / file.name) for file in files])
    verdict = detector.check_album(album)
    facts = {"run": str(run), "named": [str(final)], "command": this_command(), "when": now()}
    report = write_report(place / "reports" / scene.name, verdict, album, detector, facts).relative_to(place)
    if scene.labels is None:
        return Judged(scene, verdict, 0.0, report)
    right = predictions(read_signals(detector.open(files).crops, detector.forward)) == scene.labels
    return Judged(scene, verdict, float(right.mean()), report)


def _write(place: Path, judged: Sequence[Judged], world: float) -> None:
    picture = figure_png(draw(judged, world))
    write_atomically(place / PICTURE, picture)
    rows = [(one, one.report.as_posix(), _estimated(one), " ".join(summary(one.verdict))) for one in judged]
    write_page(
        place / PAGE, "drift_demo.html", title="Drift in one picture", picture=data_uri(picture), rows=rows,
        images=WINDOW,
    )  # fmt: skip


def _estimated(one: Judged) -> str:
    return "-" if one.verdict.accuracy is None else estimate_words(one.verdict.accuracy)


def _say(run: Path, judged: Sequence[Judged]) -> None:
    tell(f"\n  {'folder':<18}{'verdict':<10}{'accuracy, estimated':<24}true")
    for one in judged:
        true = f"{100 * one.true:.0f} %" + "  (no class is right)" * (one.scene.labels is None)
        tell(f"  {one.scene.name:<18}{one.verdict.level:<10}{_estimated(one):<24}{true}")
        for sentence in summary(one.verdict)[: 1 + (one.verdict.cause is not None)]:
            tell(f"    {sentence}")
    tell(f"\n  Look       {run / 'demo' / PICTURE}\n             {run / 'demo' / PAGE}   the same with links")
    for number, one in enumerate(judged):
        tell(f"  {'Reports' * (not number):<9}  {one.report}")
    tell(f"\n  Your own images: make drift RUN={run} IMAGES=FOLDER")
    print()


if __name__ == "__main__":
    sys.exit(main())
