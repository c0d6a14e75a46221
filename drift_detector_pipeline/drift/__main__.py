"""Do these images look like the training world? `python -m drift_detector_pipeline.drift RUN IMAGES`.

In: a run with a reference; images, or clips, as files, folders, globs or archives, without labels. Out: the verdict in
words on stdout; `<run>/drift/<date>_<time>/` with verdict.json and report.html. Exit status: 0 quiet, 3 notice, 4
alert, 5 too few images, 1 an error.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drift_detector_pipeline.cluster import ENGINES, check_engine
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, set_up_logging, tell
from drift_detector_pipeline.drift.clips.detector import ClipDetector
from drift_detector_pipeline.drift.decision import EXIT_STATUS, Level, Limits
from drift_detector_pipeline.drift.detecting import AnyVerdict
from drift_detector_pipeline.drift.kinds import detector_of_run, write_page_of
from drift_detector_pipeline.drift.preparation import Shown
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import is_there
from drift_detector_pipeline.modeling.named import check_images, check_weights
from drift_detector_pipeline.runs.facts import now, this_command
from drift_detector_pipeline.runs.receipts import newest_finished
from drift_detector_pipeline.settings import Drift, Run
from drift_detector_pipeline.stopped import loading
from drift_detector_pipeline.takes import DRIFT, check_settings

_MOST_NAMED = 5  # unreadable files on the console; all are in verdict.json


@exit_status
def main() -> int:
    """Judge the images named on the command line with the run named before them."""
    command = read_command(sys.argv[1:], {"engine": ENGINES}, takes_images=True)
    if not any(command.images):
        raise ConfigError("name images: make drift RUN=outputs/DATE/TIME IMAGES=FOLDER")
    check_engine(engine := command.own.get("engine", "local"))
    set_up_logging()
    verdict = judge_images(command.target or newest_finished(), command.images, command.overrides, engine)
    return EXIT_STATUS[verdict.level]


def judge_images(
    folder: Path, images: Sequence[str], overrides: Sequence[str], engine: str = "local"
) -> AnyVerdict:  # fmt: skip
    """Judge the files that `images` name and write the report; with the engine "ray" a cluster reads them.

    Raises a PipelineError if there is no file, no reference, or it is another model's.
    """
    check_settings(overrides, DRIFT)
    settings = load_section(Drift, overrides)
    limits = Limits(**settings.model_dump(exclude={"block_minutes"}))
    run = load_section(Run, ["run.precision=fp32", *overrides])
    check_weights(folder / "final_model.safetensors")
    check_images(images)
    with loading():  # what is not there is said before torch comes
        from drift_detector_pipeline.modeling.open_elsewhere import files_for
        from drift_detector_pipeline.modeling.trained import open_trained
        from drift_detector_pipeline.runs.machine import prepared

    verdict: AnyVerdict
    with prepared(run) as machine, files_for(engine, images) as found:
        if engine == "local" and not any(is_there(image.file) for image in found):
            raise DataError(f"{' '.join(images)}: no files there; name a folder, a pattern, files or an archive")
        trained = open_trained(folder / "final_model.safetensors", machine)
        facts: dict[str, Any] = {"run": str(folder), "named": list(images), "command": this_command(), "when": now()}
        detector = detector_of_run(folder, trained)
        album: Shown
        if engine == "ray":
            from drift_detector_pipeline.drift.read_elsewhere import judge_elsewhere

            detector.limits = limits
            verdict, album = judge_elsewhere(folder, detector, trained, machine, found)
        elif isinstance(detector, ClipDetector):
            from drift_detector_pipeline.drift.clips.window import judge_clips

            verdict, album = judge_clips(detector, trained, found, images, limits, settings.block_minutes)
        else:
            detector.limits = limits
            album = detector.album([image.file for image in found], [image.name for image in found])
            verdict = detector.check_album(album)
        report = write_page_of(folder / "drift", verdict, album, detector, facts)  # opens some images again
    _say(verdict.level, detector.words.summary(verdict), album, report)
    return verdict


def _say(level: Level, words: Sequence[str], album: Shown, report: Path) -> None:
    for name, why in list(album.unreadable.items())[:_MOST_NAMED]:
        log.warning("%s: %s", name, why)
    if len(album.unreadable) > _MOST_NAMED:
        log.warning("and %d more files that cannot be read", len(album.unreadable) - _MOST_NAMED)
    tell(f"{level}: {' '.join(words)}")
    log.info("%s", report)


if __name__ == "__main__":
    sys.exit(main())
