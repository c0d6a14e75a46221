"""`python -m drift_detector_pipeline.video RUN_OR_WEIGHTS VIDEO`: boxes on every frame, or what happens when.

In: words; VIDEO is a file, or a folder of such. Out, for each: `predictions/<date>_<time>/` beside the weights with
boxes.jsonl, boxed.mp4 and, last, summary.json. A run that was stopped or killed goes on when the same command is given
again. Of a classification: the label of each frame. Of clips: timeline.jsonl, .csv and .png, begun anew each time.
`make predict VIDEO=...` is this.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, set_up_logging, tell
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.frames.read import open_video
from drift_detector_pipeline.modeling.interruption import caught
from drift_detector_pipeline.modeling.named import WEIGHTS, check_images, check_weights
from drift_detector_pipeline.raw.formats.clips import VIDEOS
from drift_detector_pipeline.raw.listing import files_below
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.stopped import loading
from drift_detector_pipeline.takes import OF_THE_MACHINE, VIDEO, check_settings


@exit_status
def main() -> int:
    """Box the video named on the command line with the run or weight file named before it."""
    command = read_command(sys.argv[1:], {"weights": WEIGHTS}, takes_images=True)
    check_settings(command.overrides, VIDEO)
    if len(command.images) != 1 or not command.images[0]:
        raise ConfigError("name one video, or a folder of videos: make predict RUN=outputs/DATE/TIME VIDEO=street.mp4")
    how = load_section(Predict, command.overrides)
    weights, video = command.own.get("weights"), Path(command.images[0])
    if command.target:
        check_weights(_weight_file(command.target, weights))
    check_images(command.images)
    set_up_logging()
    videos = _videos(video)  # whether they are some is known before PyTorch is
    with loading():
        from drift_detector_pipeline.runs.receipts import newest_finished

    file = _weight_file(command.target or newest_finished(), weights)
    of_the_machine = [word for word in command.overrides if word.partition("=")[0] in OF_THE_MACHINE]
    with caught() as interruption:
        status = _predict(file, videos, how, of_the_machine, lambda: interruption.signal is not None)
        return interruption.exit_status if status is None else status


def _videos(named: Path) -> list[Path]:
    """The video, or those of the folder, that can be opened. Raises DataError if there is none."""
    if not named.is_dir():
        with open_video(named):
            return [named]
    found = [path for path in files_below(named) if path.suffix.lower() in VIDEOS]
    readable = [path for path in found if _opens(path)]
    if not readable:
        raise DataError(f"{named}: no video in this folder that can be read, among {len(found)} with a video's name")
    return readable


def _opens(video: Path) -> bool:
    try:
        with open_video(video):
            return True
    except DataError as error:
        log.warning("%s", error)
        return False


def _predict(
    file: Path, videos: Sequence[Path], how: Predict, overrides: Sequence[str], stopping: Callable[[], bool]
) -> int | None:
    """Predict one after another; None if it was stopped, 1 if one of several could not be predicted."""
    from drift_detector_pipeline.video.predicted import predict_video
    from drift_detector_pipeline.video.timeline import is_over_time, predict_timeline

    over_time, status = is_over_time(file), 0
    for video in videos:
        try:
            done = (predict_timeline if over_time else predict_video)(file, video, how, overrides, stopping)
        except DataError as error:
            if len(videos) == 1:
                raise
            log.warning("%s", error)
            status = 1
            continue
        if done is None:
            log.warning("stopped; the same command %s", "begins again" if over_time else "goes on from here")
            return None
        tell(f"{f'{video}: ' if len(videos) > 1 else ''}{done.words}: {done.folder}/", beside=True)
    return status


def _weight_file(path: Path, weights: str | None) -> Path:
    if path.is_dir():
        return path / f"{weights or 'final'}_model.safetensors"
    if weights:
        raise ConfigError(f"weights={weights}: chooses among the weights of a run's folder; {path} is none")
    return path


if __name__ == "__main__":
    sys.exit(main())
