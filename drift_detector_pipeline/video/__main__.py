"""`python -m drift_detector_pipeline.video RUN_OR_WEIGHTS VIDEO`: boxes on every frame, or what happens when.

In: words. Out: `predictions/<date>_<time>/` beside the weights with boxes.jsonl, boxed.mp4 and, last, summary.json. A
run that was stopped or killed goes on when the same command is given again. Of a classification: the label of each
frame. Of clips: timeline.jsonl, .csv and .png, begun anew each time. `make predict VIDEO=...` is this.
"""

import sys
from pathlib import Path

from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.frames.read import open_video
from drift_detector_pipeline.modeling.interruption import caught
from drift_detector_pipeline.modeling.named import WEIGHTS, check_images, check_weights
from drift_detector_pipeline.settings_in_use import Predict

_OF_THE_MACHINE = ("run.device", "run.precision", "run.threads")
_OF_BOXES = ("predict.threshold", "predict.tile_px", "predict.codec")


@exit_status
def main() -> int:
    """Box the video named on the command line with the run or weight file named before it."""
    command = read_command(sys.argv[1:], {"weights": WEIGHTS}, takes_images=True)
    if len(command.images) != 1 or not command.images[0]:
        raise ConfigError("name one video: make predict RUN=outputs/DATE/TIME VIDEO=street.mp4")
    refuse_others(command.overrides, (*_OF_THE_MACHINE, *_OF_BOXES), "all else is in the weight file")
    how = load_section(Predict, command.overrides)
    weights, video = command.own.get("weights"), Path(command.images[0])
    if command.target:
        check_weights(_weight_file(command.target, weights))
    check_images(command.images)
    with open_video(video):  # whether it is one is known before PyTorch is
        pass
    from drift_detector_pipeline.runs.receipts import newest_finished
    from drift_detector_pipeline.video.predicted import predict_video
    from drift_detector_pipeline.video.timeline import is_over_time, predict_timeline

    set_up_logging()
    file = _weight_file(command.target or newest_finished(), weights)
    of_the_machine = [word for word in command.overrides if word.partition("=")[0] in _OF_THE_MACHINE]
    over_time = is_over_time(file)
    with caught() as interruption:
        predict = predict_timeline if over_time else predict_video
        done = predict(file, video, how, of_the_machine, lambda: interruption.signal is not None)
    if done is None:
        log.warning("stopped; the same command %s", "begins again" if over_time else "goes on from here")
        return interruption.exit_status
    print(f"{done.words}: {done.folder}/", file=sys.stderr)
    return 0


def _weight_file(path: Path, weights: str | None) -> Path:
    if path.is_dir():
        return path / f"{weights or 'final'}_model.safetensors"
    if weights:
        raise ConfigError(f"weights={weights}: chooses among the weights of a run's folder; {path} is none")
    return path


if __name__ == "__main__":
    sys.exit(main())
