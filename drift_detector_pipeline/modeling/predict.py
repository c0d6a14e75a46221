"""`python -m drift_detector_pipeline.modeling.predict RUN_OR_WEIGHTS IMAGES`: labels for anybody's images.

In: words. Out: what labels.py prints and writes. A path that is not there is said at once: PyTorch, which takes seconds
to import, comes after that.
"""

import sys
from pathlib import Path

from drift_detector_pipeline.cluster import ENGINES, check_engine
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.console import set_up_logging, tell
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.modeling.named import WEIGHTS, check_images, check_weights
from drift_detector_pipeline.stopped import loading
from drift_detector_pipeline.takes import PREDICT, check_settings


@exit_status
def main() -> int:
    """Predict the images named on the command line with the run or weight file named before them."""
    command = read_command(sys.argv[1:], {"weights": WEIGHTS, "engine": ENGINES}, takes_images=True)
    check_settings(command.overrides, PREDICT)
    if not any(command.images):
        raise ConfigError('name images: make predict RUN=outputs/DATE/TIME IMAGES="photos/*.jpg"')
    check_engine(engine := command.own.get("engine", "local"))
    weights = command.own.get("weights")
    if command.target:
        check_weights(_weight_file(command.target, weights))
    check_images(command.images)
    with loading():
        from drift_detector_pipeline.modeling.labels import predict
        from drift_detector_pipeline.runs.receipts import newest_finished

    set_up_logging()
    file = _weight_file(command.target or newest_finished(), weights)
    done = predict(file, command.images, command.overrides, engine)
    tell(f"{done.predicted} predicted, {done.unreadable} unreadable: {done.folder}/", beside=True)
    return 0


def _weight_file(path: Path, weights: str | None) -> Path:
    if path.is_dir():
        return path / f"{weights or 'final'}_model.safetensors"
    if weights:
        raise ConfigError(f"weights={weights}: chooses among the weights of a run's folder; {path} is none")
    return path


if __name__ == "__main__":
    sys.exit(main())
